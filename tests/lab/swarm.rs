//! `lab swarm`: one rate-limited origin and its sites as real processes in network namespaces, with Samara and with its rivals.
//!
//! The clock runs from the moment the sites, running and connected, are told to fetch, to the last one's verified copy; each
//! program's file says what of it is ready before. Programs take turns, so that a slow minute of the machine hits all. The
//! bound is Kumar and Ross's: the origin must send one copy, each site must receive one, and all uplinks together must carry
//! one for each site. Interface copies are what left the origin's veth, headers and all, over the file's size.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_protocol::units::ByteRate;
use samara_tests::namespace::{Place, Star};
use samara_tests::tree::{b3sum, random_file};
use serde_json::{Value, json};

use crate::measure::{median, round};
use crate::warm_memory::WarmMemory;

pub(crate) mod chain;
mod clock;
mod http;
mod libtorrent;
pub(crate) mod neighbours;
pub(crate) mod own;
mod program;
mod rqbit;

use clock::Clock;
use program::Program;

/// The shape of the swarm.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Sites beside the origin.
    #[arg(long, default_value_t = 8)]
    pub(crate) sites: usize,
    /// The origin's uplink.
    #[arg(long, default_value = "50mbit")]
    pub(crate) origin_up: ByteRate,
    /// Each site's uplink.
    #[arg(long, default_value = "50mbit")]
    pub(crate) site_up: ByteRate,
    /// Each site's downlink.
    #[arg(long, default_value = "100mbit")]
    pub(crate) site_down: ByteRate,
    /// The file's size.
    #[arg(long, default_value = "64MiB", value_parser = samara_protocol::units::parse_bytes)]
    pub(crate) size: u64,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: u32,
    /// Rivals for the same links, in turns with Samara. One that is not installed is null.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) vs: Vec<Program>,
    /// Tell each site to fetch this many seconds after the one before it; each one's time counts from its own telling.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) stagger: f64,
    /// Leave Samara itself out: to prove the rivals' half.
    #[arg(long)]
    pub(crate) rivals_only: bool,
}

/// One run of one program.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Of each site, from its turn.
    pub(crate) finished: Vec<Duration>,
    /// The same until all was durable, where the program says so.
    pub(crate) durable: Option<Vec<Duration>>,
    /// Payload that the origin says it has sent, where the program says so.
    pub(crate) origin_payload: Option<u64>,
    /// Where each site's copy lies.
    pub(crate) copies: Vec<PathBuf>,
}

/// Called when everything is ready, so that what went before is not charged.
pub(crate) type Barrier<'a> = dyn FnMut() -> Result<()> + 'a;

/// Places, their names, and what to move.
pub(crate) struct Bed<'a> {
    /// The namespaces.
    pub(crate) star: &'a Arc<Star>,
    /// The sites' names.
    pub(crate) sites: &'a [String],
    /// The file at the origin.
    pub(crate) source: &'a Path,
    /// An empty folder for this run.
    pub(crate) work: &'a Path,
    /// How long after one site the next is told.
    pub(crate) stagger: Duration,
    /// How long a site may take before it counts as hung.
    pub(crate) limit: Duration,
}

impl Bed<'_> {
    /// Passes the barrier and starts the clock.
    pub(crate) fn start(&self, barrier: &mut Barrier<'_>) -> Result<Clock> {
        barrier()?;
        Ok(Clock::start(self.stagger))
    }

    /// The addresses of every place but `place`, the origin's first: what a tracker would say.
    pub(crate) fn others(&self, place: &str, port: u16) -> Vec<String> {
        let places = std::iter::once(ORIGIN).chain(self.sites.iter().map(String::as_str));
        places
            .filter(|other| *other != place)
            .map(|other| format!("{}:{port}", self.star.address(other)))
            .collect()
    }

    /// The folder that the file lies in.
    pub(crate) fn source_folder(&self) -> Result<&Path> {
        self.source.parent().context("the source lies in a folder")
    }

    /// The file's name.
    pub(crate) fn source_name(&self) -> Result<&OsStr> {
        self.source.file_name().context("the source has a name")
    }
}

/// The origin's name in the star.
pub(crate) const ORIGIN: &str = "o";
/// Bytes of one piece of a torrent.
pub(crate) const PIECE: u64 = 256 << 10;
/// The least that a run may take before it counts as hung.
const RUN_LIMIT: f64 = 900.0;

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    ensure!(
        samara_tests::usage::is_root(),
        "lab swarm makes network namespaces: run it as root"
    );
    check(args)?;
    let stagger = Duration::try_from_secs_f64(args.stagger).context("--stagger")?;
    let folder = crate::work_folder()?;
    let source = folder.path().join("source").join("release.bin");
    std::fs::create_dir_all(source.parent().context("a folder")?)?;
    random_file(&source, args.size, 1)?;
    let hash = b3sum(&source)?;
    let mut outcomes: Vec<_> = contenders(args).into_iter().map(Outcome::of).collect();
    for number in 1..=args.runs {
        for (program, outcome) in &mut outcomes {
            // Whoever is not there or has failed is not asked again.
            let Outcome::Rows(rows) = outcome else { continue };
            let work = folder.path().join(program.name());
            std::fs::create_dir_all(&work)?;
            let row = once(*program, args, stagger, &source, &work, &hash)
                .with_context(|| format!("{}, run {number}", program.name()));
            std::fs::remove_dir_all(&work)?;
            match row {
                Ok(row) => {
                    crate::note(&format!(
                        "{} run {number}: last {:.2} s, {:.3} interface copies",
                        program.name(),
                        row.last,
                        row.interface_copies
                    ));
                    rows.push(row);
                }
                Err(error) if *program == Program::Samara => return Err(error),
                Err(error) => {
                    crate::note(&format!("{error:#}"));
                    *outcome = Outcome::Failed(format!("{error:#}"));
                }
            }
        }
    }
    Ok(report(args, &outcomes))
}

/// Refuses what would measure nothing.
fn check(args: &Args) -> Result<()> {
    ensure!(args.sites > 0, "--sites must be at least 1");
    ensure!(args.runs > 0, "--runs must be at least 1");
    ensure!(args.size > 0, "--size must be at least 1 B");
    for (name, rate) in [
        ("--origin-up", args.origin_up),
        ("--site-up", args.site_up),
        ("--site-down", args.site_down),
    ] {
        ensure!(rate.0 >= 12_500, "{name} must be at least 100kbit, not {rate}");
    }
    let any = !args.rivals_only || !args.vs.is_empty();
    ensure!(any, "--rivals-only leaves Samara out: name rivals with --vs");
    Ok(())
}

/// What became of one program.
enum Outcome {
    Missing,
    Failed(String),
    Rows(Vec<Row>),
}

impl Outcome {
    fn of(program: Program) -> (Program, Self) {
        let outcome = if program.is_installed() {
            Self::Rows(Vec::new())
        } else {
            Self::Missing
        };
        (program, outcome)
    }
}

/// Samara and the rivals that were asked for, each once, in the order of their turns.
fn contenders(args: &Args) -> Vec<Program> {
    let own = (!args.rivals_only).then_some(Program::Samara);
    let mut programs: Vec<Program> = Vec::new();
    for program in own.into_iter().chain(args.vs.iter().copied()) {
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    programs
}

fn report(args: &Args, outcomes: &[(Program, Outcome)]) -> Value {
    let bound = bound(args);
    let mut out = serde_json::Map::new();
    for (program, outcome) in outcomes {
        let value = match outcome {
            Outcome::Missing => Value::Null,
            Outcome::Failed(error) => json!({ "error": error }),
            Outcome::Rows(rows) => summary(rows, bound),
        };
        out.insert(program.name().to_owned(), value);
    }
    out.insert("bound_s".to_owned(), json!(round(bound)));
    out.insert("sites".to_owned(), json!(args.sites));
    out.insert("size".to_owned(), json!(args.size));
    for (rate, of) in [
        ("origin_up", args.origin_up),
        ("site_up", args.site_up),
        ("site_down", args.site_down),
    ] {
        out.insert(format!("{rate}_mbit"), json!(mbit(of)));
    }
    out.insert("stagger_s".to_owned(), json!(args.stagger));
    Value::Object(out)
}

#[derive(Debug)]
struct Row {
    last: f64,
    mean: f64,
    durable: Option<f64>,
    payload_copies: Option<f64>,
    interface_copies: f64,
    /// Of one site, in the mean.
    received_interface_copies: f64,
    verified: bool,
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn once(program: Program, args: &Args, stagger: Duration, source: &Path, work: &Path, hash: &str) -> Result<Row> {
    let sites: Vec<String> = (1..=args.sites).map(|number| format!("s{number}")).collect();
    let mut places = vec![Place::new(ORIGIN, Some(mbit(args.origin_up)), None)];
    places.extend(
        sites
            .iter()
            .map(|name| Place::new(name, Some(mbit(args.site_up)), Some(mbit(args.site_down)))),
    );
    neighbours::make_room(places.len())?;
    let star = Arc::new(Star::new(places)?);
    let bed = Bed {
        star: &star,
        sites: &sites,
        source,
        work,
        stagger,
        limit: run_limit(args),
    };
    let _memory = WarmMemory::new(sites.len(), args.size)?;
    let count = || -> Result<(u64, u64)> {
        let received = sites.iter().map(|site| Ok(star.counters(site)?.received));
        Ok((star.counters(ORIGIN)?.sent, received.sum::<Result<u64>>()?))
    };
    let mut before = None;
    let mut barrier = || -> Result<()> {
        before = Some(count()?);
        Ok(())
    };
    let run = program.run(&bed, &mut barrier)?;
    let (before, after) = (before.context("the barrier was reached")?, count()?);
    let seconds: Vec<f64> = run.finished.iter().map(Duration::as_secs_f64).collect();
    let durable = run.durable.as_ref().and_then(|durable| durable.iter().max());
    let mut verified = run.copies.len() == sites.len();
    for copy in &run.copies {
        verified &= b3sum(copy)? == hash;
    }
    let size = args.size as f64;
    Ok(Row {
        last: seconds.iter().copied().fold(0.0, f64::max),
        mean: seconds.iter().sum::<f64>() / seconds.len().max(1) as f64,
        durable: durable.map(Duration::as_secs_f64),
        payload_copies: run.origin_payload.map(|bytes| bytes as f64 / size),
        interface_copies: (after.0 - before.0) as f64 / size,
        received_interface_copies: (after.1 - before.1) as f64 / size / sites.len() as f64,
        verified,
    })
}

/// Many times the bound, and never less than twice what one copy after the other takes: that is how HTTP does it.
#[expect(clippy::cast_precision_loss, reason = "sizes and rates far below 2^53")]
pub(crate) fn run_limit(args: &Args) -> Duration {
    let one_by_one = args.sites as f64 * args.size as f64 / args.origin_up.0 as f64;
    Duration::from_secs_f64((2.0 * one_by_one).max(RUN_LIMIT))
}

fn summary(rows: &[Row], bound: f64) -> Value {
    let payload: Vec<f64> = rows.iter().filter_map(|row| row.payload_copies).collect();
    let durable: Vec<f64> = rows.iter().filter_map(|row| row.durable).collect();
    json!({
        "last_over_bound": round(median(rows.iter().map(|row| row.last)) / bound),
        "mean_over_bound": round(median(rows.iter().map(|row| row.mean)) / bound),
        "last_durable_over_bound": if durable.is_empty() { Value::Null } else { json!(round(median(durable) / bound)) },
        "origin_copies": if payload.is_empty() { Value::Null } else { json!(round(median(payload))) },
        "origin_interface_copies": round(median(rows.iter().map(|row| row.interface_copies))),
        "received_interface_copies": round(median(rows.iter().map(|row| row.received_interface_copies))),
        "all_verified": rows.iter().all(|row| row.verified),
        "runs": rows.iter().map(|row| round(row.last / bound)).collect::<Vec<_>>(),
    })
}

/// Seconds below which no protocol can bring the last site its copy.
#[expect(clippy::cast_precision_loss, reason = "sizes and rates far below 2^53")]
pub(crate) fn bound(args: &Args) -> f64 {
    let (size, sites) = (args.size as f64, args.sites as f64);
    let (origin, up, down) = (args.origin_up.0 as f64, args.site_up.0 as f64, args.site_down.0 as f64);
    (size / origin)
        .max(size / down)
        .max(sites * size / (origin + sites * up))
}

#[expect(clippy::cast_precision_loss, reason = "rates far below 2^53")]
pub(crate) fn mbit(rate: ByteRate) -> f64 {
    rate.0 as f64 * 8.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sites: usize, origin: u64, up: u64, down: u64, mib: u64) -> Args {
        let rate = |mbit: u64| ByteRate(mbit * 125_000);
        Args {
            sites,
            origin_up: rate(origin),
            site_up: rate(up),
            site_down: rate(down),
            size: mib << 20,
            runs: 1,
            vs: Vec::new(),
            stagger: 0.0,
            rivals_only: false,
        }
    }

    #[test]
    fn the_bound_is_the_tightest_of_three() {
        assert!(
            (bound(&args(8, 50, 50, 100, 64)) - 10.737).abs() < 0.01,
            "the origin's one copy"
        );
        assert!(
            (bound(&args(16, 50, 10, 100, 64)) - 40.9).abs() < 0.1,
            "all uplinks together"
        );
        assert!(
            (bound(&args(8, 1000, 1000, 100, 64)) - 5.369).abs() < 0.01,
            "each downlink"
        );
    }

    #[test]
    fn a_run_may_take_as_long_as_one_copy_after_the_other_needs() {
        assert_eq!(run_limit(&args(8, 50, 50, 100, 64)), Duration::from_secs(900));
        let long = run_limit(&args(32, 50, 50, 100, 256)).as_secs_f64();
        assert!((long - 2748.8).abs() < 1.0, "32 times 43 s, twice: {long}");
    }

    #[test]
    fn samara_runs_first_and_nobody_runs_twice() {
        let mut args = args(8, 50, 50, 100, 64);
        args.vs = vec![Program::Chain, Program::Rqbit, Program::Chain];
        assert_eq!(contenders(&args), [Program::Samara, Program::Chain, Program::Rqbit]);
        args.rivals_only = true;
        assert_eq!(contenders(&args), [Program::Chain, Program::Rqbit]);
    }

    #[test]
    fn whoever_is_missing_or_has_failed_costs_the_others_nothing() {
        let row = |last, mean| Row {
            last,
            mean,
            durable: None,
            payload_copies: None,
            interface_copies: 2.5,
            received_interface_copies: 1.25,
            verified: true,
        };
        let bound = bound(&args(8, 50, 50, 100, 64));
        let rows = vec![
            row(bound * 2.0, bound),
            row(bound * 4.0, bound),
            row(bound * 3.0, bound),
        ];
        let report = report(
            &args(8, 50, 50, 100, 64),
            &[
                (Program::Libtorrent, Outcome::Rows(rows)),
                (Program::Rqbit, Outcome::Failed("rqbit, run 2: it ended".to_owned())),
                (Program::Http, Outcome::Missing),
            ],
        );
        assert_eq!(report["libtorrent"]["last_over_bound"], 3.0);
        assert_eq!(report["libtorrent"]["mean_over_bound"], 1.0);
        assert_eq!(report["libtorrent"]["origin_interface_copies"], 2.5);
        assert_eq!(report["libtorrent"]["received_interface_copies"], 1.25);
        assert_eq!(report["site_up_mbit"], 50.0);
        assert_eq!(report["libtorrent"]["runs"], json!([2.0, 4.0, 3.0]));
        assert_eq!(report["rqbit"], json!({"error": "rqbit, run 2: it ended"}));
        assert!(report["http"].is_null() && report.as_object().is_some_and(|keys| keys.contains_key("http")));
        assert_eq!(report["sites"], 8);
    }
}
