//! `samara-simulations`: runs scenarios and prints what they come to.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use samara_simulations::{Report, Scenario};

/// Runs the scheduler of Samara in a virtual world.
#[derive(Debug, Parser)]
#[command(name = "samara-simulations", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario to its end.
    Run {
        /// A TOML file, or the name of a built-in scenario.
        scenario: String,
        /// Sites in the first group of sites.
        #[arg(long)]
        sites: Option<usize>,
        /// The most blocks of each release.
        #[arg(long)]
        blocks: Option<u32>,
        /// Decides all random choices.
        #[arg(long)]
        seed: Option<u64>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Name the built-in scenarios.
    List,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]
fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => {
            for (name, _) in samara_simulations::scenario::BUILT_IN {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        Command::Run {
            scenario,
            sites,
            blocks,
            seed,
            json,
        } => match run(&scenario, sites, blocks, seed) {
            Ok(report) if json => {
                println!("{}", serde_json::to_string(&report).expect("figures have a JSON form"));
                ExitCode::SUCCESS
            }
            Ok(report) => {
                print!("{}", text(&report));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("samara-simulations: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(
    name: &str,
    sites: Option<usize>,
    blocks: Option<u32>,
    seed: Option<u64>,
) -> Result<Report, samara_simulations::RunError> {
    let mut scenario = Scenario::load(name)?;
    if let Some(sites) = sites {
        scenario.set_sites(sites);
    }
    for release in &mut scenario.release {
        release.blocks = blocks.or(release.blocks);
    }
    scenario.seed = seed.unwrap_or(scenario.seed);
    let started = Instant::now();
    let mut report = samara_simulations::run(&scenario)?;
    report.wall_s = started.elapsed().as_secs_f64();
    Ok(report)
}

fn text(report: &Report) -> String {
    format!(
        "{}: {} nodes, {} blocks\n  bound {:.2} s; last {:.3}, p99 {:.3}, median {:.3} times the bound\n  \
         origin copies {:.3}; control {:.3} %, wasted {:.2} % of payload\n  {} steps in {:.2} s, trace {}\n",
        report.scenario,
        report.nodes,
        report.blocks,
        report.bound_s,
        report.last_over_bound,
        report.p99_over_bound,
        report.p50_over_bound,
        report.origin_copies,
        report.control_fraction * 100.0,
        report.waste_fraction * 100.0,
        report.steps,
        report.wall_s,
        &report.trace_hash[..16],
    )
}
