//! `lab import`: hash and outboard of one large file, beside b3sum with as many threads.
//!
//! Both read the same warm file in the same run: ours as the store does it (subtrees of 16 MiB handed to all cores, the pairs
//! kept as the outboard), b3sum's as that program does it (memory-mapped, all cores). The whole of `publish --link`, which
//! hashes at both ends of the socket, signs and syncs, and `cp` of the file are printed beside.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use samara_protocol::tree::geometry::{Geometry, Span};
use samara_protocol::tree::outboard::{Chaining, SubtreeHasher, merge};
use samara_tests::Finished;
use samara_tests::network::{CHANNEL, FETCH, Network, PRODUCT, Plan};
use samara_tests::tree::random_file;
use serde_json::{Value, json};

use crate::measure::{median, round};

/// Groups of a subtree, as a power of two: 16 MiB.
const SUBTREE_LOG: u8 = 8;
/// Bytes read at a time.
const READ_BYTES: usize = 512 << 10;

/// What to import.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file's size.
    #[arg(long, default_value = "2GiB", value_parser = samara_protocol::units::parse_bytes)]
    size: u64,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Leave `publish` out: hashing alone.
    #[arg(long)]
    hash_only: bool,
}

/// Runs it.
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
pub(crate) fn run(args: &Args) -> Result<Value> {
    let folder = crate::work_folder()?;
    let release = folder.path().join("release");
    std::fs::create_dir_all(&release)?;
    let file = release.join("release.bin");
    random_file(&file, args.size, 1)?;
    let (mut own, mut whole, mut copies, mut reference) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.runs {
        let (seconds, root) = b3sum(&file)?;
        reference.push(seconds);
        let (seconds, own_root) = outboard(&file)?;
        own.push(seconds);
        ensure!(root == own_root, "the two roots differ");
        copies.push(copy(&file, folder.path())?);
        if !args.hash_only {
            whole.push(publish(&release)?);
        }
    }
    let gb = args.size as f64 / 1e9;
    let (own, reference) = (median(own), median(reference));
    let publish = if whole.is_empty() {
        Value::Null
    } else {
        json!(round(median(whole)))
    };
    Ok(json!({
        "size": args.size,
        "samara": { "hash_gb_s": round(gb / own), "publish_s": publish },
        "b3sum": { "gb_s": round(gb / reference) },
        "cp": { "s": round(median(copies)) },
        "ratio": round(reference / own),
        "threads": threads(),
    }))
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn b3sum(path: &Path) -> Result<(f64, [u8; 32])> {
    let started = Instant::now();
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path)?;
    let root = *hasher.finalize().as_bytes();
    Ok((started.elapsed().as_secs_f64(), root))
}

fn outboard(path: &Path) -> Result<(f64, [u8; 32])> {
    let started = Instant::now();
    let file = File::open(path)?;
    let geometry = Geometry::new(file.metadata()?.len())?;
    let spans: Vec<Span> = geometry.subtrees(SUBTREE_LOG).collect();
    let (next, parts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads())
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut buffer = vec![0; READ_BYTES];
                    while let Some(span) = spans.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let part = subtree(&file, geometry, *span, &mut buffer)?;
                        parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a hashing thread panicked"))?
        })
    })?;
    let mut parts: Vec<(Span, Chaining, Vec<u8>)> = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
    parts.sort_unstable_by_key(|(span, ..)| span.groups().start);
    let (root, pairs) = merge(geometry, parts.iter().map(|(span, chaining, _)| (*span, *chaining)))?;
    let kept: usize = parts.iter().map(|(.., pairs)| pairs.len()).sum::<usize>() + pairs.len() * 64;
    let took = started.elapsed().as_secs_f64();
    ensure!(kept as u64 == geometry.outboard_len(), "the outboard has {kept} bytes");
    Ok((took, root.0))
}

fn subtree(file: &File, geometry: Geometry, span: Span, buffer: &mut [u8]) -> Result<(Span, Chaining, Vec<u8>)> {
    let mut hasher = SubtreeHasher::new(geometry, span);
    let bytes = span.bytes(geometry);
    let mut at = bytes.start;
    while at < bytes.end {
        let part = usize::try_from(bytes.end - at).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..part], at)
            .context("reading the file")?;
        hasher.update(&buffer[..part]);
        at += part as u64;
    }
    let hashed = hasher.finish()?;
    Ok((hashed.span, hashed.chaining, hashed.outboard))
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

/// Seconds of the whole verb, at an origin of its own each time: nothing is there already.
fn publish(release: &Path) -> Result<f64> {
    let network = Network::start(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    let mut publish = network.vendor_command(["publish", "--link", "--product", PRODUCT, "--version", "1.0.0"]);
    publish.args(["--channel", CHANNEL]).arg(release);
    Ok(Finished::of(&mut publish, FETCH)?.success()?.elapsed.as_secs_f64())
}
