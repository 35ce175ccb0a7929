//! What neighbours may make this node read again: little of what they were sent, and seldom.
//!
//! A neighbour that could not verify what it got says so ([`SwarmMessage::Rejected`]), and the shell hashes these blocks
//! again. It says nothing when they are good, so what runs is not known; what was begun in time is what is bounded.
//!
//! [`SwarmMessage::Rejected`]: crate::wire::message::SwarmMessage::Rejected

use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::limits::{RECHECK_BYTES_MAX, RECHECK_PAUSE, RECHECK_RATE};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;
use crate::units::ByteRate;

use super::Swarm;
use super::bucket::Bucket;
use super::io::Output;

/// What was read again lately, for whom. It outlives connections.
#[derive(Debug)]
pub(super) struct Rechecks {
    bucket: Bucket,
    /// For whom, and when; what is older than the pause is forgotten.
    lately: BTreeMap<NodeId, Timestamp>,
}

impl Rechecks {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            bucket: Bucket::new(Some(ByteRate(RECHECK_RATE)), now),
            lately: BTreeMap::new(),
        }
    }

    /// Whether something may be read again for a peer.
    fn is_open(&mut self, now: Timestamp, id: &NodeId) -> bool {
        self.lately.retain(|_, at| now.since(*at) < RECHECK_PAUSE);
        !self.lately.contains_key(id) && self.bucket.is_open(now)
    }

    fn note(&mut self, now: Timestamp, id: NodeId, bytes: u64) {
        self.bucket.take(now, bytes);
        self.lately.insert(id, now);
    }
}

impl Swarm {
    /// A peer says that it could not verify these blocks. What it never got is not held against it: of a failed request it
    /// names all that was still to come.
    pub(super) fn said_rejected(&mut self, now: Timestamp, id: NodeId, number: u16, blocks: &RangeSet) -> bool {
        let Some(peer) = self.peers.get(&id) else { return true };
        let Some(layout) = peer.numbers.get(&number).copied() else {
            return true;
        };
        let (Some(line), Some(transfer)) = (peer.lines.get(&layout), self.transfers.get(&layout)) else {
            return true;
        };
        if blocks
            .ranges()
            .last()
            .is_some_and(|last| last.end > transfer.table.len())
        {
            return false;
        }
        if !self.rechecks.is_open(now, &id) {
            return true;
        }
        let (mut groups, mut bytes) = (RangeSet::new(), 0);
        for block in blocks
            .iter()
            .filter(|block| line.given.has(*block) && transfer.have.get(*block))
        {
            let entry = transfer.table.get(block);
            if bytes > 0 && bytes + entry.bytes > RECHECK_BYTES_MAX {
                break;
            }
            groups.insert(entry.range());
            bytes += entry.bytes;
        }
        if !groups.is_empty() {
            self.rechecks.note(now, id, bytes);
            self.out.push_back(Output::Recheck { layout, groups });
        }
        true
    }
}
