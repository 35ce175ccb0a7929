//! Where a layout's blocks are, by domain, as an origin sees it.

use std::collections::BTreeMap;

use crate::bits::Bits;
use crate::swarm::config::SILENT_MAX;
use crate::swarm::io::{Distance, PeerInfo};
use crate::swarm::peer::{Line, Pledge, View};
use crate::time::Timestamp;

use super::progress::Progress;

/// Who may feed each other: all peers with this number. A peer that feeds nobody, or is an origin itself, is of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::swarm) struct Domain(u64);

impl Domain {
    pub(in crate::swarm) fn of(info: &PeerInfo) -> Option<Self> {
        (info.serves && info.domain != 0 && info.distance != Distance::Origin).then_some(Self(info.domain))
    }
}

/// Where a layout's blocks are, by domain. Empty on nodes that are no origin.
#[derive(Debug)]
pub(in crate::swarm) struct Seeding {
    is_origin: bool,
    blocks: u32,
    pub(in crate::swarm) domains: BTreeMap<Domain, Placement>,
}

/// So many that left are counted on at a time.
const AWAY_MAX: usize = 8;

/// Where a layout's blocks are in one domain.
#[derive(Debug)]
pub(in crate::swarm) struct Placement {
    /// For each block: neighbours that have it, that it is pledged to, and how often it was pledged and asked for, or is
    /// pledged now.
    pub(in crate::swarm) holders: Vec<u16>,
    pub(in crate::swarm) pledged: Vec<u16>,
    pub(super) sent: Vec<u16>,
    /// How many nodes of the domain say what they have.
    members: u32,
    /// Blocks whose only holder, durable, left: counted on until then, oldest first.
    pub(in crate::swarm) away: Vec<(Timestamp, Bits)>,
    /// Blocks whose only holder is silent.
    pub(super) orphans: Bits,
    /// No block below may be unsent.
    pub(in crate::swarm) cursor: u32,
    pub(super) progress: Progress,
}

impl Placement {
    fn new(blocks: u32) -> Self {
        Self {
            holders: vec![0; blocks as usize],
            pledged: vec![0; blocks as usize],
            sent: vec![0; blocks as usize],
            members: 0,
            away: Vec::new(),
            orphans: Bits::none(blocks),
            cursor: 0,
            progress: Progress::default(),
        }
    }

    pub(super) fn is_unsent(&self, block: u32) -> bool {
        let at = block as usize;
        self.pledged[at] == 0
            && (self.orphans.get(block)
                || (self.holders[at] == 0 && !self.away.iter().any(|(_, away)| away.get(block))))
    }

    /// Whether no block below the cursor may be unsent: what the search for one relies on.
    pub(in crate::swarm) fn is_cursor_sound(&self) -> bool {
        (0..self.cursor).all(|block| !self.is_unsent(block))
    }

    /// Counts no more on those that left too long ago.
    pub(super) fn expect_no_longer(&mut self, now: Timestamp) {
        let expected = self.away.len();
        self.away.retain(|(until, _)| *until > now);
        if self.away.len() < expected {
            self.cursor = 0;
        }
    }

    /// The holder of these is silent: those that nobody else has are to be had from nobody.
    pub(super) fn orphan(&mut self, held: &Bits) {
        for block in held.iter() {
            if self.holders[block as usize] == 1 {
                self.orphans.set(block, true);
                self.cursor = self.cursor.min(block);
            }
        }
    }

    pub(super) fn pledge(&mut self, block: u32) {
        self.pledged[block as usize] += 1;
        self.sent[block as usize] = self.sent[block as usize].saturating_add(1);
        self.orphans.set(block, false);
    }

    /// What was shown is asked for no more, or is no longer shown. Never asked for, it was no copy that left.
    pub(super) fn unpledge(&mut self, block: u32, asked: bool) {
        self.pledged[block as usize] -= 1;
        if !asked {
            self.sent[block as usize] = self.sent[block as usize].saturating_sub(1);
        }
        self.cursor = self.cursor.min(block);
    }
}

impl Seeding {
    pub(in crate::swarm) const fn new(blocks: u32, is_origin: bool) -> Self {
        Self {
            is_origin,
            blocks,
            domains: BTreeMap::new(),
        }
    }

    /// Where the blocks are in a peer's domain; nothing when it is of none, and on a node that is no origin.
    pub(super) fn placement(&mut self, info: &PeerInfo) -> Option<&mut Placement> {
        let blocks = self.blocks;
        let domain = Domain::of(info).filter(|_| self.is_origin)?;
        Some(self.domains.entry(domain).or_insert_with(|| Placement::new(blocks)))
    }

    /// A peer said what it has.
    pub(in crate::swarm) fn learn(&mut self, info: &PeerInfo, view: &View) {
        if let Some(placement) = self.placement(info) {
            placement.members += 1;
        }
        for block in view.have.iter() {
            self.gained(info, block);
        }
    }

    pub(in crate::swarm) fn gained(&mut self, info: &PeerInfo, block: u32) {
        if let Some(placement) = self.placement(info) {
            placement.holders[block as usize] += 1;
            placement.orphans.set(block, false);
        }
    }

    pub(in crate::swarm) fn lost(&mut self, info: &PeerInfo, block: u32) {
        if let Some(placement) = self.placement(info) {
            placement.holders[block as usize] -= 1;
            placement.cursor = placement.cursor.min(block);
        }
    }

    /// What a peer had counts no more; when it `left`, its durable blocks are expected back for a while.
    pub(in crate::swarm) fn forget(&mut self, info: &PeerInfo, view: &View, left: Option<Timestamp>) {
        let blocks = self.blocks;
        let Some(placement) = self.placement(info) else {
            return;
        };
        placement.members -= 1;
        let mut away = Bits::none(blocks);
        for block in view.have.iter() {
            placement.holders[block as usize] -= 1;
            if placement.holders[block as usize] == 0 {
                away.set(block, view.durable.get(block));
                placement.cursor = 0;
            }
        }
        let Some(now) = left else { return };
        if away.count() > 0 {
            // Who comes and goes makes no more of it; what is not counted on is only sent sooner.
            if placement.away.len() == AWAY_MAX {
                placement.away.remove(0);
                placement.cursor = 0;
            }
            placement.away.push((now.after(SILENT_MAX), away));
        }
        self.domains.retain(|_, placement| {
            placement.expect_no_longer(now);
            placement.members > 0 || !placement.away.is_empty()
        });
    }

    /// Takes back what a peer was shown and `is_over`.
    pub(in crate::swarm) fn take_back(&mut self, line: &mut Line, is_over: impl Fn(u32, &Pledge) -> bool) {
        if line.pledges.is_empty() {
            return;
        }
        let Some(placement) = self.placement(&line.info) else {
            return;
        };
        line.pledges.retain(|block, pledge| {
            let over = is_over(*block, pledge);
            if over {
                placement.unpledge(*block, pledge.asked);
            }
            !over
        });
    }
}
