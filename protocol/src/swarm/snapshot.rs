//! What must survive a restart: whom not to trust. What is held is the store's to remember.

use std::time::Duration;

use crate::id::NodeId;
use crate::limits::STANDINGS_MAX;
use crate::time::Timestamp;

use super::Swarm;
use super::score::Standing;

/// One peer's standing. Times are left-over durations, since a monotonic time means nothing to the next process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who.
    pub peer: NodeId,
    /// Points; see [`super::score::BLAME_MAX`].
    pub blame: u32,
    /// Quarantines so far: the next is longer.
    pub quarantines: u32,
    /// How much of the present quarantine is left.
    pub quarantine_left: Duration,
}

/// All standings, by identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// One for every peer that something is held against.
    pub peers: Vec<PeerRecord>,
}

impl Swarm {
    /// What the next process should be given.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let record = |(peer, standing): (&NodeId, &Standing)| PeerRecord {
            peer: *peer,
            blame: standing.blame,
            quarantines: standing.quarantines,
            quarantine_left: standing
                .quarantined_until
                .map_or(Duration::ZERO, |until| until.since(now)),
        };
        Snapshot {
            peers: self.standings.0.iter().map(record).collect(),
        }
    }

    /// Takes over what the last process knew; before any peer comes up.
    pub fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) {
        for record in snapshot.peers.iter().take(STANDINGS_MAX) {
            let left = record.quarantine_left;
            let standing = Standing {
                blame: record.blame,
                quarantines: record.quarantines,
                quarantined_until: (!left.is_zero()).then(|| now.after(left)),
            };
            self.standings.0.insert(record.peer, standing);
        }
    }
}
