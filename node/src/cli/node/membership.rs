//! What a node's home says of its configuration: whether this machine may be a node at all, whether what it follows was
//! granted, and whether the keys that are to seal are the product's.

use samara_protocol::id::NodeId;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::ChannelName;

use crate::access::Machine;
use crate::access::machine::JoinedProduct;
use crate::access::vendor::SealingKeys;
use crate::cli::{CliError, Context, ExitStatus, Printer};
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

/// Looks at all of it. A channel that is followed and was not granted is only warned of: a grant that was made narrower must
/// not keep a site's node from starting.
///
/// # Errors
/// When the machine is a host, or the keys at `signer` do not seal the product.
pub(in crate::cli) fn check(
    machine: &Machine,
    settings: &Settings,
    products: &[Chosen],
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let Some(identity) = machine.existing_identity()? else {
        return Ok(());
    };
    for (product, of) in products {
        is_no_host(product, identity.node_id(), settings, context)?;
        seals(product, of)?;
        let granted = product.channels().filter(|_| settings.node.role == Role::Site);
        if let Some(warning) = granted.and_then(|granted| not_granted(of, &granted)) {
            printer.warn(warning);
        }
    }
    Ok(())
}

/// A host is a leaf: it has no place among those that serve.
fn is_no_host(product: &JoinedProduct, node: NodeId, settings: &Settings, context: &Context) -> Result<(), CliError> {
    let covered = product.covered(node, context.now())?;
    if covered.is_none_or(|covered| covered.kind != MemberKind::Host) {
        return Ok(());
    }
    let home = settings.node.home.display();
    let what = format!(
        "this machine is enrolled as a host of {}, and a host only fetches",
        product.membership.name
    );
    Err(CliError::new(ExitStatus::Denied, home, what).way_out(
        "a node has a home of its own: `samara --home DIR request node`, `samara site enrol` where the site key is, \
         `samara --home DIR join`, and `home = \"DIR\"` under [node]",
    ))
}

fn seals(product: &JoinedProduct, settings: &ProductSettings) -> Result<(), CliError> {
    let Some(dir) = &settings.signer else { return Ok(()) };
    let keys = SealingKeys::open(dir)?;
    if keys.seal_for(&product.trust) {
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
    let is_granted = |channel: &&String| granted.iter().any(|name| name.as_str() == **channel);
    let (ours, others): (Vec<&String>, Vec<&String>) = settings.follow.iter().partition(is_granted);
    if others.is_empty() {
        return None;
    }
    let list = |names: &[&str]| names.join(", ");
    let others = list(&others.iter().map(|name| name.as_str()).collect::<Vec<_>>());
    let granted = list(&granted.iter().map(ChannelName::as_str).collect::<Vec<_>>());
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
            follow: names.iter().map(|name| (*name).to_owned()).collect(),
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
