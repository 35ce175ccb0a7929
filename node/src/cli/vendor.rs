//! `samara vendor`: a vendor's keys and products; and what all of a vendor's verbs share.

use std::path::PathBuf;

use clap::Subcommand;

use super::{CliError, Context, ExitStatus, Printer};
use crate::access::vendor::Vendor;

pub mod hand_over;
pub mod init;
pub mod product;

/// A vendor's keys and products.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key for every role.
    Init(init::Args),
    /// Make a product: its first root and empty metadata.
    Product(product::Args),
}

/// Where the vendor's home is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct HomeArgs {
    /// The vendor's directory: keys, products, whom they were granted to [default: vendor in the home].
    #[arg(long, visible_alias = "dir", value_name = "DIR")]
    pub vendor_dir: Option<PathBuf>,
}

impl HomeArgs {
    /// The vendor's home.
    #[must_use]
    pub fn vendor(&self, context: &Context) -> Vendor {
        let dir = self.vendor_dir.clone().unwrap_or_else(|| context.home().join("vendor"));
        Vendor::at(&dir)
    }
}

/// Runs the verb below.
///
/// # Errors
/// As the verb does.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    match &args.command {
        Command::Init(args) => init::run(args, context, printer),
        Command::Product(args) => product::run(args, context, printer),
    }
}
