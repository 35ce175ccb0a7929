//! `samara site enrol`: a machine's request in, its join file out.

use std::fmt;
use std::path::PathBuf;

use samara_protocol::id::NodeId;
use samara_protocol::limits::JOIN_BYTES_MAX;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::join::JoinFile;
use samara_protocol::trust::request::RequestKind;
use serde::Serialize;

use super::HomeArgs;
use crate::access::Machine;
use crate::access::site::{Enroller, Terms};
use crate::cli::input::{self, Until};
use crate::cli::{CliError, Context, ExitStatus, Printer};

/// Lets a node or host in: for every product that the site was granted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that `samara request node` or `samara request host` made there; `-` for stdin.
    #[arg(value_name = "REQUEST")]
    pub request: PathBuf,
    /// As a host, whatever the request says.
    #[arg(long)]
    pub host: bool,
    /// Let this node enrol hosts, so that the site key can stay offline.
    #[arg(long)]
    pub enrol_right: bool,
    /// What you call it; the name stays here [default: the end of its PeerId].
    #[arg(long)]
    pub name: Option<String>,
    /// How long it is good, or until when.
    #[arg(long, value_name = "TIME", default_value = "90d")]
    pub until: Until,
    /// Where the join file goes; `-` for stdout.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Write over that file when it is there and is not a join file of this very machine.
    #[arg(long)]
    pub replace: bool,
    /// Where the site key is.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Enrolled {
    name: String,
    node: String,
    kind: MemberKind,
    enrol: bool,
    until: String,
    products: Vec<String>,
    file: String,
}

impl fmt::Display for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == MemberKind::Host { "host" } else { "node" };
        let products = self.products.join(", ");
        write!(
            f,
            "{kind} {} ({}) is in for {products} until {}; run `samara join {}` there",
            self.name, self.node, self.until, self.file
        )
    }
}

/// Runs it.
///
/// # Errors
/// When the request is not one, there is no site key or right to enrol here, or no grant yet; when the output is there and
/// is something else.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let culprit = args.request.display();
    let (request, contact) = input::request(&args.request)?;
    let kind = match request.kind {
        RequestKind::Node | RequestKind::Host if args.host => MemberKind::Host,
        RequestKind::Node => MemberKind::Node,
        RequestKind::Host => MemberKind::Host,
        RequestKind::Site | RequestKind::Origin => {
            let article = if request.kind == RequestKind::Origin { "an" } else { "a" };
            let what = format!(
                "it asks for a grant as {article} {}, which the vendor gives",
                request.kind.as_str()
            );
            let way_out = "send it to the vendor; a machine's request is made there by `samara request node` or `host`";
            return Err(CliError::usage(culprit, what).way_out(way_out));
        }
    };
    if args.enrol_right && kind == MemberKind::Host {
        return Err(
            CliError::usage("--enrol-right", "a host cannot have it").way_out("enrol it as a node, or leave it out")
        );
    }
    let now = context.now();
    let enroller = Enroller::open(&args.home.site(context), &Machine::at(context.home()), now)?;
    let node = NodeId::from(request.key);
    let terms = Terms {
        name: args.name.clone().unwrap_or_else(|| node.short()),
        node,
        kind,
        enrol: args.enrol_right,
        not_after: args.until.from(now, "--until")?,
        contact: contact
            .filter(|_| kind == MemberKind::Node)
            .map(|(_, envelope)| envelope),
    };
    // An enrolment that is renewed takes the place of the one before; another machine's file may still be to be given to it.
    input::may_write(&args.output, args.replace, "--replace", JOIN_BYTES_MAX, |there| {
        JoinFile::decode(there).is_ok_and(|there| there.key == request.key)
    })?;
    let (file, member) = enroller.enrol(terms)?;
    input::write(&args.output, &file.encode(), printer)?;
    let enrolled = Enrolled {
        name: member.name,
        node: node.to_string(),
        kind,
        enrol: member.enrol,
        until: member.not_after,
        products: file.products.iter().map(|product| product.name.clone()).collect(),
        file: args.output.display().to_string(),
    };
    if args.output == std::path::Path::new("-") {
        printer.note(enrolled);
    } else {
        printer.print(&enrolled)?;
    }
    Ok(ExitStatus::Success)
}
