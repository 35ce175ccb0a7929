//! Private keys stay with the verb that uses them: not in the origin's home, not in its process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::Finished;
use samara_tests::hostile::seed_in;
use samara_tests::network::{Network, Plan, VERB};
use samara_tests::search::Needles;
use samara_tests::tree::Tree;

const SOON: Duration = Duration::from_secs(60);
/// The roles whose keys an origin never needs; the two others are those of a sealing one.
const OFFLINE: [&str; 6] = ["root", "targets", "releases", "channels", "recalls", "grants"];
const SEALING: [&str; 2] = ["snapshot", "timestamp"];

#[test]
fn the_keys_of_a_vendors_verbs_never_reach_the_origin_that_they_work_beside() -> Result<()> {
    let mut network = Network::prepare(&Plan {
        hosts: 0,
        ..Plan::default()
    })?;
    let keys = network.keys.join("keys");
    // It reads the very folder in which all of them lie, as it does by the guide for operators.
    network.origin.configure(|config| config.signer = Some(keys.clone()))?;
    network.origin.start()?;
    network.sites[0].node.start()?;
    let mut tree = Tree::new(network.folder("release")?, 15)?;
    tree.file("large", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    tree.file("large", 3 << 20)?;
    network.publish(tree.root(), "1.1.0")?;
    network.vendor(["promote", "acme/app@1.1.0", "--channel", "beta"])?;
    network.vendor(["recall", "acme/app@1.0.0", "--reason", "broken"])?;
    let mut grant = network.vendor_command(["grant", "--product", "acme/app", "--reseed", "none"]);
    grant.args(["--tenant", "tenant1", "--site", "site1", "--channel", "stable"]);
    let request = network.exchange("site1.key.request");
    let answer = network.exchange("again.grant");
    Finished::of(grant.arg(&request).arg("--output").arg(&answer), VERB)?.success()?;
    network.vendor([
        "revoke",
        "--product",
        "acme/app",
        "--tenant",
        "tenant1",
        "--site",
        "site1",
    ])?;
    network
        .origin
        .wait_status("the revoked site to be out", SOON, |status| {
            status["peers"].as_array().is_some_and(Vec::is_empty)
        })?;

    let home = network.origin.actor.home();
    let own = secrets(&["identity"], home)?;
    // What is looked for can be found: the origin's own key is there, in its home and in its memory.
    ensure!(!own.in_files(home)?.is_empty(), "no key was found where there is one");
    let all: Vec<&str> = OFFLINE.into_iter().chain(SEALING).collect();
    let found = secrets(&all, &keys)?.in_files(home)?;
    ensure!(found.is_empty(), "in the origin's home: {found:?}");

    let pid = network.origin.process()?.pid();
    ensure!(
        own.in_memory(pid)?.contains(&"identity.key"),
        "no key was found in the memory of the origin"
    );
    let found = secrets(&OFFLINE, &keys)?;
    let found = found.in_memory(pid)?;
    ensure!(found.is_empty(), "in the origin's memory: {found:?}");
    let open = open_below(pid, &network.keys)?;
    ensure!(open.is_empty(), "the origin holds the vendor's files open: {open:?}");
    Ok(())
}

/// The keys `NAME.key` in a folder: the bytes themselves and as the file has them.
fn secrets(names: &[&str], folder: &Path) -> Result<Needles> {
    let mut needles = Needles::default();
    for name in names {
        let file = format!("{name}.key");
        let path = folder.join(&file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let digits = text.trim_end().rsplit(' ').next().unwrap_or_default();
        needles
            .add(&file, seed_in(&path)?)
            .add(format!("{file} as text"), digits);
    }
    Ok(needles)
}

/// What a process has open or mapped of a folder.
fn open_below(pid: u32, folder: &Path) -> Result<Vec<PathBuf>> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?;
    // One may be closed between the listing and the look at it.
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mapped = maps.lines().filter_map(|line| line.split_once('/'));
    let mapped = mapped.map(|(_, path)| PathBuf::from(format!("/{path}")));
    let all: Vec<PathBuf> = links.chain(mapped).collect();
    ensure!(all.len() > 5, "a node has files open: {all:?}");
    Ok(all.into_iter().filter(|path| path.starts_with(folder)).collect())
}
