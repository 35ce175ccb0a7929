//! `campaign`: many random fault schedules, one for each seed, and the ledger of those that were run.

use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use samara_simulations::{RunError, attempt, chaos};

/// Which schedules are run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seeds, as `0..1000`.
    #[arg(value_parser = range)]
    seeds: Range<u64>,
    /// Adds a line to a ledger: the commit, the seeds, how many failed.
    #[arg(long, value_name = "FILE", requires = "commit")]
    ledger: Option<PathBuf>,
    /// The commit that the ledger names.
    #[arg(long)]
    commit: Option<String>,
}

/// Runs them all.
///
/// # Errors
/// The first that failed, after all have run; each is printed with the command that replays it.
#[expect(clippy::print_stderr, reason = "failures are shown as they come")]
pub(crate) fn campaign(args: &Args) -> Result<String, RunError> {
    let (started, mut first, mut failed) = (Instant::now(), None, Vec::new());
    let (mut steps, mut nodes) = (0, 0);
    for seed in args.seeds.clone() {
        match attempt(&chaos::scenario(seed)) {
            Ok(report) => (steps, nodes) = (steps + report.steps, nodes + report.nodes),
            Err(error) => {
                eprintln!(
                    "seed {seed}: {error}\n  replay: samara-simulations run chaos --seed {seed}\n  shrink: samara-simulations shrink {seed} > seed-{seed}.toml"
                );
                failed.push(seed);
                first = first.or(Some(error));
            }
        }
    }
    let count = args.seeds.end - args.seeds.start;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{count} schedules, {nodes} nodes that had to finish, {steps} steps, {} failed, {:.0} s",
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    if let (Some(path), Some(commit)) = (&args.ledger, &args.commit) {
        let result = if failed.is_empty() {
            "all well".to_owned()
        } else {
            format!("failed: {failed:?}")
        };
        let line = format!("| {commit} | {}..{} | {result} |\n", args.seeds.start, args.seeds.end);
        let file = OpenOptions::new().append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| RunError::Ledger(path.clone(), error))?;
    }
    first.map_or(Ok(out), Err)
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let example = || format!("`{text}` is no range of seeds; write for example 0..1000");
    let (start, end) = text.split_once("..").ok_or_else(example)?;
    let (start, end) = (
        start.parse().map_err(|_| example())?,
        end.parse().map_err(|_| example())?,
    );
    if start < end { Ok(start..end) } else { Err(example()) }
}
