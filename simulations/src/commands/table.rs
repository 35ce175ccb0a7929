//! `table`: the figures of docs/scheduler.md.

use std::fmt::Write;

use samara_simulations::{RunError, Scenario, run};

use super::provenance;

/// What is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leaves out those that take minutes.
    #[arg(long)]
    quick: bool,
}

/// A figure: a scenario with its sites, blocks and the limit that it is held to, if there is one.
struct Figure {
    scenario: &'static str,
    sites: Option<usize>,
    blocks: Option<u32>,
    is_slow: bool,
    /// `origin-copies-max`, where it is not the scenario's.
    copies_max: Option<u32>,
    limit: &'static str,
}

const fn figure(scenario: &'static str, sites: Option<usize>, limit: &'static str) -> Figure {
    Figure {
        scenario,
        sites,
        blocks: None,
        is_slow: false,
        copies_max: None,
        limit,
    }
}

const FIGURES: [Figure; 28] = [
    figure("flash-release", Some(8), ""),
    figure("flash-release", Some(16), ""),
    figure("flash-release", Some(32), ""),
    figure("flash-release", Some(100), ""),
    Figure {
        blocks: Some(1024),
        is_slow: true,
        ..figure("flash-release", Some(1000), "1.05, 1.05 copies")
    },
    Figure {
        blocks: Some(256),
        is_slow: true,
        ..figure("flash-release", Some(10_000), "60 s, 4 GiB")
    },
    Figure {
        blocks: Some(1024),
        ..figure("spread-uplinks", None, "1.10")
    },
    Figure {
        blocks: Some(1024),
        ..figure("spread-100x", None, "1.25")
    },
    figure("weak-uplinks", None, "1.10"),
    Figure {
        copies_max: Some(1),
        ..figure("weak-uplinks", None, "at most one copy")
    },
    Figure {
        copies_max: Some(2),
        ..figure("weak-uplinks", None, "at most two copies")
    },
    figure("broken-replies", None, "1.25 × flash-release 16"),
    figure("half-hostile", None, "1.25 × flash-release 16, 2 % waste"),
    figure("liars-and-crashes", None, ""),
    figure("greedy-takers", None, ""),
    figure("narrow-takers", None, ""),
    figure("slow-hosts", None, ""),
    figure("origin-dies", None, "all finish"),
    figure("one-site", None, "1 copy"),
    figure("overtaking", None, ""),
    figure("own-only", None, "a copy a tenant"),
    figure("mixed-fleet", None, ""),
    figure("two-origins", None, "one copy together"),
    figure("mixed-links", None, ""),
    figure("staggered", None, ""),
    figure("outbound-only", None, ""),
    figure("flapping", None, "all finish"),
    figure("half-open", None, "all finish"),
];

/// The table as Markdown.
pub(crate) fn table(args: &Args) -> Result<String, RunError> {
    let mut out = String::from(
        "| scenario | sites | blocks | last / bound | p99 | median | origin copies (needed) | control % | proofs % | waste % | wall s | held to |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for figure in FIGURES.iter().filter(|figure| !(args.quick && figure.is_slow)) {
        let mut plan = Scenario::load(figure.scenario)?;
        if let Some(sites) = figure.sites {
            plan.set_sites(sites);
        }
        plan.origin_copies_max = figure.copies_max.or(plan.origin_copies_max);
        for release in &mut plan.release {
            release.blocks = figure.blocks.or(release.blocks);
        }
        let most = figure.copies_max.map(|most| format!(", `origin-copies-max = {most}`"));
        let name = figure.scenario.to_owned() + &most.unwrap_or_default();
        let started = std::time::Instant::now();
        let report = run(&plan)?;
        let wall = started.elapsed().as_secs_f64();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.3} | {:.3} | {:.3} | {:.2} ({:.2}) | {:.2} | {:.2} | {:.2} | {wall:.1} | {} |",
            name,
            report.nodes,
            report.blocks,
            report.last_over_bound,
            report.p99_over_bound,
            report.p50_over_bound,
            report.origin_copies,
            report.copies_needed,
            report.control_fraction * 100.0,
            report.proof_fraction * 100.0,
            report.waste_fraction * 100.0,
            figure.limit,
        );
    }
    let _ = writeln!(out, "\n{}", provenance::sentence());
    Ok(out)
}
