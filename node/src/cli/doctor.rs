//! `samara doctor`: what is wrong with this machine and its node, and what to do about it.
//!
//! Looks at files, the clock and the disk itself, and asks the node, if one runs, about the rest. Changes nothing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::{CliError, Context, ExitStatus, Printer, status};
use crate::admin::api::{Check, Verdict};
use crate::admin::{AdminError, Client, Request, Response};

mod machine;

/// How long the node may take.
const WAIT: Duration = Duration::from_secs(5);

/// Look for what is wrong with this machine and its node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's TOML file, to be checked too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Findings {
    healthy: bool,
    checks: Vec<Check>,
}

/// Prints a finding for everything that was looked at. Exit code 1 when one of them is a failure.
///
/// # Errors
/// When stdout cannot be written to, or the node does not answer as it should.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let (config, settings) = machine::configuration(args.config.as_deref(), context.home(), context.now());
    let home = settings.as_ref().map_or(context.home(), |settings| &settings.node.home);
    let store = settings
        .as_ref()
        .map_or_else(|| context.home().join("store"), |settings| settings.store.dir.clone());
    let reserve = settings
        .as_ref()
        .map_or(machine::RESERVE, |settings| settings.store.reserve);
    let mut checks = vec![config, machine::home(home)];
    checks.push(machine::keys(home));
    checks.push(machine::clock(context.now()));
    checks.push(machine::disk(&store, reserve));
    let of_node = node(context)?;
    if of_node.iter().all(|check| check.name != "credentials") {
        checks.extend(machine::credentials(home, context.now()));
    }
    checks.extend(of_node);
    let healthy = checks.iter().all(|check| check.verdict != Verdict::Failed);
    printer.print(&Findings { healthy, checks })?;
    Ok(if healthy {
        ExitStatus::Success
    } else {
        ExitStatus::Failure
    })
}

/// Whether a node runs, and what it says of itself.
fn node(context: &Context) -> Result<Vec<Check>, CliError> {
    let socket = context.socket().display();
    let asked = Client::connect(context.socket()).and_then(|mut client| client.ask(&Request::Doctor, &[], WAIT));
    match asked {
        Ok(Response::Checks { checks }) => {
            let mut all = vec![machine::found(
                "node",
                Verdict::Ok,
                format!("runs and answers on {socket}"),
            )];
            all.extend(checks);
            Ok(all)
        }
        Ok(other) => Err(status::unexpected(context, &other)),
        Err(AdminError::NotRunning { .. }) => {
            let check = machine::found("node", Verdict::Skipped, format!("none runs on {socket}"));
            Ok(vec![machine::way_out(
                check,
                "a machine that only fetches needs none; else `samara node run`",
            )])
        }
        Err(error) => {
            let error = CliError::from(error);
            let check = machine::found(
                "node",
                Verdict::Failed,
                format!("{}: {}", error.culprit(), error.what()),
            );
            Ok(vec![machine::way_out(check, error.hint().unwrap_or("look at its log"))])
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let word = match check.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Skipped => "skipped",
                Verdict::Warning => "WARNING",
                Verdict::Failed => "FAILED ",
            };
            writeln!(f, "{word}  {:<9} {}", check.name, check.what)?;
            if let Some(way_out) = check.way_out.as_ref().filter(|_| check.verdict != Verdict::Ok) {
                writeln!(f, "         {:<9} {way_out}", "")?;
            }
        }
        f.write_str(if self.healthy { "healthy" } else { "not healthy" })
    }
}

#[cfg(test)]
mod tests;
