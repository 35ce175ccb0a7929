//! Every fact of the scheduler that a person, a metric or an auditor may want (AI-10).
//!
//! Events are outputs like any other: the shell feeds logs, metrics, receipts and the audit log from them. They never
//! steer anything.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{LayoutId, NodeId};
use crate::sorted::SortedMap;
use crate::tree::ranges::RangeSet;

use super::io::{DisconnectReason, Distance};

/// Payload bytes of one transfer by where they came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// By class of source.
    pub by_distance: BTreeMap<Distance, u64>,
    /// By node; for this node's own status, never for a receipt that crosses to another customer.
    pub by_peer: SortedMap<NodeId, u64>,
}

impl Sources {
    /// Bytes from all sources.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_distance.values().sum()
    }

    pub(super) fn add(&mut self, peer: NodeId, distance: Distance, bytes: u64) {
        *self.by_distance.entry(distance).or_default() += bytes;
        *self.by_peer.get_or_default(peer) += bytes;
    }
}

/// What became of an origin's help for nodes that could feed each other, but slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Help {
    /// Blocks are sent again, to see whether that makes the nodes faster.
    Tried,
    /// It does, and goes on to the end.
    Earns,
    /// It does not, and rests.
    EarnsNothing,
}

/// A fact, in the past tense.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A peer is avoided for a while: it lied, sent garbage, flooded or broke the protocol.
    PeerQuarantined {
        /// Whom.
        peer: NodeId,
        /// Why.
        reason: DisconnectReason,
        /// For how long.
        quarantine: Duration,
    },
    /// Something that a peer sent did not verify. One such is no proof of malice: its disk may be rotten.
    GroupsRejected {
        /// Who sent it.
        peer: NodeId,
        /// Of which layout.
        layout: LayoutId,
        /// What the failed request had still to bring.
        groups: RangeSet,
        /// The peer's blame after this; it is quarantined at `score::BLAME_MAX`.
        blame: u32,
    },
    /// A peer did not have what it had announced.
    HaveWasFalse {
        /// Who.
        peer: NodeId,
        /// Of which layout.
        layout: LayoutId,
        /// What it was asked for.
        groups: RangeSet,
    },
    /// A peer brings nothing of what it was asked for: it is asked for nothing more meanwhile, and others are.
    PeerStalled {
        /// Who.
        peer: NodeId,
        /// For how long nothing has come.
        silent: Duration,
    },
    /// The unreceived part of a slow or stalled span was asked of somebody else.
    SpanStolen {
        /// Of which layout.
        layout: LayoutId,
        /// Who was too slow.
        from: NodeId,
        /// Who is asked now.
        to: NodeId,
        /// What.
        groups: RangeSet,
    },
    /// How far a transfer is; at most once a second and transfer.
    TransferProgress {
        /// Which.
        layout: LayoutId,
        /// Bytes of wanted blocks that are verified.
        have: u64,
        /// Bytes of wanted blocks.
        wanted: u64,
        /// Payload bytes a second, lately.
        rate: u64,
    },
    /// Every wanted block is verified (but perhaps not durable yet).
    TransferComplete {
        /// Which.
        layout: LayoutId,
        /// What came from where since it was opened.
        sources: Sources,
        /// Time since it was opened or last wanted more.
        elapsed: Duration,
    },
    /// Every wanted block is durable.
    TransferDurable {
        /// Which.
        layout: LayoutId,
    },
    /// The origin sent a block again because its only holder in the domain fell silent.
    BlockSentAgain {
        /// Of which layout.
        layout: LayoutId,
        /// Which block.
        block: u32,
    },
    /// Nodes that feed each other have been sent everything once, and the origin began or ended to send them more.
    HelpChanged {
        /// Of which layout.
        layout: LayoutId,
        /// What became of it.
        help: Help,
        /// Bytes a second that the nodes got of each other, lately.
        alone: u64,
        /// Bytes a second that they were sent from here meanwhile.
        sent: u64,
    },
}
