//! Disks that are full, and disks that rot.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Network, PRODUCT, Plan, fetch, fetch_command};
use samara_tests::tree::{Tree, same};
use samara_tests::{Finished, Process, runnable};

const SOON: Duration = Duration::from_secs(300);

/// A file system in memory of its own; unmounted on drop.
struct Small {
    folder: PathBuf,
}

impl Small {
    fn mount(folder: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let small = Self { folder };
        small.call(&format!("size={size}"))?;
        Ok(small)
    }

    fn resize(&self, size: &str) -> Result<()> {
        self.call(&format!("remount,size={size}"))
    }

    fn call(&self, options: &str) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.folder);
        Finished::of(&mut mount, SOON)?.success().map(drop)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
    }
}

#[test]
fn a_full_disk_stops_cleanly_is_told_to_hosts_and_goes_on_by_itself_once_there_is_room() -> Result<()> {
    if !runnable("disk full", &["mount", "umount"], true) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let small = Small::mount(folder.path().join("store"), "24M")?;
    let mut plan = Plan::default();
    plan.site.store = Some(small.folder.clone());
    plan.site.reserve = Some("1MiB".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 40 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let release = format!("{PRODUCT}@1.0.0");
    refused_as_full(&network, &network.folder("early")?)?;
    let now = network.sites[0].node.transfer("1.0.0")?;
    ensure!(now.is_none_or(|now| now.stage != "staged"), "it claims nothing");

    let into = network.folder("out")?;
    let mut command = fetch_command(&network.sites[0].hosts[0], &release, &into);
    let waiting = Process::start(command.args(["--wait", "200s"]))?;
    let node = &network.sites[0].node;
    waiting.line("the waiting host to be told", SOON, |line| line.contains("is full"))?;
    small.resize("120M")?;
    // The same process goes on, and so does the host that waits.
    node.wait_staged("1.0.0", SOON)?;
    waiting.finish(SOON)?.success()?;
    same(tree.root(), &into)
}

#[test]
fn a_disk_that_others_fill_in_mid_transfer_stops_it_cleanly_and_nothing_is_fetched_twice() -> Result<()> {
    if !runnable("disk full", &["mount", "umount"], true) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let small = Small::mount(folder.path().join("store"), "120M")?;
    let mut plan = Plan::default();
    plan.origin.up = Some("80mbit".to_owned());
    plan.site.store = Some(small.folder.clone());
    plan.site.reserve = Some("1MiB".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 5)?;
    tree.file("large", 48 << 20)?.small_files(50, 4 << 10, 32 << 10)?;
    let size = samara_tests::tree::total_bytes(tree.root())?;
    network.publish(tree.root(), "1.0.0")?;
    let node = &network.sites[0].node;
    node.wait_transfer("1.0.0", "a quarter", SOON, |now| now.have > 12 << 20)?;
    let filler = small.folder.join("somebody-elses");
    fill(&filler)?;
    node.wait_status("the transfer to stop", SOON, |status| {
        status["transfers"]
            .as_array()
            .is_some_and(|transfers| transfers.iter().all(|row| row["part"] != "payload"))
    })?;
    refused_as_full(&network, &network.folder("early")?)?;
    fs::remove_file(&filler)?;
    node.wait_staged("1.0.0", SOON)?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)?;
    let moved = sent(&network)?;
    // What was under way when the disk said no was received and could not be kept.
    ensure!(moved < size + (20 << 20), "{moved} bytes moved for a release of {size}");
    Ok(())
}

/// A fetch ends with the code of a full disk, and says whose.
fn refused_as_full(network: &Network, into: &Path) -> Result<()> {
    let node = &network.sites[0].node;
    let peer = node.status()?["node"]["peer"].as_str().context("node.peer")?.to_owned();
    let refused = fetch(&network.sites[0].hosts[0], &format!("{PRODUCT}@1.0.0"), into)?;
    ensure!(
        refused.code() == Some(6),
        "a full disk is exit code 6, not {}: {}",
        refused.status,
        refused.stderr
    );
    ensure!(
        refused.stderr.contains(&peer) && refused.stderr.contains("disk or quota is full"),
        "which node, and why: {}",
        refused.stderr
    );
    ensure!(node.process()?.is_running(), "the node goes on");
    Ok(())
}

/// Writes until nothing more fits.
fn fill(path: &Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    let bytes = vec![1; 64 << 10];
    loop {
        match file.write_all(&bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn a_quota_that_a_release_does_not_fit_is_said_and_kept() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.quota = Some("8MiB".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("large", 24 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    refused_as_full(&network, &network.folder("out")?)?;
    let used = network.sites[0].node.status()?["store"]["used_bytes"]
        .as_u64()
        .context("store.used_bytes")?;
    ensure!(used <= 9 << 20, "{used} bytes in a quota of 8 MiB");
    Ok(())
}

/// 4 MiB that all versions have in common and some of its own.
fn version(network: &Network, number: u64, own: u64) -> Result<Tree> {
    let mut tree = Tree::new(network.folder(&format!("release{number}"))?, number)?;
    samara_tests::tree::random_file(&tree.root().join("common"), 4 << 20, 77)?;
    tree.file("own", own)?;
    Ok(tree)
}

#[test]
fn a_release_that_does_not_fit_beside_one_that_is_not_kept_any_more_takes_its_place() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.quota = Some("20MiB".to_owned());
    (plan.site.follow, plan.site.keep) = (true, Some(2));
    let mut network = Network::start(&plan)?;
    for number in 0..2 {
        network.publish(version(&network, number, 6 << 20)?.root(), &format!("1.{number}.0"))?;
        network.sites[0].node.wait_staged(&format!("1.{number}.0"), SOON)?;
    }
    // 16 of 20 MiB are taken: 6 more go only in the place of the first one's.
    let third = version(&network, 2, 6 << 20)?;
    network.publish(third.root(), "1.2.0")?;
    network.sites[0].node.wait_staged("1.2.0", SOON)?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.2.0"), &into)?;
    same(third.root(), &into)?;
    let moved = sent(&network)?;
    ensure!(
        moved < 24 << 20,
        "{moved} bytes for 22 MiB: what they have in common stayed"
    );
    // And after a restart, with the quota as full as before.
    network.sites[0].node.stop()?;
    network.publish(version(&network, 3, 6 << 20)?.root(), "1.3.0")?;
    network.sites[0].node.start()?;
    network.sites[0].node.wait_staged("1.3.0", SOON)?;
    Ok(())
}

#[test]
fn an_old_release_that_a_host_asked_for_makes_room_for_the_newest() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.quota = Some("24MiB".to_owned());
    (plan.site.follow, plan.site.keep) = (true, Some(1));
    let network = Network::start(&plan)?;
    let node = &network.sites[0].node;
    let old = version(&network, 0, 6 << 20)?;
    for (number, tree) in [old.root().to_owned(), version(&network, 1, 6 << 20)?.root().to_owned()]
        .iter()
        .enumerate()
    {
        network.publish(tree, &format!("1.{number}.0"))?;
        node.wait_staged(&format!("1.{number}.0"), SOON)?;
    }
    let into = network.folder("out")?;
    fetch(&network.sites[0].hosts[0], &format!("{PRODUCT}@1.0.0"), &into)?.success()?;
    same(old.root(), &into)?;
    node.wait_staged("1.0.0", SOON)?;
    // It fits only where neither of the two is.
    let mut large = Tree::new(network.folder("large")?, 9)?;
    large.file("large", 20 << 20)?;
    network.publish(large.root(), "1.2.0")?;
    node.wait_staged("1.2.0", SOON)?;
    fetch(&network.sites[0].hosts[0], &format!("{PRODUCT}:stable"), &into)?.success()?;
    same(large.root(), &into)
}

#[test]
fn a_release_that_is_recalled_in_mid_transfer_leaves_its_room_to_the_next() -> Result<()> {
    let mut plan = Plan::default();
    plan.origin.up = Some("16mbit".to_owned());
    plan.site.quota = Some("16MiB".to_owned());
    (plan.site.follow, plan.site.keep) = (true, Some(2));
    let network = Network::start(&plan)?;
    network.publish(version(&network, 1, 8 << 20)?.root(), "1.1.0")?;
    let node = &network.sites[0].node;
    node.wait_transfer("1.1.0", "more than the next may lack", SOON, |now| now.have > 5 << 20)?;
    network.vendor(["recall", &format!("{PRODUCT}@1.1.0"), "--reason", "broken"])?;
    let mut fixed = Tree::new(network.folder("fixed")?, 9)?;
    fixed.file("large", 12 << 20)?;
    network.publish(fixed.root(), "1.2.0")?;
    node.wait_staged("1.2.0", SOON)?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.2.0"), &into)?;
    same(fixed.root(), &into)
}

#[test]
fn a_site_whose_disk_rots_heals_and_passes_nothing_bad_on() -> Result<()> {
    let mut plan = Plan {
        sites: 2,
        ..Plan::default()
    };
    plan.site.upload = Some("all".to_owned());
    let mut network = Network::prepare(&plan)?;
    network.origin.start()?;
    network.sites[0].node.start()?;
    let mut tree = Tree::new(network.folder("release")?, 3)?;
    tree.file("large", 16 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    let rotten = rot(&network.sites[0].node.store(), 40)?;
    ensure!(rotten > 0, "something was damaged");

    network.sites[1].node.start()?;
    network.sites[1].node.wait_staged("1.0.0", SOON)?;
    for (number, site) in network.sites.iter().enumerate() {
        let into = network.folder(&format!("out{number}"))?;
        site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
        same(tree.root(), &into)?;
    }
    Ok(())
}

#[test]
fn a_store_file_that_is_gone_is_fetched_again_and_nothing_else() -> Result<()> {
    let plan = Plan::default();
    let mut network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 4)?;
    tree.file("lost", 4 << 20)?.file("kept", 12 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let node = &mut network.sites[0].node;
    node.wait_staged("1.0.0", SOON)?;
    node.stop()?;
    let lost = samara_tests::tree::b3sum(&tree.root().join("lost"))?;
    let file = files(&node.store())?
        .into_iter()
        .find(|file| samara_tests::tree::b3sum(file).is_ok_and(|hash| hash == lost));
    fs::remove_file(file.context("the artifact is one file by its root")?)?;
    let before = sent(&network)?;
    network.sites[0].node.start()?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)?;
    let moved = sent(&network)? - before;
    ensure!(
        (4 << 20..6 << 20).contains(&moved),
        "4 MiB were lost, {moved} bytes moved"
    );
    Ok(())
}

fn sent(network: &Network) -> Result<u64> {
    network.origin.status()?["limits"]["sent_bytes"]
        .as_u64()
        .context("limits.sent_bytes")
}

/// Flips a bit in every `step`-th 64 KiB of each large file below `folder`, while it is in use.
fn rot(folder: &Path, step: usize) -> Result<usize> {
    let mut damaged = 0;
    for path in files(folder)? {
        let size = fs::metadata(&path)?.len();
        if size < 1 << 20 || path.to_string_lossy().contains("redb") {
            continue;
        }
        let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        for offset in (0..size).step_by(step * 65_536) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset)?;
            file.write_all_at(&[byte[0] ^ 1], offset)?;
            damaged += 1;
        }
    }
    Ok(damaged)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
