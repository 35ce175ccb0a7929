//! `run`: one scenario to its end, a built-in one or a file of your own.

use std::path::PathBuf;
use std::time::Instant;

use samara_simulations::scenario::Baseline;
use samara_simulations::world::World;
use samara_simulations::{Report, RunError, Scenario, chaos, oracle, picture, report};

/// What is run, and how it differs from its file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A TOML file, the name of a built-in scenario, or `chaos`: the random fault schedule of a seed.
    pub(crate) scenario: String,
    /// Sites in the first group of sites.
    #[arg(long)]
    pub(crate) sites: Option<usize>,
    /// The most blocks of each release.
    #[arg(long)]
    pub(crate) blocks: Option<u32>,
    /// Decides all random choices.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Neighbours of a node at the most.
    #[arg(long)]
    pub(crate) neighbours: Option<usize>,
    /// Leaves out a rule of the scheduler; may be given more than once.
    #[arg(long, value_name = "RULE")]
    pub(crate) without: Vec<String>,
    /// Runs something simpler instead of Samara.
    #[arg(long)]
    pub(crate) baseline: Option<Baseline>,
    /// Writes pictures of the run into a folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pictures: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs it; the text or JSON to print.
pub(crate) fn run(args: &Args) -> Result<String, RunError> {
    let mut scenario = match args.scenario.as_str() {
        "chaos" => chaos::scenario(args.seed.unwrap_or(0)),
        name => Scenario::load(name)?,
    };
    if let Some(sites) = args.sites {
        scenario.set_sites(sites);
    }
    for release in &mut scenario.release {
        release.blocks = args.blocks.or(release.blocks);
    }
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.neighbours = args.neighbours.or(scenario.neighbours);
    for rule in &args.without {
        scenario.leave_out(rule)?;
    }
    if let Some(baseline) = args.baseline {
        scenario.simplify(baseline)?;
    }
    scenario.check()?;
    let started = Instant::now();
    let mut world = World::new(&scenario)?;
    world.run();
    oracle::judge(&world)?;
    let mut report = report::report(&world);
    report.wall_s = started.elapsed().as_secs_f64();
    let mut out = if args.json {
        serde_json::to_string(&report).expect("figures have a JSON form") + "\n"
    } else {
        text(&report) + &curves(&world) + &idle(&world)
    };
    if let Some(folder) = &args.pictures {
        for path in picture::write(&world, folder).map_err(|error| RunError::Picture(folder.clone(), error))? {
            if !args.json {
                out += &format!("  {}\n", path.display());
            }
        }
    }
    Ok(out)
}

fn text(report: &Report) -> String {
    let mundinger = report
        .mundinger_s
        .map_or_else(String::new, |time| format!(" ({time:.2} s with whole blocks)"));
    format!(
        "{}: {} nodes, {} blocks, up to {} neighbours\n  bound {:.2} s{mundinger}; last {:.3}, p99 {:.3}, median {:.3} times the bound\n  \
         origin copies {:.3}, of which the bound needs {:.3}\n  control {:.3} %, proofs {:.3} %, wasted {:.2} % of payload\n  \
         {} steps in {:.2} s, trace {}\n",
        report.scenario,
        report.nodes,
        report.blocks,
        report.neighbours,
        report.bound_s,
        report.last_over_bound,
        report.p99_over_bound,
        report.p50_over_bound,
        report.origin_copies,
        report.copies_needed,
        report.control_fraction * 100.0,
        report.proof_fraction * 100.0,
        report.waste_fraction * 100.0,
        report.steps,
        report.wall_s,
        &report.trace_hash[..16],
    )
}

/// Faults of the plan that came to nobody.
fn idle(world: &World) -> String {
    let line = |number: usize| {
        let fault = &world.scenario.fault[number];
        format!(
            "  [[fault]] {}, {:?} at {} s, came to nobody: all had finished, or the node did not run\n",
            number + 1,
            fault.kind,
            fault.at_s
        )
    };
    world.idle_faults().into_iter().map(line).collect()
}

/// How busy all uplinks and the origins' were, a sign for each thirty-second part of the run.
fn curves(world: &World) -> String {
    let line = |name: &str, parts: Vec<f64>| {
        let signs = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
        let sign = |part: &f64| signs[(part.clamp(0.0, 1.0) * 8.0).round() as usize];
        format!("  {name} {}\n", parts.iter().map(sign).collect::<String>())
    };
    let (all, origins) = world.busy(32);
    line("uplinks of all      ", all) + &line("uplinks of origins  ", origins)
}
