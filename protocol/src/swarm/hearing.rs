//! What the neighbours tell: their views, and what follows from a change of one.
//!
//! What a peer says of a layout whose product it is not covered for is ignored.

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;
use crate::wire::message::SwarmMessage;

use super::Swarm;
use super::announce::remind;
use super::config::Role;
use super::io::{DisconnectReason, PeerInfo};
use super::peer::{Line, Peer, View};
use super::transfer::Transfer;

impl Swarm {
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
            transfer.seeding.forget(&line.info, &old, None);
        } else {
            line.waits_since = now;
        }
        transfer.seeding.learn(&line.info, &view);
        transfer.seeding.take_back(line, |block, _| view.have.get(block));
        line.view = Some(view);
        if ask || !line.introduced {
            line.mail.status = true;
            self.mail_at_once(now, id, layout);
        } else if remind(self.role, transfer, line) {
            self.mail(now, id, layout);
        }
        self.to_fill.push(id);
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
        if said == Said::Lost && remind(self.role, transfer, line) {
            self.mail(now, id, layout);
        }
        if said != Said::Lost && self.role == Role::Origin {
            self.pledges_kept(now, id, layout, blocks);
        }
        self.to_fill.push(id);
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
            transfer.seeding.forget(&line.info, view, Some(now));
        }
        if self.role == Role::Origin {
            self.seed_everybody(now, layout);
        }
    }

    /// Has a peer say again all that it has.
    pub(super) fn ask_what_it_has(&mut self, now: Timestamp, id: NodeId, layout: LayoutId) {
        let line = self.peers.get_mut(&id).and_then(|peer| peer.lines.get_mut(&layout));
        if let Some(line) = line {
            (line.mail.status, line.mail.ask) = (true, true);
            self.mail(now, id, layout);
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

/// So many statuses on each layout are no flood.
const FREE_STATUSES: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Have,
    Durable,
    Lost,
}

fn gain(transfer: &mut Transfer, info: &PeerInfo, view: &mut View, block: u32) {
    if view.have.set(block, true) {
        view.have_count += 1;
        view.needs -= u32::from(view.want.get(block));
        transfer.seeding.gained(info, block);
    }
}

fn lose(transfer: &mut Transfer, info: &PeerInfo, view: &mut View, block: u32) {
    // What it has after this is not what did not verify.
    view.refused.set(block, false);
    view.durable.set(block, false);
    if view.have.set(block, false) {
        view.have_count -= 1;
        view.needs += u32::from(view.want.get(block));
        transfer.seeding.lost(info, block);
    }
}

/// What a message counts towards a flood. The first statuses on each layout that is open here belong to getting to know each
/// other: one unasked, and where both spoke first an answer. On a layout that is not open one costs no more than to look that up.
fn cost(peer: &mut Peer, message: &SwarmMessage) -> u64 {
    let SwarmMessage::Status { layout, .. } = message else {
        return 1;
    };
    match peer.lines.get_mut(layout) {
        Some(line) if line.met < FREE_STATUSES => {
            line.met += 1;
            0
        }
        Some(_) => 4,
        None => 1,
    }
}
