//! One release from a vendor's origin to sites and hosts, whatever it is made of.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use samara_tests::network::{CHANNEL, FETCH, Network, PRODUCT, Plan, fetch, fetch_command};
use samara_tests::tree::{Tree, b3sum, disk_bytes, same};
use samara_tests::{Finished, Process};

#[test]
fn a_release_of_every_kind_of_entry_reaches_every_host_unchanged() -> Result<()> {
    let mut network = Network::start(&Plan {
        sites: 2,
        hosts: 1,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.assortment()?;
    network.publish(tree.root(), "1.0.0")?;
    for (number, site) in network.sites.iter().enumerate() {
        let into = network.folder(&format!("out{number}"))?;
        site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
        same(tree.root(), &into)?;
        ensure!(disk_bytes(&into.join("holes.img"))? < 1 << 20, "a hole stays a hole");
        let host = &site.hosts[0];
        host.run(["verify".as_ref(), into.as_os_str()])?;
        fs::write(into.join("sizes/one"), b"?")?;
        let verify = host.attempt(["verify".as_ref(), into.as_os_str()])?;
        ensure!(
            verify.code() == Some(5),
            "a changed file is unverified, not {:?}",
            verify.code()
        );
        ensure!(
            verify.text().contains("sizes/one"),
            "it names the file:\n{}",
            verify.text()
        );
    }
    network.origin.stop()?.success()?;
    Ok(())
}

#[test]
fn what_repeats_is_counted_by_publish_and_fetch_in_the_same_words() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 9)?;
    tree.bytes("a", &[1; 40_000])?.bytes("b", &[2; 10_000])?;
    fs::hard_link(tree.root().join("a"), tree.root().join("linked"))?;
    fs::copy(tree.root().join("a"), tree.root().join("copied"))?;
    let published = network.publish(tree.root(), "1.0.0")?.json()?;
    let into = network.folder("out")?;
    let fetched = network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?.json()?;
    for said in [&published, &fetched] {
        ensure!(
            said["file_bytes"] == 130_000 && said["unique_bytes"] == 50_000,
            "three times the one and once the other: {said}"
        );
    }
    ensure!(published["bytes"] == 50_000 && fetched["bytes"] == 130_000, "as ever");
    same(tree.root(), &into)?;
    let what = format!("{PRODUCT}@1.0.0");
    let again = network.sites[0].hosts[0].run(["fetch".as_ref(), what.as_ref(), "-o".as_ref(), into.as_os_str()])?;
    let text = again.text();
    ensure!(text.contains("127.0 KiB of files, 48.8 KiB unique"), "{text}");
    Ok(())
}

#[test]
fn a_channel_leads_to_its_newest_release_and_replaces_the_older_one() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("kept", 200_000)?
        .file("changed", 100_000)?
        .file("removed/deep/file", 1000)?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}:{CHANNEL}"), &into)?;
    same(tree.root(), &into)?;
    fs::write(into.join("own notes"), "mine")?;

    fs::remove_dir_all(tree.root().join("removed"))?;
    tree.file("changed", 100_001)?.file("new", 70_000)?;
    network.publish(tree.root(), "1.1.0")?;
    network.sites[0].fetch(&format!("{PRODUCT}:{CHANNEL}"), &into)?;
    ensure!(
        fs::read(into.join("own notes"))? == b"mine",
        "what the older release had not written stays"
    );
    fs::remove_file(into.join("own notes"))?;
    same(tree.root(), &into)
}

#[test]
fn a_host_is_fed_while_its_site_does_not_have_the_release_yet() -> Result<()> {
    let mut plan = Plan::default();
    plan.origin.up = Some("4MB/s".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 3)?;
    tree.file("large", 24 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    let site = &network.sites[0];
    let fetching = Process::start(&mut fetch_command(&site.hosts[0], &format!("{PRODUCT}@1.0.0"), &into))?;
    until_bytes_arrive(&fetching, &into)?;
    let now = site.node.transfer("1.0.0")?;
    ensure!(
        now.as_ref().is_some_and(|now| now.have < now.wanted),
        "the host has something and its site not yet everything: {now:?}"
    );
    fetching.finish(FETCH)?.success()?;
    same(tree.root(), &into)
}

#[test]
fn a_host_gets_what_its_site_has_never_asked_for() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.follow = false;
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 11)?;
    tree.file("large", 3 << 20)?.file("small", 300)?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)?;
    network.sites[0]
        .node
        .wait_staged("1.0.0", Duration::from_secs(30))
        .map(drop)
}

#[test]
fn two_fetches_run_side_by_side_on_one_host() -> Result<()> {
    let mut plan = Plan::default();
    // So slow that neither is over before the other has begun.
    plan.site.up = Some("10MB/s".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 4)?;
    tree.file("large", 24 << 20)?.small_files(300, 1000, 9000)?;
    network.publish(tree.root(), "1.0.0")?;
    let host = &network.sites[0].hosts[0];
    let folders = [network.folder("a")?, network.folder("b")?];
    let start = |into: &Path| Process::start(&mut fetch_command(host, &format!("{PRODUCT}@1.0.0"), into));
    let both = [start(&folders[0])?, start(&folders[1])?];
    for (fetching, into) in both.iter().zip(&folders) {
        until_bytes_arrive(fetching, into)?;
    }
    ensure!(both.iter().all(Process::is_running), "both are under way");
    for (fetching, into) in both.iter().zip(&folders) {
        fetching.finish(FETCH)?.success()?;
        same(tree.root(), into)?;
    }
    Ok(())
}

#[test]
fn one_entry_can_be_fetched_alone_and_to_stdout() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 5)?;
    tree.file("bin/tool", 300_000)?.file("other", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let host = &network.sites[0].hosts[0];
    let mut command = host.command();
    command.args(["fetch", &format!("{PRODUCT}@1.0.0"), "--entry", "bin/tool", "-o", "-"]);
    let printed = Finished::of(&mut command, FETCH)?.success()?;
    ensure!(
        printed.stdout == fs::read(tree.root().join("bin/tool"))?,
        "stdout carries the file and nothing else"
    );
    let into = network.folder("out")?;
    let mut command = host.command();
    command
        .args(["fetch", &format!("{PRODUCT}@1.0.0"), "--entry", "bin/tool", "-o"])
        .arg(&into);
    Finished::of(&mut command, FETCH)?.success()?;
    ensure!(
        b3sum(&into.join("bin/tool"))? == b3sum(&tree.root().join("bin/tool"))?,
        "the entry itself"
    );
    ensure!(!into.join("other").exists(), "and no other");
    Ok(())
}

#[test]
fn publishing_the_same_again_is_a_no_op_and_other_content_is_refused() -> Result<()> {
    let network = Network::start(&Plan {
        sites: 0,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 6)?;
    tree.file("a", 100_000)?;
    network.publish(tree.root(), "1.0.0")?;
    network.publish(tree.root(), "1.0.0")?;
    tree.file("a", 100_001)?;
    let error = network
        .publish(tree.root(), "1.0.0")
        .expect_err("other content under a version that is out")
        .to_string();
    ensure!(error.contains("1.0.0"), "it names the version: {error}");
    Ok(())
}

#[test]
fn releases_that_are_published_at_the_same_time_all_come_out() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let versions = ["1.0.0", "1.1.0", "1.2.0"];
    let mut trees = Vec::new();
    for (seed, version) in versions.iter().enumerate() {
        let mut tree = Tree::new(network.folder(version)?, 40 + seed as u64)?;
        tree.file("large", 64 << 20)?;
        trees.push(tree);
    }
    std::thread::scope(|scope| {
        let publish = |(tree, version)| {
            let (network, tree): (&Network, &Tree) = (&network, tree);
            scope.spawn(move || network.publish(tree.root(), version))
        };
        let running: Vec<_> = trees.iter().zip(versions).map(publish).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic").map(drop))
    })?;
    for (tree, version) in trees.iter().zip(versions) {
        let into = network.folder(&format!("out-{version}"))?;
        fetch(&network.sites[0].hosts[0], &format!("{PRODUCT}@{version}"), &into)?;
        same(tree.root(), &into)?;
    }
    Ok(())
}

#[test]
fn twenty_thousand_small_files_arrive() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 7)?;
    tree.small_files(20_000, 4 << 10, 32 << 10)?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

#[test]
fn a_gibibyte_arrives() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 8)?;
    tree.file("large", 1 << 30)?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

#[test]
fn an_eight_gibibyte_file_of_holes_takes_no_room_anywhere() -> Result<()> {
    let network = Network::start(&Plan::default())?;
    let mut tree = Tree::new(network.folder("release")?, 9)?;
    tree.sparse(
        "disk.img",
        8 << 30,
        &[(0, 4096), (5 << 30, 100_000), ((8 << 30) - 1, 1)],
    )?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    ensure!(
        b3sum(&into.join("disk.img"))? == b3sum(&tree.root().join("disk.img"))?,
        "the same bytes"
    );
    ensure!(
        disk_bytes(&into.join("disk.img"))? < 64 << 20,
        "holes stay holes at the host"
    );
    for store in [network.origin.store(), network.sites[0].node.store()] {
        ensure!(
            folder_bytes(&store)? < 64 << 20,
            "holes stay holes in {}",
            store.display()
        );
    }
    Ok(())
}

#[test]
fn a_fetch_never_shows_a_half_file_under_its_name() -> Result<()> {
    let mut plan = Plan::default();
    plan.site.down = Some("6MB/s".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 10)?;
    tree.file("large", 24 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let into = network.folder("out")?;
    let host = &network.sites[0].hosts[0];
    let fetching = Process::start(&mut fetch_command(host, &format!("{PRODUCT}@1.0.0"), &into))?;
    samara_tests::wait::until("bytes below .samara", Duration::from_secs(60), || {
        ensure!(
            !into.join("large").exists() || !fetching.is_running(),
            "the name appears only with the whole file"
        );
        Ok((folder_bytes(&into.join(".samara"))? > 2 << 20).then_some(()))
    })?;
    fetching.kill()?;
    ensure!(
        !into.join("large").exists(),
        "killed half-way: no file under the final name"
    );
    fetch(host, &format!("{PRODUCT}@1.0.0"), &into)?.success()?;
    same(tree.root(), &into)?;
    ensure!(
        fs::metadata(into.join("large"))?.permissions().mode() & 0o111 == 0,
        "modes are kept"
    );
    Ok(())
}

/// Waits until a running fetch has written payload.
fn until_bytes_arrive(fetching: &Process, into: &Path) -> Result<()> {
    samara_tests::wait::until("bytes of a fetch", Duration::from_secs(60), || {
        ensure!(fetching.is_running(), "the fetch ended: {:?}", fetching.lines());
        Ok((folder_bytes(&into.join(".samara"))? > 1 << 20).then_some(()))
    })
}

/// Disk bytes of all files below a folder; 0 where it is not there yet.
fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                // It may be renamed or removed meanwhile.
                total += disk_bytes(&entry.path()).unwrap_or(0);
            }
        }
    }
    Ok(total)
}
