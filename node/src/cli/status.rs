//! `samara status`: how the node on this machine is.

use std::time::Duration;

use crate::admin::{AdminError, Client, Request, Response};

use super::{CliError, Context, ExitStatus, Printer};

mod show;

/// How long a node may take: one that does not answer in this time hangs.
const WAIT: Duration = Duration::from_secs(5);

/// Show how the node on this machine is.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Asks the node and prints what it says.
///
/// # Errors
/// When no node runs here or it does not answer.
pub fn run(_args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let mut client = Client::connect(context.socket())?;
    match client.ask(&Request::Status, &[], WAIT)? {
        Response::Status(status) => {
            printer.print(&show::Shown(*status))?;
            Ok(ExitStatus::Success)
        }
        other => Err(unexpected(context, &other)),
    }
}

/// The node answers what was not asked.
pub(super) fn unexpected(context: &Context, response: &Response) -> CliError {
    let what = format!("an answer that does not belong to the question: {response:?}");
    AdminError::Broken {
        path: context.socket().to_owned(),
        what,
    }
    .into()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use tests::sample;
