//! What a failed fetch costs the peer that it was asked of: a pause, points, or nothing.

use std::time::Duration;

use crate::bits::Bits;
use crate::id::{LayoutId, NodeId};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::event::Event;
use super::fetching::floor;
use super::io::{DisconnectReason, Distance, Output};
use super::score::{BLAME_ABSENT, BLAME_INVALID, backoff};

/// What did not verify is not asked of the same peer for so long, unless it says that it was lost.
const REFUSED_TIME: Duration = Duration::from_secs(10);
/// So many replies in a row may break off before their peer is left alone for a while.
const BROKEN_FORGIVEN: u32 = 3;

impl Swarm {
    /// What did not verify is asked of its peer again after a while: what it read again may have been good, and then it says
    /// nothing of it, or it may be all there is.
    pub(super) fn tick_refused(&mut self, now: Timestamp) {
        for peer in self.peers.values_mut() {
            if peer.source.refused_until.take_if(|until| *until <= now).is_none() {
                continue;
            }
            let views = peer.lines.values_mut().filter_map(|line| line.view.as_mut());
            views.for_each(|view| view.refused = Bits::none(view.refused.len()));
        }
    }

    /// Leaves `peer` alone for longer with each failure in a row.
    pub(super) fn back_off(&mut self, now: Timestamp, peer: NodeId) {
        let failures = self.peers.get_mut(&peer).map_or(0, |peer| {
            peer.source.failures += 1;
            peer.source.failures - 1
        });
        self.pause(now, peer, backoff(failures));
    }

    /// A reply broke off. A few are no reason to leave its peer alone: what was asked for is asked anew, of whoever is free.
    pub(super) fn broke_off(&mut self, now: Timestamp, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.source.broken += 1;
        if peer.source.broken > BROKEN_FORGIVEN {
            self.back_off(now, id);
        }
    }

    /// Leaves `peer` alone for about `pause`: up to a quarter longer, so that not all come back at once.
    pub(super) fn pause(&mut self, now: Timestamp, peer: NodeId, pause: Duration) {
        let jitter = self.rng.below(u64::try_from(pause.as_micros() / 4).unwrap_or(u64::MAX));
        if let Some(peer) = self.peers.get_mut(&peer) {
            let until = now.after(pause + Duration::from_micros(jitter));
            let source = &mut peer.source;
            source.backoff_until = source.backoff_until.max(Some(until));
        }
    }

    pub(super) fn blame_invalid(
        &mut self,
        now: Timestamp,
        id: NodeId,
        layout: LayoutId,
        groups: RangeSet,
        asked: Timestamp,
    ) {
        // Of what was asked before it was told, one is as telling as many: it has not had the time to look at its disk.
        let source = self.peers.get_mut(&id).map(|peer| &mut peer.source);
        let told = source.is_some_and(|source| source.blamed.replace(now).is_some_and(|told| asked <= told));
        let too_much = self.standings.blame(id, if told { 0 } else { BLAME_INVALID });
        let blame = self.standings.blame_of(&id);
        if let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get(&layout))
            && let Some(line) = peer.lines.get_mut(&layout)
        {
            for block in transfer.blocks_of(&groups) {
                line.mail.rejected.insert(block..block + 1);
                if let Some(view) = &mut line.view {
                    view.refused.set(block, true);
                }
            }
            peer.source.window.collapse(floor(transfer));
            peer.source.refused_until = Some(now.after(REFUSED_TIME));
            self.mail(now, id, layout);
        }
        self.out.push_back(Output::Event(Event::GroupsRejected {
            peer: id,
            layout,
            groups,
            blame,
        }));
        if too_much {
            self.punish(now, id, DisconnectReason::ServedGarbage);
        } else {
            self.pause(now, id, Duration::from_millis(500));
        }
    }

    pub(super) fn blame_absent(
        &mut self,
        now: Timestamp,
        id: NodeId,
        layout: LayoutId,
        groups: RangeSet,
        asked: Timestamp,
    ) {
        let (Some(peer), Some(transfer)) = (self.peers.get(&id), self.transfers.get(&layout)) else {
            return;
        };
        let distance = peer.info.distance;
        let Some(view) = peer.view(&layout) else { return };
        let blocks = transfer.blocks_of(&groups);
        let claimed = blocks.iter().any(|block| view.have.get(*block));
        self.disbelieve(id, layout, &blocks);
        if claimed {
            // Of several blocks one may be gone, and what was hidden when this was asked may be shown by now: that word does not wait
            // behind payload, and this answer did.
            self.ask_what_it_has(now, id, layout);
        }
        if !claimed || distance == Distance::Origin {
            // It had told us in the meantime; an origin hides again what it showed, which may cross with our ask.
            return;
        }
        // It may just have let go of it all, and its word of that is on its way: what was asked before counts once.
        let Some(source) = self.peers.get_mut(&id).map(|peer| &mut peer.source) else {
            return;
        };
        let counts = source.absent.is_none_or(|counted| asked > counted);
        if counts {
            source.absent = Some(now);
        }
        self.out.push_back(Output::Event(Event::HaveWasFalse {
            peer: id,
            layout,
            groups,
        }));
        if self.standings.blame(id, if counts { BLAME_ABSENT } else { 0 }) {
            self.punish(now, id, DisconnectReason::LiedAboutHaves);
        }
    }
}
