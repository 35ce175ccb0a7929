//! `samara revoke`: a site, a grant or a node no longer has a product.

use std::fmt;

use samara_protocol::id::{NodeId, StatementId};
use samara_protocol::trust::role::Role;
use samara_protocol::trust::writer::changes::{self, Revocation};
use serde::Serialize;

use super::input::ProductName;
use super::vendor::{HomeArgs, hand_over};
use super::{CliError, Context, ExitStatus, Printer};
use crate::access::vendor::VendorProduct;

/// Withdraws a product from a site, or from one node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which product.
    #[arg(long, value_name = "VENDOR/PRODUCT")]
    pub product: ProductName,
    /// Whose site, as you call the customer.
    #[arg(long, value_name = "NAME", requires = "site")]
    pub tenant: Option<String>,
    /// Which site, as you call it: all its grants.
    #[arg(long, value_name = "NAME", requires = "tenant", conflicts_with_all = ["peer", "grant"])]
    pub site: Option<String>,
    /// One node, host or origin alone.
    #[arg(long, value_name = "PEERID", conflicts_with = "grant")]
    pub peer: Option<NodeId>,
    /// One grant alone.
    #[arg(long, value_name = "ID", required_unless_present_any = ["site", "peer"])]
    pub grant: Option<StatementId>,
    /// Where the keys are.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Revoked {
    product: String,
    revoked: String,
    again: bool,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = if self.again { ": it was revoked before" } else { "" };
        write!(f, "{} no longer has {}{again}", self.revoked, self.product)
    }
}

/// Runs it. What is revoked stays so.
///
/// # Errors
/// When there is no such site; when a key is not here.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let vendor = args.home.vendor(context);
    let (mut product, _turn) = hand_over::open_in_turn(context, &vendor, &args.product.0)?;
    let (what, shown) = match (&args.tenant, &args.site, args.peer, args.grant) {
        (Some(tenant), Some(site), ..) => (mark(&mut product, tenant, site)?, format!("site {tenant}/{site}")),
        (_, _, Some(node), _) => (Revocation::Node(node), format!("node {node}")),
        (_, _, _, Some(grant)) => (Revocation::Grant(grant), format!("grant {grant}")),
        _ => return Err(CliError::usage("revoke", "nothing is named").way_out("give --tenant and --site, or --peer")),
    };
    let change = vendor.change(Role::Grants, context.now(), |hand| {
        changes::revoke(&product.trust, &[what], hand)
    });
    let again = hand_over::commit_once(context, &vendor, &mut product, change, printer)?;
    product.save_register()?;
    printer.print(&Revoked {
        product: args.product.0.clone(),
        revoked: shown,
        again,
    })?;
    printer.note("it reaches every node with the next metadata; what the site holds already stays with it");
    Ok(ExitStatus::Success)
}

fn mark(product: &mut VendorProduct, tenant: &str, site: &str) -> Result<Revocation, CliError> {
    let tenants = &mut product.register.tenants;
    let found = tenants.get_mut(tenant).and_then(|tenant| tenant.sites.get_mut(site));
    let Some(found) = found else {
        let known: Vec<String> = tenants
            .iter()
            .flat_map(|(tenant, entry)| entry.sites.keys().map(move |site| format!("{tenant}/{site}")))
            .collect();
        let error = CliError::new(
            ExitStatus::Absent,
            format!("{tenant}/{site}"),
            "no such site is in the register",
        );
        return Err(error.way_out(format!("known: {}", known.join(", "))));
    };
    found.revoked = true;
    Ok(Revocation::Site(found.id))
}
