//! What a node's home says of its configuration: whether this machine may be such a node at all, whether what is
//! configured was joined, whether what it follows was granted, and whether the keys that are to seal are the product's.

use samara_protocol::id::NodeId;
use samara_protocol::time::WallTime;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::join::Joined;
use samara_protocol::trust::product::ProductTrust;

use crate::access::Machine;
use crate::access::machine::JoinedProduct;
use crate::access::vendor::SealingKeys;
use crate::cli::{CliError, ExitStatus};
use crate::config::settings::{ProductSettings, Role, Settings};

/// A product in the home, and what the configuration says of it.
pub(in crate::cli) type Chosen = (JoinedProduct, ProductSettings);

/// The products of the home that the configuration names, or all when it names none.
///
/// # Errors
/// When the home cannot be read.
pub(in crate::cli) fn chosen(machine: &Machine, settings: &Settings) -> Result<Vec<Chosen>, CliError> {
    let mut chosen = Vec::new();
    for product in machine.products()? {
        let name = &product.membership.name;
        let named = settings.products.iter().find(|named| named.name == *name);
        match named {
            Some(named) => chosen.push((product, named.clone())),
            None if settings.products.is_empty() => {
                let defaults = ProductSettings::defaults(name);
                chosen.push((product, defaults));
            }
            None => {}
        }
    }
    Ok(chosen)
}

/// Looks at all of it, as it will be once what is `offered` by join files has been taken in; gives what is only to be
/// warned of. A channel that is followed and was not granted is: a grant that was made narrower must not keep a site's
/// node from starting.
///
/// # Errors
/// When a product is configured that the home has not joined or that is another one, when the machine takes part as
/// something else than `role` says, or when the keys at `signer` do not seal the product.
pub(super) fn check(
    machine: &Machine,
    settings: &Settings,
    offered: Vec<Joined>,
    now: WallTime,
) -> Result<Vec<String>, CliError> {
    let parts = parts(machine, offered, now)?;
    if parts.is_empty() && settings.products.is_empty() {
        let nothing =
            "no product has been joined: the node will have nothing to do; run `samara join FILE` and restart it";
        return Ok(vec![nothing.to_owned()]);
    }
    let mut warnings = Vec::new();
    for of in configured(settings, &parts) {
        let part = parts.iter().find(|part| part.name == of.name);
        let part = part.ok_or_else(|| not_joined(&of, settings))?;
        is_the_one(part, &of)?;
        plays_the_role(part, settings)?;
        seals(part, &of)?;
        let granted = part.channels.as_ref().filter(|_| settings.node.role == Role::Site);
        warnings.extend(granted.and_then(|granted| not_granted(&of, granted)));
    }
    Ok(warnings)
}

/// What this machine is in one product.
struct Part {
    name: String,
    trust: ProductTrust,
    /// Nothing when its credentials are not for its key, or are revoked.
    kind: Option<MemberKind>,
    channels: Option<Vec<ChannelName>>,
}

impl Part {
    fn joined(product: JoinedProduct, node: Option<NodeId>, now: WallTime) -> Result<Self, CliError> {
        let covered = match node {
            Some(node) => product.covered(node, now)?,
            None => None,
        };
        Ok(Self {
            kind: covered.map(|covered| covered.kind),
            channels: product.channels(),
            name: product.membership.name,
            trust: product.trust,
        })
    }

    fn offered(joined: Joined) -> Self {
        Self {
            kind: joined.covered.map(|covered| covered.kind),
            channels: Some(joined.terms.channels),
            name: joined.name,
            trust: joined.trust,
        }
    }
}

/// What is in the home, and in place of it what is offered anew.
fn parts(machine: &Machine, offered: Vec<Joined>, now: WallTime) -> Result<Vec<Part>, CliError> {
    let node = machine.existing_identity()?.map(|key| key.node_id());
    let mut parts = Vec::new();
    for product in machine.products()? {
        parts.push(Part::joined(product, node, now)?);
    }
    for joined in offered {
        parts.retain(|part: &Part| part.trust.product() != joined.trust.product());
        parts.push(Part::offered(joined));
    }
    Ok(parts)
}

/// What the file says of each product, or what holds for all of them when it names none.
fn configured(settings: &Settings, parts: &[Part]) -> Vec<ProductSettings> {
    if settings.products.is_empty() {
        return parts.iter().map(|part| ProductSettings::defaults(&part.name)).collect();
    }
    settings.products.clone()
}

fn not_joined(of: &ProductSettings, settings: &Settings) -> CliError {
    let way_out = format!("run `samara join FILE` with --home {}", settings.node.home.display());
    CliError::usage(&of.name, "is configured, but this machine has not joined it").way_out(way_out)
}

fn is_the_one(part: &Part, of: &ProductSettings) -> Result<(), CliError> {
    let found = part.trust.product();
    match of.id.filter(|id| *id != found) {
        None => Ok(()),
        Some(id) => {
            let what =
                format!("`id` says that it is {id}, and what this machine has joined under that name is {found}");
            Err(CliError::usage(&of.name, what).way_out("correct `id`, or join what it names"))
        }
    }
}

/// Whether the vendor or the site has let this machine in as what it is to be.
fn plays_the_role(part: &Part, settings: &Settings) -> Result<(), CliError> {
    let name = &part.name;
    match (part.kind, settings.node.role) {
        (None, _) | (Some(MemberKind::Origin), Role::Origin) | (Some(MemberKind::Node), Role::Site) => Ok(()),
        // A host is a leaf: it has no place among those that serve.
        (Some(MemberKind::Host), _) => {
            let what = format!("this machine is enrolled as a host of {name}, and a host only fetches");
            let error = CliError::new(ExitStatus::Denied, settings.node.home.display(), what);
            Err(error.way_out(
                "a node has a home of its own: `samara --home DIR request node`, `samara site enrol` where the site key is, \
                 `samara --home DIR join`, and `home = \"DIR\"` under [node]",
            ))
        }
        (Some(MemberKind::Node), Role::Origin) => {
            let what = format!("the file says \"origin\", and this machine is a node of a site in {name}");
            Err(CliError::usage("node.role", what).way_out(
                "leave `role` out; an origin has a home of its own, whose `samara request origin` the vendor has granted",
            ))
        }
        (Some(MemberKind::Origin), Role::Site) => {
            let what = format!("the file says \"site\" or nothing, and this machine is an origin of {name}");
            Err(CliError::usage("node.role", what).way_out(
                "write role = \"origin\" under [node]; a site's node has a home of its own, see `samara request node`",
            ))
        }
    }
}

fn seals(part: &Part, settings: &ProductSettings) -> Result<(), CliError> {
    let Some(dir) = &settings.signer else { return Ok(()) };
    let keys = SealingKeys::open(dir)?;
    if keys.seal_for(&part.trust) {
        return Ok(());
    }
    let what = format!(
        "`signer` has snapshot and timestamp keys, but not those of {}",
        settings.name
    );
    Err(CliError::usage(dir.display(), what)
        .way_out("name the folder with the keys of the vendor whose product it is, as `vendor init` made it"))
}

/// What of the followed channels the grant does not have.
fn not_granted(settings: &ProductSettings, granted: &[ChannelName]) -> Option<String> {
    let is_granted = |channel: &&ChannelName| granted.contains(*channel);
    let (ours, others): (Vec<&ChannelName>, Vec<&ChannelName>) = settings.follow.iter().partition(is_granted);
    if others.is_empty() {
        return None;
    }
    let list = |names: &[&ChannelName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let (others, granted) = (list(&others), list(&granted.iter().collect::<Vec<_>>()));
    let rest = if ours.is_empty() {
        "so nothing is fetched by itself"
    } else {
        "so nothing comes from there"
    };
    Some(format!(
        "{}: `follow` names {others}, which this site was not granted ({granted} is), {rest}; ask the vendor for a grant of \
         it, or leave it out",
        settings.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_and_not_granted_is_named_with_what_is_granted() {
        let follow = |names: &[&str]| ProductSettings {
            follow: names.iter().map(|name| name.parse().expect("a channel")).collect(),
            ..ProductSettings::defaults("acme/app")
        };
        let granted = ["lts".parse().expect("a channel"), "stable".parse().expect("a channel")];
        assert_eq!(not_granted(&follow(&["stable"]), &granted), None);
        assert_eq!(not_granted(&follow(&[]), &granted), None);
        let some = not_granted(&follow(&["stable", "beta"]), &granted).expect("beta is not granted");
        assert!(
            some.contains("names beta,") && some.contains("(lts, stable is)"),
            "{some}"
        );
        let all = not_granted(&follow(&["beta", "edge"]), &granted).expect("neither is granted");
        assert!(
            all.contains("beta, edge") && all.contains("nothing is fetched"),
            "{all}"
        );
    }
}
