//! `lab import`: hash and outboard of one large file, beside b3sum with as many threads.
//!
//! What Samara took is what `publish --link --json` says its hashing took (the file is linked, so no copy is in it); the same
//! file is hashed by this program exactly as `b3sum` does it (memory-mapped, all cores), warm, in the same run.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use samara_tests::Finished;
use samara_tests::network::{CHANNEL, FETCH, Network, PRODUCT, Plan};
use samara_tests::tree::random_file;
use serde_json::{Value, json};

use crate::measure::{median, round};

/// What to import.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file's size.
    #[arg(long, default_value = "2GiB", value_parser = samara_protocol::units::parse_bytes)]
    size: u64,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// Runs it.
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
pub(crate) fn run(args: &Args) -> Result<Value> {
    let folder = crate::work_folder()?;
    let file = folder.path().join("release.bin");
    random_file(&file, args.size, 1)?;
    let (mut own, mut whole, mut copies, mut reference) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.runs {
        reference.push(b3sum(&file)?);
        copies.push(copy(&file, folder.path())?);
        let (hashing, all) = publish(folder.path())?;
        own.push(hashing);
        whole.push(all);
    }
    let gb = args.size as f64 / 1e9;
    let (own, reference) = (median(own), median(reference));
    Ok(json!({
        "size": args.size,
        "samara": { "hash_gb_s": round(gb / own), "publish_s": round(median(whole)) },
        "b3sum": { "gb_s": round(gb / reference) },
        "cp": { "s": round(median(copies)) },
        "ratio": round(reference / own),
        "threads": std::thread::available_parallelism().map_or(1, usize::from),
    }))
}

fn b3sum(file: &Path) -> Result<f64> {
    let started = Instant::now();
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(file)?;
    // Kept from being optimised away.
    std::hint::black_box(hasher.finalize());
    Ok(started.elapsed().as_secs_f64())
}

fn copy(file: &Path, folder: &Path) -> Result<f64> {
    let target = folder.join("copy");
    let cp = Finished::of(
        std::process::Command::new("cp")
            .args(["--reflink=never"])
            .arg(file)
            .arg(&target),
        FETCH,
    )?
    .success()?;
    std::fs::remove_file(&target)?;
    Ok(cp.elapsed.as_secs_f64())
}

/// Seconds of hashing, and of the whole verb, at an origin of its own each time: nothing is there already.
fn publish(folder: &Path) -> Result<(f64, f64)> {
    let network = Network::start(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    let mut publish = network.vendor.command();
    publish
        .arg("--socket")
        .arg(network.origin.socket())
        .arg("publish")
        .arg(folder)
        .arg("--link");
    publish.args([
        "--product",
        PRODUCT,
        "--version",
        "1.0.0",
        "--channel",
        CHANNEL,
        "--json",
    ]);
    let finished = Finished::of(&mut publish, FETCH)?.success()?;
    let report = finished.json()?;
    let hashing = report["hash_seconds"]
        .as_f64()
        .context("`publish --json` says hash_seconds")?;
    Ok((hashing, finished.elapsed.as_secs_f64()))
}
