//! Neighbours come, are covered for products, go, or are shut out.

use crate::id::NodeId;
use crate::time::Timestamp;

use super::Swarm;
use super::config::{self, Role};
use super::event::Event;
use super::io::{DisconnectReason, Output, PeerInfo};
use super::peer::{Line, Peer};
use super::score;
use super::transfer::Transfer;

impl Swarm {
    pub(super) fn peer_up(&mut self, now: Timestamp, peer: NodeId, info: PeerInfo) {
        debug_assert!(!self.peers.contains_key(&peer), "a peer comes up once");
        let mut entry = Peer::new(info, now);
        if let Some(quarantine) = self.standings.quarantine_left(&peer, now) {
            entry.source.backoff_until = Some(now.after(quarantine));
            let reason = DisconnectReason::Misbehaved;
            self.out.push_back(Output::Disconnect {
                peer,
                reason,
                quarantine,
            });
        }
        // Behind those who wait already: who comes again and again is told no sooner for that.
        entry.told = self.tellings;
        self.peers.insert(peer, entry);
    }

    pub(super) fn peer_covers(&mut self, now: Timestamp, id: NodeId, product: u32, cover: (PeerInfo, bool)) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.covers.contains_key(&product) {
            return;
        }
        if peer.covers.is_empty() {
            // Nothing of it counts anywhere yet.
            peer.info = cover.0;
        }
        peer.covers.insert(product, cover);
        for (layout, transfer) in &self.transfers {
            if transfer.product == product {
                let speaks = speaks_first(self.role, transfer, now);
                peer.lines
                    .insert(*layout, Line::new(transfer.table.len(), cover, speaks));
                if speaks {
                    peer.dirty.insert(*layout);
                    peer.urgent.insert(*layout);
                }
            }
        }
        self.post(now, id);
    }

    pub(super) fn peer_down(&mut self, now: Timestamp, id: NodeId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        for request in &peer.source.requests {
            self.drop_request(*request, false);
        }
        for serve in &peer.sink.serves {
            if let Some(serve) = self.serves.remove(serve) {
                self.admission.issued -= serve.issued;
            }
        }
        for (layout, line) in &mut peer.lines {
            self.forget_line(now, *layout, line);
        }
        self.fill_everybody();
        self.to_pump = true;
    }

    /// What is no message closes the connection; who does it again and again is not let in again for a while.
    pub(super) fn peer_broke(&mut self, now: Timestamp, id: NodeId) {
        if self.standings.blame(id, score::BLAME_INVALID) {
            self.punish(now, id, DisconnectReason::Misbehaved);
        }
    }

    pub(super) fn peer_bothered(&mut self, now: Timestamp, id: NodeId) {
        if self.peers.get_mut(&id).is_some_and(|peer| peer.flood.add(now, 1)) {
            self.punish(now, id, DisconnectReason::Misbehaved);
        }
    }

    /// Takes a peer's connection down and remembers why.
    pub(super) fn punish(&mut self, now: Timestamp, peer: NodeId, reason: DisconnectReason) {
        if self.standings.quarantine_left(&peer, now).is_some() {
            return;
        }
        let quarantine = self.standings.quarantine(peer, now, reason);
        self.out.push_back(Output::Event(Event::PeerQuarantined {
            peer,
            reason,
            quarantine,
        }));
        self.out.push_back(Output::Disconnect {
            peer,
            reason,
            quarantine,
        });
        let requests = self.peers.get(&peer).map(|peer| peer.source.requests.clone());
        for request in requests.into_iter().flatten() {
            self.drop_request(request, true);
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.source.backoff_until = Some(now.after(quarantine));
        }
        self.fill_everybody();
    }
}

/// Whether a node speaks first of a layout to somebody who may hear of it now. An origin waits to be asked, unless the layout is
/// new here or it lacks some of it: it has every release there ever was, and those who want one say so.
fn speaks_first(role: Role, transfer: &Transfer, now: Timestamp) -> bool {
    role != Role::Origin || !transfer.is_full() || now.since(transfer.opened) < config::NEWS_TIME
}
