//! `lab swarm`: one rate-limited origin and its sites as real processes in network namespaces.
//!
//! The clock runs from the moment the sites, running and connected, are told to fetch, to the last one's verified copy. The
//! bound is Kumar and Ross's: the origin must send one copy, each site must receive one, and all uplinks together must carry
//! one for each site. Interface copies are what left the origin's veth, headers and all, over the file's size.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use samara_protocol::units::ByteRate;
use samara_tests::namespace::{Place, Star};
use samara_tests::tree::{b3sum, random_file};
use serde_json::{Value, json};

use crate::measure::{median, round};

pub(crate) mod chain;
mod http;
mod own;

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
    /// What to put on the links: samara, chain (a bare forwarding chain: what the test bed allows), http (nginx and curl).
    #[arg(long, value_delimiter = ',', default_value = "samara")]
    pub(crate) tools: Vec<String>,
}

/// One run of one tool.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Of each site, from the common start.
    pub(crate) finished: Vec<Duration>,
    /// Payload that the origin says it has sent, where the tool says so.
    pub(crate) origin_payload: Option<u64>,
    /// Where each site's copy lies.
    pub(crate) copies: Vec<PathBuf>,
}

/// Places, their names, and what to move.
pub(crate) struct Bed<'a> {
    /// The namespaces.
    pub(crate) star: &'a Star,
    /// The sites' names.
    pub(crate) sites: &'a [String],
    /// The file at the origin.
    pub(crate) source: &'a Path,
    /// An empty folder for this run.
    pub(crate) work: &'a Path,
}

/// The origin's name in the star.
pub(crate) const ORIGIN: &str = "o";
/// How long a run may take: many times the bound of anything that is measured.
pub(crate) const RUN_LIMIT: Duration = Duration::from_secs(900);

/// Runs it and returns what is printed.
pub(crate) fn run(args: &Args) -> Result<Value> {
    ensure!(
        samara_tests::usage::is_root(),
        "lab swarm makes network namespaces: run it as root"
    );
    ensure!(args.sites > 0, "--sites must be at least 1");
    let folder = crate::work_folder()?;
    let source = folder.path().join("release.bin");
    random_file(&source, args.size, 1)?;
    let hash = b3sum(&source)?;
    let bound = bound(args);
    let mut out = serde_json::Map::new();
    out.insert("bound_s".to_owned(), json!(round(bound)));
    for tool in &args.tools {
        let mut rows = Vec::new();
        for number in 0..args.runs {
            let work = folder.path().join(format!("{tool}{number}"));
            std::fs::create_dir_all(&work)?;
            let row = once(tool, args, &source, &work, &hash).with_context(|| format!("{tool}, run {}", number + 1))?;
            crate::note(&format!(
                "{tool} run {}: last {:.2} s, {:.3} interface copies",
                number + 1,
                row.last,
                row.interface_copies
            ));
            rows.push(row);
            std::fs::remove_dir_all(&work)?;
        }
        out.insert(tool.clone(), summary(&rows, bound));
    }
    out.insert("sites".to_owned(), json!(args.sites));
    out.insert("size".to_owned(), json!(args.size));
    Ok(Value::Object(out))
}

struct Row {
    last: f64,
    mean: f64,
    payload_copies: Option<f64>,
    interface_copies: f64,
    verified: bool,
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn once(tool: &str, args: &Args, source: &Path, work: &Path, hash: &str) -> Result<Row> {
    let sites: Vec<String> = (1..=args.sites).map(|number| format!("s{number}")).collect();
    let mut places = vec![Place::new(ORIGIN, Some(mbit(args.origin_up)), None)];
    places.extend(
        sites
            .iter()
            .map(|name| Place::new(name, Some(mbit(args.site_up)), Some(mbit(args.site_down)))),
    );
    let star = Arc::new(Star::new(places)?);
    let bed = Bed {
        star: &star,
        sites: &sites,
        source,
        work,
    };
    let mut before = None;
    // Called at the barrier, so that connecting beforehand is not charged.
    let mut barrier = || -> Result<()> {
        before = Some(star.counters(ORIGIN)?.sent);
        Ok(())
    };
    let run = match tool {
        "samara" => own::run(&bed, &star, &mut barrier)?,
        "chain" => chain::run(&bed, &mut barrier)?,
        "http" => http::run(&bed, &mut barrier)?,
        other => bail!("no tool `{other}`; known: samara, chain, http"),
    };
    let sent = star.counters(ORIGIN)?.sent - before.context("the barrier was reached")?;
    let seconds: Vec<f64> = run.finished.iter().map(Duration::as_secs_f64).collect();
    let mut verified = run.copies.len() == sites.len();
    for copy in &run.copies {
        verified &= b3sum(copy)? == hash;
    }
    let size = args.size as f64;
    Ok(Row {
        last: seconds.iter().copied().fold(0.0, f64::max),
        mean: seconds.iter().sum::<f64>() / seconds.len().max(1) as f64,
        payload_copies: run.origin_payload.map(|bytes| bytes as f64 / size),
        interface_copies: sent as f64 / size,
        verified,
    })
}

fn summary(rows: &[Row], bound: f64) -> Value {
    let payload: Vec<f64> = rows.iter().filter_map(|row| row.payload_copies).collect();
    json!({
        "last_over_bound": round(median(rows.iter().map(|row| row.last)) / bound),
        "mean_over_bound": round(median(rows.iter().map(|row| row.mean)) / bound),
        "origin_copies": if payload.is_empty() { Value::Null } else { json!(round(median(payload))) },
        "origin_interface_copies": round(median(rows.iter().map(|row| row.interface_copies))),
        "all_verified": rows.iter().all(|row| row.verified),
        "runs": rows.iter().map(|row| round(row.last / bound)).collect::<Vec<_>>(),
    })
}

/// Seconds below which no protocol can bring the last site its copy.
#[expect(clippy::cast_precision_loss, reason = "sizes and rates far below 2^53")]
fn bound(args: &Args) -> f64 {
    let (size, sites) = (args.size as f64, args.sites as f64);
    let (origin, up, down) = (args.origin_up.0 as f64, args.site_up.0 as f64, args.site_down.0 as f64);
    (size / origin)
        .max(size / down)
        .max(sites * size / (origin + sites * up))
}

#[expect(clippy::cast_precision_loss, reason = "rates far below 2^53")]
fn mbit(rate: ByteRate) -> f64 {
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
            tools: Vec::new(),
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
}
