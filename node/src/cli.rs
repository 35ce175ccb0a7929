//! The command line: one command, one file.
//!
//! To add a verb: a file `cli/<verb>.rs` with `pub struct Args` (clap) and
//! `pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError>`, one `pub mod`, one line in
//! [`Command`] and one in [`dispatch`]. A group of verbs (`vendor init`) is a file with its own subcommand enum and a
//! folder beside it. A verb is listed only when it does its work.
//!
//! Rules that hold for all of them, because this file makes them hold: results on stdout, everything else on stderr
//! ([`Printer`]); every `--some-flag` is also `SAMARA_SOME_FLAG` ([`table`]); an error names the culprit and the way out
//! ([`CliError`]); exit codes are those of [`ExitStatus`] and no others.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub mod completions;
pub mod config;
pub mod context;
pub mod error;
pub mod exit;
pub mod interrupt;
pub mod printer;
pub mod table;

pub use context::Context;
pub use error::CliError;
pub use exit::ExitStatus;
pub use interrupt::Interrupt;
pub use printer::Printer;

/// Signed releases, carried peer to peer to every site.
#[derive(Debug, Parser)]
#[command(
    name = "samara",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
#[command(after_help = "Every --some-flag can be given as SAMARA_SOME_FLAG. Exit codes and JSON: docs/json.md.")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: context::GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a shell's completion script.
    Completions(completions::Args),
    /// Look at a node's configuration.
    Config(config::Args),
}

/// Runs the command line and says how it went. Called by `main` alone, once.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = table::with_environment(Cli::command())
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return table::show_usage(&error).into(),
    };
    let mut printer = Printer::new(&cli.global);
    let outcome = Context::new(&cli.global).and_then(|context| dispatch(&cli.command, &context, &mut printer));
    let status = outcome.unwrap_or_else(|error| {
        printer.error(&error);
        error.status()
    });
    status.into()
}

fn dispatch(command: &Command, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    match command {
        Command::Completions(args) => completions::run(args, context, printer),
        Command::Config(args) => config::run(args, context, printer),
    }
}
