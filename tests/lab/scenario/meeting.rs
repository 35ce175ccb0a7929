//! Before the barrier: whoever is there at the start runs, and is connected to whom the simulator connects it to. Who waits
//! says for whom.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use samara_tests::{Process, wait};
use serde_json::Value;

use super::fleet::{Fleet, peers};
use super::links::is_origin;
use super::plan::{Part, Plan, TOLD_MAX};
use super::stage::holds;

/// How long the nodes may take to find each other.
const MEETING: Duration = Duration::from_secs(120);
/// How often somebody who waits says so.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The nodes' identities, by the numbers of their parts.
type Ids = BTreeMap<usize, String>;

/// Starts whoever is there before the barrier; the least number of neighbours that one of them has then. Whoever holds
/// everything at the start fetches it first: nodes of its site, if they ran, would take it up too.
pub(super) fn meet(plan: &Plan, fleet: &Fleet, work: &Path) -> Result<usize> {
    let early = (0..plan.parts.len()).filter(|at| !is_origin(&plan.parts[*at]) && plan.parts[*at].joins.is_none());
    let (holders, others): (Vec<usize>, Vec<usize>) = early.partition(|at| holds(plan, *at));
    start(plan, fleet, &holders)?;
    for at in &holders {
        for release in 0..plan.releases.len() {
            let into = work.join(format!("given{at}-{release}"));
            let fetch = Process::start(&mut fleet.fetch(plan, *at, release, &into))?;
            fetch.finish(plan.limit())?.success()?;
            std::fs::remove_dir_all(into)?;
        }
    }
    start(plan, fleet, &others)?;
    let ids = ids(plan, fleet)?;
    let mut least = usize::MAX;
    for at in holders.into_iter().chain(others).filter(|at| ids.contains_key(at)) {
        least = least.min(wait_met(plan, fleet, at, &ids)?);
    }
    Ok(if least == usize::MAX { 0 } else { least })
}

/// Starts nodes and waits until each is connected to the origin.
fn start(plan: &Plan, fleet: &Fleet, nodes: &[usize]) -> Result<()> {
    for at in nodes {
        fleet.start(*at)?;
    }
    for at in nodes.iter().copied().filter(|at| fleet.has_node(*at)) {
        wait_for(plan, fleet, at, |status| {
            let met = peers(status).iter().any(|peer| peer["distance"] == "origin");
            if met { Vec::new() } else { vec!["the origin".to_owned()] }
        })?;
    }
    Ok(())
}

/// Of the nodes that run.
fn ids(plan: &Plan, fleet: &Fleet) -> Result<Ids> {
    let mut ids = Ids::new();
    let runs = |at: &usize| is_origin(&plan.parts[*at]) || (fleet.has_node(*at) && plan.parts[*at].joins.is_none());
    for at in (0..plan.parts.len()).filter(runs) {
        let status = fleet.status(plan, at);
        let id = status.as_ref().and_then(|status| status["node"]["peer"].as_str());
        ids.insert(at, id.with_context(|| plan.parts[at].place.clone())?.to_owned());
    }
    Ok(ids)
}

/// Waits until a node is connected to whom the simulator connects it to; to how many it is then.
fn wait_met(plan: &Plan, fleet: &Fleet, at: usize, ids: &Ids) -> Result<usize> {
    let status = wait_for(plan, fleet, at, |status| {
        let connected: Vec<&str> = peers(status).iter().filter_map(|peer| peer["peer"].as_str()).collect();
        missing(&plan.parts, at, ids, &connected)
    })?;
    Ok(peers(&status).len())
}

/// Waits until nothing is missing in a node's status, and says from time to time what is.
fn wait_for(plan: &Plan, fleet: &Fleet, at: usize, missing: impl Fn(&Value) -> Vec<String>) -> Result<Value> {
    let place = &plan.parts[at].place;
    let (mut lacks, mut said) = (Vec::new(), Instant::now());
    let met = wait::until("it", MEETING, || {
        let Some(status) = fleet.status(plan, at) else {
            lacks = vec!["an answer".to_owned()];
            return Ok(None);
        };
        lacks = missing(&status);
        if lacks.is_empty() {
            return Ok(Some(status));
        }
        if said.elapsed() >= SAY_AGAIN {
            crate::note(&format!("{place} waits to be connected to {}", lacks.join(", ")));
            said = Instant::now();
        }
        Ok(None)
    });
    met.with_context(|| {
        let standing = fleet.standing(plan, at);
        format!("{place} was not connected to {}\n{standing}", lacks.join(", "))
    })
}

/// To whom a part is to be connected and is not. An origin tells a node of so many others and no more, which need not be those
/// that the simulator drew: of a node that is to have more, as many as it is told of count, whoever they are.
fn missing(parts: &[Part], at: usize, ids: &Ids, connected: &[&str]) -> Vec<String> {
    let wanted = || parts[at].neighbours.iter().filter(|other| ids.contains_key(other));
    let count = wanted().count();
    if count > TOLD_MAX {
        let more = TOLD_MAX.saturating_sub(connected.len());
        return (more > 0).then(|| format!("{more} others more")).into_iter().collect();
    }
    let is_apart = |other: &&usize| !connected.contains(&ids[*other].as_str());
    wanted()
        .filter(is_apart)
        .map(|other| parts[*other].place.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use samara_simulations::Scenario;

    use super::*;

    fn draw(name: &str) -> Plan {
        Plan::draw(&Scenario::load(name).expect("built in")).expect("can be performed")
    }

    fn ids_of(plan: &Plan) -> Ids {
        (0..plan.parts.len()).map(|at| (at, format!("id{at}"))).collect()
    }

    #[test]
    fn who_may_feed_its_own_tenant_alone_waits_for_nobody_else() {
        let plan = draw("own-only");
        let ids = ids_of(&plan);
        let lacks = missing(&plan.parts, 1, &ids, &[]);
        assert_eq!(lacks.len(), 4, "the origin and three of its tenant: {lacks:?}");
        let there: Vec<&str> = plan.parts[1]
            .neighbours
            .iter()
            .map(|other| ids[other].as_str())
            .collect();
        assert_eq!(missing(&plan.parts, 1, &ids, &there), Vec::<String>::new());
        // As many others are no substitute.
        let others: Vec<&str> = ids
            .values()
            .map(String::as_str)
            .filter(|id| !there.contains(id))
            .collect();
        assert_eq!(missing(&plan.parts, 1, &ids, &others), lacks);
    }

    #[test]
    fn hosts_who_fetch_after_the_barrier_are_not_waited_for() {
        let text = "name = \"t\"\n[[nodes]]\ncount = 1\nrole = \"origin\"\nup = \"5mbit\"\ndown = \"5mbit\"\n\
            [[nodes]]\ncount = 1\nrole = \"site\"\nsite = \"s\"\nup = \"5mbit\"\ndown = \"5mbit\"\n\
            [[nodes]]\ncount = 2\nrole = \"host\"\nsite = \"s\"\nsite_only = true\nup = \"5mbit\"\ndown = \"5mbit\"\n";
        let plan = Plan::draw(&Scenario::parse("t", text).expect("a scenario")).expect("can be performed");
        assert_eq!(plan.parts[1].neighbours, [0]);
    }

    #[test]
    fn of_many_as_many_as_a_node_is_told_of_are_waited_for() {
        let mut scenario = Scenario::load("flash-release").expect("built in");
        scenario.set_sites(30);
        let plan = Plan::draw(&scenario).expect("can be performed");
        let ids = ids_of(&plan);
        assert_eq!(missing(&plan.parts, 1, &ids, &["a"; TOLD_MAX - 2]), ["2 others more"]);
        assert!(missing(&plan.parts, 1, &ids, &["a"; TOLD_MAX]).is_empty());
    }
}
