//! The same scenario in the simulator, by the same definitions.

use anyhow::Result;
use samara_protocol::swarm::config::Role;
use samara_simulations::scenario::Reach;
use samara_simulations::world::World;
use samara_simulations::{Scenario, oracle, report};
use serde_json::{Value, json};

use crate::measure::round;

/// What the simulator says.
#[derive(Debug)]
pub(super) struct Simulated {
    pub(super) last_over_bound: f64,
    pub(super) figures: Value,
}

/// Runs it to its end.
pub(super) fn run(scenario: &Scenario) -> Result<Simulated> {
    let mut world = World::new(scenario)?;
    world.run();
    oracle::judge(&world)?;
    let report = report::report(&world);
    let counted = world.nodes.iter().filter(|node| node.counts() && !node.gone);
    let seconds: Vec<f64> = counted
        .flat_map(|node| {
            let told = |layout| node.told.get(layout).copied().unwrap_or_default();
            node.finished
                .iter()
                .map(move |(layout, at)| at.since(told(layout)).as_secs_f64())
        })
        .collect();
    let outbound = world
        .nodes
        .iter()
        .filter(|node| node.nature.reach == Reach::Outbound && node.nature.role == Role::Site);
    let bytes: u64 = world.releases.iter().map(|release| release.table.bytes()).sum();
    let outbound: u64 = outbound.map(|node| node.sent).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts and sizes below 2^53")]
    let (mean, fed) = (
        seconds.iter().sum::<f64>() / seconds.len().max(1) as f64 / report.bound_s,
        outbound as f64 / bytes as f64,
    );
    Ok(Simulated {
        last_over_bound: report.last_over_bound,
        figures: json!({
            "last_over_bound": round(report.last_over_bound),
            "mean_over_bound": round(mean),
            "p50_over_bound": round(report.p50_over_bound),
            "origin_copies": round(report.origin_copies),
            "duplicates": report.waste_fraction,
            "outbound_copies": round(fed),
            "trace_hash": report.trace_hash,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_cannot_be_dialled_feed_others_and_are_counted() {
        let mut scenario = Scenario::load("outbound-only").expect("built in");
        "4MiB".clone_into(&mut scenario.release[0].size);
        let simulated = run(&scenario).expect("all finish");
        let fed = simulated.figures["outbound_copies"].as_f64().expect("a number");
        let mean = simulated.figures["mean_over_bound"].as_f64().expect("a number");
        assert!(fed > 0.5 && fed < 8.0, "{simulated:?}");
        assert!(mean > 0.0 && mean <= simulated.last_over_bound + 1e-3, "{simulated:?}");
    }
}
