//! Spans that are slow or stalled: what has not come is asked of somebody else.
//!
//! A request that nobody has begun to answer is moved. One that has begun, or whose peer is stalled, is shared: nobody relies
//! on it any more, what is left of it may be asked of another peer, whoever brings a group first wins, and a request that
//! has nothing left to bring is cancelled. Slowness makes one copy at the most; with every further peer that stalls on it
//! comes another.

use std::time::Duration;

use crate::id::{LayoutId, NodeId, RequestId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::event::Event;
use super::fetching::Request;
use super::io::Output;
use super::peer::{Peer, View};
use super::rate::time_for;
use super::rules::Rule;
use super::transfer::{Transfer, nominal};

/// A request rests this long where it is before an idle peer may take it over, and so much sooner it has to come there.
const MOVE_AFTER: Duration = Duration::from_millis(100);

impl Swarm {
    /// A peer is stalled: what it was asked for may be asked of others.
    pub(super) fn share_requests(&mut self, id: NodeId) {
        let Some(peer) = self.peers.get(&id) else { return };
        for request in peer.source.requests.clone() {
            self.share(request);
        }
    }

    fn share(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let Some(transfer) = self.transfers.get_mut(&request.layout) else {
            return;
        };
        if !std::mem::replace(&mut request.shared, true) {
            transfer.shared += 1;
            transfer.unask(&request.left);
        }
    }

    /// An idle peer takes over what waits elsewhere; says whether something was asked of it.
    pub(super) fn steal_for(&mut self, now: Timestamp, id: NodeId) -> bool {
        if !self.rules.has(Rule::TakeOver) {
            return false;
        }
        let Some(thief) = self.peers.get(&id) else { return false };
        if !thief.source.requests.is_empty() {
            return false;
        }
        let worst = self.worst(now, thief, id);
        let (Some((victim, begun)), Some(thief)) = (worst, self.peers.get(&id)) else {
            return false;
        };
        let Some(request) = self.requests.get(&victim) else {
            return false;
        };
        let (layout, from, waited) = (request.layout, request.peer, now.since(request.asked));
        let Some((transfer, view)) = self.transfers.get(&layout).zip(thief.view(&layout)) else {
            return false;
        };
        let groups = within(transfer, view, &request.left);
        if begun {
            self.share(victim);
        } else {
            self.drop_request(victim, true);
            self.to_fill.push(from);
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.source.in_vain = peer.source.in_vain.max(waited);
            }
        }
        self.ask(now, id, layout, groups.clone());
        self.out.push_back(Output::Event(Event::SpanStolen {
            layout,
            from,
            to: id,
            groups,
        }));
        true
    }

    /// The request that would come last where it is and much sooner from `thief`; and whether it has begun.
    fn worst(&self, now: Timestamp, thief: &Peer, id: NodeId) -> Option<(RequestId, bool)> {
        let mut worst: Option<(Duration, RequestId, bool)> = None;
        let mut about: Option<(LayoutId, &Transfer, &View, bool)> = None;
        // They stand in the order in which they were asked.
        let old = self
            .requests
            .iter()
            .take_while(|(_, request)| now.since(request.asked) >= MOVE_AFTER);
        for (key, request) in old {
            if request.shared || request.peer == id {
                continue;
            }
            if about.is_none_or(|(layout, ..)| layout != request.layout) {
                let transfer = self.transfers.get(&request.layout);
                about = transfer
                    .zip(thief.view(&request.layout))
                    .map(|(transfer, view)| (request.layout, transfer, view, is_end_game(transfer)));
            }
            let (Some((_, transfer, view, ends)), Some(holder)) = (about, self.peers.get(&request.peer)) else {
                continue;
            };
            // Where nothing is known, what was waited already is the best guess.
            let there = if request.begun {
                expected(holder, nominal(&request.left)).max(now.since(holder.source.last_byte))
            } else {
                expected(holder, holder.source.outstanding).max(now.since(request.asked))
            };
            if worst.is_some_and(|(most, _, _)| there <= most) {
                continue;
            }
            let here = expected(thief, nominal(&request.left));
            let is_reliable = thief.source.in_vain.is_zero();
            let gain = match (request.begun, ends && is_reliable) {
                (true, _) => 4,
                (false, false) => 3,
                // Where nothing else is left to ask for, an idle peer is lost time.
                (false, true) => 1,
            };
            if there > here * gain + MOVE_AFTER
                && is_had(transfer, view, request)
                && !(request.begun && transfer.shared > 0 && self.is_copy(request))
            {
                worst = Some((there, *key, request.begun));
            }
        }
        worst.map(|(_, key, begun)| (key, begun))
    }

    /// Whether somebody else was asked for some of it before, and may still bring it.
    fn is_copy(&self, request: &Request) -> bool {
        let shared = |other: &&Request| other.shared && other.layout == request.layout;
        let mut shared = self.requests.values().filter(shared);
        shared.any(|other| !other.left.intersection(&request.left).is_empty())
    }

    /// Groups have come: nobody else needs to bring them. `by` is the request that brought them.
    pub(super) fn settle_copies(&mut self, layout: LayoutId, groups: &RangeSet, by: Option<RequestId>) {
        let mut over = Vec::new();
        for (id, request) in &mut self.requests {
            if Some(*id) == by || request.layout != layout {
                continue;
            }
            let came = request.left.intersection(groups);
            if came.is_empty() {
                continue;
            }
            request.left.subtract(&came);
            if let Some(peer) = self.peers.get_mut(&request.peer) {
                peer.source.outstanding -= nominal(&came);
            }
            if request.left.is_empty() {
                over.push((*id, request.peer));
            }
        }
        for (id, peer) in over {
            self.drop_request(id, true);
            self.to_fill.push(peer);
        }
    }
}

/// When a peer would have delivered `bytes`, as far as can be told: not sooner than it was last waited for in vain, lest
/// two that bring nothing hand a request to and fro while those who would bring it look slower.
fn expected(peer: &Peer, bytes: u64) -> Duration {
    let source = &peer.source;
    let rate = source.meter.rate().unwrap_or(1 << 20);
    (source.begins_or_guess() + time_for(bytes, rate.max(1))).max(source.in_vain)
}

/// Whether everything that is missing has been asked for.
fn is_end_game(transfer: &Transfer) -> bool {
    let words = transfer.wanted.words().iter().enumerate();
    let mut open = words.map(|(at, wanted)| wanted & !(transfer.have.words()[at] | transfer.busy.words()[at]));
    open.all(|word| word == 0)
}

/// Whether the peer with this view has all that is left of a request.
fn is_had(transfer: &Transfer, view: &View, request: &Request) -> bool {
    let mut blocks = transfer.blocks_of(&request.left).into_iter();
    blocks.all(|block| view.have.get(block) && !view.refused.get(block))
}

fn within(transfer: &Transfer, view: &View, groups: &RangeSet) -> RangeSet {
    let mut inside = RangeSet::new();
    for block in transfer.blocks_of(groups) {
        if view.have.get(block) {
            inside.union_with(&super::transfer::cut(groups, transfer.table.get(block).range()));
        }
    }
    inside
}
