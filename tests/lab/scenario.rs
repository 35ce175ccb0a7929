//! `lab scenario`: a scenario of the simulator on real processes, and in the simulator beside it.
//!
//! The file is the simulator's own, and so are its draws: the same seed gives each node the same rates, role, site and rights
//! ([`plan`]). Each node is a process in a network namespace. It follows a channel on which a release is promoted when its time
//! has come, and is done when it says that all of it is verified and written; the clock runs from the promotion, or from the moment that the node
//! joins. Hosts fetch afterwards, to compare, but for those that are nodes of the scenario, and but for scenarios in which
//! somebody holds the release at the start: there the clock measures the `samara fetch` of a host beside each node. Nodes that are there at the start are
//! connected to the origin before. Links are token buckets, or emulated where the scenario has delay, loss or faults and the
//! emulator carries its rates. The bound is the simulator's; duplicates are verified bytes that a node had received already.

use anyhow::{Context, Result, ensure};
use samara_simulations::Scenario;
use serde_json::{Value, json};

use crate::measure::{median, round};

mod books;
mod clock;
mod faults;
mod fleet;
mod links;
mod meeting;
mod plan;
mod simulated;
mod stage;
mod table;

pub(crate) use table::table;

use faults::Gap;
use plan::Plan;
use simulated::Simulated;
use stage::Run;

/// Which scenario, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A TOML file, or the name of a built-in scenario: what `samara-simulations run` takes.
    scenario: String,
    /// How often on processes; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    ensure!(
        samara_tests::usage::is_root(),
        "lab scenario makes network namespaces: run it as root"
    );
    ensure!(args.runs > 0, "--runs must be at least 1");
    let scenario = Scenario::load(&args.scenario)?;
    let plan = Plan::draw(&scenario)?;
    let load = load()?;
    let simulated = simulated::run(&scenario).with_context(|| format!("simulating {}", scenario.name))?;
    crate::note(&format!(
        "{}: the simulator says {:.3} times the bound of {:.1} s",
        scenario.name,
        simulated.last_over_bound,
        plan.bound.as_secs_f64()
    ));
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        crate::note(&format!("{} run {number} of {}", scenario.name, args.runs));
        let folder = crate::work_folder()?;
        let run = stage::perform(&plan, folder.path()).with_context(|| format!("{}, run {number}", scenario.name))?;
        crate::note(&format!("{} run {number}: last {:.2} s", scenario.name, last(&run)));
        runs.push(run);
    }
    let mut value = report(&plan, &runs, &simulated);
    value["load_before"] = json!(load);
    Ok(value)
}

/// How busy the machine was with other work: the mean number of threads that ran or waited, over the last minute.
fn load() -> Result<f64> {
    let file = "/proc/loadavg";
    let text = std::fs::read_to_string(file).context(file)?;
    text.split(' ').next().and_then(|load| load.parse().ok()).context(file)
}

/// What is printed for a person.
pub(crate) fn text(value: &Value) -> Result<String> {
    let mut page = String::new();
    table(&mut page, std::slice::from_ref(value))?;
    Ok(page)
}

fn last(run: &Run) -> f64 {
    run.seconds.iter().copied().fold(0.0, f64::max)
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes below 2^53")]
fn report(plan: &Plan, runs: &[Run], simulated: &Simulated) -> Value {
    let (bound, bytes) = (plan.bound.as_secs_f64(), plan.bytes() as f64);
    let over = |value: &dyn Fn(&Run) -> f64| median(runs.iter().map(value));
    let copies = |value: fn(&Run) -> u64| round(over(&|run| value(run) as f64 / bytes));
    let last_over_bound = over(&|run| last(run) / bound);
    let died: Vec<f64> = runs
        .iter()
        .filter_map(|run| Some(run.origin_died?.as_secs_f64()))
        .collect();
    let links: Vec<&Value> = runs.iter().map(|run| &run.links).collect();
    let worst = |key: &str| links.iter().filter_map(|links| links[key].as_f64()).fold(0.0, f64::max);
    let fetched = |run: &Run| run.received.saturating_sub(run.again).max(1) as f64;
    json!({
        "scenario": plan.scenario.name,
        "bound_s": round(bound),
        "lab": {
            "links": {
                "kind": links.first().map(|links| links["kind"].clone()),
                "late_ms": worst("late_ms"),
                "overruns": worst("overruns"),
            },
            "last_over_bound": round(last_over_bound),
            "mean_over_bound": round(over(&|run| run.seconds.iter().sum::<f64>() / run.seconds.len() as f64 / bound)),
            "p50_over_bound": round(over(&|run| median(run.seconds.iter().copied()) / bound)),
            "origin_interface_copies": copies(|run| run.origin_through),
            "origin_copies": copies(|run| run.origin_sent),
            "duplicates": over(&|run| run.again as f64 / fetched(run)),
            "down_over_received": round(over(&|run| run.down_through as f64 / fetched(run))),
            "outbound_copies": copies(|run| run.outbound_sent),
            "half_open": runs.iter().flat_map(|run| &run.gaps).map(gap).collect::<Vec<_>>(),
            "origin_died_s": if died.is_empty() { Value::Null } else { json!(round(median(died))) },
            "neighbours_at_start": runs.iter().map(|run| run.neighbours).min(),
            "all_verified": runs.iter().all(|run| run.is_verified),
            "runs": runs.iter().map(|run| round(last(run) / bound)).collect::<Vec<_>>(),
        },
        "simulation": simulated.figures,
        "last_ratio": round(last_over_bound / simulated.last_over_bound),
    })
}

fn gap(gap: &Gap) -> Value {
    let limit = gap.limit.as_secs_f64();
    json!({
        "gap_s": gap.gap.map(|gap| round(gap.as_secs_f64())),
        "missed_nothing": gap.missed_nothing,
        "limit_s": round(limit),
        "brought_before": gap.brought,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn figures_are_medians_over_the_bound_and_the_ratio_is_to_the_simulator() {
        let plan = Plan::draw(&Scenario::load("flash-release").expect("built in")).expect("can be performed");
        let bound = plan.bound.as_secs_f64();
        let run = |factor: f64, again: u64| Run {
            seconds: vec![bound, bound * factor],
            origin_through: plan.bytes() * 11 / 10,
            origin_sent: plan.bytes(),
            received: 8 * plan.bytes() + again,
            again,
            is_verified: true,
            neighbours: 8,
            gaps: vec![Gap {
                gap: None,
                missed_nothing: true,
                limit: Duration::from_secs(3),
                brought: 1,
            }],
            ..Run::default()
        };
        let simulated = Simulated {
            last_over_bound: 1.1,
            figures: json!({"last_over_bound": 1.1}),
        };
        let value = report(
            &plan,
            &[run(1.0, 0), run(1.21, plan.bytes() / 100 * 8), run(1.5, 0)],
            &simulated,
        );
        assert_eq!(
            (&value["lab"]["last_over_bound"], &value["last_ratio"]),
            (&json!(1.21), &json!(1.1))
        );
        assert_eq!(value["lab"]["origin_interface_copies"], 1.1);
        assert_eq!(value["lab"]["mean_over_bound"], 1.105);
        assert_eq!(
            (&value["lab"]["duplicates"], &value["lab"]["neighbours_at_start"]),
            (&json!(0.0), &json!(8))
        );
        assert_eq!(value["lab"]["half_open"].as_array().map(Vec::len), Some(3));
        assert!(text(&value).expect("a table").contains("| flash-release |"), "{value}");
    }
}
