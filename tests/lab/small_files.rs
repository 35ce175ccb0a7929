//! `lab small-files`: 20,000 files of 4 to 32 KiB into a site's store, and from there into a host's folder, beside `cp -r`.
//!
//! Into the store: from the promotion to the site's node saying "staged". Into the folder: the fetching process's start to its
//! exit 0. `cp -r` copies the same tree on the same file system in the same run.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use samara_tests::Finished;
use samara_tests::network::{FETCH, Network, PRODUCT, Plan};
use samara_tests::tree::{Tree, same, total_bytes};
use serde_json::{Value, json};

use crate::measure::{median, round};

/// How many, how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files.
    #[arg(long, default_value_t = 20_000)]
    files: u32,
    /// How often; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let folder = crate::work_folder()?;
    let mut tree = Tree::new(folder.path().join("release"), 1)?;
    tree.small_files(args.files, 4 << 10, 32 << 10)?;
    let (mut stores, mut hosts, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..args.runs {
        copies.push(copy(tree.root(), folder.path())?);
        let (store, host) = once(tree.root(), folder.path())?;
        crate::note(&format!(
            "run {}: store {store:.2} s, host {host:.2} s, cp -r {:.2} s",
            number + 1,
            copies[copies.len() - 1]
        ));
        stores.push(store);
        hosts.push(host);
    }
    let (host, copy) = (median(hosts), median(copies));
    Ok(json!({
        "files": args.files,
        "bytes": total_bytes(tree.root())?,
        "site_store_s": round(median(stores)),
        "host_folder_s": round(host),
        "cp_r_s": round(copy),
        "ratio": round(host / copy),
    }))
}

fn once(release: &Path, folder: &Path) -> Result<(f64, f64)> {
    let mut plan = Plan::default();
    plan.site.follow = true;
    let network = Network::start(&plan)?;
    network.publish(release, "1.0.0")?;
    let promoted = Instant::now();
    network.sites[0].node.wait_staged("1.0.0", Duration::from_secs(300))?;
    let store = promoted.elapsed().as_secs_f64();
    let into = folder.join("out");
    let finished = network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(release, &into)?;
    std::fs::remove_dir_all(&into)?;
    Ok((store, finished.elapsed.as_secs_f64()))
}

fn copy(release: &Path, folder: &Path) -> Result<f64> {
    let into = folder.join("copy");
    let cp = Finished::of(Command::new("cp").arg("-r").arg(release).arg(&into), FETCH)?.success()?;
    std::fs::remove_dir_all(&into)?;
    Ok(cp.elapsed.as_secs_f64())
}
