//! Whether what this node knows of a product is too old to say what is newest: rule 3, a stale site keeps serving what it has
//! verified and refuses "latest"; and whether what was just published may still be on its way here.

use std::time::Duration;

use samara_protocol::time::{Timestamp, WallTime};
use samara_protocol::trust::product::ProductTrust;

use crate::admin::api::{Refusal, RefusalKind, ReleaseName, Select};

/// How long news may be on their way over a bad link, to the node that a fetch has reached or from another one: until then a
/// fetch does not say that there is no such release.
const NEWS: Duration = Duration::from_secs(5);

/// What neighbours' word makes of the metadata of a product.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    since: Option<Timestamp>,
    from_origin: bool,
}

impl Heard {
    /// A neighbour has nothing newer.
    pub(super) fn nothing_newer(&mut self, from_origin: bool, now: Timestamp) {
        self.since.get_or_insert(now);
        self.from_origin |= from_origin;
    }

    /// Whether "latest" can be answered: some neighbour has been heard of that has nothing newer.
    pub(super) const fn is_current(&self) -> bool {
        self.since.is_some()
    }

    /// Whether "there is no such release" can be answered too: an origin has nothing newer, or what it had to say to that
    /// neighbour has had the time to come.
    pub(super) fn is_settled(&self, now: Timestamp) -> bool {
        self.from_origin || self.since.is_some_and(|since| now.since(since) >= NEWS)
    }
}

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
    fn that_there_is_no_such_release_is_said_when_an_origin_or_time_has_settled_it() {
        let start = Timestamp::ZERO;
        let mut heard = Heard::default();
        assert!(!heard.is_current() && !heard.is_settled(start.after(10 * NEWS)));
        heard.nothing_newer(false, start);
        assert!(heard.is_current() && !heard.is_settled(start));
        heard.nothing_newer(false, start.after(NEWS / 2));
        assert!(!heard.is_settled(start.after(NEWS / 2)) && heard.is_settled(start.after(NEWS)));
        heard.nothing_newer(true, start.after(NEWS / 2));
        assert!(heard.is_settled(start.after(NEWS / 2)));
    }

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
