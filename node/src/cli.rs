//! The command line: one command, one file.
//!
//! To add a verb: a file `cli/<verb>.rs` with `pub struct Args` (clap) and
//! `pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError>`, one `pub mod`, one line in
//! [`Command`] and one in `dispatch`. A group of verbs (`vendor init`) is a file with its own subcommand enum and a
//! folder beside it. A verb is listed only when it does its work.
//!
//! Rules that hold for all of them, because this file makes them hold: results on stdout, everything else on stderr
//! ([`Printer`]); every `--some-flag` is also `SAMARA_SOME_FLAG` ([`table`]); an error names the culprit and the way out
//! ([`CliError`]); exit codes are those of [`ExitStatus`] and no others.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::settings::{LogFormat, LogLevel, LogSettings};
use crate::observe::logging;

mod blame;
pub mod columns;
pub mod completions;
pub mod config;
pub mod context;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod exit;
pub mod fetch;
pub mod grant;
pub mod input;
pub mod interrupt;
pub mod join;
pub mod node;
pub mod printer;
pub mod progress;
pub mod promote;
pub mod publish;
pub mod recall;
pub mod request;
pub mod revoke;
pub mod site;
pub mod status;
pub mod table;
pub mod vendor;
pub mod verify;
pub mod watch;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod trust_flow;

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
    /// The whole way of a release on this machine: an origin, sites, hosts, and a kill in between.
    Demo(demo::Args),
    /// Look for what is wrong with this machine and its node.
    Doctor(doctor::Args),
    /// Fetch a release into a folder.
    Fetch(Box<fetch::Args>),
    /// Grant a site a product, or make a node an origin of it.
    Grant(grant::Args),
    /// Take in what a vendor or site has signed for this machine or site.
    Join(join::Args),
    /// The daemon of a site or a vendor's origin.
    Node(node::Args),
    /// Put a published release on a channel.
    Promote(promote::Args),
    /// Publish a file or folder as a release.
    Publish(Box<publish::Args>),
    /// Take a release back, for ever.
    Recall(recall::Args),
    /// Make this machine's identity and its request file.
    Request(request::Args),
    /// Withdraw a product from a site or node.
    Revoke(revoke::Args),
    /// The site key, and whom it enrols.
    Site(site::Args),
    /// Show how the node on this machine is.
    Status(status::Args),
    /// A vendor's keys and products.
    Vendor(vendor::Args),
    /// Check a fetched folder, byte for byte.
    Verify(verify::Args),
    /// Show what happens at the node on this machine, until Ctrl-C.
    Watch(watch::Args),
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
    let outcome = Context::new(&cli.global).and_then(|context| {
        if !cli.command.logs_by_its_file() {
            log_for_a_verb(&cli.global)?;
        }
        dispatch(&cli.command, &context, &mut printer)
    });
    let status = outcome.unwrap_or_else(|error| {
        printer.error(&error);
        error.status()
    });
    status.into()
}

impl Command {
    /// Whether it sets the log up itself, as its configuration says. All others log warnings, and more with `-v`.
    const fn logs_by_its_file(&self) -> bool {
        match self {
            Self::Node(_) => true,
            Self::Completions(_)
            | Self::Config(_)
            | Self::Demo(_)
            | Self::Doctor(_)
            | Self::Verify(_)
            | Self::Fetch(_)
            | Self::Grant(_)
            | Self::Join(_)
            | Self::Promote(_)
            | Self::Publish(_)
            | Self::Recall(_)
            | Self::Request(_)
            | Self::Revoke(_)
            | Self::Site(_)
            | Self::Status(_)
            | Self::Vendor(_)
            | Self::Watch(_) => false,
        }
    }
}

fn log_for_a_verb(global: &context::GlobalArgs) -> Result<(), CliError> {
    let level = if global.quiet { LogLevel::Error } else { LogLevel::Warn };
    let format = if global.json { LogFormat::Json } else { LogFormat::Human };
    Ok(logging::init(LogSettings { format, level }, global.verbose)?)
}

fn dispatch(command: &Command, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    match command {
        Command::Completions(args) => completions::run(args, context, printer),
        Command::Config(args) => config::run(args, context, printer),
        Command::Demo(args) => demo::run(args, context, printer),
        Command::Doctor(args) => doctor::run(args, context, printer),
        Command::Fetch(args) => fetch::run(args, context, printer),
        Command::Grant(args) => grant::run(args, context, printer),
        Command::Join(args) => join::run(args, context, printer),
        Command::Node(args) => node::run(args, context, printer),
        Command::Promote(args) => promote::run(args, context, printer),
        Command::Publish(args) => publish::run(args, context, printer),
        Command::Recall(args) => recall::run(args, context, printer),
        Command::Request(args) => request::run(args, context, printer),
        Command::Revoke(args) => revoke::run(args, context, printer),
        Command::Site(args) => site::run(args, context, printer),
        Command::Status(args) => status::run(args, context, printer),
        Command::Vendor(args) => vendor::run(args, context, printer),
        Command::Verify(args) => verify::run(args, context, printer),
        Command::Watch(args) => watch::run(args, context, printer),
    }
}
