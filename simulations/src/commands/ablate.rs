//! `ablate`: what each rule of the scheduler earns, by leaving it out.

use std::fmt::Write;

use samara_protocol::swarm::config::Rule;
use samara_simulations::scenario::Baseline;
use samara_simulations::{RunError, Scenario, run};

use super::provenance;

/// Where the rules are tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios, built in or files.
    #[arg(default_values_t = DEFAULT.map(str::to_owned))]
    scenarios: Vec<String>,
    /// Seeds of each; the mean counts.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
}

const DEFAULT: [&str; 6] = [
    "flash-release",
    "spread-uplinks",
    "weak-uplinks",
    "slow-hosts",
    "half-hostile",
    "liars-and-crashes",
];

/// A table with a row for each rule: last finisher over the bound, and copies of the origin.
pub(crate) fn ablate(args: &Args) -> Result<String, RunError> {
    let mut out = String::from("| without |");
    for name in &args.scenarios {
        let _ = write!(out, " {name} |");
    }
    let _ = write!(out, "\n|---|{}\n", "---|".repeat(args.scenarios.len()));
    let rules = Rule::ALL.iter().map(|(_, name)| Some(*name));
    for rule in std::iter::once(None).chain(rules) {
        let _ = write!(out, "| {} |", rule.unwrap_or("(nothing)"));
        for name in &args.scenarios {
            let mut plan = plan(name)?;
            if let Some(rule) = rule {
                plan.leave_out(rule)?;
            }
            let _ = write!(out, " {} |", mean(&plan, args.seeds));
        }
        out.push('\n');
    }
    for (baseline, name) in [
        (Baseline::Random, "all of them: random"),
        (Baseline::OriginOnly, "sites that serve: origin only"),
    ] {
        let _ = write!(out, "| {name} |");
        for scenario in &args.scenarios {
            let mut plan = plan(scenario)?;
            plan.simplify(baseline)?;
            let _ = write!(out, " {} |", mean(&plan, args.seeds));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "\n{}", provenance::sentence());
    Ok(out)
}

fn plan(name: &str) -> Result<Scenario, RunError> {
    let mut plan = Scenario::load(name)?;
    plan.deadline_factor = 60.0;
    if name == "flash-release" {
        plan.set_sites(32);
    }
    Ok(plan)
}

/// The mean over some seeds, or what went wrong.
fn mean(plan: &Scenario, seeds: u64) -> String {
    let (mut last, mut copies) = (0.0, 0.0);
    for seed in 1..=seeds {
        let plan = Scenario { seed, ..plan.clone() };
        match run(&plan) {
            Ok(report) => {
                last += report.last_over_bound;
                copies += report.origin_copies;
            }
            Err(error) => return format!("seed {seed}: {}", error.kind()),
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few seeds")]
    let of = seeds as f64;
    format!("{:.3}, {:.2} copies", last / of, copies / of)
}
