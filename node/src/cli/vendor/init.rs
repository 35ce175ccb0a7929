//! `samara vendor init`: a key for every role.

use std::fmt;

use serde::Serialize;

use super::HomeArgs;
use crate::cli::{CliError, Context, ExitStatus, Printer};

/// Makes a key for every role.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Where.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Made {
    dir: String,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    role: &'static str,
    public: String,
    path: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            writeln!(f, "{:<10} {}  {}", key.role, key.public, key.path)?;
        }
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// When all keys are there already, or the directory cannot be written.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let vendor = args.home.vendor(context);
    let made = vendor.init()?;
    let keys = made.into_iter().map(|(role, public)| Key {
        role: role.as_str(),
        public: public.to_string(),
        path: vendor.key_path(role).display().to_string(),
    });
    let made = Made {
        dir: vendor.dir().display().to_string(),
        keys: keys.collect(),
    };
    printer.print(&made)?;
    printer.note("back them up; root.key and targets.key are needed for `vendor product` alone: keep them offline");
    printer.note("next: samara vendor product VENDOR/PRODUCT");
    Ok(ExitStatus::Success)
}
