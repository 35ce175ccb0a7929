//! Whole-state invariants, for tests and simulations after every step. Costs what the state is large.

use std::collections::BTreeMap;

use crate::id::{LayoutId, NodeId};
use crate::limits::{LINES_NEEDING_MAX, REQUESTS_PER_PEER_MAX, SERVE_BYTES_MAX, TRANSFERS_MAX};
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::config::QUANTUM_MAX;
use super::transfer::{Transfer, nominal};

impl Swarm {
    /// Checks everything that must hold between two inputs.
    ///
    /// # Panics
    /// When something does not hold: a bug in this module, or inputs that break the contract of `io`.
    pub fn check(&self) {
        assert!(self.transfers.len() <= TRANSFERS_MAX, "too many transfers");
        self.check_requests();
        self.check_serves();
        for (layout, transfer) in &self.transfers {
            self.check_transfer(*layout, transfer);
            self.check_placements(*layout, transfer);
        }
        for (id, peer) in &self.peers {
            assert!(peer.source.requests.len() <= REQUESTS_PER_PEER_MAX, "asks of {id:?}");
            assert!(peer.sink.serves.len() <= REQUESTS_PER_PEER_MAX, "asks by {id:?}");
            assert!(peer.places.len() <= LINES_NEEDING_MAX, "places of {id:?}");
            let has_line = |layout: &LayoutId| peer.lines.contains_key(layout);
            assert!(
                peer.places.iter().all(has_line),
                "{id:?} has a place for what is closed"
            );
            for layout in peer.numbers.values() {
                assert!(peer.lines.contains_key(layout), "a numbered layout has a line");
            }
            for (layout, line) in &peer.lines {
                let transfer = &self.transfers[layout];
                assert!(
                    peer.covers.contains_key(&transfer.product),
                    "{id:?} hears of what it must not"
                );
                let has_place = peer.places.contains(layout);
                assert!(
                    line.pledges.is_empty() || has_place,
                    "{id:?} was promised what has no place"
                );
                if let Some(view) = &line.view {
                    let needs = view.want.count() - view.want.count_common(&view.have);
                    assert_eq!(view.needs, needs, "needs of {id:?}");
                    assert_eq!(view.have_count, view.have.count(), "haves of {id:?}");
                }
            }
        }
    }

    fn check_requests(&self) {
        let mut outstanding: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (id, request) in &self.requests {
            assert!(
                self.transfers.contains_key(&request.layout),
                "a request of a closed layout"
            );
            *outstanding.entry(request.peer).or_default() += nominal(&request.left);
            let peer = &self.peers[&request.peer];
            assert!(
                peer.source.requests.contains(id),
                "a request that its peer does not know"
            );
        }
        for (id, peer) in &self.peers {
            let sum = outstanding.get(id).copied().unwrap_or(0);
            assert_eq!(peer.source.outstanding, sum, "outstanding at {id:?}");
            let known = peer
                .source
                .requests
                .iter()
                .all(|request| self.requests.contains_key(request));
            assert!(known, "{id:?} has a request that is over");
        }
    }

    fn check_serves(&self) {
        let mut all = 0;
        for (id, peer) in &self.peers {
            let issued: u64 = peer.sink.serves.iter().map(|serve| self.serves[serve].issued).sum();
            assert_eq!(peer.sink.issued, issued, "issued to {id:?}");
            assert!(issued <= 2 * QUANTUM_MAX, "{issued} bytes are {id:?}'s alone");
            all += issued;
        }
        assert_eq!(self.admission.issued, all, "issued in all");
        assert!(all <= SERVE_BYTES_MAX, "{all} bytes read and not sent");
        let listed: usize = self.peers.values().map(|peer| peer.sink.serves.len()).sum();
        assert_eq!(listed, self.serves.len(), "serves without a peer");
    }

    fn check_placements(&self, layout: LayoutId, transfer: &Transfer) {
        for (domain, placement) in &transfer.seeding.domains {
            let blocks = transfer.table.len() as usize;
            let (mut holders, mut pledged) = (vec![0; blocks], vec![0; blocks]);
            let lines = self.peers.values().filter_map(|peer| peer.lines.get(&layout));
            for line in lines.filter(|line| line.is_of(*domain)) {
                for block in line.view.iter().flat_map(|view| view.have.iter()) {
                    holders[block as usize] += 1;
                }
                for block in line.pledges.keys() {
                    pledged[*block as usize] += 1;
                }
            }
            assert_eq!(placement.holders, holders, "who has what in {domain:?}");
            assert_eq!(placement.pledged, pledged, "what is promised in {domain:?}");
            assert!(
                placement.is_cursor_sound(),
                "{domain:?} is not looked at where it lacks something"
            );
        }
    }

    fn check_transfer(&self, layout: LayoutId, transfer: &Transfer) {
        let mut relied = RangeSet::new();
        let mut shared = 0;
        for request in self.requests.values().filter(|request| request.layout == layout) {
            if request.shared {
                shared += 1;
                continue;
            }
            let twice = request.left.intersection(&relied);
            assert!(twice.is_empty(), "two peers are relied on for {twice:?}");
            relied.union_with(&request.left);
        }
        assert_eq!(transfer.shared, shared, "shared requests");
        assert_eq!(transfer.requested, relied, "groups relied on");
        assert!(
            transfer.requested.intersection(&transfer.held).is_empty(),
            "held and asked for"
        );
        assert_eq!(
            transfer.have,
            transfer.table.whole_blocks(&transfer.held),
            "whole blocks"
        );
        let durable = transfer.held_durable.difference(&transfer.held);
        assert!(durable.is_empty(), "durable and not held");
        for block in 0..transfer.table.len() {
            let idle = !transfer.have.get(block) && !transfer.askable(block).is_empty();
            assert!(!(idle && transfer.busy.get(block)), "block {block} is forgotten");
        }
        let left = transfer.wanted.iter().filter(|block| !transfer.have.get(*block));
        let left: u64 = left.map(|block| transfer.table.get(block).bytes).sum();
        assert_eq!(transfer.left, left, "bytes left");
    }
}
