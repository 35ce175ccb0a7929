//! `samara site`: the site key, and whom it enrols.

use std::path::PathBuf;

use clap::Subcommand;

use super::{CliError, Context, ExitStatus, Printer};
use crate::access::site::Site;

pub mod enrol;
pub mod init;
pub mod list;
pub mod revoke;

/// The site key, and whom it enrols.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the site key and its request file.
    Init(init::Args),
    /// Let a node or host in.
    Enrol(enrol::Args),
    /// Let a node or host in no longer.
    Revoke(revoke::Args),
    /// Show who is in.
    List(list::Args),
}

/// Where the site's home is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct HomeArgs {
    /// The site's directory: site key, grants, whom it has enrolled [default: site in the home].
    #[arg(long, visible_alias = "dir", value_name = "DIR")]
    pub site_dir: Option<PathBuf>,
}

impl HomeArgs {
    /// The site's home.
    #[must_use]
    pub fn site(&self, context: &Context) -> Site {
        let dir = self.site_dir.clone().unwrap_or_else(|| context.home().join("site"));
        Site::at(&dir)
    }
}

/// Runs the verb below.
///
/// # Errors
/// As the verb does.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    match &args.command {
        Command::Init(args) => init::run(args, context, printer),
        Command::Enrol(args) => enrol::run(args, context, printer),
        Command::Revoke(args) => revoke::run(args, context, printer),
        Command::List(args) => list::run(args, context, printer),
    }
}
