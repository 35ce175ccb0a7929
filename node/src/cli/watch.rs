//! `samara watch`: what happens at the node on this machine, until Ctrl-C.

use std::fmt;
use std::ops::ControlFlow;

use serde::Serialize;

use super::{CliError, Context, ExitStatus, Printer};
use crate::admin::{AdminError, Client, Record, Request, Response};

/// Show what happens at the node on this machine, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct Line(Record);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.at, self.0.message)
    }
}

/// Prints events as they come.
///
/// # Errors
/// When no node runs here, it goes away, or stdout cannot be written to.
pub fn run(_args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let interrupt = context.interrupt();
    let mut client = Client::connect(context.socket())?;
    printer.note("waiting for something to happen at the node; Ctrl-C ends");
    let mut failed = None;
    let ended = client.follow(&Request::Events, &[], |answer| {
        if interrupt.requested() {
            return ControlFlow::Break(());
        }
        if let Some(Response::Event(record)) = answer
            && let Err(error) = printer.print(&Line(record))
        {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    match (ended, failed) {
        (_, Some(error)) => Err(error),
        // Ctrl-C is how a watch is meant to end.
        (Ok(_) | Err(AdminError::Stopped { .. }), None) => Ok(ExitStatus::Success),
        (Err(error), None) => Err(error.into()),
    }
}
