//! Blame: who is believed, who is avoided, and for how long.
//!
//! One bad group is no proof of malice: an honest node's disk rots. So blame rises with each fault and falls with each
//! span that verified, and only what is mostly bad is quarantined. It outlives the connection and the process
//! (`snapshot`), so that reconnecting wipes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::NodeId;
use crate::limits::STANDINGS_MAX;
use crate::time::Timestamp;

use super::io::DisconnectReason;

/// Blame at which a peer is quarantined.
pub const BLAME_MAX: u32 = 24;
/// Blame for groups that did not verify: the third in a row is one too many.
pub(super) const BLAME_INVALID: u32 = 8;
/// Blame for a have that was false.
pub(super) const BLAME_ABSENT: u32 = 4;

/// What is remembered of a peer beyond its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) blame: u32,
    pub(super) quarantined_until: Option<Timestamp>,
    /// Quarantines so far; each is four times as long as the one before.
    pub(super) quarantines: u32,
}

/// All standings.
#[derive(Debug, Default)]
pub(super) struct Standings(pub(super) BTreeMap<NodeId, Standing>);

impl Standings {
    /// Adds blame; true when it is too much now.
    pub(super) fn blame(&mut self, peer: NodeId, points: u32) -> bool {
        if self.0.len() >= STANDINGS_MAX && !self.0.contains_key(&peer) {
            let least = self.0.iter().min_by_key(|(_, standing)| standing.blame);
            if let Some(forgotten) = least.map(|(id, _)| *id) {
                self.0.remove(&forgotten);
            }
        }
        let standing = self.0.entry(peer).or_default();
        standing.blame = standing.blame.saturating_add(points);
        standing.blame >= BLAME_MAX
    }

    /// A span of the peer's verified whole.
    pub(super) fn praise(&mut self, peer: &NodeId) {
        if let Some(standing) = self.0.get_mut(peer) {
            standing.blame = standing.blame.saturating_sub(1);
            if standing.blame == 0 && standing.quarantines == 0 {
                self.0.remove(peer);
            }
        }
    }

    pub(super) fn blame_of(&self, peer: &NodeId) -> u32 {
        self.0.get(peer).map_or(0, |standing| standing.blame)
    }

    /// How much longer the peer is quarantined.
    pub(super) fn quarantine_left(&self, peer: &NodeId, now: Timestamp) -> Option<Duration> {
        let until = self.0.get(peer)?.quarantined_until?;
        (until > now).then(|| until.since(now))
    }

    /// Starts a quarantine and says how long it is.
    pub(super) fn quarantine(&mut self, peer: NodeId, now: Timestamp, reason: DisconnectReason) -> Duration {
        let base = match reason {
            DisconnectReason::ServedGarbage | DisconnectReason::LiedAboutHaves => Duration::from_secs(900),
            DisconnectReason::Misbehaved => Duration::from_secs(600),
            DisconnectReason::Stalled => Duration::from_secs(60),
        };
        self.blame(peer, 0);
        let standing = self.0.entry(peer).or_default();
        let length = base * 4u32.pow(standing.quarantines.min(3));
        standing.quarantines = standing.quarantines.saturating_add(1);
        standing.blame = BLAME_MAX / 2;
        standing.quarantined_until = Some(now.after(length));
        length
    }
}

/// A pause that doubles with each failure in a row: 0.25 s to 64 s.
pub(super) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(250) * (1 << failures.min(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId([3; 32]);

    #[test]
    fn three_bad_spans_in_a_row_are_too_much_and_one_in_nine_never_is() {
        let mut standings = Standings::default();
        assert!(!standings.blame(PEER, BLAME_INVALID) && !standings.blame(PEER, BLAME_INVALID));
        assert!(standings.blame(PEER, BLAME_INVALID));
        let mut standings = Standings::default();
        for _ in 0..1000 {
            assert!(!standings.blame(PEER, BLAME_INVALID));
            for _ in 0..8 {
                standings.praise(&PEER);
            }
        }
    }

    /// As a file can say that was not written by us.
    #[test]
    fn the_worst_standing_that_there_can_be_is_quarantined_once_more() {
        let mut standings = Standings::default();
        let worst = Standing {
            blame: u32::MAX,
            quarantined_until: Some(Timestamp(u64::MAX)),
            quarantines: u32::MAX,
        };
        standings.0.insert(PEER, worst);
        assert!(standings.blame(PEER, BLAME_INVALID));
        let length = standings.quarantine(PEER, Timestamp::ZERO, DisconnectReason::ServedGarbage);
        assert_eq!(length, Duration::from_secs(900) * 64);
        assert_eq!(standings.0[&PEER].quarantines, u32::MAX);
    }

    #[test]
    fn a_second_quarantine_is_longer_and_reconnecting_does_not_end_it() {
        let mut standings = Standings::default();
        let first = standings.quarantine(PEER, Timestamp::ZERO, DisconnectReason::ServedGarbage);
        let second = standings.quarantine(PEER, Timestamp::ZERO.after(first), DisconnectReason::ServedGarbage);
        assert!(second > first);
        assert_eq!(
            standings.quarantine_left(&PEER, Timestamp::ZERO.after(first)),
            Some(second)
        );
        assert_eq!(
            standings.quarantine_left(&PEER, Timestamp::ZERO.after(first + second)),
            None
        );
    }

    #[test]
    fn who_comes_back_from_quarantine_is_shut_out_again_at_the_second_bad_span() {
        let mut standings = Standings::default();
        standings.quarantine(PEER, Timestamp::ZERO, DisconnectReason::ServedGarbage);
        assert_eq!(standings.blame_of(&PEER), BLAME_MAX / 2);
        assert!(!standings.blame(PEER, BLAME_INVALID));
        assert!(standings.blame(PEER, BLAME_INVALID));
    }
}
