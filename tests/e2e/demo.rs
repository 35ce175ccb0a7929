//! What a newcomer runs first.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::tree::{Tree, b3sum, same};
use samara_tests::{Finished, binary};

const DEMO: Duration = Duration::from_secs(300);

#[test]
fn the_demo_carries_a_release_through_a_kill_and_says_what_it_did() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tree = Tree::new(folder.path().join("release"), 1)?;
    tree.file("large.bin", 96 << 20)?
        .small_files(200, 4 << 10, 32 << 10)?
        .executable("bin/run", 100_000)?;
    let keep = folder.path().join("kept");
    let mut demo = Command::new(binary::samara());
    demo.arg("demo")
        .arg(tree.root())
        .args(["--sites", "3", "--hosts", "3", "--json", "--keep"])
        .arg(&keep);
    let finished = Finished::of(&mut demo, DEMO)?.success()?;
    let report = finished.json()?;
    ensure!(report["schema"] == 1 && report["verified"] == true, "{report:#}");
    ensure!(
        report["artifact_bytes"].as_u64().is_some_and(|bytes| bytes > 96 << 20),
        "{report:#}"
    );
    ensure!(
        report["resumed_after_kill"] == true
            && report["killed"]["resumed_bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > 0),
        "it was killed in mid-transfer: {report:#}"
    );
    ensure!(
        report["refetched_bytes_after_kill"]
            .as_u64()
            .is_some_and(|bytes| bytes <= 1 << 20),
        "{report:#}"
    );
    ensure!(
        report["origin_copies"]
            .as_f64()
            .is_some_and(|copies| copies > 0.9 && copies < 2.0),
        "{report:#}"
    );
    ensure!(
        report["in_flight_lost_bytes"].is_u64() && report["seconds"].is_number(),
        "{report:#}"
    );
    ensure!(
        report["nodes"].as_array().is_some_and(|nodes| nodes.len() >= 7),
        "origin, sites and hosts: {report:#}"
    );
    let mut hosts = 0;
    for host in std::fs::read_dir(keep.join("hosts"))? {
        let host = host?.path();
        hosts += 1;
        let copy = release_in(&host)?;
        same(tree.root(), &copy)?;
    }
    ensure!(hosts == 3, "{hosts} hosts were kept");
    Ok(())
}

#[test]
fn one_small_file_is_too_small_to_interrupt_and_the_demo_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tiny");
    std::fs::write(&file, "hello")?;
    let keep = folder.path().join("kept");
    let mut demo = Command::new(binary::samara());
    demo.arg("demo")
        .arg(&file)
        .args(["--sites", "2", "--hosts", "2", "--json", "--keep"])
        .arg(&keep);
    let report = Finished::of(&mut demo, DEMO)?.success()?.json()?;
    ensure!(
        report["verified"] == true && report["resumed_after_kill"].is_null(),
        "{report:#}"
    );
    let host = std::fs::read_dir(keep.join("hosts"))?.next().context("a host")??.path();
    ensure!(b3sum(&find(&host, "tiny")?)? == b3sum(&file)?, "the file itself");
    Ok(())
}

#[test]
fn the_demo_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tiny");
    std::fs::write(&file, "hello")?;
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    let mut demo = Command::new(binary::samara());
    demo.arg("demo")
        .arg(&file)
        .args(["--sites", "1", "--hosts", "1"])
        .env("TMPDIR", &temporary)
        .env("HOME", folder.path());
    Finished::of(&mut demo, DEMO)?.success()?;
    ensure!(
        std::fs::read_dir(&temporary)?.next().is_none(),
        "the temporary folder is empty again"
    );
    Ok(())
}

/// The host's folder itself, or the one folder in it that the release lies in.
fn release_in(host: &std::path::Path) -> Result<std::path::PathBuf> {
    let found = find(host, "large.bin")?;
    Ok(found.parent().context("it lies in a folder")?.to_path_buf())
}

fn find(folder: &std::path::Path, name: &str) -> Result<std::path::PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with(".samara") {
                open.push(path);
            } else if path.ends_with(name) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no {name} below {}", folder.display())
}
