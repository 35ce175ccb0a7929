//! What a fetch says when it cannot have what it is asked for: why, in whose words, with which code, and what it leaves.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Actor, FETCH, Network, Node, PRODUCT, Plan, VERB, fetch, fetch_command};
use samara_tests::tree::{Tree, same};
use samara_tests::{Finished, Process, wait};
use serde_json::Value;

/// How long news may take from one node to the next before it counts as not travelling.
const NEWS: Duration = Duration::from_secs(60);

/// A network with one release that has two files.
fn with_a_release() -> Result<(Network, Tree)> {
    with_a_release_in(&Plan::default())
}

fn with_a_release_in(plan: &Plan) -> Result<(Network, Tree)> {
    let network = Network::start(plan)?;
    let mut tree = Tree::new(network.folder("release")?, 31)?;
    tree.file("bin/tool", 200_000)?.file("share/tool/readme", 1000)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &network.folder("first")?)?;
    Ok((network, tree))
}

/// Fails unless `refused` ended with `code` and an error that has all `words`.
fn says(refused: &Finished, code: i32, words: &[&str]) -> Result<()> {
    let error: Value = refused.json()?;
    let error = error["error"].to_string();
    ensure!(
        refused.code() == Some(code) && words.iter().all(|word| error.contains(word)),
        "not {code} with {words:?}: {} {}",
        refused.status,
        refused.stderr
    );
    Ok(())
}

/// Fetches into new folders until it ends with `code`: news has to travel.
fn until_code(host: &Actor, network: &Network, what: &str, code: i32) -> Result<(Finished, PathBuf)> {
    let mut number = 0;
    wait::until(&format!("a fetch of {what} to end with {code}"), NEWS, || {
        number += 1;
        let into = network.exchange(&format!("{what}-{number}").replace(['/', ':', '@'], "-"));
        let finished = fetch(host, what, &into)?;
        Ok((finished.code() == Some(code)).then_some((finished, into)))
    })
}

#[test]
fn what_the_grant_does_not_cover_is_said_at_once_and_leaves_nothing() -> Result<()> {
    let (network, tree) = with_a_release()?;
    let to_beta = [
        "publish",
        "--product",
        PRODUCT,
        "--version",
        "2.0.0",
        "--channel",
        "beta",
    ];
    let mut publish = network.vendor_command(to_beta);
    Finished::of(publish.arg(tree.root()), FETCH)?.success()?;
    let host = &network.sites[0].hosts[0];

    let into = network.exchange("beta");
    let channel = fetch(host, &format!("{PRODUCT}:beta"), &into)?;
    says(
        &channel,
        3,
        &[PRODUCT, "beta is not granted", "has stable", "ask the vendor"],
    )?;
    ensure!(!into.exists(), "it made a folder");

    // Before the news has come there is no such version at all, which is the same code.
    let refused = wait::until("the site to know of the release", NEWS, || {
        let refused = fetch(host, &format!("{PRODUCT}@2.0.0"), &into)?;
        ensure!(refused.code() == Some(3), "{} {}", refused.status, refused.stderr);
        ensure!(!into.exists(), "it left a folder");
        Ok(refused.stderr.contains("granted").then_some(refused))
    })?;
    says(&refused, 3, &[PRODUCT, "is on beta", "stable", "ask the vendor"])
}

#[test]
fn a_version_that_is_waited_for_and_never_comes_is_absent_and_not_out_of_reach() -> Result<()> {
    let (network, _) = with_a_release()?;
    let into = network.exchange("never");
    let mut command = fetch_command(&network.sites[0].hosts[0], &format!("{PRODUCT}@9.9.9"), &into);
    let started = Instant::now();
    let refused = Finished::of(command.args(["--wait", "8s"]), FETCH)?;
    let waited = started.elapsed();
    says(
        &refused,
        3,
        &[PRODUCT, "(stable) offers 9.9.9", "s of waiting", "stable is 1.0.0"],
    )?;
    ensure!(
        waited > Duration::from_secs(7) && waited < Duration::from_secs(20),
        "eight seconds were asked for: {waited:?}"
    );
    ensure!(!into.exists(), "it left a folder");
    Ok(())
}

#[test]
fn a_recalled_release_is_refused_and_verified_in_the_vendors_own_words() -> Result<()> {
    let (network, mut tree) = with_a_release()?;
    tree.file("bin/tool", 200_001)?;
    network.publish(tree.root(), "1.0.1")?;
    let recall = [
        "recall",
        "acme/app@1.0.0",
        "--reason",
        "loses data",
        "--replacement",
        "1.0.1",
    ];
    network.vendor(recall)?;
    network.vendor(recall).context("the same again is no failure")?;

    let host = &network.sites[0].hosts[0];
    let (refused, _) = until_code(host, &network, &format!("{PRODUCT}@1.0.0"), 4)?;
    says(&refused, 4, &["loses data", "acme/app@1.0.1"])?;

    let first = network.folder("first")?;
    let verified = host.attempt(["verify".as_ref(), "--json".as_ref(), first.as_os_str()])?;
    ensure!(
        verified.status.code() == Some(4),
        "a script must not go on: {}",
        verified.stderr
    );
    let verified: Value = verified.json()?;
    ensure!(
        verified["verified"] == true && verified["recalled"] == true,
        "{verified:#}"
    );
    ensure!(
        verified["recall"]["reason"] == "loses data" && verified["recall"]["replacement"] == "1.0.1",
        "{verified:#}"
    );
    Ok(())
}

#[test]
fn an_entry_that_is_none_is_absent_and_leaves_nothing() -> Result<()> {
    let (network, _) = with_a_release()?;
    let host = &network.sites[0].hosts[0];
    for (entry, words) in [
        ("nope", ["no such entry", "bin/tool"]),
        ("tool", ["no such entry", "bin/tool"]),
        ("share", ["a folder", "share/tool/readme"]),
    ] {
        let into = network.exchange("entry");
        let mut command = fetch_command(host, &format!("{PRODUCT}@1.0.0"), &into);
        let refused = Finished::of(command.args(["--entry", entry, "--wait"]), FETCH).context("waiting brings none")?;
        says(&refused, 3, &words)?;
        ensure!(refused.stderr.contains(entry), "{}", refused.stderr);
        ensure!(
            !refused.stderr.contains("WARN"),
            "nothing is wrong with the release: {}",
            refused.stderr
        );
        ensure!(!into.exists(), "it left a folder");
    }
    Ok(())
}

#[test]
fn a_folder_takes_one_fetch_at_a_time() -> Result<()> {
    let mut plan = Plan::default();
    plan.origin.up = Some("8mbit".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 32)?;
    tree.file("large", 24 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let (host, into) = (&network.sites[0].hosts[0], network.folder("out")?);
    let what = format!("{PRODUCT}@1.0.0");
    let first = Process::start(&mut fetch_command(host, &what, &into))?;
    wait::until("the first fetch to hold its folder", NEWS, || {
        ensure!(first.is_running(), "it ended: {:?}", first.lines());
        let lock = fs::read(into.join(".samara/store/lock"));
        Ok(lock.is_ok_and(|holder| !holder.is_empty()).then_some(()))
    })?;
    let second = fetch(host, &what, &into)?;
    ensure!(first.is_running(), "the first had ended: {:?}", first.lines());
    says(
        &second,
        10,
        &["another fetch", "another folder", &first.pid().to_string()],
    )?;
    first.finish(FETCH)?.success()?;
    same(tree.root(), &into)
}

#[test]
fn a_port_in_use_is_a_conflict_that_names_the_key_and_the_address() -> Result<()> {
    let network = Network::prepare(&Plan::default())?;
    let node = &network.sites[0].node;
    let held = TcpListener::bind(node.address())?;
    let mut command = node.actor.command();
    let refused = Finished::of(command.args(["node", "run", "--config"]).arg(node.file()), VERB)?;
    drop(held);
    ensure!(
        refused.code() == Some(10)
            && ["node.listen", &node.address(), "another port"]
                .iter()
                .all(|word| refused.stderr.contains(word)),
        "{} {}",
        refused.status,
        refused.stderr
    );
    Ok(())
}

#[test]
fn a_nodes_own_home_fetches_beside_it_where_it_may_enrol_and_is_refused_where_not() -> Result<()> {
    let mut plan = Plan::default();
    (plan.origin.log, plan.site.log) = (Some("info"), Some("info"));
    let (network, tree) = with_a_release_in(&plan)?;
    let (node, keeper) = (&network.sites[0].node, &network.sites[0].keeper);
    let what = format!("{PRODUCT}@1.0.0");
    let into = network.exchange("beside");
    let before = partings(&network)?;
    let refused = fetch(&node.actor, &what, &into)?;
    says(&refused, 4, &["a node without the right", "request host"])?;
    ensure!(!into.exists(), "it made a folder");
    ensure!(
        partings(&network)? == before,
        "a fetch that was refused pushed the node off"
    );

    let (request, join) = (network.exchange("right.request"), network.exchange("right.join"));
    node.actor.run([
        "request".as_ref(),
        "node".as_ref(),
        "--output".as_ref(),
        request.as_os_str(),
    ])?;
    keeper.run([
        "site".as_ref(),
        "enrol".as_ref(),
        "--enrol-right".as_ref(),
        request.as_os_str(),
        "--output".as_ref(),
        join.as_os_str(),
    ])?;
    node.actor.run(["join".as_ref(), join.as_os_str()])?;
    meets_anew(&network, before)?;
    let before = partings(&network)?;
    fetch(&node.actor, &what, &into)?.success()?;
    same(tree.root(), &into)?;
    // The node was not pushed off: what comes next reaches it over the connection that it had.
    network.publish(tree.root(), "1.0.1")?;
    until_code(&network.sites[0].hosts[0], &network, &format!("{PRODUCT}@1.0.1"), 0)?;
    ensure!(node.process()?.is_running(), "the node goes on");
    ensure!(partings(&network)? == before, "the fetch pushed the node off");
    Ok(())
}

/// How often the origin has parted from the site's node, and the node from the origin, by their logs.
fn partings(network: &Network) -> Result<[usize; 2]> {
    let (origin, node) = (&network.origin, &network.sites[0].node);
    Ok([count_down(origin, &peer(node)?)?, count_down(node, &peer(origin)?)?])
}

fn count_down(node: &Node, of: &str) -> Result<usize> {
    let lines = node.process()?.lines();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines
        .filter(|line| line["event"] == "peer_down" && line["fields"]["peer"] == of)
        .count())
}

fn peer(node: &Node) -> Result<String> {
    let status = node.status()?;
    let id = status["node"]["peer"].as_str();
    id.map(str::to_owned).context("a status names its node")
}

/// A node that has joined parts from everybody and meets them with what it has now. Waits until origin and node have, and
/// until they stay together: both may have dialled, and one of two connections goes again.
fn meets_anew(network: &Network, before: [usize; 2]) -> Result<()> {
    let (origin, node) = (&network.origin, &network.sites[0].node);
    wait::until("the origin and the node to part", NEWS, || {
        let now = partings(network)?;
        Ok((now[0] > before[0] && now[1] > before[1]).then_some(()))
    })?;
    for (node, other) in [(origin, peer(node)?), (node, peer(origin)?)] {
        node.wait_status("them to be together", NEWS, |status| {
            let mut peers = status["peers"].as_array().into_iter().flatten();
            peers.any(|row| row["peer"] == *other && row["connected_seconds"].as_u64() >= Some(3))
        })?;
    }
    Ok(())
}
