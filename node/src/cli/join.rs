//! `samara join`: takes in what a vendor or site has signed for this machine or site.

use std::fmt;
use std::path::PathBuf;

use samara_protocol::limits::JOIN_BYTES_MAX;
use samara_protocol::trust::dsse::{Envelope, Statement};
use samara_protocol::trust::enrolment::{MemberKind, SiteRevocations};
use samara_protocol::trust::grant::Reseed;
use samara_protocol::trust::join::{JoinError, JoinFile, Joined};
use samara_protocol::trust::request::{RequestFile, RequestKind};
use serde::Serialize;

use super::site::HomeArgs;
use super::vendor::hand_over;
use super::{CliError, Context, ExitStatus, Printer, blame, input};
use crate::access::{AccessError, Machine};

/// Takes in a grant or enrolment: verified whole, or not taken.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that `grant`, `site enrol` or `site revoke` made; `-` for stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the site key is, for a site's grant.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Report {
    kind: &'static str,
    products: Vec<Product>,
}

#[derive(Serialize)]
struct Product {
    name: String,
    product: String,
    channels: Vec<String>,
    reseed: Reseed,
    until: String,
    contacts: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for product in &self.products {
            let channels = product.channels.join(", ");
            writeln!(
                f,
                "joined {} as {} ({channels}) until {}",
                product.name, self.kind, product.until
            )?;
        }
        Ok(())
    }
}

/// Reads a join file; nothing in it is verified.
///
/// # Errors
/// When it cannot be read or is none.
pub(super) fn read(path: &std::path::Path) -> Result<JoinFile, CliError> {
    let bytes = input::read(path, JOIN_BYTES_MAX)?;
    JoinFile::decode(&bytes).map_err(|error| blame::join(&error, path.display()))
}

/// Runs it. Joining again renews what there is.
///
/// # Errors
/// When the file is for another key, or anything in it does not verify.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let bytes = input::read(&args.file, JOIN_BYTES_MAX)?;
    let machine = Machine::at(context.home());
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if let Ok(envelope) = Envelope::from_bytes(line)
        && envelope.kind() == SiteRevocations::KIND
    {
        let taken = take_revocations(args, &machine, &envelope, printer)?;
        hand_over::wake(context)?;
        return Ok(taken);
    }
    let file = JoinFile::decode(&bytes).map_err(|error| not_a_join_file(args, &bytes, &error))?;
    let taken = if file.kind == RequestKind::Site {
        args.home.site(context).join(&file, context.now())
    } else {
        machine.join(&file, context.now())
    };
    let joined = taken.map_err(|error| match error {
        AccessError::Join(error) => blame::join(&error, args.file.display()),
        other => other.into(),
    })?;
    printer.print(&Report {
        kind: file.kind.as_str(),
        products: joined.iter().map(product).collect(),
    })?;
    hand_over::wake(context)?;
    advise(file.kind, &joined, printer);
    Ok(ExitStatus::Success)
}

fn not_a_join_file(args: &Args, bytes: &[u8], error: &JoinError) -> CliError {
    match RequestFile::open(bytes) {
        Ok(_) => CliError::usage(args.file.display(), "it is a request file, not the answer to one")
            .way_out("give it to `samara grant` or `samara site enrol`, and join the file that they make"),
        Err(_) => blame::join(error, args.file.display()),
    }
}

fn product(joined: &Joined) -> Product {
    let end = joined
        .covered
        .as_ref()
        .map_or(joined.terms.not_after, |covered| covered.not_after);
    Product {
        name: joined.name.clone(),
        product: joined.trust.product().to_string(),
        channels: joined.terms.channels.iter().map(ToString::to_string).collect(),
        reseed: joined.terms.rights.reseed,
        until: end.to_rfc3339(),
        contacts: joined.contacts.iter().map(|contact| contact.node.to_string()).collect(),
    }
}

/// What to do next, and what the vendor offers that the site must take by itself.
fn advise(kind: RequestKind, joined: &[Joined], printer: &mut Printer) {
    match kind {
        RequestKind::Site => printer.note("next: samara site enrol REQUEST -o FILE for each of the site's machines"),
        RequestKind::Node | RequestKind::Origin => {
            for one in joined {
                printer.note(format!(
                    "for the node's configuration:\n[[product]]\nname = \"{}\"",
                    one.name
                ));
            }
            let all = joined.iter().any(|one| one.terms.rights.reseed == Reseed::All);
            let node = joined
                .iter()
                .any(|one| one.covered.as_ref().is_some_and(|own| own.kind == MemberKind::Node));
            if all && node {
                printer.note(
                    "the vendor lets this site feed other customers' sites. To take part, write under [limits]: upload = \"all\"\n\
                     They then learn this node's address and random ids; an address can give a customer away.",
                );
            }
        }
        RequestKind::Host => {
            for one in joined {
                printer.note(format!("next: samara fetch {}:{} -o DIR", one.name, first_channel(one)));
            }
        }
    }
    for one in joined.iter().filter(|one| one.contacts.is_empty()) {
        printer.warn(format!(
            "the file names nobody to dial for {}; the configuration must",
            one.name
        ));
    }
}

/// The one that `fetch` takes where none is named, if it is granted.
fn first_channel(joined: &Joined) -> String {
    let channels = &joined.terms.channels;
    let usual = channels.iter().find(|name| name.as_str() == "stable");
    usual
        .or_else(|| channels.first())
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn take_revocations(
    args: &Args,
    machine: &Machine,
    envelope: &Envelope,
    printer: &mut Printer,
) -> Result<ExitStatus, CliError> {
    let list = SiteRevocations::open(envelope)
        .map_err(|error| CliError::new(ExitStatus::Unverified, args.file.display(), error))?;
    let mut own = 0;
    for product in machine.products()? {
        let authority = product.trust.grant_authority();
        let terms = authority.and_then(|authority| authority.open(&product.membership.grant).ok());
        if terms.is_some_and(|(terms, _)| terms.site_key == list.site_key) {
            product.home.learn_revocations(envelope)?;
            own += 1;
        }
    }
    if own == 0 {
        let what = "it is the list of another site than this machine's";
        return Err(CliError::new(ExitStatus::Denied, args.file.display(), what));
    }
    printer.note(match list.nodes.len() {
        1 => "one node or host of this site is revoked".to_owned(),
        count => format!("{count} nodes and hosts of this site are revoked"),
    });
    Ok(ExitStatus::Success)
}
