//! `samara vendor product`: a new product.

use std::fmt;

use serde::Serialize;

use super::HomeArgs;
use crate::cli::input::ProductName;
use crate::cli::{CliError, Context, ExitStatus, Printer};

/// Makes a product: its first root and empty metadata, signed by every role.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What you call it, e.g. acme/app. The name stays with you and those you tell.
    #[arg(value_name = "VENDOR/PRODUCT")]
    pub name: ProductName,
    /// Where the keys are.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Made {
    name: String,
    product: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.name, self.product)
    }
}

/// Runs it.
///
/// # Errors
/// When there is one of that name, or a key is not here.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let product = args.home.vendor(context).create_product(&args.name.0, context.now())?;
    let name = product.register.name.clone();
    printer.print(&Made {
        name: name.clone(),
        product: product.id().to_string(),
    })?;
    printer.note(format!(
        "next: samara publish PATH --product {name} --version 1.0.0, samara grant REQUEST --product {name}"
    ));
    Ok(ExitStatus::Success)
}
