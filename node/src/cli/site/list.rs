//! `samara site list`: who is in, and what was granted.

use std::fmt;

use samara_protocol::trust::enrolment::MemberKind;
use serde::Serialize;

use super::HomeArgs;
use crate::cli::{CliError, Context, ExitStatus, Printer};

/// Shows the site's nodes and hosts, and its products.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Where the site's home is.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Listing {
    products: Vec<Product>,
    members: Vec<Row>,
}

#[derive(Serialize)]
struct Product {
    name: String,
    product: String,
}

#[derive(Serialize)]
struct Row {
    name: String,
    node: String,
    kind: MemberKind,
    enrol: bool,
    until: String,
    revoked: bool,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for product in &self.products {
            writeln!(f, "product {}  {}", product.name, product.product)?;
        }
        for row in &self.members {
            let kind = match (row.kind, row.enrol) {
                (MemberKind::Host, _) => "host",
                (_, true) => "node, may enrol",
                (_, false) => "node",
            };
            let state = if row.revoked {
                "revoked".to_owned()
            } else {
                format!("until {}", row.until)
            };
            writeln!(f, "{:<20} {:<16} {state}  {}", row.name, kind, row.node)?;
        }
        if self.products.is_empty() && self.members.is_empty() {
            writeln!(f, "nothing yet: no grant was joined and nobody enrolled")?;
        }
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// When the home cannot be read.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let site = args.home.site(context);
    let products = site.products()?.into_iter().map(|(_, membership, trust)| Product {
        name: membership.name,
        product: trust.product().to_string(),
    });
    let members = site.register()?.members.into_values().map(|member| Row {
        name: member.name,
        node: member.node.to_string(),
        kind: member.kind,
        enrol: member.enrol,
        until: member.not_after,
        revoked: member.revoked,
    });
    printer.print(&Listing {
        products: products.collect(),
        members: members.collect(),
    })?;
    Ok(ExitStatus::Success)
}
