//! Whether what this node knows of a product is too old to say what is newest: rule 3, a stale site keeps serving what it has
//! verified and refuses "latest".

use samara_protocol::time::WallTime;
use samara_protocol::trust::product::ProductTrust;

use crate::admin::api::{Refusal, RefusalKind, ReleaseName, Select};

/// Until when the metadata is good, by its signers: the earliest end of its files.
pub(super) fn good_until(trust: &ProductTrust) -> Option<WallTime> {
    trust.expiries().values().min().copied()
}

/// Whether it was good no longer at `wall`.
pub(super) fn is_stale(trust: &ProductTrust, wall: WallTime) -> bool {
    good_until(trust).is_some_and(|until| wall > until)
}

/// Why "the newest of a channel" is not answered from metadata that was good `until` then. A version that is named is.
pub(super) fn refuse_latest(name: &ReleaseName, until: Option<WallTime>, wall: WallTime) -> Option<Refusal> {
    let until = until.filter(|until| wall > *until)?;
    let Select::Channel(channel) = &name.select else {
        return None;
    };
    let what = format!(
        "what is newest on channel {channel} is not known: the newest metadata here was good until {}",
        until.to_rfc3339()
    );
    let way_out = format!(
        "one connection to the vendor's origin renews it (--wait waits for that; check this machine's clock); a version that is here \
         already can be named: {}@VERSION",
        name.product
    );
    Some(Refusal::new(RefusalKind::Stale, name.product.clone(), what).way_out(way_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_node_refuses_latest_and_gives_a_version_that_is_named() {
        let latest = ReleaseName {
            product: "acme/app".to_owned(),
            select: Select::Channel("stable".to_owned()),
        };
        let named = ReleaseName {
            select: Select::Version(semver::Version::new(1, 0, 0)),
            ..latest.clone()
        };
        let until = Some(WallTime(1_000));
        assert_eq!(refuse_latest(&latest, until, WallTime(1_000)), None);
        let refusal = refuse_latest(&latest, until, WallTime(1_001)).expect("it has expired");
        assert_eq!(refusal.reason, RefusalKind::Stale);
        assert!(refusal.what.contains("1970-01-01T00:16:40"), "{}", refusal.what);
        assert_eq!(refuse_latest(&named, until, WallTime(1_001)), None);
        assert_eq!(refuse_latest(&latest, None, WallTime(1_001)), None);
    }
}
