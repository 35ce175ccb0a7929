//! What no scheduler can do without: the least time, and the copies that the origins have to send.

use std::collections::{BTreeMap, BTreeSet};

use samara_protocol::swarm::config::Role;

use super::World;
use crate::bound::{self, Rates};

impl World {
    /// The least time in seconds in which all releases together could reach all honest nodes, by their links and their
    /// operators' limits: Kumar and Ross, and one copy from the origins for each group of nodes that may feed each other.
    #[must_use]
    pub fn bound(&self) -> f64 {
        if let Some(bound) = self.scenario.bound_s {
            return bound;
        }
        let origin_up = self.origin_up();
        let expected = self
            .nodes
            .iter()
            .filter(|node| node.counts() && node.nature.leaves.is_none());
        let sites: Vec<Rates> = expected.map(|node| node.nature.usable()).collect();
        let bytes = self.bytes();
        if origin_up == 0.0 {
            return bound::kumar_ross(bytes, f64::INFINITY, &sites);
        }
        bound::kumar_ross(bytes, origin_up, &sites).max(self.groups() * bytes / origin_up)
    }

    /// Mundinger, Weber and Weiss: the same for equal links, where a block must be whole before it is passed on.
    #[must_use]
    pub fn mundinger(&self) -> Option<f64> {
        let sites: Vec<Rates> = self
            .nodes
            .iter()
            .filter(|node| node.counts())
            .map(|node| node.nature.usable())
            .collect();
        let blocks: u32 = self.releases.iter().map(|release| release.table.len()).sum();
        bound::mundinger(self.bytes(), self.origin_up(), &sites, blocks)
    }

    /// How many copies the origins have to send at the least: one for each group of nodes that may feed each other.
    #[must_use]
    pub fn groups(&self) -> f64 {
        let serving: BTreeMap<u64, u64> = self
            .nodes
            .iter()
            .filter(|node| node.nature.role == Role::Site && node.counts())
            .map(|node| (node.nature.site, node.nature.domain))
            .collect();
        let (mut groups, mut copies) = (BTreeSet::new(), 0_u32);
        for nature in self.nodes.iter().filter(|node| node.counts()).map(|node| &node.nature) {
            match serving.get(&nature.site) {
                Some(0) => copies += u32::from(groups.insert((nature.site, true))),
                Some(domain) => copies += u32::from(groups.insert((*domain, false))),
                None => copies += 1,
            }
        }
        f64::from(copies)
    }

    /// How many copies the origins have to send so that the bound can be reached: what the sites' uplinks cannot carry.
    #[must_use]
    pub fn copies_needed(&self) -> f64 {
        let bytes = self.bytes();
        let sites = self.nodes.iter().filter(|node| node.counts());
        let (mut wanted, mut carried) = (0.0, 0.0);
        for nature in sites.map(|node| &node.nature) {
            wanted += bytes;
            if nature.role == Role::Site {
                carried += nature.usable().up * self.bound();
            }
        }
        ((wanted - carried) / bytes).max(self.groups())
    }

    fn origin_up(&self) -> f64 {
        let origins = self.nodes.iter().filter(|node| node.nature.role == Role::Origin);
        origins.map(|node| node.nature.usable().up).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
    fn bytes(&self) -> f64 {
        let bytes: u64 = self.releases.iter().map(|release| release.table.bytes()).sum();
        bytes as f64
    }
}
