//! A scenario as processes are to perform it: who is where and what they draw, exactly as the simulator draws it. What no
//! process can be made to do is refused by its field.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use samara_protocol::swarm::config::Role;
use samara_protocol::time::Timestamp;
use samara_simulations::Scenario;
use samara_simulations::node::{Nature, Node};
use samara_simulations::scenario::{Behaviour, FaultKind, Reseed};
use samara_simulations::world::{Planned, WARM_UP, World};

/// The place of the origin, as a network of nodes expects it.
const ORIGIN: &str = "o";
/// Nodes of a star at the most.
const NODES_MAX: usize = 250;
/// Mbit/s of payload that the emulator carries beside the nodes' own work on a machine of two cores.
const EMULATED_MBIT: f64 = 600.0;
/// An origin tells a node of sixteen nodes of other tenants; it is one itself.
pub(super) const TOLD_MAX: usize = 17;
/// Paths as short as this need no emulator, in milliseconds.
const NEAR_MS: f64 = 1.0;

/// A scenario, drawn.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    /// The simulator's bound.
    pub(super) bound: Duration,
    pub(super) releases: Vec<Release>,
    /// In the simulator's order.
    pub(super) parts: Vec<Part>,
    pub(super) acts: Vec<Act>,
    /// Whether links have delay and loss and can fail; else a star of token buckets.
    pub(super) is_emulated: bool,
}

/// What moves.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) bytes: u64,
    /// From the barrier on.
    pub(super) at: Duration,
    pub(super) version: String,
}

/// One node.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) nature: Nature,
    pub(super) place: String,
    pub(super) reseed: Reseed,
    /// From the barrier on; none for who is there before.
    pub(super) joins: Option<Duration>,
    pub(super) leaves: Option<Duration>,
    /// Whom the simulator connects it to at the start, hosts apart: they come when they fetch.
    pub(super) neighbours: Vec<usize>,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Act {
    pub(super) kind: FaultKind,
    pub(super) node: usize,
    /// From the barrier on.
    pub(super) at: Duration,
    /// The fault's number in the plan.
    pub(super) fault: usize,
}

impl Plan {
    /// Draws it.
    ///
    /// # Errors
    /// The field that no process can be made to do.
    pub(super) fn draw(scenario: &Scenario) -> Result<Self> {
        let world = World::new(scenario)?;
        refuse(scenario, &world)?;
        let parts: Vec<Part> = world
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| Part {
                neighbours: met_at_start(&world, node),
                ..part(scenario, at, &node.nature)
            })
            .collect();
        let releases = world.releases.iter().enumerate().map(|(number, release)| Release {
            bytes: release.table.bytes(),
            at: from_start(release.at),
            version: format!("1.0.{number}"),
        });
        let mut plan = Self {
            bound: Duration::from_secs_f64(world.bound()),
            releases: releases.collect(),
            acts: world
                .planned
                .iter()
                .flat_map(|planned| acts(scenario, planned))
                .collect(),
            scenario: scenario.clone(),
            is_emulated: false,
            parts,
        };
        plan.acts.sort_by_key(|act| act.at);
        plan.check_parts()?;
        plan.is_emulated = plan.choose_links()?;
        Ok(plan)
    }

    /// Whether all sites follow the channel on which a release is promoted when its time has come. Where somebody holds it at the
    /// start it is promoted before, and a host beside each node asks for it then.
    pub(super) fn is_followed(&self) -> bool {
        self.parts
            .iter()
            .all(|part| part.nature.holds < 1.0 || part.nature.role == Role::Origin)
    }

    /// Bytes of all releases.
    pub(super) fn bytes(&self) -> u64 {
        self.releases.iter().map(|release| release.bytes).sum()
    }

    /// One way between two nodes.
    pub(super) fn latency(&self, a: usize, b: usize) -> Duration {
        let own = self.parts[a].nature.latency_ms + self.parts[b].nature.latency_ms;
        Duration::from_secs_f64((self.scenario.latency_ms + own) / 1e3)
    }

    /// How long a run may take before it counts as hung: the simulator's own deadline.
    pub(super) fn limit(&self) -> Duration {
        let joins = self.parts.iter().filter_map(|part| part.joins);
        let releases = self.releases.iter().map(|release| release.at);
        let faults = self
            .scenario
            .fault
            .iter()
            .map(|fault| Duration::from_secs_f64(fault.end_s()));
        let last = joins.chain(releases).chain(faults).max().unwrap_or_default();
        last + self.bound.mul_f64(self.scenario.deadline_factor) + Duration::from_secs(60)
    }

    /// The groups that a fault's neighbour is of.
    pub(super) fn neighbours_of(&self, act: &Act) -> Vec<usize> {
        let with = self.scenario.fault[act.fault].with.as_ref();
        let is_meant = |at: &usize| {
            let group = &self.scenario.nodes[self.parts[*at].nature.group];
            *at != act.node && (with.is_none() || group.name.as_ref() == with)
        };
        (0..self.parts.len()).filter(is_meant).collect()
    }

    fn check_parts(&self) -> Result<()> {
        for act in &self.acts {
            let is_node = self.parts[act.node].nature.role != Role::Host;
            ensure!(
                act.kind != FaultKind::Kill || is_node,
                "`fault.kind`: kill came to a host, which is one fetch without a process to start again; say by `on` whom to kill"
            );
        }
        for part in self.parts.iter().filter(|part| part.nature.role == Role::Host) {
            let has_node = |other: &Part| other.nature.role == Role::Site && other.nature.site == part.nature.site;
            ensure!(
                part.nature.site_only || !self.parts.iter().any(has_node),
                "`nodes.site_only`: a host of a site that has a node asks that node alone; write site_only = true"
            );
        }
        Ok(())
    }

    /// Whether the links are emulated.
    fn choose_links(&self) -> Result<bool> {
        let sum = |rate: fn(&Nature) -> f64| self.parts.iter().map(|part| rate(&part.nature)).sum::<f64>();
        let rate = sum(|nature| nature.rates.up).min(sum(|nature| nature.rates.down)) * 8.0 / 1e6;
        let has_loss = self.parts.iter().any(|part| part.nature.loss > 0.0);
        let network = [FaultKind::Outage, FaultKind::HalfOpen, FaultKind::Slow];
        let needed = self.acts.iter().find(|act| network.contains(&act.kind));
        let is_far =
            self.parts.iter().any(|part| part.nature.latency_ms > NEAR_MS) || self.scenario.latency_ms > NEAR_MS;
        if rate <= EMULATED_MBIT {
            return Ok(has_loss || needed.is_some() || is_far);
        }
        let what =
            format!("the links carry up to {rate:.0} Mbit/s, and the emulator {EMULATED_MBIT}: fewer or slower nodes");
        ensure!(!has_loss, "`nodes.loss`: {what}");
        if let Some(act) = needed {
            bail!("`fault.kind` {:?}: {what}", act.kind);
        }
        Ok(false)
    }
}

/// The nodes of those that are there at the start who know a node.
fn met_at_start(world: &World, node: &Node) -> Vec<usize> {
    let start = Timestamp::ZERO.after(WARM_UP);
    let is_there = |other: &Nature| other.joins <= start && other.role != Role::Host;
    let met = node.knows.iter().copied();
    met.filter(|other| is_there(&world.nodes[*other].nature)).collect()
}

fn part(scenario: &Scenario, at: usize, nature: &Nature) -> Part {
    let is_late = nature.joins > Timestamp::ZERO.after(WARM_UP);
    Part {
        place: if nature.role == Role::Origin {
            ORIGIN.to_owned()
        } else {
            format!("n{at}")
        },
        reseed: scenario.nodes[nature.group].reseed,
        joins: is_late.then(|| nature.joins.since(Timestamp::ZERO.after(WARM_UP))),
        leaves: nature.leaves.map(from_start),
        neighbours: Vec::new(),
        nature: nature.clone(),
    }
}

/// All times that a fault comes to a node.
fn acts(scenario: &Scenario, planned: &Planned) -> Vec<Act> {
    let fault = &scenario.fault[planned.fault];
    let first = planned.at.since(Timestamp::ZERO.after(WARM_UP));
    let mut all = Vec::new();
    for time in 0..fault.times {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let later = Duration::from_secs_f64(fault.every_s * time as f64);
        all.push(Act {
            kind: fault.kind,
            node: planned.node,
            at: first + later,
            fault: planned.fault,
        });
    }
    all
}

/// A moment of the plan as the time since the barrier.
fn from_start(at: Timestamp) -> Duration {
    at.since(Timestamp::ZERO)
}

/// Names the first field that no process can be made to do.
fn refuse(scenario: &Scenario, world: &World) -> Result<()> {
    let natures = || world.nodes.iter().map(|node| &node.nature);
    let origins = natures().filter(|nature| nature.role == Role::Origin).count();
    let first = scenario.release.first().map(|release| release.priority);
    let regions: std::collections::BTreeSet<u64> = natures().map(|nature| nature.region).collect();
    let too_few = scenario.neighbours.is_some_and(|most| most + 1 < world.nodes.len());
    let partly = natures().any(|nature| nature.holds > 0.0 && nature.holds < 1.0);
    let odd = natures().find(|nature| nature.behaviour != Behaviour::Honest);
    let fault = scenario.fault.iter().map(|fault| fault.kind);
    let refused = fault
        .clone()
        .find(|kind| matches!(kind, FaultKind::Power | FaultKind::DiskFull));
    let rules = [
        (
            scenario.broken_replies > 0.0,
            "broken_replies",
            "a process breaks no reply off",
        ),
        (origins != 1, "nodes.role", "exactly one origin is set up"),
        (
            world.nodes.len() > NODES_MAX,
            "nodes.count",
            "at most 250 places on one machine",
        ),
        (
            partly,
            "nodes.holds",
            "a node holds all or nothing at the start: 0 or 1",
        ),
        (
            too_few,
            "neighbours",
            "a node's own bound is 32, and it cannot be told another",
        ),
        (
            scenario.release.iter().any(|release| release.blocks.is_some()),
            "release.blocks",
            "a process sizes blocks itself",
        ),
        (
            scenario.release.iter().any(|release| Some(release.priority) != first),
            "release.priority",
            "releases of one product have its priority",
        ),
        (
            scenario.region_latency_ms > 0.0 && regions.len() > 1,
            "region_latency_ms",
            "a link's delay is the same to everybody; use nodes.latency_ms",
        ),
    ];
    for (is_wrong, field, why) in rules {
        ensure!(!is_wrong, "`{field}` of {}: {why}", scenario.name);
    }
    if let Some(nature) = odd {
        bail!(
            "`nodes.behaviour` of {}: real processes are honest, not {:?}",
            scenario.name,
            nature.behaviour
        );
    }
    if let Some(kind) = refused {
        bail!(
            "`fault.kind` of {}: {kind:?} cannot be done to a process; use kill, outage, half-open or slow",
            scenario.name
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "[[nodes]]\ncount = 1\nrole = \"origin\"\nup = \"50mbit\"\ndown = \"100mbit\"\n\
        [[nodes]]\nname = \"x\"\ncount = 2\nrole = \"site\"\nup = \"5mbit..50mbit\"\ndown = \"100mbit\"\n";

    fn draw(head: &str, tail: &str) -> Result<Plan> {
        let text = format!("name = \"t\"\nseed = 3\n{head}{NODES}{tail}");
        Plan::draw(&Scenario::parse("t", &text)?)
    }

    #[test]
    fn what_no_process_can_do_is_refused_by_its_field() {
        for (head, tail, field) in [
            ("broken_replies = 0.5\n", "", "broken_replies"),
            ("neighbours = 1\n", "", "neighbours"),
            (
                "",
                "behaviour = \"garbage\"\n[[nodes]]\ncount = 1\nrole = \"site\"\nup = \"1mbit\"\ndown = \"1mbit\"\n",
                "nodes.behaviour",
            ),
            ("", "holds = 0.5\n", "nodes.holds"),
            (
                "",
                "[[fault]]\nkind = \"power\"\nat_s = 1.0\nfor_s = 1.0\n",
                "fault.kind",
            ),
            (
                "",
                "[[fault]]\nkind = \"disk-full\"\nat_s = 1.0\nfor_s = 1.0\n",
                "fault.kind",
            ),
            ("", "[[release]]\nsize = \"1MiB\"\nblocks = 4\n", "release.blocks"),
            (
                "",
                "[[release]]\nsize = \"1MiB\"\n[[release]]\nsize = \"1MiB\"\npriority = 1\n",
                "release.priority",
            ),
            (
                "",
                "[[nodes]]\ncount = 1\nrole = \"origin\"\nup = \"1mbit\"\ndown = \"1mbit\"\n",
                "nodes.role",
            ),
            ("region_latency_ms = 9\n", "region = \"east\"\n", "region_latency_ms"),
            (
                "",
                "[[nodes]]\ncount = 20\nrole = \"site\"\nup = \"90mbit\"\ndown = \"90mbit\"\nloss = 0.1\n",
                "nodes.loss",
            ),
        ] {
            let error = draw(head, tail).expect_err(field).to_string();
            assert!(error.contains(&format!("`{field}`")), "{error}");
        }
    }

    #[test]
    fn everybody_draws_what_the_simulator_draws_and_times_count_from_the_barrier() {
        let late = "joins_s = 4\n[[fault]]\nkind = \"outage\"\non = \"x\"\nat_s = 3.0\nfor_s = 2.0\ntimes = 2\nevery_s = 5.0\n";
        let plan = draw("", late).expect("can be performed");
        let world = World::new(&plan.scenario).expect("is a scenario");
        for (part, node) in plan.parts.iter().zip(&world.nodes) {
            assert!((part.nature.rates.up - node.nature.rates.up).abs() < 1e-9);
        }
        assert_eq!(
            (plan.parts[0].place.as_str(), plan.parts[1].place.as_str()),
            ("o", "n1")
        );
        let met: Vec<&[usize]> = plan.parts.iter().map(|part| &part.neighbours[..]).collect();
        let origin: &[usize] = &[0];
        assert_eq!(
            met,
            [&[], origin, origin],
            "at the start nobody but the origin is there"
        );
        assert_eq!(
            (plan.parts[0].joins, plan.parts[1].joins),
            (None, Some(Duration::from_secs(3)))
        );
        let acts: Vec<_> = plan.acts.iter().map(|act| (act.node, act.at.as_secs())).collect();
        assert_eq!(acts, [(world.planned[0].node, 3), (world.planned[0].node, 8)]);
        assert!(plan.is_emulated && plan.latency(0, 1) == Duration::from_millis(5));
    }

    #[test]
    fn a_fast_swarm_stands_in_a_star() {
        let fast = "[[nodes]]\ncount = 20\nrole = \"site\"\nup = \"50mbit\"\ndown = \"100mbit\"\n";
        assert!(!draw("", fast).expect("can be performed").is_emulated);
        assert!(!draw("latency_ms = 0.5\n", "").expect("can be performed").is_emulated);
    }
}
