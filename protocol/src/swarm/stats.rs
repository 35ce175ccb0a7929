//! A view for `status`: numbers only, nothing is decided by them.

use std::time::Duration;

use crate::id::{LayoutId, NodeId};

use super::Swarm;
use super::event::Sources;
use super::io::Distance;
use super::rate::time_for;

/// The whole scheduler at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// By layout.
    pub transfers: Vec<TransferStats>,
    /// By identity.
    pub peers: Vec<PeerStats>,
    /// Payload bytes a second sent while there was somebody to send to, once known.
    pub up_rate: u64,
    /// Payload bytes sent in all.
    pub sent: u64,
}

/// One layout.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferStats {
    /// Which.
    pub layout: LayoutId,
    /// Its priority.
    pub priority: u8,
    /// Bytes of wanted blocks.
    pub wanted: u64,
    /// Bytes of wanted blocks that are verified.
    pub have: u64,
    /// Of these, bytes of durable blocks.
    pub durable: u64,
    /// Payload bytes served to others.
    pub sent: u64,
    /// Bytes of all verified groups, nominally, wanted or not.
    pub held: u64,
    /// What came from where.
    pub sources: Sources,
    /// Payload bytes that had come before.
    pub wasted: u64,
    /// Payload bytes a second, lately.
    pub rate: u64,
    /// Time to completion at this rate; none when complete or at a standstill.
    pub eta: Option<Duration>,
    /// Neighbours that take part.
    pub peers: usize,
    /// Neighbours that could be asked for something.
    pub source_peers: usize,
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStats {
    /// Who.
    pub peer: NodeId,
    /// How far away.
    pub distance: Distance,
    /// Payload bytes a second from it and to it while it was busy: idle time does not count.
    pub down_rate: u64,
    /// See `down_rate`.
    pub up_rate: u64,
    /// Payload bytes from it and to it since it came up.
    pub received: u64,
    /// See `received`.
    pub sent: u64,
    /// Bytes asked of it and not here yet.
    pub outstanding: u64,
    /// What it asked for and has not got.
    pub waiting: usize,
    /// Whether it is stalled or left alone for a while.
    pub is_paused: bool,
    /// Blame points; see [`super::score::BLAME_MAX`].
    pub blame: u32,
}

impl Swarm {
    /// The numbers of this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            transfers: self
                .transfers
                .keys()
                .map(|layout| self.transfer_stats(layout))
                .collect(),
            peers: self.peers.keys().map(|peer| self.peer_stats(peer)).collect(),
            up_rate: self.admission.meter.rate().unwrap_or(0),
            sent: self.admission.meter.total(),
        }
    }

    fn transfer_stats(&self, layout: &LayoutId) -> TransferStats {
        let transfer = &self.transfers[layout];
        let wanted = transfer.wanted_bytes();
        let rate = transfer.meter.rate().unwrap_or(0);
        let views = self.peers.values().filter_map(|peer| Some((peer, peer.view(layout)?)));
        TransferStats {
            layout: *layout,
            priority: transfer.priority,
            wanted,
            have: wanted - transfer.left,
            durable: transfer.durable_bytes(),
            sent: transfer.sent,
            held: super::transfer::nominal(&transfer.held),
            sources: transfer.sources.clone(),
            wasted: transfer.wasted,
            rate: if transfer.is_full() { 0 } else { rate },
            eta: (transfer.left > 0 && rate > 0).then(|| time_for(transfer.left, rate)),
            peers: views.clone().count(),
            source_peers: views
                .filter(|(peer, view)| peer.info.serves && view.have_count > 0)
                .count(),
        }
    }

    fn peer_stats(&self, id: &NodeId) -> PeerStats {
        let peer = &self.peers[id];
        PeerStats {
            peer: *id,
            distance: peer.info.distance,
            down_rate: peer.source.meter.rate().unwrap_or(0),
            up_rate: peer.sink.meter.rate().unwrap_or(0),
            received: peer.source.meter.total(),
            sent: peer.sink.meter.total(),
            outstanding: peer.source.outstanding,
            waiting: peer.sink.serves.len(),
            is_paused: peer.source.stalled || peer.source.backoff_until.is_some(),
            blame: self.standings.blame_of(id),
        }
    }
}
