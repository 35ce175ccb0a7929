//! What the neighbours are told, and what they tell.
//!
//! Everything to be said is gathered per neighbour and layout and leaves at most every 50 ms, so that a burst of
//! verified groups costs one message. Only first words on a layout, and answers to who asks for them, leave at once, a few
//! between two flushes: a transfer begins with them. A peer hears of a layout only when it is covered for the product, and what it says
//! of others is ignored.

use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;
use crate::wire::message::SwarmMessage;

use super::Swarm;
use super::config::{ANNOUNCE_TIME, Role};
use super::io::{DisconnectReason, Distance, Output, PeerInfo};
use super::peer::{Line, Mail, Peer, View};
use super::timer::Timers;
use super::transfer::Transfer;

/// Messages that one flush sends to one peer at the most; the rest waits for the next.
const FLUSH_MAX: usize = 64;
/// The same that leave between two flushes, and do not wait for the next.
const URGENT_MAX: usize = 8;

impl Swarm {
    /// Something is to be said to `id`: not sooner than 50 ms after the last time.
    pub(super) fn post(&mut self, now: Timestamp, id: NodeId) {
        let Some(peer) = self.peers.get(&id) else { return };
        Timers::arm(&mut self.timers.announce, due(peer, now));
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
        self.tell(now, layout, |info, mail| {
            if is_told_all(role, info) {
                mail.have.union_with(blocks);
            }
        });
    }

    pub(super) fn tell_durable(&mut self, now: Timestamp, layout: LayoutId, blocks: &RangeSet) {
        if blocks.is_empty() {
            return;
        }
        self.tell(now, layout, |info, mail| {
            if info.distance == Distance::Origin {
                mail.durable.union_with(blocks);
            }
        });
    }

    pub(super) fn tell_lost(&mut self, now: Timestamp, layout: LayoutId, blocks: &RangeSet) {
        if blocks.is_empty() {
            return;
        }
        self.tell(now, layout, |_, mail| {
            mail.have.subtract(blocks);
            mail.durable.subtract(blocks);
            mail.lost.union_with(blocks);
        });
    }

    fn tell(&mut self, now: Timestamp, layout: LayoutId, mut say: impl FnMut(&PeerInfo, &mut Mail)) {
        let mut first = None;
        for peer in self.peers.values_mut() {
            let Some(line) = peer.lines.get_mut(&layout) else {
                continue;
            };
            say(&peer.info, &mut line.mail);
            peer.dirty.insert(layout);
            let at = due(peer, now);
            first = Some(first.map_or(at, |first: Timestamp| first.min(at)));
        }
        if let Some(at) = first {
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

    /// Sends what is due.
    pub(super) fn announce(&mut self, now: Timestamp) {
        for (id, peer) in &mut self.peers {
            if peer.dirty.is_empty() && peer.closed.is_empty() {
                continue;
            }
            let at = due(peer, now);
            if at > now {
                Timers::arm(&mut self.timers.announce, at);
                continue;
            }
            // Numbers that are closed are told first: they may be given anew.
            let closed = std::mem::take(&mut peer.closed).into_iter();
            let mut messages: Vec<_> = closed.map(|number| SwarmMessage::Close { number }).collect();
            let is_early = is_early(peer, now);
            let most = if is_early {
                messages.len() + URGENT_MAX - peer.hurried
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
                peer.hurried = 0;
                peer.flushed = Some(now).filter(|_| !messages.is_empty()).or(peer.flushed);
            }
            if !peer.dirty.is_empty() {
                let at = due(peer, now);
                Timers::arm(&mut self.timers.announce, at);
            }
            let send = |message| Output::Send { peer: *id, message };
            self.out.extend(messages.into_iter().map(send));
        }
    }

    /// A neighbour said something.
    pub(super) fn message(&mut self, now: Timestamp, id: NodeId, message: SwarmMessage) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.heard = now;
        let cost = cost(peer, &message);
        if peer.flood.add(now, cost) {
            self.punish(now, id, DisconnectReason::Misbehaved);
            return;
        }
        let believed = match message {
            SwarmMessage::Status {
                number,
                layout,
                ask,
                have,
                durable,
                want,
            } => self.said_status(now, id, (number, layout, ask), View::new(have, durable, want)),
            SwarmMessage::Have { number, blocks } => self.said_blocks(now, id, number, &blocks, Said::Have),
            SwarmMessage::Durable { number, blocks } => self.said_blocks(now, id, number, &blocks, Said::Durable),
            SwarmMessage::Lost { number, blocks } => self.said_blocks(now, id, number, &blocks, Said::Lost),
            SwarmMessage::Want { number, want } => self.said_want(now, id, number, want),
            SwarmMessage::Close { number } => {
                self.said_close(now, id, number);
                true
            }
            SwarmMessage::Rejected { number, blocks } => self.said_rejected(now, id, number, &blocks),
        };
        if !believed {
            self.punish(now, id, DisconnectReason::Misbehaved);
        }
    }

    fn said_status(&mut self, now: Timestamp, id: NodeId, about: (u16, LayoutId, bool), view: View) -> bool {
        let (number, layout, ask) = about;
        let Some(peer) = self.peers.get_mut(&id) else {
            return true;
        };
        if peer.numbers.get(&number).is_some_and(|old| *old != layout) {
            self.said_close(now, id, number);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return true;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return true;
        };
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return true;
        };
        if view.have.len() != transfer.table.len() {
            return false;
        }
        peer.numbers.retain(|_, numbered| *numbered != layout);
        peer.numbers.insert(number, layout);
        let mut view = view;
        if let Some(old) = line.view.take() {
            view.refused = old.refused.clone();
            count_view(transfer, &line.info, &old, false);
            transfer.seeding.forget(&line.info, &old, None);
        } else {
            line.waits_since = now;
        }
        count_view(transfer, &line.info, &view, true);
        transfer.seeding.learn(&line.info, &view);
        transfer.seeding.take_back(line, |block, _| view.have.get(block));
        line.view = Some(view);
        if ask || !line.introduced {
            line.mail.status = true;
            self.mail_at_once(now, id, layout);
        }
        self.to_fill.insert(id);
        if self.role == Role::Origin {
            self.place(now, id);
            self.seed_everybody(now, layout);
        }
        true
    }

    fn said_blocks(&mut self, now: Timestamp, id: NodeId, number: u16, blocks: &RangeSet, said: Said) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return true;
        };
        let Some(layout) = peer.numbers.get(&number).copied() else {
            return true;
        };
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return true;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return true;
        };
        let Some(view) = line.view.as_mut() else { return true };
        if blocks.ranges().last().is_some_and(|last| last.end > view.have.len()) {
            return false;
        }
        for block in blocks.iter() {
            match said {
                Said::Have => gain(transfer, &line.info, view, block),
                Said::Durable => {
                    gain(transfer, &line.info, view, block);
                    view.durable.set(block, true);
                }
                Said::Lost => lose(transfer, &line.info, view, block),
            }
        }
        line.moved = now;
        if said != Said::Lost && self.role == Role::Origin {
            self.pledges_kept(now, id, layout, blocks);
        }
        self.to_fill.insert(id);
        true
    }

    fn said_want(&mut self, now: Timestamp, id: NodeId, number: u16, want: Bits) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return true;
        };
        let Some(layout) = peer.numbers.get(&number).copied() else {
            return true;
        };
        let view = peer.lines.get_mut(&layout).and_then(|line| line.view.as_mut());
        let Some(view) = view else { return true };
        if want.len() != view.have.len() {
            return false;
        }
        view.want = want;
        view.count();
        if self.role == Role::Origin {
            self.place(now, id);
            self.seed_everybody(now, layout);
        }
        true
    }

    fn said_close(&mut self, now: Timestamp, id: NodeId, number: u16) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(layout) = peer.numbers.remove(&number) else {
            return;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return;
        };
        let (Some(view), Some(transfer)) = (line.view.take(), self.transfers.get_mut(&layout)) else {
            return;
        };
        transfer.seeding.take_back(line, |_, _| true);
        count_view(transfer, &line.info, &view, false);
        // It is still there and has given it up: it is not expected back with it.
        transfer.seeding.forget(&line.info, &view, None);
        if self.role == Role::Origin {
            self.place(now, id);
            self.seed_everybody(now, layout);
        }
    }

    /// A neighbour is gone: what it had counts no more.
    pub(super) fn forget_line(&mut self, now: Timestamp, layout: LayoutId, line: &mut Line) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        transfer.seeding.take_back(line, |_, _| true);
        if let Some(view) = &line.view {
            count_view(transfer, &line.info, view, false);
            transfer.seeding.forget(&line.info, view, Some(now));
        }
        if self.role == Role::Origin {
            self.seed_everybody(now, layout);
        }
    }

    /// It turned out that a peer does not have blocks that it said it has.
    pub(super) fn disbelieve(&mut self, id: NodeId, layout: LayoutId, blocks: &[u32]) {
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get_mut(&layout)) else {
            return;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return;
        };
        let Some(view) = line.view.as_mut() else { return };
        for block in blocks {
            lose(transfer, &line.info, view, *block);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Have,
    Durable,
    Lost,
}

/// When the next of what there is to say may leave.
fn due(peer: &Peer, now: Timestamp) -> Timestamp {
    let hurries = !peer.urgent.is_empty() && peer.hurried < URGENT_MAX;
    let last = peer.flushed.filter(|_| !hurries);
    last.map_or(now, |last| now.max(last.after(ANNOUNCE_TIME)))
}

/// Whether what leaves now leaves between two flushes.
fn is_early(peer: &Peer, now: Timestamp) -> bool {
    peer.flushed.is_some_and(|last| last.after(ANNOUNCE_TIME) > now)
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

/// Whether what `info` has counts as a source.
const fn is_source(info: &PeerInfo) -> bool {
    info.serves
}

fn count_view(transfer: &mut Transfer, info: &PeerInfo, view: &View, add: bool) {
    if is_source(info) {
        for block in view.have.iter() {
            let count = &mut transfer.avail[block as usize];
            *count = if add { *count + 1 } else { *count - 1 };
        }
    }
}

fn gain(transfer: &mut Transfer, info: &PeerInfo, view: &mut View, block: u32) {
    if view.have.set(block, true) {
        view.have_count += 1;
        view.needs -= u32::from(view.want.get(block));
        transfer.avail[block as usize] += u16::from(is_source(info));
        transfer.seeding.gained(info, block);
    }
}

fn lose(transfer: &mut Transfer, info: &PeerInfo, view: &mut View, block: u32) {
    view.durable.set(block, false);
    if view.have.set(block, false) {
        view.have_count -= 1;
        view.needs += u32::from(view.want.get(block));
        transfer.avail[block as usize] -= u16::from(is_source(info));
        transfer.seeding.lost(info, block);
    }
}

/// What a message counts towards a flood. The first status on each layout that is open here belongs to getting to know each
/// other; on one that is not it costs no more than to look that up.
fn cost(peer: &mut Peer, message: &SwarmMessage) -> u64 {
    let SwarmMessage::Status { layout, .. } = message else {
        return 1;
    };
    match peer.lines.get_mut(layout) {
        Some(line) => 4 * u64::from(std::mem::replace(&mut line.met, true)),
        None => 1,
    }
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
            ask: line.view.is_none(),
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
    let have = news(&mail.have, &transfer.have);
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
