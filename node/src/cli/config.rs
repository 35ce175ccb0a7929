//! `samara config`: the node's file.

use clap::Subcommand;

use super::{CliError, Context, ExitStatus, Printer};
use crate::config::ConfigError;

pub mod check;

/// Look at a node's configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a file and print what it means: units resolved, defaults filled in.
    Check(check::Args),
}

/// Runs the verb below.
///
/// # Errors
/// As the verb does.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    match &args.command {
        Command::Check(args) => check::run(args, context, printer),
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        let path = error.path().display().to_string();
        // The message starts with the path, or the path and the line, which is the culprit.
        let line = match &error {
            ConfigError::Value { line, .. } => format!(":{line}"),
            ConfigError::Read { .. } | ConfigError::NoText { .. } => String::new(),
        };
        let culprit = format!("{path}{line}");
        let what = text
            .strip_prefix(&culprit)
            .map_or(text.as_str(), |rest| rest.trim_start_matches(": "));
        Self::worded(ExitStatus::Usage, &culprit, what)
    }
}
