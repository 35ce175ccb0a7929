//! With which key a fetch takes part: one of its own, enrolled by this home's for the time of the fetch.
//!
//! Two processes with one PeerId would push each other out of their places at the nodes. So the home's own key takes part in
//! nothing but what it is for: a host's lends what it may, a node's does where it has the right to enrol hosts, and any
//! other node's or origin's is left to the daemon that runs with it.

use samara_protocol::id::NodeId;
use samara_protocol::time::WallTime;
use samara_protocol::trust::credentials::Covered;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::{Enrolment, MemberKind};
use samara_protocol::trust::key::SigningKey;

use crate::access::machine::JoinedProduct;
use crate::access::{Machine, entropy};
use crate::cli::{CliError, Context, ExitStatus};

/// The key, and its enrolment.
///
/// # Errors
/// When this home's key is a node's or an origin's and may not enrol hosts.
pub(in crate::cli) fn key(
    machine: &Machine,
    joined: &JoinedProduct,
    context: &Context,
) -> Result<(SigningKey, Option<Envelope>), CliError> {
    let own = machine.identity()?;
    let now = context.now();
    match joined.covered(own.node_id(), now)? {
        Some(covered) if covered.kind != MemberKind::Host && !covered.enrol => Err(not_a_hosts(&covered, context)),
        Some(covered) if is_good(&covered, joined, now) || covered.enrol => lend(&own, &covered),
        // The socket may be that of a node with another home.
        None if beside(context).is_some_and(|node| node == own.node_id()) => Err(a_node_runs(context)),
        // A host's that is good for nothing: judged, and told why, once the engine runs.
        _ => Ok((own, None)),
    }
}

/// The node that runs beside this fetch.
fn beside(context: &Context) -> Option<NodeId> {
    let nodes = super::wait::node_beside(context);
    nodes.first().map(|(node, _)| *node)
}

fn is_good(covered: &Covered, joined: &JoinedProduct, now: WallTime) -> bool {
    joined.trust.credential_time(now) <= covered.not_after
}

/// It is good for as long as this home's own is: the key lives in this process alone and ends with it, and what is counted from
/// this machine's clock, which may be years behind, or from metadata that is months old, may have ended for everybody else.
fn lend(own: &SigningKey, covered: &Covered) -> Result<(SigningKey, Option<Envelope>), CliError> {
    let key = entropy::new_key();
    let enrolment = Enrolment {
        schema: 0,
        site_key: covered.site_key,
        node: key.public().into(),
        kind: MemberKind::Host,
        enrol: false,
        serial: 0,
        not_after: covered.not_after,
    };
    let envelope =
        Envelope::sign(&enrolment, &[own]).map_err(|error| CliError::failure("this machine's key", error))?;
    Ok((key, Some(envelope)))
}

fn not_a_hosts(covered: &Covered, context: &Context) -> CliError {
    let (whose, or) = match covered.kind {
        MemberKind::Origin => ("an origin", ""),
        _ => (
            "a node without the right to enrol hosts",
            "; or have it enrolled anew with `site enrol --enrol-right`",
        ),
    };
    let what = format!("this home is that of {whose}, whose key is its daemon's alone");
    CliError::new(ExitStatus::Denied, context.home().display(), what).way_out(format!(
        "enrol this machine as a host too, with another --home DIR: `samara --home DIR request host`, `samara site enrol` \
         where the site key is, `samara --home DIR join`, and fetch with that --home{or}"
    ))
}

fn a_node_runs(context: &Context) -> CliError {
    let what = "a node runs with the key of this home, and its credentials for the product do not open it";
    CliError::new(ExitStatus::Denied, context.home().display(), what)
        .way_out("`samara doctor` says what is wrong with them; a host of its own has another --home")
}
