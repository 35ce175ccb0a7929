//! Whose turn it is to be served: of those who wait for the most urgent layout one by lot, at an origin the neediest, and who
//! takes again what it got before only when nobody else has asked for anything.

use crate::id::{NodeId, ServeId};
use crate::time::Timestamp;

use super::Swarm;
use super::config::{Role, SPAN_MIN, UPLOAD_SLOTS, UPLOAD_SLOTS_MAX};
use super::peer::{Peer, Slot, is_local};
use super::rate::bytes_in;
use super::rules::Rule;
use super::transfer::Transfer;

/// Needs (in millionths) that differ by less are alike: then who was not served for longest goes first.
const NEED_STEP: u32 = 20_000;

impl Swarm {
    pub(super) fn free_slots(&mut self) {
        for peer in self.peers.values_mut() {
            let sink = &mut peer.sink;
            if sink.slot.is_some_and(|slot| slot.closing && sink.issued == 0) || sink.serves.is_empty() {
                sink.slot = None;
            }
        }
    }

    pub(super) fn fill_slots(&mut self, now: Timestamp) {
        for local in [true, false] {
            let limit = match self.rules.has(Rule::FourSlots) {
                true if local => UPLOAD_SLOTS,
                true => self.admission.slots,
                false => 1,
            };
            let (mut taken, mut all) = (self.slots_taken(now, local), self.slots_held(local));
            while taken < limit
                && all < UPLOAD_SLOTS_MAX
                && let Some(id) = self.next_waiting(local)
                && let Some(peer) = self.peers.get_mut(&id)
            {
                let closing = false;
                peer.sink.slot = Some(Slot {
                    since: now,
                    closing,
                    sent: 0,
                });
                peer.sink.last_slot = Some(now);
                taken += 1;
                all += 1;
            }
        }
    }

    fn holders(&self, local: bool) -> impl Iterator<Item = &Peer> {
        let taken = self.peers.values().filter(|peer| peer.sink.slot.is_some());
        taken.filter(move |peer| is_local(&peer.info) == local)
    }

    fn slots_held(&self, local: bool) -> usize {
        self.holders(local).count()
    }

    /// How many slots are taken of those that count. Who has got less than half of an even share leaves room for one more.
    pub(super) fn slots_taken(&self, now: Timestamp, local: bool) -> usize {
        let holders = self.slots_held(local).max(UPLOAD_SLOTS) as u64;
        let is_light = |peer: &&Peer| {
            let slot = peer.sink.slot.expect("a holder's");
            let share = bytes_in(self.admission.peak / holders, now.since(slot.since));
            share >= SPAN_MIN && 2 * slot.sent < share
        };
        self.holders(local).filter(|peer| !is_light(peer)).count()
    }

    /// Peers without a slot that wait for something. Who takes again what it got waits for all others first.
    pub(super) fn waiting(&self, local: bool) -> impl Iterator<Item = (&NodeId, &Peer)> {
        let defers = self.has_first_time(local);
        self.peers.iter().filter(move |(_, peer)| {
            let sink = &peer.sink;
            let is_free = sink.slot.is_none() && is_local(&peer.info) == local && sink.issued == 0;
            let next = is_free.then(|| self.next_serve(peer)).flatten();
            next.is_some_and(|serve| !defers || !self.is_again(peer, serve))
        })
    }

    /// Whether somebody is owed what it has not got before.
    pub(super) fn has_first_time(&self, local: bool) -> bool {
        let mut peers = self.peers.values().filter(|peer| is_local(&peer.info) == local);
        peers.any(|peer| peer.sink.serves.iter().any(|serve| !self.is_again(peer, *serve)))
    }

    pub(super) fn is_again(&self, peer: &Peer, serve: ServeId) -> bool {
        let line = self.serves.get(&serve).and_then(|serve| peer.lines.get(&serve.layout));
        line.is_some_and(|line| line.given.is_again())
    }

    /// The waiting peer that is served next, of those who wait for what is most urgent: by lot, and at an origin, which nobody
    /// else competes with and everybody tells what it has, the neediest. Among sites that cost time (docs/scheduler.md): they
    /// choose the same few, and it is their own word.
    fn next_waiting(&mut self, local: bool) -> Option<NodeId> {
        let by_need = self.role == Role::Origin && self.rules.has(Rule::Neediest);
        let urgency = |(id, peer): (&NodeId, &Peer)| {
            let serve = self.serves.get(&self.next_serve(peer)?)?;
            let Transfer { priority, table, .. } = self.transfers.get(&serve.layout)?;
            let need = if by_need {
                peer.lines.get(&serve.layout)?.need(table)
            } else {
                0
            };
            Some((*priority, need / NEED_STEP, std::cmp::Reverse(peer.sink.last_slot), *id))
        };
        let mut waiting: Vec<_> = self.waiting(local).filter_map(urgency).collect();
        let priority = waiting.iter().map(|urgency| urgency.0).max()?;
        waiting.retain(|urgency| urgency.0 == priority);
        let next = match self.role {
            Role::Origin => waiting.iter().max(),
            Role::Site | Role::Host => self.rng.pick(&waiting),
        };
        next.map(|urgency| urgency.3)
    }

    /// What a peer is served next: the oldest of its asks of the highest priority.
    pub(super) fn next_serve(&self, peer: &Peer) -> Option<ServeId> {
        let open = peer.sink.serves.iter().filter(|id| {
            let serve = self.serves.get(id);
            serve.is_some_and(|serve| !serve.left.is_empty())
        });
        let priority = |id: &&ServeId| {
            let transfer = self.serves.get(id).and_then(|serve| self.transfers.get(&serve.layout));
            u8::MAX - transfer.map_or(0, |transfer| transfer.priority)
        };
        open.min_by_key(priority).copied()
    }
}
