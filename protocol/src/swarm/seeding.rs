//! The origin's once-only rule, in a protocol where receivers pull: it *shows* each block to one node of a reseed domain
//! first, and more only for a reason.
//!
//! A block that was shown to a node which has not got it yet is pledged. Nodes get a new pledge for each one kept, so a
//! fast node is shown more. With a single receiver in a domain there is nobody else to wait for: it is shown everything.
//! A block is shown again when its first holder lost it, left or is silent, when a pledge is not taken up, or when
//! nothing unsent is left, the uplink would idle, and the domain is far from done (`origin_copies_max` caps that).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::config::{SILENT_MAX, SPAN_MIN, TICK, UNTAKEN_MAX};
use super::event::Event;
use super::io::{Distance, Output, PeerInfo};
use super::peer::{Line, Peer, Pledge, View};
use super::rate::bytes_in;
use super::transfer::Transfer;

/// Pledges cover so much of a node's rate.
const PLEDGE_TIME: Duration = Duration::from_millis(500);
/// Time in which a domain that has seen everything must make progress by itself before the origin helps.
const GRACE: Duration = Duration::from_secs(1);
/// Help that does not raise the domain's pace in this time earns nothing: its downlinks are full.
const TRIAL: Duration = Duration::from_secs(1);
/// The origin helps while the domain would need more than this part of the time it took so far.
const HELP_SHARE: u32 = 16;

/// Who may feed each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Domain {
    /// All peers with this number.
    Shared(u64),
    /// A peer that feeds nobody, or is an origin itself.
    Own(NodeId),
}

impl Domain {
    pub(super) fn of(id: NodeId, info: &PeerInfo) -> Self {
        if info.serves && info.domain != 0 && info.distance != Distance::Origin {
            Self::Shared(info.domain)
        } else {
            Self::Own(id)
        }
    }
}

/// Where a layout's blocks are, by domain. Empty on nodes that are no origin.
#[derive(Debug)]
pub(super) struct Seeding {
    is_origin: bool,
    blocks: u32,
    pub(super) domains: BTreeMap<Domain, Placement>,
}

/// Where a layout's blocks are in one domain.
#[derive(Debug)]
pub(super) struct Placement {
    /// For each block: neighbours that have it, that it is pledged to, and how often it was pledged.
    pub(super) holders: Vec<u16>,
    pub(super) pledged: Vec<u16>,
    sent: Vec<u16>,
    /// Blocks whose only holder, durable, left: counted on until then.
    away: Vec<(Timestamp, Bits)>,
    /// Blocks whose only holder is silent.
    orphans: Bits,
    /// No block below may be unsent.
    cursor: u32,
    progress: Progress,
}

/// How the domain gets on by itself.
#[derive(Debug, Default)]
struct Progress {
    /// When somebody first wanted something.
    since: Option<Timestamp>,
    /// Blocks that are needed, at the last look, and how many were gained and sent by the origin since it began.
    needs: u64,
    gained: u64,
    own: f64,
    phase: Phase,
    /// What the domain gained a second when it was on its own.
    baseline: f64,
    /// Help earned nothing: none is given before this, and the next pause is longer.
    rests_until: Timestamp,
    pauses: u32,
}

/// What the origin does for a domain.
#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    /// There are blocks that it has not seen.
    #[default]
    Sending,
    /// It has seen everything and is on its own; since when, with what it had gained and been sent then.
    Watching(Timestamp, u64, f64),
    /// It is helped, to see whether that helps; since when, from where.
    Trying(Timestamp, u64, f64),
    /// It is helped.
    Helping,
}

impl Placement {
    fn new(blocks: u32) -> Self {
        Self {
            holders: vec![0; blocks as usize],
            pledged: vec![0; blocks as usize],
            sent: vec![0; blocks as usize],
            away: Vec::new(),
            orphans: Bits::none(blocks),
            cursor: 0,
            progress: Progress::default(),
        }
    }

    fn is_unsent(&self, block: u32) -> bool {
        let at = block as usize;
        self.pledged[at] == 0
            && (self.orphans.get(block)
                || (self.holders[at] == 0 && !self.away.iter().any(|(_, away)| away.get(block))))
    }

    fn pledge(&mut self, block: u32) {
        self.pledged[block as usize] += 1;
        self.sent[block as usize] = self.sent[block as usize].saturating_add(1);
        self.orphans.set(block, false);
    }

    fn unpledge(&mut self, block: u32) {
        self.pledged[block as usize] -= 1;
        self.cursor = self.cursor.min(block);
    }
}

impl Seeding {
    pub(super) const fn new(blocks: u32, is_origin: bool) -> Self {
        Self {
            is_origin,
            blocks,
            domains: BTreeMap::new(),
        }
    }

    fn placement(&mut self, id: NodeId, info: &PeerInfo) -> Option<&mut Placement> {
        let blocks = self.blocks;
        let domain = Domain::of(id, info);
        self.is_origin
            .then(|| self.domains.entry(domain).or_insert_with(|| Placement::new(blocks)))
    }

    /// A peer said what it has.
    pub(super) fn learn(&mut self, id: NodeId, info: &PeerInfo, view: &View) {
        for block in view.have.iter() {
            self.gained(id, info, block);
        }
    }

    pub(super) fn gained(&mut self, id: NodeId, info: &PeerInfo, block: u32) {
        if let Some(placement) = self.placement(id, info) {
            placement.holders[block as usize] += 1;
            placement.orphans.set(block, false);
        }
    }

    pub(super) fn lost(&mut self, id: NodeId, info: &PeerInfo, block: u32) {
        if let Some(placement) = self.placement(id, info) {
            placement.holders[block as usize] -= 1;
            placement.cursor = placement.cursor.min(block);
        }
    }

    /// What a peer had counts no more; when it `left`, its durable blocks are expected back for a while.
    pub(super) fn forget(&mut self, id: NodeId, info: &PeerInfo, view: &View, left: Option<Timestamp>) {
        let blocks = self.blocks;
        let Some(placement) = self.placement(id, info) else {
            return;
        };
        let mut away = Bits::none(blocks);
        for block in view.have.iter() {
            placement.holders[block as usize] -= 1;
            if placement.holders[block as usize] == 0 {
                away.set(block, view.durable.get(block));
                placement.cursor = 0;
            }
        }
        if let Some(now) = left
            && away.count() > 0
        {
            placement.away.push((now.after(SILENT_MAX), away));
        }
        if let Domain::Own(_) = Domain::of(id, info)
            && left.is_some()
        {
            self.domains.remove(&Domain::of(id, info));
        }
    }

    pub(super) fn unpledge_all(&mut self, id: NodeId, info: &PeerInfo, line: &Line) {
        if let Some(placement) = self.placement(id, info) {
            for block in line.pledges.keys() {
                placement.unpledge(*block);
            }
        }
    }
}

impl Swarm {
    /// Whether some neighbour lacks something of ours.
    pub(super) fn has_needy(&self) -> bool {
        let mut lines = self.peers.values().flat_map(|peer| peer.lines.values());
        lines.any(|line| line.view.as_ref().is_some_and(|view| view.needs > 0))
    }

    /// Shows blocks of a layout to everybody who may be shown more, the neediest first.
    pub(super) fn seed_everybody(&mut self, now: Timestamp, layout: LayoutId) {
        let mut needy: Vec<(u32, NodeId)> = Vec::new();
        for (id, peer) in &self.peers {
            if let Some(view) = peer.view(&layout)
                && view.needs > 0
            {
                needy.push((u32::MAX - view.needs, *id));
            }
        }
        needy.sort_unstable();
        for (_, id) in needy {
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
        if let Some(placement) = transfer.seeding.placement(id, &peer.info) {
            for block in blocks.iter() {
                if line.pledges.remove(&block).is_some() {
                    placement.unpledge(block);
                    let rate = peer.sink.meter.rate();
                    let cap = rate.map_or(u64::MAX, |rate| bytes_in(rate, PLEDGE_TIME));
                    line.pledge_window
                        .delivered(block_bytes, pledge_floor(block_bytes), cap);
                }
            }
        }
        self.seed(now, id, layout);
    }

    /// Shows a peer as many blocks as it may be shown now.
    fn seed(&mut self, now: Timestamp, id: NodeId, layout: LayoutId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let domain = Domain::of(id, &peer.info);
        let alone = self.is_alone(id, layout, domain);
        let share = self.share_of_origins(&layout);
        let copies_max = self.limits.origin_copies_max.unwrap_or(u32::MAX);
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get_mut(&layout)) else {
            return;
        };
        let Peer { info, lines, .. } = peer;
        let Some(line) = lines.get_mut(&layout) else { return };
        if line.view.is_none() {
            return;
        }
        let block_bytes = transfer.block_bytes();
        let have = transfer.have.clone();
        let Some(placement) = transfer.seeding.placement(id, info) else {
            return;
        };
        let mut dirty = false;
        if !alone {
            dirty |= trim(placement, line, block_bytes);
        }
        loop {
            let is_full = room(line, block_bytes) == 0;
            let unsent = next_unsent(placement, line, &have, share).filter(|_| alone || !is_full);
            let copy = || next_copy(placement, line, &have, copies_max).filter(|_| !is_full);
            let Some(block) = unsent.or_else(copy) else { break };
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

    /// Whether nobody else in the domain wants anything.
    fn is_alone(&self, id: NodeId, layout: LayoutId, domain: Domain) -> bool {
        let mut others = self.peers.iter().filter(|(other, _)| **other != id);
        !others.any(|(other, peer)| {
            Domain::of(*other, &peer.info) == domain && peer.view(&layout).is_some_and(|view| view.needs > 0)
        })
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
        for (id, peer) in &mut self.peers {
            let Peer { info, lines, .. } = peer;
            let Some(line) = lines.get_mut(&layout) else { continue };
            let Some(placement) = transfer.seeding.placement(*id, info) else {
                continue;
            };
            for block in blocks.iter() {
                if line.pledges.remove(&block).is_some() {
                    placement.unpledge(block);
                }
            }
        }
    }

    /// Takes back pledges that nobody takes up, notices silent holders, and decides where to help.
    pub(super) fn tick_seeding(&mut self, now: Timestamp) {
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
        for (id, peer) in &mut self.peers {
            let Peer { info, lines, sink, .. } = peer;
            let Some(line) = lines.get_mut(&layout) else { continue };
            let is_old = |pledge: &Pledge| now.since(pledge.since) >= UNTAKEN_MAX;
            if sink.issued > 0 || !sink.serves.is_empty() || !line.pledges.values().any(is_old) {
                continue;
            }
            let Some(placement) = transfer.seeding.placement(*id, info) else {
                continue;
            };
            line.pledges.retain(|block, pledge| {
                let old = is_old(pledge);
                if old {
                    placement.unpledge(*block);
                }
                !old
            });
            line.pledge_window.collapse(pledge_floor(transfer.table.get(0).bytes));
        }
    }

    /// Looks at how each domain gets on.
    fn watch(&mut self, now: Timestamp, layout: LayoutId) {
        let Some(transfer) = self.transfers.get_mut(&layout) else {
            return;
        };
        let block_bytes = transfer.block_bytes();
        let Transfer { seeding, have, .. } = transfer;
        for (domain, placement) in &mut seeding.domains {
            placement.away.retain(|(until, _)| *until > now);
            let (mut needs, mut own) = (0, 0.0);
            let mut unsent = false;
            for (id, peer) in &self.peers {
                let Some(view) = peer.view(&layout).filter(|_| Domain::of(*id, &peer.info) == *domain) else {
                    continue;
                };
                needs += u64::from(view.needs);
                own += blocks_sent(peer, &layout, block_bytes);
                if now.since(peer.heard) >= SILENT_MAX {
                    for block in view.have.iter() {
                        if placement.holders[block as usize] == 1 {
                            placement.orphans.set(block, true);
                            placement.cursor = placement.cursor.min(block);
                        }
                    }
                }
                let wanted = view
                    .want
                    .iter()
                    .filter(|block| have.get(*block) && !view.have.get(*block));
                unsent |= view.needs > 0 && wanted.take(4096).any(|block| placement.is_unsent(block));
            }
            placement.progress.look(now, needs, own, unsent);
        }
    }
}

impl Progress {
    const fn help(&self) -> bool {
        matches!(self.phase, Phase::Trying(..) | Phase::Helping)
    }

    /// Takes in where the domain stands and decides whether to help. `own` is what the origin has sent into it, in blocks.
    fn look(&mut self, now: Timestamp, needs: u64, own: f64, unsent: bool) {
        if needs == 0 {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert(now);
        // Needs rise when a node joins or loses something: no loss of pace.
        self.gained += self.needs.saturating_sub(needs);
        (self.needs, self.own) = (needs, own);
        let patience = (now.since(since) / HELP_SHARE).max(GRACE).as_secs_f64();
        match self.phase {
            _ if unsent => self.phase = Phase::Sending,
            Phase::Sending => self.watch(now),
            Phase::Watching(at, ..) if now.since(at) >= GRACE && now >= self.rests_until => {
                self.baseline = self.pace(now).0;
                if !self.is_near_the_end(patience) {
                    self.phase = Phase::Trying(now, self.gained, self.own);
                }
            }
            Phase::Trying(at, ..) if now.since(at) >= TRIAL => {
                let (alone, own) = self.pace(now);
                if alone + own >= self.baseline + 0.4 * own {
                    self.phase = Phase::Helping;
                } else {
                    self.pauses += 1;
                    self.rests_until = now.after(4 * GRACE * (1 << self.pauses.min(5)));
                    self.watch(now);
                }
            }
            Phase::Helping if self.is_near_the_end(patience) => self.watch(now),
            Phase::Watching(..) | Phase::Trying(..) | Phase::Helping => {}
        }
    }

    fn watch(&mut self, now: Timestamp) {
        self.phase = Phase::Watching(now, self.gained, self.own);
    }

    /// Blocks a second since the phase began: gained from each other, and sent by the origin.
    #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
    fn pace(&self, now: Timestamp) -> (f64, f64) {
        let (Phase::Watching(at, gained, own) | Phase::Trying(at, gained, own)) = self.phase else {
            return (self.baseline, 0.0);
        };
        let time = now.since(at).max(TICK).as_secs_f64();
        let own = (self.own - own).max(0.0) / time;
        (((self.gained - gained) as f64 / time - own).max(0.0), own)
    }

    /// Whether the domain by itself is done soon.
    #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
    fn is_near_the_end(&self, patience: f64) -> bool {
        self.needs as f64 <= self.baseline * patience
    }
}

/// What the origin has sent to a peer, in blocks.
#[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
fn blocks_sent(peer: &Peer, layout: &LayoutId, block_bytes: u64) -> f64 {
    let sent = peer.lines.get(layout).map_or(0, |line| line.sent);
    sent as f64 / block_bytes as f64
}

/// A peer may always be shown so much.
fn pledge_floor(block_bytes: u64) -> u64 {
    (2 * block_bytes).min(SPAN_MIN).max(block_bytes)
}

/// How many more blocks a peer may be shown.
fn room(line: &Line, block_bytes: u64) -> u32 {
    let window = line.pledge_window.size().max(pledge_floor(block_bytes)) / block_bytes.max(1);
    let room = window.saturating_sub(line.pledges.len() as u64);
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
        placement.unpledge(block);
        line.shown.set(block, false);
        line.mail.have.remove(block..block + 1);
        line.mail.lost.insert(block..block + 1);
    }
    true
}
