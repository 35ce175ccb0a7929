//! What neighbours may make this node read again: little of what they were sent, and seldom.
//!
//! A neighbour that could not verify what it got says so ([`SwarmMessage::Rejected`]), and the shell hashes these blocks
//! again. It says nothing when they are good, so what runs is not known; what was begun in time is what is bounded, and what
//! comes too soon waits.
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

/// Layouts of which one neighbour's complaints may wait.
const COMPLAINTS_MAX: usize = 4;

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
        let mut complaint = RangeSet::new();
        for block in blocks.iter().filter(|block| line.given.has(*block)) {
            complaint.insert(block..block + 1);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return true;
        };
        let is_known = peer.complaints.contains_key(&layout);
        if !complaint.is_empty() && (is_known || peer.complaints.len() < COMPLAINTS_MAX) {
            peer.complaints.get_or_default(layout).union_with(&complaint);
        }
        self.recheck_for(now, id);
        true
    }

    /// Has read again what neighbours complained of and had to wait.
    pub(super) fn tick_rechecks(&mut self, now: Timestamp) {
        let complain = self.peers.iter().filter(|(_, peer)| !peer.complaints.is_empty());
        let ids: Vec<NodeId> = complain.map(|(id, _)| *id).collect();
        for id in ids {
            self.recheck_for(now, id);
        }
    }

    /// Has read again what one neighbour complains of, as much as may be read for it now.
    fn recheck_for(&mut self, now: Timestamp, id: NodeId) {
        if !self.rechecks.is_open(now, &id) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some((layout, mut complaint)) = peer.complaints.pop_first() else {
            return;
        };
        let Some(transfer) = self.transfers.get(&layout) else {
            return;
        };
        let (mut groups, mut bytes, mut looked) = (RangeSet::new(), 0, RangeSet::new());
        for block in complaint.iter() {
            let entry = transfer.table.get(block);
            if bytes > 0 && bytes + entry.bytes > RECHECK_BYTES_MAX {
                break;
            }
            looked.insert(block..block + 1);
            if transfer.have.get(block) {
                groups.insert(entry.range());
                bytes += entry.bytes;
            }
        }
        complaint.subtract(&looked);
        if !complaint.is_empty() {
            peer.complaints.insert(layout, complaint);
        }
        if !groups.is_empty() {
            self.rechecks.note(now, id, bytes);
            self.out.push_back(Output::Recheck { layout, groups });
        }
    }
}
