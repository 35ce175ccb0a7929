//! The lab: measures Samara beside the programs that people use today, in the same run on the same machine.
//!
//! `lab pair`, `memory`, `import`, `small-files`, `swarm`, `hostile`, `links` and `scenario` print one table or, with `--json`, one object; `lab tables` turns
//! what they printed into the tables of `docs/performance.md`. Definitions of what the clocks
//! measure stand in each command's file.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints its results"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde_json::Value;
use tempfile::TempDir;

mod hostile;
mod import;
mod links;
mod measure;
mod memory;
mod pair;
mod provenance;
mod rivals;
mod samara;
mod scenario;
mod small_files;
mod swarm;
mod tables;
mod warm_memory;

/// Figures, and the rivals' beside them.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Cli {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One file between two processes on loopback.
    Pair(pair::Args),
    /// One rate-limited origin and its sites in network namespaces.
    Swarm(swarm::Args),
    /// The same beside as many sites that mean harm.
    Hostile(hostile::Args),
    /// One release over each bad link of the ladder, beside one TCP stream.
    Links(links::Args),
    /// A scenario of the simulator on real processes, and in the simulator.
    Scenario(scenario::Args),
    /// Peak memory of a node with many neighbours.
    Memory(memory::Args),
    /// Hashing beside b3sum.
    Import(import::Args),
    /// Many small files beside `cp -r`.
    SmallFiles(small_files::Args),
    /// The tables of docs/performance.md from what the others printed.
    Tables(tables::Args),
    /// One link of the bare forwarding chain (used by `lab swarm`).
    #[command(hide = true)]
    ChainLink(swarm::chain::Link),
    /// One site that means harm (used by `lab hostile`).
    #[command(hide = true)]
    HostilePeer(hostile::peer::Peer),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !matches!(
        cli.command,
        Command::Tables(_) | Command::ChainLink(_) | Command::HostilePeer(_)
    ) {
        samara_tests::leftovers::sweep(&work_base(), WORK_PREFIX);
        if let Err(error) = samara_tests::leftovers::end_on_signal() {
            eprintln!("lab: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let printed = match &cli.command {
        Command::Pair(args) => pair::run(args).map(Some),
        Command::Swarm(args) => swarm::run(args).map(Some),
        Command::Hostile(args) => hostile::run(args).map(Some),
        Command::Links(args) => links::run(args).map(Some),
        Command::Scenario(args) => scenario::run(args).and_then(|value| {
            if !cli.json {
                println!("{}", scenario::text(&value)?);
                return Ok(None);
            }
            Ok(Some(value))
        }),
        Command::Memory(args) => memory::run(args).map(Some),
        Command::Import(args) => import::run(args).map(Some),
        Command::SmallFiles(args) => small_files::run(args).map(Some),
        Command::Tables(args) => tables::run(args).map(|page| {
            println!("{page}");
            None
        }),
        Command::ChainLink(link) => swarm::chain::link(link).map(|()| None),
        Command::HostilePeer(peer) => hostile::peer::run(peer).map(|seen| {
            println!("{seen}");
            None
        }),
    };
    match printed {
        Ok(Some(mut value)) => {
            provenance::stamp(&mut value);
            print(&value, cli.json);
        }
        Ok(None) => {}
        Err(error) => {
            eprintln!("lab: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn print(value: &Value, json: bool) {
    if json {
        println!("{value}");
    } else {
        println!("{value:#}");
    }
}

/// Progress, for a person who waits.
fn note(text: &str) {
    eprintln!("{text}");
}

/// How names of work folders begin.
const WORK_PREFIX: &str = "samara-lab-";

fn work_base() -> PathBuf {
    std::env::var_os("SAMARA_LAB_DIR").map_or_else(std::env::temp_dir, Into::into)
}

/// A folder for gigabytes: `SAMARA_LAB_DIR`, else the system's temporary folder. Gone at the end.
fn work_folder() -> Result<TempDir> {
    let base = work_base();
    tempfile::Builder::new()
        .prefix(&format!("{WORK_PREFIX}{}-", std::process::id()))
        .tempdir_in(&base)
        .with_context(|| base.display().to_string())
}
