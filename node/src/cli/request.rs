//! `samara request`: this machine's public key, in a file for whoever lets it in.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use samara_protocol::trust::request::RequestKind;
use serde::Serialize;

use super::{CliError, Context, ExitStatus, Printer, input};
use crate::access::Machine;
use crate::config::address::Address;

/// Makes this machine's identity, if it has none, and the file that asks for it to be let in.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As what.
    #[arg(value_enum, default_value = "node")]
    pub kind: Kind,
    /// Where others can dial it, HOST:PORT, tcp:// or quic:// before it for one transport alone; may be given several
    /// times. An origin needs one.
    #[arg(long, value_name = "ADDRESS", value_parser = Address::parse_external)]
    pub address: Vec<Address>,
    /// Where it is, in a word that machines near each other share.
    #[arg(long, value_name = "WORD")]
    pub region: Option<String>,
    /// Where the file goes; `-` for stdout [default: KIND.request].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A site's node: fetches and serves. Enrolled by the site.
    Node,
    /// A machine that only fetches. Enrolled by the site, or by a node with the right.
    Host,
    /// A vendor's node. Granted by the vendor.
    Origin,
}

#[derive(Serialize)]
struct Asked {
    kind: &'static str,
    node: String,
    addresses: Vec<String>,
    file: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (article, next) = if self.kind == "origin" {
            ("an", "samara grant")
        } else {
            ("a", "samara site enrol")
        };
        write!(
            f,
            "{} asks to be {article} {}; give {} to `{next}`",
            self.node, self.kind, self.file
        )
    }
}

/// Runs it.
///
/// # Errors
/// When the identity or the file cannot be written, or an address is not one.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let kind = match args.kind {
        Kind::Node => RequestKind::Node,
        Kind::Host => RequestKind::Host,
        Kind::Origin => RequestKind::Origin,
    };
    if kind == RequestKind::Host && !args.address.is_empty() {
        return Err(CliError::usage("--address", "a host is not dialled").way_out("leave it out, or ask to be a node"));
    }
    let machine = Machine::at(context.home());
    let addresses: Vec<String> = args.address.iter().flat_map(Address::multiaddrs).collect();
    let file = machine.request_file(kind, &addresses, args.region.as_deref(), context.now())?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.request", kind.as_str())));
    input::write(&output, &file.encode(), printer)?;
    let asked = Asked {
        kind: kind.as_str(),
        node: machine.identity()?.node_id().to_string(),
        addresses,
        file: output.display().to_string(),
    };
    if output == std::path::Path::new("-") {
        printer.note(asked);
    } else {
        printer.print(&asked)?;
    }
    if kind == RequestKind::Origin && args.address.is_empty() {
        printer.warn("without --address no site will know where to dial this origin");
    }
    Ok(ExitStatus::Success)
}
