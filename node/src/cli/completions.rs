//! `samara completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError, Context, ExitStatus, Printer, table};

/// Print a shell's completion script.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell.
    shell: Shell,
}

/// Prints the script, which is text whatever the format.
///
/// # Errors
/// When stdout cannot be written to.
pub fn run(args: &Args, _context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut table::with_environment(Cli::command()),
        "samara",
        &mut script,
    );
    printer.text(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
