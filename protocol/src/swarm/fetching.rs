//! The receiver: asks each neighbour for as much as its rate justifies, and deals with what comes of it.
//!
//! Invariant: the groups that requests have left, unless these are shared, are exactly the transfer's `requested` set;
//! `Source::outstanding` is the sum over the peer's requests.

use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId, RequestId};
use crate::limits::{GROUP_BYTES, REQUEST_BYTES_MAX, REQUESTS_PER_PEER_MAX};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::config::{PIPELINE_TIME, SPAN_MIN, SPAN_SHARE, SPAN_TIME};
use super::event::Event;
use super::io::{Distance, FetchFault, Output};
use super::peer::Source;
use super::picker::{self, Choice};
use super::rate::bytes_in;
use super::rules::Rule;
use super::timer::Timers;
use super::transfer::{Transfer, nominal};

/// A running fetch.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) peer: NodeId,
    pub(super) layout: LayoutId,
    /// What has not come yet.
    pub(super) left: RangeSet,
    pub(super) asked: Timestamp,
    /// Whether bytes of it came.
    pub(super) begun: bool,
    /// Whether the peer had nothing else to do for us when it was asked.
    alone: bool,
    /// Whether what is left may be asked of another peer, too: this one is not relied on any more.
    pub(super) shared: bool,
}

impl Swarm {
    /// Asks every peer that was marked for as much as may be asked of it, cheapest sources first.
    pub(super) fn fill(&mut self, now: Timestamp) {
        if self.to_fill.is_empty() {
            return;
        }
        let mut marked = std::mem::take(&mut self.to_fill);
        if !self.transfers.values().all(Transfer::is_full) {
            marked.sort_unstable();
            marked.dedup();
            marked.retain(|id| self.peers.get(id).is_some_and(|peer| peer.info.serves));
            marked.sort_by_cached_key(|id| self.peers[id].info.distance);
            for id in &marked {
                while self.fill_once(now, *id) {}
            }
        }
        // Who was marked meanwhile is asked after the next input.
        marked.clear();
        marked.append(&mut self.to_fill);
        self.to_fill = marked;
    }

    /// Sends one request to `id` if that makes sense; says whether it did.
    fn fill_once(&mut self, now: Timestamp, id: NodeId) -> bool {
        if !self.down.is_open(now) {
            if let Some(at) = self.down.opens_at(now) {
                Timers::arm(&mut self.timers.down, at);
            }
            return false;
        }
        let Some(peer) = self.peers.get(&id) else { return false };
        if !peer.source.is_ready(now) || peer.source.requests.len() >= REQUESTS_PER_PEER_MAX {
            return false;
        }
        let mut order: Vec<(u8, LayoutId)> = Vec::new();
        for (layout, line) in &peer.lines {
            let open = self.transfers.get(layout).filter(|transfer| !transfer.is_full());
            if let Some(transfer) = open
                && line.view.is_some()
                && self.has_room(&peer.source, transfer)
            {
                order.push((u8::MAX - transfer.priority, *layout));
            }
        }
        if order.is_empty() {
            return self.steal_for(now, id);
        }
        let near = (peer.info.distance != Distance::Site).then(|| self.near(now));
        order.sort_unstable();
        for (_, layout) in order {
            let Some(groups) = self.choose(now, id, layout, near.as_ref()) else {
                continue;
            };
            self.ask(now, id, layout, groups);
            return true;
        }
        self.steal_for(now, id)
    }

    /// Whether the window at a peer has room: mostly, when a neighbour says that it has something, it has not.
    fn has_room(&self, source: &Source, transfer: &Transfer) -> bool {
        let ahead = self.outstanding(source, transfer.priority);
        let window = source.window.size().max(floor(transfer));
        ahead == 0 || window.saturating_sub(ahead) >= least(transfer)
    }

    /// What to ask of `id` on `layout` now, if anything.
    fn choose(&mut self, now: Timestamp, id: NodeId, layout: LayoutId, near: Option<&Near>) -> Option<RangeSet> {
        let several = self.has_several_sources(now, &layout);
        let shares = several && self.rules.has(Rule::SpanShare);
        let peer = self.peers.get(&id)?;
        let transfer = self.transfers.get(&layout)?;
        let view = peer.view(&layout)?;
        let ahead = self.outstanding(&peer.source, transfer.priority);
        let limit = self.down.rate().map(|rate| rate.0);
        let span = span(&peer.source, ahead, transfer, shares, limit)?;
        let choice = Choice {
            bytes: span,
            in_order: !several,
            leave: near
                .and_then(|near| near.iter().find(|(of, _)| *of == layout))
                .map(|(_, bits)| bits),
        };
        let groups = picker::pick(transfer, view, &choice, &mut self.rng);
        (!groups.is_empty()).then_some(groups)
    }

    /// Bytes under way from a peer of transfers that are at least as urgent: the others do not stand in the way.
    fn outstanding(&self, source: &Source, priority: u8) -> u64 {
        if self.transfers.len() == 1 {
            return source.outstanding;
        }
        let requests = source.requests.iter().filter_map(|id| self.requests.get(id));
        let urgent = requests.filter(|request| {
            let transfer = self.transfers.get(&request.layout);
            transfer.is_some_and(|transfer| transfer.priority >= priority)
        });
        urgent.map(|request| nominal(&request.left)).sum()
    }

    /// Whether more than one neighbour could be asked for something of this layout.
    fn has_several_sources(&self, now: Timestamp, layout: &LayoutId) -> bool {
        let useful = self.peers.values().filter(|peer| {
            peer.info.serves && peer.source.is_ready(now) && peer.view(layout).is_some_and(|view| view.have_count > 0)
        });
        useful.take(2).count() > 1
    }

    /// What the own site's other nodes have and can be asked for: nobody else is asked for that, unless they are very slow.
    fn near(&self, now: Timestamp) -> Near {
        let mut near: Near = Vec::new();
        for peer in self.peers.values() {
            let is_near = peer.info.distance == Distance::Site && !peer.source.is_slow();
            if !is_near || !peer.info.serves || !peer.source.is_ready(now) {
                continue;
            }
            for (layout, line) in &peer.lines {
                let Some(view) = &line.view else { continue };
                let at = near.iter().position(|(of, _)| of == layout).unwrap_or_else(|| {
                    near.push((*layout, Bits::none(view.have.len())));
                    near.len() - 1
                });
                for block in view.have.iter().filter(|block| !view.refused.get(*block)) {
                    near[at].1.set(block, true);
                }
            }
        }
        near
    }

    /// Sends a request for groups that are not asked of anybody else (unless shared).
    pub(super) fn ask(&mut self, now: Timestamp, id: NodeId, layout: LayoutId, groups: RangeSet) {
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get_mut(&layout)) else {
            return;
        };
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let source = &mut peer.source;
        let (alone, distance) = (source.requests.is_empty(), peer.info.distance);
        if alone {
            source.last_byte = now;
            source.meter.start(now);
        }
        source.requests.insert(request);
        source.outstanding += nominal(&groups);
        transfer.meter.start(now);
        transfer.ask(&groups);
        self.down.take(now, nominal(&groups));
        self.out.push_back(Output::Fetch {
            request,
            peer: id,
            layout,
            groups: groups.clone(),
            distance,
        });
        let running = Request {
            peer: id,
            layout,
            left: groups,
            asked: now,
            begun: false,
            alone,
            shared: false,
        };
        self.requests.insert(request, running);
    }

    /// A peer has begun to answer: its first group is on its way, which takes a while over a narrow link.
    pub(super) fn fetch_begun(&mut self, now: Timestamp, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let first = !std::mem::replace(&mut request.begun, true);
        let Some(peer) = self.peers.get_mut(&request.peer).filter(|_| first) else {
            return;
        };
        peer.heard = now;
        let source = &mut peer.source;
        if request.alone {
            source.began(now.since(request.asked));
        }
        source.last_byte = now;
    }

    /// Groups of a fetch are verified and written.
    pub(super) fn fetch_verified(&mut self, now: Timestamp, id: RequestId, groups: &RangeSet, bytes: u64) {
        self.fetch_begun(now, id);
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let (layout, from) = (request.layout, request.peer);
        let came = request.left.intersection(groups);
        request.left.subtract(&came);
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&from), self.transfers.get_mut(&layout)) else {
            return;
        };
        peer.heard = now;
        let source = &mut peer.source;
        source.outstanding -= nominal(&came);
        source.last_byte = now;
        source.in_vain = Duration::ZERO;
        let had_stalled = std::mem::replace(&mut source.stalled, false);
        source.failures = 0;
        source.broken = 0;
        source.give_ups = 0;
        source.meter.add(now, bytes);
        let (floor, cap) = (floor(transfer), cap(source));
        source.window.delivered(bytes, floor, cap);
        self.down.give_back(nominal(&came).saturating_sub(bytes));
        transfer.count(from, peer.info.distance, groups, bytes);
        transfer.meter.add(now, bytes);
        let whole = transfer.hold(groups);
        // Mostly a fetch brings what it alone was asked for. When some of it had come before and was lost again, somebody else
        // may be asked for that by now.
        let is_alone = transfer.shared == 0 && came.count() == groups.count();
        if !is_alone {
            self.settle_copies(layout, groups, Some(id));
        }
        if had_stalled {
            self.rely_again(from);
        }
        self.to_fill.push(from);
        self.whole_blocks(now, layout, &whole);
    }

    /// Groups of a fetch that is over are verified and written all the same.
    pub(super) fn fetched_late(
        &mut self,
        now: Timestamp,
        (peer, distance): (NodeId, Distance),
        layout: LayoutId,
        groups: &RangeSet,
        bytes: u64,
    ) {
        // What the request had taken was given back with it, and these bytes have come all the same.
        self.down.take(now, bytes);
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        transfer.count(peer, distance, groups, bytes);
        let whole = transfer.hold(groups);
        self.settle_copies(layout, groups, None);
        self.whole_blocks(now, layout, &whole);
    }

    pub(super) fn fetch_done(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        let (peer, short) = (request.peer, !request.left.is_empty());
        self.drop_request(id, false);
        if short {
            // "Done" without all groups is the shell's mistake or the peer's: ask again, somewhere.
            self.fill_everybody();
        } else {
            self.standings.praise(&peer);
        }
        self.to_fill.push(peer);
    }

    pub(super) fn fetch_failed(&mut self, now: Timestamp, id: RequestId, fault: FetchFault) {
        let Some(request) = self.requests.get(&id) else { return };
        let (peer, layout, left, asked) = (request.peer, request.layout, request.left.clone(), request.asked);
        self.drop_request(id, false);
        match fault {
            FetchFault::Invalid => self.blame_invalid(now, peer, layout, left, asked),
            FetchFault::Absent => self.blame_absent(now, peer, layout, left, asked),
            FetchFault::Busy(pause) => self.pause(now, peer, pause.max(Duration::from_millis(50))),
            FetchFault::Unreadable => {
                let groups = left;
                self.out
                    .push_back(Output::Event(Event::HaveWasFalse { peer, layout, groups }));
                self.back_off(now, peer);
            }
            FetchFault::Broken => self.broke_off(now, peer),
            FetchFault::Local => self.back_off(now, peer),
        }
        self.fill_everybody();
    }

    /// Removes a request, with a cancel when the shell still works on it.
    pub(super) fn drop_request(&mut self, id: RequestId, cancel: bool) {
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        if cancel {
            self.out.push_back(Output::CancelFetch { request: id });
        }
        if let Some(peer) = self.peers.get_mut(&request.peer) {
            let source = &mut peer.source;
            source.requests.remove(&id);
            source.outstanding -= nominal(&request.left);
            if source.requests.is_empty() {
                source.meter.stop(source.last_byte);
            }
        }
        self.down.give_back(nominal(&request.left));
        let Some(transfer) = self.transfers.get_mut(&request.layout) else {
            return;
        };
        if request.shared {
            transfer.shared -= 1;
        } else {
            transfer.unask(&request.left);
        }
    }

    /// Cancels requests for what is not wanted any more.
    pub(super) fn drop_unwanted(&mut self, layout: LayoutId) {
        let Some(transfer) = self.transfers.get(&layout) else {
            return;
        };
        let unwanted = self.requests.iter().filter(|(_, request)| {
            let mut blocks = transfer.blocks_of(&request.left).into_iter();
            request.layout == layout && !blocks.any(|block| transfer.wanted.get(block))
        });
        let ids: Vec<RequestId> = unwanted.map(|(id, _)| *id).collect();
        for id in ids {
            self.drop_request(id, true);
        }
    }
}

/// For some layouts the blocks that the own site's nodes have.
type Near = Vec<(LayoutId, Bits)>;

/// Bytes that may always be under way to a peer: two blocks, within reason.
pub(super) fn floor(transfer: &Transfer) -> u64 {
    (2 * transfer.block_bytes()).clamp(2 * GROUP_BYTES, SPAN_MIN)
}

/// Less is not asked for while something is under way.
fn least(transfer: &Transfer) -> u64 {
    transfer.block_bytes().min(SPAN_MIN)
}

/// Bytes that the measured rate justifies.
fn cap(source: &Source) -> u64 {
    let time = PIPELINE_TIME + source.trips();
    let known = source.meter.rate().map(|rate| bytes_in(rate, time));
    known.unwrap_or(4 * REQUEST_BYTES_MAX)
}

/// How large the next request to this peer may be; nothing when enough is under way.
fn span(source: &Source, ahead: u64, transfer: &Transfer, shares: bool, limit: Option<u64>) -> Option<u64> {
    let share = if shares { transfer.left / SPAN_SHARE } else { u64::MAX };
    // Of several, one that has brought nothing yet is not trusted with much.
    let size = if shares && source.meter.rate().is_none() {
        0
    } else {
        source.window.size()
    };
    let window = size.max(floor(transfer));
    let window = window.min(share.max(floor(transfer)));
    let room = window.saturating_sub(ahead);
    let least = least(transfer);
    if room < least && ahead > 0 {
        return None;
    }
    let second = source.meter.rate().map_or(SPAN_MIN, |rate| bytes_in(rate, SPAN_TIME));
    let mut span = (window / 4).min(second.max(SPAN_MIN)).min(share);
    if let Some(limit) = limit {
        span = span.min(bytes_in(limit, PIPELINE_TIME));
    }
    Some(span.min(room.max(least)).clamp(GROUP_BYTES, REQUEST_BYTES_MAX))
}
