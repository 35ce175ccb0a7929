//! What the neighbours are told.
//!
//! Everything to be said is gathered per neighbour and layout and leaves every 50 ms at most, to origins, the own site and six
//! others at a time, so that a burst of verified groups costs few messages and one timer. What is lost or closed, and what an
//! origin shows, waits for nobody's turn. First words on a layout, and answers to who asks for them, leave at once, a few between
//! two flushes: a transfer begins with them. A peer hears of a layout only when it is covered for the product.

use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;
use crate::wire::message::SwarmMessage;

use super::Swarm;
use super::config::{ANNOUNCE_TIME, Role};
use super::io::{Distance, Output, PeerInfo};
use super::peer::{Line, Peer};
use super::timer::Timers;
use super::transfer::Transfer;

/// Messages that one flush sends to one peer at the most; the rest waits for the next.
const FLUSH_MAX: usize = 64;
/// Neighbours that one flush goes to, those told longest ago.
const FLUSH_PEERS: usize = 6;
/// The same that leave between two flushes, and do not wait for the next.
const URGENT_MAX: usize = 8;

impl Swarm {
    /// Something is to be said to `id`: not sooner than 50 ms after the last time.
    pub(super) fn post(&mut self, now: Timestamp, id: NodeId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let at = self.due(peer, now);
        Timers::arm(&mut self.timers.announce, at);
    }

    /// Something is to be said to `id` on `layout`.
    pub(super) fn mail(&mut self, now: Timestamp, id: NodeId, layout: LayoutId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.dirty.insert(layout);
            self.post(now, id);
        }
    }

    /// The first words on `layout`, or the answer to who asks for them: they leave at once, a few of them.
    pub(super) fn mail_at_once(&mut self, now: Timestamp, id: NodeId, layout: LayoutId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.urgent.insert(layout);
            self.mail(now, id, layout);
        }
    }

    pub(super) fn tell_have(&mut self, now: Timestamp, layout: LayoutId, blocks: &RangeSet) {
        if self.role == Role::Origin {
            self.seed_everybody(now, layout);
        }
        let role = self.role;
        self.tell(now, layout, |line| {
            if !line.fed || !is_told_all(role, &line.info) {
                return false;
            }
            let news = blocks.iter().filter(|block| !has_itself(line, *block));
            let news: RangeSet = news.map(|block| block..block + 1).collect();
            line.mail.have.union_with(&news);
            !news.is_empty()
        });
    }

    pub(super) fn tell_durable(&mut self, now: Timestamp, layout: LayoutId, blocks: &RangeSet) {
        if blocks.is_empty() {
            return;
        }
        self.tell(now, layout, |line| {
            if line.info.distance == Distance::Origin {
                line.mail.durable.union_with(blocks);
            }
            line.info.distance == Distance::Origin
        });
    }

    pub(super) fn tell_lost(&mut self, now: Timestamp, layout: LayoutId, blocks: &RangeSet) {
        if blocks.is_empty() {
            return;
        }
        self.tell(now, layout, |line| {
            line.mail.have.subtract(blocks);
            line.mail.durable.subtract(blocks);
            line.mail.lost.union_with(blocks);
            true
        });
    }

    /// `say` writes down what a line is to be told, and whether there is something.
    fn tell(&mut self, now: Timestamp, layout: LayoutId, mut say: impl FnMut(&mut Line) -> bool) {
        let mut told = false;
        for peer in self.peers.values_mut() {
            let Some(line) = peer.lines.get_mut(&layout) else {
                continue;
            };
            if !say(line) {
                continue;
            }
            peer.dirty.insert(layout);
            told = true;
        }
        if told {
            let at = self.flushed.map_or(now, |last| now.max(last.after(ANNOUNCE_TIME)));
            Timers::arm(&mut self.timers.announce, at);
        }
    }

    /// Tells those who have said nothing of a layout that is missing here once more, more and more seldom: what they were
    /// told may have come before they had opened it, or before they knew that this node is covered.
    pub(super) fn tick_lines(&mut self, now: Timestamp) {
        let open = self.transfers.iter().filter(|(_, transfer)| !transfer.is_full());
        let open: Vec<LayoutId> = open.map(|(layout, _)| *layout).collect();
        let mut again = Vec::new();
        for (id, peer) in &mut self.peers {
            for layout in &open {
                let Some(line) = peer.lines.get_mut(layout) else {
                    continue;
                };
                let (times, last) = line.told;
                let is_due = now.since(last) >= Duration::from_secs(1 << times.min(6));
                if line.introduced && line.view.is_none() && is_due {
                    line.mail.status = true;
                    again.push((*id, *layout));
                }
            }
        }
        for (id, layout) in again {
            self.mail(now, id, layout);
        }
    }

    /// Sends what is due: a flush, or, between two, what does not wait for the next.
    pub(super) fn announce(&mut self, now: Timestamp) {
        let next_flush = self
            .flushed
            .map(|last| last.after(ANNOUNCE_TIME))
            .filter(|at| *at > now);
        let is_early = next_flush.is_some();
        let (mut said, mut left, mut hurries) = (false, false, false);
        let turn = self.turn_to_hear(is_early);
        for (id, peer) in &mut self.peers {
            if !is_early {
                peer.hurried = 0;
            }
            let waits = if is_early {
                !hurries_now(peer)
            } else {
                (peer.dirty.is_empty() && peer.closed.is_empty()) || (peer.told > turn && !hears_at_once(peer))
            };
            if waits {
                left |= !peer.dirty.is_empty() || !peer.closed.is_empty();
                continue;
            }
            // Numbers that are closed are told first: they may be given anew.
            let closed = std::mem::take(&mut peer.closed).into_iter();
            let mut messages: Vec<_> = closed.map(|number| SwarmMessage::Close { number }).collect();
            let most = if is_early {
                (messages.len() + URGENT_MAX).saturating_sub(peer.hurried)
            } else {
                FLUSH_MAX
            };
            while messages.len() < most
                && let Some(layout) = next_to_tell(peer, is_early)
            {
                let (Some(line), Some(transfer)) = (peer.lines.get_mut(&layout), self.transfers.get(&layout)) else {
                    continue;
                };
                compose(self.role, now, (layout, transfer), line, &mut messages);
            }
            if is_early {
                peer.hurried += messages.len();
            } else {
                self.tellings += 1;
                peer.told = self.tellings;
            }
            left |= !peer.dirty.is_empty();
            hurries |= hurries_now(peer);
            said |= !messages.is_empty();
            let send = |message| Output::Send { peer: *id, message };
            self.out.extend(messages.into_iter().map(send));
        }
        if said && !is_early {
            self.flushed = Some(now);
        }
        let next_flush = next_flush.unwrap_or(now.after(ANNOUNCE_TIME));
        if left {
            Timers::arm(&mut self.timers.announce, if hurries { now } else { next_flush });
        }
    }

    /// Of those who wait, neighbours that were told later than this have to wait for a later flush: a few hear of a block soon, and pass it on,
    /// and the others some moments later, of several at once. Were all told each time, that would be most of the messages of
    /// a swarm, and all would ask whoever had a block first.
    fn turn_to_hear(&self, is_early: bool) -> u64 {
        let waiting = self
            .peers
            .values()
            .filter(|peer| !peer.dirty.is_empty() && !hears_at_once(peer));
        let mut told: Vec<u64> = waiting.map(|peer| peer.told).collect();
        // What an origin says is what may be asked of it: its neighbours would run dry.
        if is_early || self.role == Role::Origin || told.len() <= FLUSH_PEERS {
            return u64::MAX;
        }
        told.sort_unstable();
        told[FLUSH_PEERS - 1]
    }

    /// When the next of what there is to say to `peer` may leave.
    fn due(&self, peer: &Peer, now: Timestamp) -> Timestamp {
        let last = self.flushed.filter(|_| !hurries_now(peer));
        last.map_or(now, |last| now.max(last.after(ANNOUNCE_TIME)))
    }
}

/// An origin sends more when it hears what came, and in a site nobody asks farther away for what a neighbour has. First words do
/// not wait either, nor does what is not here any more: who asks for it meanwhile would take this node for a liar.
fn hears_at_once(peer: &Peer) -> bool {
    let is_lost = |layout| peer.lines.get(layout).is_some_and(|line| !line.mail.lost.is_empty());
    matches!(peer.info.distance, Distance::Origin | Distance::Site)
        || !peer.urgent.is_empty()
        || !peer.closed.is_empty()
        || peer.dirty.iter().any(is_lost)
}

/// Whether something for a peer does not wait for the next flush.
fn hurries_now(peer: &Peer) -> bool {
    !peer.urgent.is_empty() && peer.hurried < URGENT_MAX
}

/// The layout that a peer is told of next: between two flushes one of those that do not wait.
fn next_to_tell(peer: &mut Peer, is_early: bool) -> Option<LayoutId> {
    let from = if is_early { &peer.urgent } else { &peer.dirty };
    let layout = *from.first()?;
    peer.urgent.remove(&layout);
    peer.dirty.remove(&layout);
    Some(layout)
}

/// Whether a peer is told of all that is here: an origin shows it block by block, except to another origin, which shares the
/// first copies with it and has to know what it can leave to the other.
fn is_told_all(role: Role, info: &PeerInfo) -> bool {
    role != Role::Origin || info.distance == Distance::Origin
}

/// Who has a block itself has no use for the word that it is here too. Only an origin counts who has what.
fn has_itself(line: &Line, block: u32) -> bool {
    let view = line.view.as_ref().filter(|_| line.info.distance != Distance::Origin);
    view.is_some_and(|view| view.have.get(block))
}

/// A neighbour was not told of what it had itself: what of that it has no more it is told of now. Whether there is any.
pub(super) fn remind(role: Role, transfer: &Transfer, line: &mut Line) -> bool {
    let Some(view) = line.view.as_ref().filter(|_| line.fed && is_told_all(role, &line.info)) else {
        return false;
    };
    // What was shown and is about to be taken back is not known there either.
    let is_known = |block: u32| line.shown.get(block) && !line.mail.lost.contains(block);
    let untold = |block: &u32| !view.have.get(*block) && !is_known(*block);
    let untold: RangeSet = transfer
        .have
        .iter()
        .filter(untold)
        .map(|block| block..block + 1)
        .collect();
    line.mail.have.union_with(&untold);
    !untold.is_empty()
}

/// Writes what a line has to say.
fn compose(role: Role, now: Timestamp, about: (LayoutId, &Transfer), line: &mut Line, to: &mut Vec<SwarmMessage>) {
    let (layout, transfer) = about;
    let number = transfer.number;
    let mail = std::mem::take(&mut line.mail);
    if !mail.rejected.is_empty() {
        let blocks = mail.rejected;
        to.push(SwarmMessage::Rejected { number, blocks });
    }
    if mail.status {
        line.introduced = true;
        line.told = (line.told.0 + 1, now);
        if line.fed && is_told_all(role, &line.info) {
            line.shown = transfer.have.clone();
        }
        let both = |other: &Bits| {
            let mut bits = Bits::none(other.len());
            for block in line.shown.iter().filter(|block| other.get(*block)) {
                bits.set(block, true);
            }
            bits
        };
        to.push(SwarmMessage::Status {
            number,
            layout,
            ask: line.view.is_none() || mail.ask,
            have: both(&transfer.have),
            durable: both(&transfer.durable),
            want: transfer.wanted.clone(),
        });
        return;
    }
    if !line.introduced {
        // What it has not been told of in numbers it cannot be told news of; it gets all of it when it asks.
        return;
    }
    if !mail.lost.is_empty() {
        let blocks = mail.lost;
        for block in blocks.iter() {
            line.shown.set(block, false);
        }
        to.push(SwarmMessage::Lost { number, blocks });
    }
    let news = |blocks: &RangeSet, of: &Bits| {
        let blocks = blocks.iter().filter(|block| of.get(*block));
        blocks.map(|block| block..block + 1).collect::<RangeSet>()
    };
    let have = mail
        .have
        .iter()
        .filter(|block| transfer.have.get(*block) && !has_itself(line, *block));
    let have: RangeSet = have.map(|block| block..block + 1).collect();
    if line.fed && !have.is_empty() {
        for block in have.iter() {
            line.shown.set(block, true);
        }
        to.push(SwarmMessage::Have { number, blocks: have });
    }
    let durable = news(&mail.durable, &transfer.durable);
    if line.fed && !durable.is_empty() {
        to.push(SwarmMessage::Durable {
            number,
            blocks: durable,
        });
    }
    if mail.want {
        to.push(SwarmMessage::Want {
            number,
            want: transfer.wanted.clone(),
        });
    }
}
