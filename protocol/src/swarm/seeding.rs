//! The origin's once-only rule, in a protocol where receivers pull: it *shows* each block to one node of a reseed domain
//! first, and more only for a reason.
//!
//! A block that was shown to a node which has not got it yet is pledged. Nodes get a new pledge for each one kept, so a
//! fast node is shown more. With a single receiver in a domain there is nobody else to wait for: it is shown everything,
//! and of one that feeds nobody, which is of no domain, nothing is kept either.
//! A block is shown again when its first holder lost it, left or is silent where nothing moves, when a pledge is not taken up, or when
//! nothing unsent is left, the uplink would idle, and the domain is far from done (`origin_copies_max` caps that).

mod placement;
mod places;
mod progress;

use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::config::{SILENT_MAX, SPAN_MIN, UNTAKEN_MAX};
use super::event::Event;
use super::io::{Distance, Output};
use super::peer::{Line, Peer, Pledge};
use super::rate::bytes_in;
use super::rules::Rule;
use super::transfer::Transfer;
use placement::Placement;
pub(super) use placement::{Domain, Seeding};

/// Pledges cover so much of a node's rate.
const PLEDGE_TIME: Duration = Duration::from_millis(500);
/// One node's pledges are at most this part of its even share of what nobody was shown yet: whoever turns out to be slow at the end
/// must not hold what others could have been given (guided self-scheduling, Polychronopoulos and Kuck 1987).
const PLEDGE_SHARE: u64 = 2;

impl Swarm {
    /// Whether some neighbour lacks something of ours.
    pub(super) fn has_needy(&self) -> bool {
        let mut lines = self.peers.values().flat_map(|peer| peer.lines.values());
        lines.any(|line| line.view.as_ref().is_some_and(|view| view.needs > 0))
    }

    /// Shows blocks of a layout to everybody who may be shown more, the neediest first.
    pub(super) fn seed_everybody(&mut self, now: Timestamp, layout: LayoutId) {
        let mut needy: Vec<(bool, u32, NodeId)> = Vec::new();
        for (id, peer) in &self.peers {
            if let Some(line) = peer.lines.get(&layout)
                && let Some(view) = line.view.as_ref().filter(|view| view.needs > 0)
            {
                needy.push((line.given.is_again(), u32::MAX - view.needs, *id));
            }
        }
        needy.sort_unstable();
        for (_, _, id) in needy {
            self.seed(now, id, layout);
        }
    }

    /// A peer got blocks that it was shown.
    pub(super) fn pledges_kept(&mut self, now: Timestamp, id: NodeId, layout: LayoutId, blocks: &RangeSet) {
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get_mut(&layout)) else {
            return;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return;
        };
        let block_bytes = transfer.block_bytes();
        let is_done = line.view.as_ref().is_none_or(|view| view.needs == 0);
        if let Some(placement) = transfer.seeding.placement(&line.info) {
            for block in blocks.iter() {
                if let Some(pledge) = line.pledges.remove(&block) {
                    placement.unpledge(block, pledge.asked);
                    let rate = peer.sink.meter.rate();
                    let cap = rate.map_or(u64::MAX, |rate| bytes_in(rate, PLEDGE_TIME));
                    line.pledge_window
                        .delivered(block_bytes, pledge_floor(block_bytes), cap);
                }
            }
        }
        self.seed(now, id, layout);
        if is_done {
            self.place(now, id);
        }
    }

    /// Shows a peer as many blocks as it may be shown now.
    fn seed(&mut self, now: Timestamp, id: NodeId, layout: LayoutId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let Some(line) = peer.lines.get(&layout) else { return };
        let domain = Domain::of(&line.info).filter(|_| self.rules.has(Rule::OnceOnly));
        let Some(domain) = domain else {
            self.show_all(now, id, layout);
            return;
        };
        if !peer.places.contains(&layout) {
            return;
        }
        let rivals = self.others_needing(id, layout, domain);
        let alone = rivals == 0;
        let share = self.share_of_origins(&layout);
        let helps = self.rules.has(Rule::Help);
        let copies_max = self
            .limits
            .origin_copies_max
            .unwrap_or(if helps { u32::MAX } else { 1 });
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get_mut(&layout)) else {
            return;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return;
        };
        if line.view.is_none() {
            return;
        }
        let block_bytes = transfer.block_bytes();
        let have = transfer.have.clone();
        let Some(placement) = transfer.seeding.placement(&line.info) else {
            return;
        };
        let mut dirty = false;
        if !alone {
            dirty |= trim(placement, line, block_bytes);
        }
        loop {
            let room = |most| room(line, block_bytes, most);
            let left = u64::from(have.len() - placement.cursor);
            let most = (left / (PLEDGE_SHARE * (rivals + 1))).max(few_pledges(block_bytes));
            let unsent = (alone || room(most) > 0).then(|| next_unsent(placement, line, &have, share));
            let copy = || next_copy(placement, line, &have, copies_max).filter(|_| room(u64::MAX) > 0);
            let Some(block) = unsent.flatten().or_else(copy) else {
                break;
            };
            let again = placement.orphans.get(block);
            placement.pledge(block);
            line.pledges.insert(
                block,
                Pledge {
                    since: now,
                    asked: false,
                },
            );
            if line.shown.set(block, true) {
                line.mail.have.insert(block..block + 1);
                line.mail.lost.remove(block..block + 1);
            }
            if again {
                self.out
                    .push_back(Output::Event(Event::BlockSentAgain { layout, block }));
            }
            dirty = true;
        }
        if dirty {
            self.mail(now, id, layout);
        }
    }

    /// Shows everything to a peer that feeds nobody: nobody else waits for what it was shown.
    fn show_all(&mut self, now: Timestamp, id: NodeId, layout: LayoutId) {
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get(&layout)) else {
            return;
        };
        let Some(line) = peer.lines.get_mut(&layout).filter(|line| line.fed) else {
            return;
        };
        let hidden = hidden(line, &transfer.have);
        for block in &hidden {
            line.shown.set(*block, true);
            line.mail.have.insert(*block..*block + 1);
            line.mail.lost.remove(*block..*block + 1);
        }
        if !hidden.is_empty() {
            self.mail(now, id, layout);
        }
    }

    /// How many others in the domain want something.
    fn others_needing(&self, id: NodeId, layout: LayoutId, domain: Domain) -> u64 {
        let others = self.peers.iter().filter(|(other, _)| **other != id);
        let needing = others.filter(|(_, peer)| {
            let line = peer.lines.get(&layout).filter(|line| line.is_of(domain));
            let view = line.and_then(|line| line.view.as_ref());
            view.is_some_and(|view| view.needs > 0)
        });
        needing.count() as u64
    }

    /// Which of the first copies are this origin's: `rank` of `count`, by identity.
    fn share_of_origins(&self, layout: &LayoutId) -> (u32, u32) {
        let (mut rank, mut count) = (0, 1);
        for (id, peer) in &self.peers {
            let is_origin = peer.info.distance == Distance::Origin;
            if is_origin && peer.view(layout).is_some_and(|view| view.have_count > 0) {
                count += 1;
                rank += u32::from(*id < self.me);
            }
        }
        (rank, count)
    }

    /// A peer asked for blocks that it was shown.
    pub(super) fn pledges_asked(&mut self, id: NodeId, layout: LayoutId, groups: &RangeSet) {
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get(&layout)) else {
            return;
        };
        let Some(line) = peer.lines.get_mut(&layout) else {
            return;
        };
        for block in transfer.blocks_of(groups) {
            if let Some(pledge) = line.pledges.get_mut(&block) {
                pledge.asked = true;
            }
        }
    }

    /// This origin lost blocks: they are no longer pledged.
    pub(super) fn unpledge_lost(&mut self, layout: LayoutId, blocks: &RangeSet) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        for peer in self.peers.values_mut() {
            if let Some(line) = peer.lines.get_mut(&layout) {
                transfer.seeding.take_back(line, |block, _| blocks.contains(block));
            }
        }
    }

    /// Takes back pledges that nobody takes up, notices silent holders, and decides where to help.
    pub(super) fn tick_seeding(&mut self, now: Timestamp) {
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.place(now, peer);
        }
        let layouts: Vec<LayoutId> = self.transfers.keys().copied().collect();
        for layout in layouts {
            self.take_back(now, layout);
            self.watch(now, layout);
            self.seed_everybody(now, layout);
        }
    }

    fn take_back(&mut self, now: Timestamp, layout: LayoutId) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        for peer in self.peers.values_mut() {
            let Peer { lines, sink, .. } = peer;
            let Some(line) = lines.get_mut(&layout) else { continue };
            let is_old = |pledge: &Pledge| now.since(pledge.since) >= UNTAKEN_MAX;
            // Who takes the same again and again is busy for ever and has not taken up anything.
            let is_busy = (sink.issued > 0 || !sink.serves.is_empty()) && !line.given.is_again();
            if is_busy || !line.pledges.values().any(is_old) {
                continue;
            }
            transfer.seeding.take_back(line, |_, pledge| is_old(pledge));
            line.pledge_window.collapse(pledge_floor(transfer.table.get(0).bytes));
        }
    }

    /// Looks at how each domain gets on.
    fn watch(&mut self, now: Timestamp, layout: LayoutId) {
        let (rank, count) = self.share_of_origins(&layout);
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        let block_bytes = transfer.block_bytes();
        let Transfer { seeding, have, .. } = transfer;
        for (domain, placement) in &mut seeding.domains {
            placement.expect_no_longer(now);
            let members = || {
                self.peers.values().filter_map(|peer| {
                    let line = peer.lines.get(&layout).filter(|line| line.is_of(*domain))?;
                    Some((peer, line.view.as_ref()?))
                })
            };
            let needs = members().map(|(_, view)| u64::from(view.needs)).sum();
            let is_stuck = placement.progress.is_still(now, needs, SILENT_MAX);
            let (mut own, mut unsent) = (0.0, false);
            for (peer, view) in members() {
                own += blocks_sent(peer, &layout, block_bytes);
                // Who has all of it has nothing to say; where nobody gets anything, it is not there to be had.
                if is_stuck && now.since(peer.heard) >= SILENT_MAX {
                    placement.orphan(&view.have);
                }
                let wanted = view
                    .want
                    .iter()
                    .filter(|block| have.get(*block) && !view.have.get(*block));
                // What another origin should send is sent from here, too, when nothing moves without it.
                let mut own = wanted.filter(|block| block % count == rank);
                unsent = unsent || (peer.places.contains(&layout) && own.any(|block| placement.is_unsent(block)));
            }
            if let Some((help, pace)) = placement.progress.look(now, needs, own, unsent) {
                let event = Event::HelpChanged {
                    layout,
                    help,
                    alone: bytes(pace.alone(), block_bytes),
                    sent: bytes(pace.sent, block_bytes),
                };
                self.out.push_back(Output::Event(event));
            }
        }
    }
}

/// What the origin has sent to a peer, in blocks.
#[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
fn blocks_sent(peer: &Peer, layout: &LayoutId, block_bytes: u64) -> f64 {
    let sent = peer.lines.get(layout).map_or(0, |line| line.given.sent());
    sent as f64 / block_bytes as f64
}

/// A pace in blocks as one in bytes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "far below 2^53, and never negative"
)]
fn bytes(blocks: f64, block_bytes: u64) -> u64 {
    (blocks * block_bytes as f64) as u64
}

/// What a peer wants and has not, and was not shown. Looks at 64 blocks at a time: mostly there is nothing.
fn hidden(line: &Line, have: &Bits) -> Vec<u32> {
    let Some(view) = &line.view else { return Vec::new() };
    let mut hidden = Vec::new();
    let words = have.words().iter().zip(line.shown.words());
    for ((at, (have, shown)), (want, got)) in (0..).zip(words).zip(view.want.words().iter().zip(view.have.words())) {
        let mut left = have & !shown & want & !got;
        while left != 0 {
            hidden.push(64 * at + left.trailing_zeros());
            left &= left - 1;
        }
    }
    hidden
}

/// A peer may always be shown so much.
fn pledge_floor(block_bytes: u64) -> u64 {
    (2 * block_bytes).min(SPAN_MIN).max(block_bytes)
}

/// So many blocks a peer may always be shown within its window, whatever its share: its asks for one are on their way while another comes.
fn few_pledges(block_bytes: u64) -> u64 {
    (SPAN_MIN / block_bytes.max(1)).max(2)
}

/// How many more blocks a peer may be shown, with at most `most` at a time.
fn room(line: &Line, block_bytes: u64, most: u64) -> u32 {
    let window = line.pledge_window.size().max(pledge_floor(block_bytes)) / block_bytes.max(1);
    let room = window.min(most).saturating_sub(line.pledges.len() as u64);
    u32::try_from(room).unwrap_or(u32::MAX)
}

/// The next block that nobody in the domain has or was shown and that this peer wants.
fn next_unsent(placement: &mut Placement, line: &Line, have: &Bits, (rank, count): (u32, u32)) -> Option<u32> {
    let view = line.view.as_ref()?;
    while placement.cursor < have.len() && !placement.is_unsent(placement.cursor) {
        placement.cursor += 1;
    }
    let fits = |block: &u32| {
        let mine = block % count == rank || placement.progress.help();
        let missing = view.want.get(*block) && !view.have.get(*block) && !line.pledges.contains_key(block);
        mine && missing && have.get(*block) && placement.is_unsent(*block)
    };
    (placement.cursor..have.len()).find(fits)
}

/// The block that is rarest in the domain and that this peer wants, when the origin helps there.
fn next_copy(placement: &Placement, line: &Line, have: &Bits, copies_max: u32) -> Option<u32> {
    if !placement.progress.help() {
        return None;
    }
    let view = line.view.as_ref()?;
    let wanted = view.want.iter().filter(|block| {
        !view.have.get(*block)
            && !line.pledges.contains_key(block)
            && have.get(*block)
            && u32::from(placement.sent[*block as usize]) < copies_max
    });
    wanted.min_by_key(|block| {
        (
            placement.holders[*block as usize] + placement.pledged[*block as usize],
            *block,
        )
    })
}

/// A node that was alone and was shown everything is not alone any more: what it has not asked for is hidden again.
fn trim(placement: &mut Placement, line: &mut Line, block_bytes: u64) -> bool {
    let window = line.pledge_window.size().max(pledge_floor(block_bytes)) / block_bytes.max(1);
    let unasked = line.pledges.iter().filter(|(_, pledge)| !pledge.asked);
    let unasked: Vec<u32> = unasked.map(|(block, _)| *block).collect();
    if unasked.len() as u64 <= 4 * window {
        return false;
    }
    let keep = usize::try_from(window).unwrap_or(usize::MAX);
    for block in unasked.into_iter().skip(keep) {
        line.pledges.remove(&block);
        placement.unpledge(block, false);
        line.shown.set(block, false);
        line.mail.have.remove(block..block + 1);
        line.mail.lost.insert(block..block + 1);
    }
    true
}
