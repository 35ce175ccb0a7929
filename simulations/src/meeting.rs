//! Who knows whom.
//!
//! Own site first, then one origin, then others: everybody who may be met, while that is within the bound, else some at random.

use std::collections::BTreeMap;

use samara_protocol::rng::Rng;
use samara_protocol::swarm::config::Role;

use crate::node::{Nature, Node};
use crate::scenario::{Behaviour, Reach, Scenario};

/// With more nodes than this not every pair is looked at.
const ALL_PAIRS_MAX: usize = 600;

/// Fills in [`Node::knows`].
pub(crate) fn acquaint(scenario: &Scenario, nodes: &mut [Node]) {
    let mut rng = Rng::new(scenario.seed ^ 0x746f_706f);
    let max = scenario.neighbours();
    meet_site(nodes, max);
    meet_origins(nodes, max, &mut rng);
    if nodes.len() <= ALL_PAIRS_MAX {
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for a in 0..nodes.len() {
            pairs.extend((a + 1..nodes.len()).map(|b| (a, b)));
        }
        rng.shuffle(&mut pairs);
        for (a, b) in pairs {
            meet(nodes, a, b, max);
        }
        return;
    }
    // As many random matchings as it takes: each gives everybody at most one neighbour more.
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    // Nobody has more neighbours than there are others.
    for _ in 0..4 * max.min(nodes.len()) {
        rng.shuffle(&mut order);
        for pair in order.chunks_exact(2) {
            meet(nodes, pair[0], pair[1], max);
        }
    }
}

fn meet(nodes: &mut [Node], a: usize, b: usize, max: usize) {
    let has_room = nodes[a].knows.len() < max && nodes[b].knows.len() < max;
    if has_room && may_meet(&nodes[a].nature, &nodes[b].nature) {
        nodes[a].knows.insert(b);
        nodes[b].knows.insert(a);
    }
}

fn meet_site(nodes: &mut [Node], max: usize) {
    let mut sites: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        sites.entry(node.nature.site).or_default().push(at);
    }
    for members in sites.into_values() {
        for (at, a) in members.iter().enumerate() {
            for b in &members[at + 1..] {
                meet(nodes, *a, *b, max);
            }
        }
    }
}

fn meet_origins(nodes: &mut [Node], max: usize, rng: &mut Rng) {
    let is_origin = |at: &usize| nodes[*at].nature.role == Role::Origin;
    let (origins, mut others): (Vec<usize>, Vec<usize>) = (0..nodes.len()).partition(is_origin);
    rng.shuffle(&mut others);
    for (at, origin) in origins.iter().enumerate() {
        for other in &origins[at + 1..] {
            meet(nodes, *origin, *other, max);
        }
    }
    for other in others {
        for origin in &origins {
            meet(nodes, *origin, other, max);
        }
    }
}

fn may_meet(a: &Nature, b: &Nature) -> bool {
    if a.reach == Reach::Outbound && b.reach == Reach::Outbound {
        return false;
    }
    if a.behaviour == Behaviour::Stranger || b.behaviour == Behaviour::Stranger {
        return a.behaviour != b.behaviour;
    }
    let same_site = a.site == b.site;
    if a.site_only || b.site_only {
        return same_site;
    }
    let feeds = a.domain != 0 && a.domain == b.domain && a.role == Role::Site && b.role == Role::Site;
    same_site || feeds || a.role == Role::Origin || b.role == Role::Origin
}
