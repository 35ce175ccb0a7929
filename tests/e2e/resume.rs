//! A node that is killed, stopped or loses its disk goes on where it was.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::Finished;
use samara_tests::network::{Network, PRODUCT, Plan};
use samara_tests::tree::{Tree, same};

/// What may cross the wire again of what was verified and written before a kill.
const REFETCH_MAX: u64 = 1 << 20;
const KILLS: u32 = 50;
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;
const SOON: Duration = Duration::from_secs(300);

fn following(origin_up: &str) -> Plan {
    let mut plan = Plan::default();
    plan.origin.up = Some(origin_up.to_owned());
    plan
}

#[test]
fn fifty_kills_in_one_fetch_cost_almost_nothing() -> Result<()> {
    let mut network = Network::start(&following("200mbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 256 << 20)?.small_files(500, 4 << 10, 32 << 10)?;
    network.publish(tree.root(), "1.0.0")?;
    let mut before = 0;
    let mut worst = 0;
    for kill in 0..KILLS {
        let node = &mut network.sites[0].node;
        let further = node.wait_transfer("1.0.0", "further progress", SOON, |now| {
            now.have > before + (2 << 20) || now.stage == "staged"
        })?;
        ensure!(
            further.stage != "staged",
            "kill {kill} came too late: make the release larger"
        );
        node.kill()?;
        node.start()?;
        let after = node.wait_transfer("1.0.0", "the transfer after a restart", SOON, |_| true)?;
        let lost = further.have.saturating_sub(after.from("resumed").max(after.have));
        ensure!(
            lost <= REFETCH_MAX,
            "kill {kill}: {lost} of {} verified bytes are gone",
            further.have
        );
        worst = worst.max(lost);
        before = after.have;
    }
    println!("{KILLS} kills, at most {worst} verified bytes fetched again");
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

#[test]
fn sigterm_drains_and_loses_nothing() -> Result<()> {
    let mut network = Network::start(&following("80mbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("large", 48 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let node = &mut network.sites[0].node;
    let before = node.wait_transfer("1.0.0", "a quarter", SOON, |now| now.have > 12 << 20)?;
    let ended = node.stop()?;
    ensure!(
        ended.code() == Some(0),
        "SIGTERM ends with 0, not {}:\n{}",
        ended.status,
        ended.stderr
    );
    node.start()?;
    let after = node.wait_transfer("1.0.0", "the transfer after a restart", SOON, |_| true)?;
    ensure!(
        after.from("resumed") >= before.have,
        "{} of {} came back",
        after.from("resumed"),
        before.have
    );
    node.wait_staged("1.0.0", SOON)?;
    Ok(())
}

#[test]
fn an_origin_that_is_killed_comes_back_and_goes_on_serving() -> Result<()> {
    let mut network = Network::start(&following("80mbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 3)?;
    tree.file("large", 32 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0]
        .node
        .wait_transfer("1.0.0", "a quarter", SOON, |now| now.have > 8 << 20)?;
    network.origin.kill()?;
    network.origin.start()?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    Ok(())
}

#[test]
fn the_index_file_can_be_deleted_and_nothing_is_fetched_again() -> Result<()> {
    let mut network = Network::start(&following("400mbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 4)?;
    tree.assortment()?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    let sent = sent_bytes(&network)?;
    let node = &mut network.sites[0].node;
    node.stop()?;
    let index = find(&node.store(), "redb")?.context("the store has a redb file")?;
    fs::remove_file(index)?;
    node.start()?;
    node.wait_staged("1.0.0", SOON)?;
    ensure!(sent_bytes(&network)? == sent, "nothing was fetched again");
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    same(tree.root(), &into)
}

/// What a loss of power can leave on a disk at the least is what lay there at an earlier moment. The store is copied while the
/// process is frozen, as of then; later the process is killed and finds the copy. So this is about what is believed after a
/// restart and what neighbours are told, with a real store on a real disk; that syncs come before claims is shown on the
/// disk in memory (`node/src/store/tests/crash.rs`), which can drop what was not synced.
#[test]
fn a_disk_that_is_as_of_an_earlier_moment_is_believed_and_neighbours_learn_what_was_lost() -> Result<()> {
    let mut plan = following("40mbit");
    plan.sites = 2;
    plan.site.upload = Some("all".to_owned());
    let mut network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 6)?;
    tree.file("large", 24 << 20)?.small_files(40, 4 << 10, 32 << 10)?;
    network.publish(tree.root(), "1.0.0")?;
    let node = &mut network.sites[0].node;
    node.wait_transfer("1.0.0", "something durable", SOON, |now| now.durable > 4 << 20)?;
    node.process()?.signal(SIGSTOP)?;
    let (store, earlier) = (node.store(), node.actor.home().join("earlier"));
    let copied = Finished::of(Command::new("cp").arg("-r").arg(&store).arg(&earlier), SOON);
    node.process()?.signal(SIGCONT)?;
    copied?.success()?;
    let later = node.wait_transfer("1.0.0", "more than then", SOON, |now| now.have > 12 << 20)?;
    node.kill()?;
    fs::remove_dir_all(&store)?;
    fs::rename(&earlier, &store)?;
    node.start()?;
    let back = node.wait_transfer("1.0.0", "the transfer after a restart", SOON, |_| true)?;
    ensure!(
        back.from("resumed") < later.have,
        "{} bytes are claimed of a disk that is older than {} bytes",
        back.from("resumed"),
        later.have
    );
    for (number, site) in network.sites.iter().enumerate() {
        site.node.wait_staged("1.0.0", SOON)?;
        let into = network.folder(&format!("out{number}"))?;
        site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
        same(tree.root(), &into)?;
    }
    Ok(())
}

fn sent_bytes(network: &Network) -> Result<u64> {
    network.origin.status()?["limits"]["sent_bytes"]
        .as_u64()
        .context("limits.sent_bytes")
}

fn files(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
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

fn find(folder: &std::path::Path, part: &str) -> Result<Option<std::path::PathBuf>> {
    let named = |path: &std::path::PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().contains(part))
    };
    Ok(files(folder)?.into_iter().find(named))
}
