//! Of how many layouts an origin shows one peer blocks at a time.
//!
//! What is kept of each is as large as the layout has blocks, and a peer may say that it wants them all. So it has
//! [`LINES_NEEDING_MAX`] places: the most urgent layouts get them, then those that have waited longest. A layout keeps its place
//! until the peer has all of it, unless nothing of it moves for half a minute and others wait.

use std::cmp::Reverse;

use crate::id::{LayoutId, NodeId};
use crate::limits::LINES_NEEDING_MAX;
use crate::sorted::SortedSet;
use crate::swarm::Swarm;
use crate::swarm::config::SILENT_MAX;
use crate::swarm::peer::Line;
use crate::time::Timestamp;

use super::placement::Domain;

impl Swarm {
    /// Gives a peer's places to what it needs, and shows it blocks of what is new there. Who is of no domain needs none:
    /// nothing is kept of what it was shown.
    pub(in crate::swarm) fn place(&mut self, now: Timestamp, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut needing = Vec::new();
        for (layout, line) in &peer.lines {
            let is_needing =
                line.fed && Domain::of(&line.info).is_some() && line.view.as_ref().is_some_and(|view| view.needs > 0);
            if let Some(transfer) = self.transfers.get(layout).filter(|_| is_needing) {
                let has = peer.places.contains(layout);
                let stays = has && now.since(line.moved) < SILENT_MAX;
                let waits_since = if has { now } else { line.waits_since };
                needing.push((Reverse(transfer.priority), !stays, waits_since, *layout));
            }
        }
        needing.sort_unstable();
        needing.truncate(LINES_NEEDING_MAX);
        let places: SortedSet<LayoutId> = needing.into_iter().map(|(.., layout)| layout).collect();
        let old = std::mem::replace(&mut peer.places, places.clone());
        let mut hidden = Vec::new();
        for layout in old.iter().filter(|layout| !places.contains(layout)) {
            if let (Some(line), Some(transfer)) = (peer.lines.get_mut(layout), self.transfers.get_mut(layout)) {
                line.waits_since = now;
                if hide(line) {
                    hidden.push(*layout);
                }
                transfer.seeding.take_back(line, |_, _| true);
            }
        }
        for layout in hidden {
            self.mail(now, id, layout);
        }
        for layout in places.iter().filter(|layout| !old.contains(layout)) {
            if let Some(line) = self.peers.get_mut(&id).and_then(|peer| peer.lines.get_mut(layout)) {
                line.moved = now;
            }
            self.seed(now, id, *layout);
        }
    }
}

/// Hides what a peer was shown and has neither asked for nor got; says whether there was any.
fn hide(line: &mut Line) -> bool {
    let mut any = false;
    for (block, _) in line.pledges.iter().filter(|(_, pledge)| !pledge.asked) {
        any = true;
        line.shown.set(*block, false);
        line.mail.have.remove(*block..*block + 1);
        line.mail.lost.insert(*block..*block + 1);
    }
    any
}
