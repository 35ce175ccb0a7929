//! A random plan for each seed: who takes part, over which links, and everything that can go wrong at the same time.
//!
//! Small on purpose: a few nodes and some hundred groups, so that thousands of plans fit a few minutes. All faults end, so
//! in the end every honest node must have everything.

use samara_protocol::rng::Rng;

use crate::scenario::{Behaviour, Fault, FaultKind, Nodes, Reach, Release, Reseed, RoleName, Scenario, Spread};

/// The plan of a seed.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let mut plan = without_housed(seed);
    // Lots of their own, so that everything else of a plan is as it was before there were such hosts.
    let mut rng = Rng::new(seed ^ 0x686f_7374);
    if rng.one_in(3) {
        house(&mut plan, &mut rng);
    }
    plan
}

/// Makes one of the honest groups a site, and puts hosts into it that know nobody else: everything that they get is from there.
fn house(plan: &mut Scenario, rng: &mut Rng) {
    let groups = plan.nodes.iter_mut();
    let is_meant = |nodes: &&mut Nodes| nodes.role == RoleName::Site && nodes.behaviour == Behaviour::Honest;
    let mut groups: Vec<&mut Nodes> = groups.filter(is_meant).collect();
    let at = usize::try_from(rng.below(groups.len() as u64)).unwrap_or(0);
    let Some(sites) = groups.get_mut(at) else { return };
    let home = Some("home".to_owned());
    (sites.site, sites.nodes_per_site, sites.tenants) = (home.clone(), 1, None);
    let count = pick(rng, &[1, 2, 3]);
    let mut hosts = group(RoleName::Host, count, rng);
    (hosts.site, hosts.site_only) = (home, true);
    hosts.joins_s = Spread::one(pick(rng, &[0.0, 0.0, 4.0]));
    plan.nodes.push(hosts);
}

/// The plan of a seed as it was before there were hosts that know only their own site.
#[must_use]
pub fn without_housed(seed: u64) -> Scenario {
    let mut rng = Rng::new(seed ^ 0x6368_616f);
    let mut plan = Scenario {
        name: "chaos".to_owned(),
        seed,
        release: releases(&mut rng),
        latency_ms: pick(&mut rng, &[0.1, 5.0, 40.0]),
        region_latency_ms: pick(&mut rng, &[0.0, 60.0]),
        // Everybody knows an origin: who does not cannot be fed by a scheduler.
        neighbours: Some(32),
        broken_replies: pick(&mut rng, &[0.0, 0.0, 0.05, 0.2]),
        // A bound on copies may leave nodes without any: those who cannot be fed by others, or believe who lies.
        origin_copies_max: None,
        deadline_factor: 30.0,
        nodes: Vec::new(),
        fault: Vec::new(),
        bound_s: None,
        rules: samara_protocol::swarm::config::Rules::ALL,
    };
    plan.nodes
        .push(group(RoleName::Origin, pick(&mut rng, &[1, 1, 2]), &mut rng));
    for _ in 0..=rng.below(2) {
        let count = 1 + usize::try_from(rng.below(6)).unwrap_or(0);
        let mut sites = group(RoleName::Site, count, &mut rng);
        sites.reseed = pick(&mut rng, &[Reseed::All, Reseed::All, Reseed::Own]);
        sites.tenants = pick(&mut rng, &[None, Some(1), Some(2)]);
        sites.nodes_per_site = pick(&mut rng, &[1, 1, 2]);
        sites.reach = pick(&mut rng, &[Reach::Open, Reach::Open, Reach::Outbound]);
        sites.holds = Spread::one(pick(&mut rng, &[0.0, 0.0, 0.3]));
        sites.joins_s = Spread::one(pick(&mut rng, &[0.0, 0.0, 4.0]));
        sites.loss = Spread::one(pick(&mut rng, &[0.0, 0.0, 0.01]));
        plan.nodes.push(sites);
    }
    if rng.one_in(3) {
        let count = pick(&mut rng, &[1, 2]);
        plan.nodes.push(group(RoleName::Host, count, &mut rng));
    }
    if rng.one_in(2) {
        let mut hostile = group(RoleName::Site, pick(&mut rng, &[1, 2, 4]), &mut rng);
        hostile.behaviour = pick(
            &mut rng,
            &[
                Behaviour::Garbage,
                Behaviour::LyingHaves,
                Behaviour::Stall,
                Behaviour::Flood,
                Behaviour::Rotten,
                Behaviour::Greedy,
                Behaviour::Stranger,
            ],
        );
        plan.nodes.push(hostile);
    }
    for _ in 0..rng.below(5) {
        plan.fault.push(fault(&mut rng));
    }
    plan
}

fn releases(rng: &mut Rng) -> Vec<Release> {
    let count = pick(rng, &[1, 1, 1, 2, 3]);
    let release = |number: u8, rng: &mut Rng| Release {
        size: pick(rng, &["1MiB", "4MiB", "9MiB"]).to_owned(),
        blocks: pick(rng, &[None, Some(7), Some(32)]),
        priority: pick(rng, &[0, 0, 3]),
        at_s: f64::from(number) * pick(rng, &[0.0, 0.7]),
    };
    (0..count).map(|number| release(number, rng)).collect()
}

fn group(role: RoleName, count: usize, rng: &mut Rng) -> Nodes {
    let rate = |rng: &mut Rng| Spread::one(pick(rng, &[1.25e5, 6.25e5, 1.25e6, 6.25e6]));
    Nodes {
        name: None,
        count,
        role,
        up: rate(rng),
        down: rate(rng),
        latency_ms: Spread::one(pick(rng, &[0.0, 20.0])),
        loss: Spread::one(0.0),
        reach: Reach::Open,
        reseed: Reseed::All,
        tenants: None,
        tenant: None,
        site: None,
        nodes_per_site: 1,
        region: pick(rng, &["", "east", "west"]).to_owned(),
        holds: Spread::one(0.0),
        joins_s: Spread::one(0.0),
        leaves_s: None,
        behaviour: Behaviour::Honest,
        limit_up: pick(rng, &[None, None, Some(Spread::one(2.5e5))]),
        limit_down: None,
        site_only: false,
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let kinds = [
        FaultKind::Kill,
        FaultKind::Power,
        FaultKind::Outage,
        FaultKind::HalfOpen,
        FaultKind::Slow,
        FaultKind::DiskFull,
    ];
    let for_s = pick(rng, &[0.2, 1.0, 3.0, 20.0]);
    let at_s = 6.0 * rng.unit();
    Fault {
        kind: pick(rng, &kinds),
        at_s,
        until_s: Some(at_s + pick(rng, &[0.0, 4.0])),
        count: pick(rng, &[1, 2, 5]),
        on: None,
        with: None,
        for_s,
        times: pick(rng, &[1, 1, 3]),
        every_s: for_s + 1.5,
        factor: 0.1,
    }
}

fn pick<T: Clone>(rng: &mut Rng, items: &[T]) -> T {
    rng.pick(items).cloned().expect("there is something to pick from")
}

#[cfg(test)]
mod tests {
    use samara_protocol::swarm::config::Role;

    use super::*;
    use crate::node::Node;

    #[test]
    fn every_plan_makes_sense_and_the_same_seed_gives_the_same() {
        for seed in 0..2000 {
            let plan = scenario(seed);
            plan.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(format!("{plan:?}"), format!("{:?}", scenario(seed)));
        }
    }

    #[test]
    fn a_host_that_knows_only_its_site_knows_an_honest_node_there_that_knows_an_origin() {
        let mut housed = 0;
        for seed in 0..600 {
            let nodes = crate::topology::nodes(&scenario(seed));
            for host in nodes.iter().filter(|node| node.nature.site_only) {
                // A stranger knows everybody, and nobody lets it in.
                let met = host.knows.iter().map(|other| &nodes[*other]);
                let mut met = met.filter(|node| node.nature.behaviour != Behaviour::Stranger);
                assert!(
                    met.clone().all(|node| node.nature.site == host.nature.site),
                    "seed {seed}"
                );
                let is_fed = |node: &Node| node.knows.iter().any(|other| nodes[*other].nature.role == Role::Origin);
                let feeds = |node: &Node| node.nature.role == Role::Site && node.counts() && is_fed(node);
                assert!(met.any(feeds), "seed {seed}");
                housed += 1;
            }
        }
        assert!(housed > 200, "{housed} hosts in 600 plans");
    }
}
