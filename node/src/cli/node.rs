//! `samara node`: the daemon.

use clap::Subcommand;

use super::{CliError, Context, ExitStatus, Printer};

mod listening;
mod membership;
pub(super) mod preflight;
pub mod run;

/// The daemon.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a site's node or a vendor's origin until SIGTERM.
    Run(run::Args),
}

/// Runs the verb below.
///
/// # Errors
/// As the verb does.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    match &args.command {
        Command::Run(args) => run::run(args, context, printer),
    }
}
