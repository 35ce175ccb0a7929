//! `samara site revoke`: a node or host is out.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::HomeArgs;
use crate::access::Machine;
use crate::cli::vendor::hand_over;
use crate::cli::{CliError, Context, ExitStatus, Printer, input};

/// Lets a node or host in no longer, nor whom it had enrolled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name in `samara site list`, or its PeerId.
    #[arg(value_name = "NAME|PEERID")]
    pub member: String,
    /// Where the signed list of revoked nodes goes, to be joined by a node of the site; `-` for stdout.
    #[arg(long, short, value_name = "FILE", default_value = "site.revocations")]
    pub output: PathBuf,
    /// Where the site key is.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Revoked {
    name: String,
    node: String,
    file: String,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) is out", self.name, self.node)
    }
}

/// Runs it. A node in this machine's home knows it at once.
///
/// # Errors
/// When there is no such member, or the site key is not here.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let (member, list) = args.home.site(context).revoke(&args.member)?;
    let mut bytes = list.to_bytes();
    bytes.push(b'\n');
    input::write(&args.output, &bytes, printer)?;
    for product in Machine::at(context.home()).products()? {
        product.home.learn_revocations(&list)?;
    }
    hand_over::wake(context)?;
    let revoked = Revoked {
        name: member.name,
        node: member.node.to_string(),
        file: args.output.display().to_string(),
    };
    if args.output == std::path::Path::new("-") {
        printer.note(revoked);
    } else {
        printer.print(&revoked)?;
        printer.note(format!(
            "run `samara join {}` on one running node of the site; it tells the others and the origin",
            args.output.display()
        ));
    }
    Ok(ExitStatus::Success)
}
