//! What no scheduler can do without: the least time, and the copies that the origins have to send, by the links and by what
//! everybody holds at the start.

use std::collections::{BTreeMap, BTreeSet};

use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::swarm::config::Role;
use samara_protocol::tree::ranges::RangeSet;

use super::World;
use crate::bound::{self, Rates, Taker};
use crate::node::{Nature, Node};
use crate::scenario::{Behaviour, ScenarioError, TIME_MAX};

/// What was found out before anything moved.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    bound_s: f64,
    mundinger_s: Option<f64>,
    /// Copies.
    first: f64,
    copies: f64,
}

/// Nodes that may feed each other, so that one copy is enough for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Domain(u64),
    Site(u64),
    Alone(usize),
}

impl World {
    /// The least time in seconds in which all honest nodes could have all releases, by their links, the losses on the paths
    /// between them, their operators' limits and what everybody holds at the start: Kumar and Ross, and of each group of
    /// nodes that may feed each other what none of them holds comes from the origins.
    #[must_use]
    pub const fn bound(&self) -> f64 {
        self.needs.bound_s
    }

    /// Mundinger, Weber and Weiss: the same for equal links, where a block must be whole before it is passed on.
    #[must_use]
    pub const fn mundinger(&self) -> Option<f64> {
        self.needs.mundinger_s
    }

    /// How many copies the origins have to send at the least: for each group of nodes that may feed each other what none of
    /// them holds.
    #[must_use]
    pub const fn groups(&self) -> f64 {
        self.needs.first
    }

    /// How many copies the origins have to send so that the bound can be reached: what the sites' uplinks cannot carry.
    #[must_use]
    pub const fn copies_needed(&self) -> f64 {
        self.needs.copies
    }

    /// What must be sent, and how long that takes at the least. For before anything moves.
    pub(super) fn needs(&self) -> Result<Needs, ScenarioError> {
        let expected = || self.nodes.iter().enumerate().filter(|(_, node)| is_expected(node));
        let taker = |(at, node): (usize, &Node)| Taker {
            lacks: self.lacks(node),
            down: self.reached(at).down,
        };
        let takers: Vec<Taker> = expected().map(taker).collect();
        let (bytes, first) = (self.bytes(), self.first_bytes());
        let up = |is_meant: &dyn Fn(&Node) -> bool| -> f64 {
            let meant = (0..self.nodes.len()).filter(|at| is_meant(&self.nodes[*at]));
            meant.map(|at| self.reached(at).up).sum()
        };
        let origin_up = up(&|node| node.nature.role == Role::Origin);
        let sites_up = up(&|node| node.nature.role != Role::Origin && serves(node));
        let least = bound::kumar_ross(first, origin_up, origin_up + sites_up, &takers);
        let bound_s = self.scenario.bound_s.unwrap_or(least);
        if !(0.0..=TIME_MAX).contains(&bound_s) {
            let what = format!(
                "with these links the least time is {bound_s:?} s; widen them so that it is at most {TIME_MAX}"
            );
            return Err(ScenarioError::Value("nodes.down, nodes.up".to_owned(), what));
        }
        let wanted: f64 = takers.iter().map(|taker| taker.lacks).sum();
        let is_whole = takers.iter().all(|taker| taker.lacks >= bytes);
        let rates: Vec<Rates> = expected().map(|(at, _)| self.reached(at)).collect();
        let blocks = self.releases.iter().map(|release| release.table.len()).sum();
        Ok(Needs {
            bound_s,
            mundinger_s: bound::mundinger(bytes, origin_up, &rates, blocks).filter(|_| is_whole),
            first: first / bytes,
            copies: ((wanted - sites_up * bound_s) / bytes).max(first / bytes),
        })
    }

    /// What a node's links come to with those whom it knows: never more than they can take and give, and not more than what
    /// the losses on the paths to them let through.
    fn reached(&self, at: usize) -> Rates {
        let node = &self.nodes[at];
        let own = node.nature.usable();
        let others = || node.knows.iter().map(|other| (*other, &self.nodes[*other]));
        let takes = |(other, node): (usize, &Node)| node.nature.usable().down.min(self.path_cap(at, other));
        let gives = |(other, node): (usize, &Node)| node.nature.usable().up.min(self.path_cap(at, other));
        let up: f64 = others()
            .filter(|(_, node)| node.nature.role != Role::Origin)
            .map(takes)
            .sum();
        let down: f64 = others().filter(|(_, node)| serves(node)).map(gives).sum();
        Rates {
            up: if serves(node) { own.up.min(up) } else { 0.0 },
            // Who knows nobody never finishes: that is for the oracle to say.
            down: if down > 0.0 { own.down.min(down) } else { own.down },
        }
    }

    /// What the origins have to send themselves.
    fn first_bytes(&self) -> f64 {
        let nodes = || self.nodes.iter().enumerate();
        let serving: BTreeMap<u64, u64> = nodes()
            .filter(|(_, node)| node.nature.role == Role::Site && node.counts())
            .map(|(_, node)| (node.nature.site, node.nature.domain))
            .collect();
        let group = |at: usize, nature: &Nature| match serving.get(&nature.site) {
            Some(0) => Group::Site(nature.site),
            Some(domain) => Group::Domain(*domain),
            None if nature.role == Role::Site && nature.domain != 0 => Group::Domain(nature.domain),
            None => Group::Alone(at),
        };
        let fed = nodes().filter(|(_, node)| is_expected(node));
        let fed: BTreeSet<Group> = fed.map(|(at, node)| group(at, &node.nature)).collect();
        let mut bytes = 0.0;
        for release in &self.releases {
            let mut held: BTreeMap<Group, RangeSet> = BTreeMap::new();
            for (at, node) in nodes().filter(|(_, node)| node.nature.role != Role::Origin) {
                if let Some(disk) = node.disk.get(&release.layout).filter(|disk| !disk.held.is_empty()) {
                    held.entry(group(at, &node.nature)).or_default().union_with(&disk.held);
                }
            }
            let all = f64::from(release.table.group_count());
            for group in &fed {
                bytes += size(all) - held.get(group).map_or(0.0, in_bytes);
            }
        }
        bytes
    }

    /// What a node lacks of all releases.
    pub(crate) fn lacks(&self, node: &Node) -> f64 {
        let held = |layout| node.disk.get(layout).map_or(0.0, |disk| in_bytes(&disk.held));
        let lacks = self.releases.iter();
        lacks
            .map(|release| size(f64::from(release.table.group_count())) - held(&release.layout))
            .sum()
    }

    fn bytes(&self) -> f64 {
        let groups = self.releases.iter().map(|release| release.table.group_count());
        groups.map(|groups| size(f64::from(groups))).sum()
    }
}

/// Whether it is to finish, and does not leave before.
fn is_expected(node: &Node) -> bool {
    node.counts() && node.nature.leaves.is_none()
}

/// Whether it sends others what is good.
fn serves(node: &Node) -> bool {
    let behaviour = node.nature.behaviour;
    node.nature.role != Role::Host && (behaviour.is_honest() || behaviour == Behaviour::Flood)
}

fn in_bytes(groups: &RangeSet) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
    let count = groups.count() as f64;
    size(count)
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn size(groups: f64) -> f64 {
    groups * GROUP_BYTES as f64
}
