//! A node that is told to stop in mid-transfer says so: its neighbours go on without it, and hold nothing against it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Network, Node, PRODUCT, Plan};
use samara_tests::tree::{Tree, same};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(300);
/// How long word from one node to the next may take.
const NEWS: Duration = Duration::from_secs(20);
const LARGE: u64 = 32 << 20;

#[test]
fn a_node_that_is_stopped_in_mid_transfer_says_goodbye_and_its_neighbours_go_on() -> Result<()> {
    let mut plan = Plan {
        sites: 3,
        ..Plan::default()
    };
    plan.origin.up = Some("32mbit".to_owned());
    plan.site.upload = Some("all".to_owned());
    (plan.origin.log, plan.site.log) = (Some("debug"), Some("debug"));
    let mut network = Network::start(&plan)?;
    let id = peer(&network.sites[0].node)?;
    for node in neighbours(&network) {
        node.wait_status("the first site to be a peer", NEWS, |status| {
            let mut peers = status["peers"].as_array().into_iter().flatten();
            peers.any(|row| row["peer"] == *id)
        })?;
    }
    let mut tree = Tree::new(network.folder("release")?, 21)?;
    tree.file("large", LARGE)?;
    network.publish(tree.root(), "1.0.0")?;
    // In the middle of it on both hands: it is owed something, and others are fed by it.
    let first = &network.sites[0].node;
    first.wait_transfer("1.0.0", "the middle of the transfer", SOON, |now| {
        now.have > 2 << 20 && now.sent > 1 << 20
    })?;
    let stopped = network.sites[0].node.stop()?;
    ensure!(stopped.code() == Some(0), "{}: {}", stopped.status, stopped.stderr);
    for site in &network.sites[1..] {
        let now = site.node.transfer("1.0.0")?.context("a transfer")?;
        ensure!(now.have < now.wanted, "it had all of it before: {now:?}");
    }
    for node in neighbours(&network) {
        is_told(node, &id)?;
    }
    for (number, site) in network.sites[1..].iter().enumerate() {
        site.node.wait_staged("1.0.0", SOON)?;
        let into = network.folder(&format!("out{number}"))?;
        site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
        same(tree.root(), &into)?;
    }
    for node in neighbours(&network) {
        blames_nobody(node, &id)?;
    }
    // What is held against anybody outlives the process.
    for site in &mut network.sites[1..] {
        site.node.stop()?;
        let standings = site.node.store().join("standings.json");
        // An ask that came too late for what an origin had just hidden makes a file too, in which nobody is.
        let held = std::fs::read_to_string(&standings).unwrap_or_default();
        ensure!(!held.contains(&id), "{held}");
    }
    Ok(())
}

/// All but the first site's node.
fn neighbours(network: &Network) -> impl Iterator<Item = &Node> {
    let sites = network.sites[1..].iter().map(|site| &site.node);
    sites.chain([&network.origin])
}

fn peer(node: &Node) -> Result<String> {
    let status = node.status()?;
    let id = status["node"]["peer"].as_str();
    id.map(str::to_owned).context("a status names its node")
}

fn is_goodbye(line: &Value, id: &str) -> bool {
    let says_so = |error: &str| error.contains("it said goodbye: Shutdown");
    line["fields"]["peer"] == id && line["fields"]["error"].as_str().is_some_and(says_so)
}

/// Waits until a node's log says that the peer took its leave, and then that it is gone.
fn is_told(node: &Node, id: &str) -> Result<()> {
    let line = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let process = node.process()?;
    process.line("the goodbye", NEWS, |text| is_goodbye(&line(text), id))?;
    let gone = |line: &Value| line["event"] == "peer_down" && line["fields"]["peer"] == id;
    process.line("the peer to be gone", NEWS, |text| gone(&line(text)))?;
    Ok(())
}

/// Fails when a node's log holds something against the peer, or shows that it was waited for after its goodbye.
fn blames_nobody(node: &Node, id: &str) -> Result<()> {
    const BLAME: [&str; 7] = [
        "peer_quarantined",
        "peer_dropped",
        "protocol_broken",
        "group_rejected",
        "groups_rejected",
        "have_was_false",
        "file_late",
    ];
    let lines = node.process()?.lines();
    let lines: Vec<Value> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let goodbye = lines.iter().position(|line| is_goodbye(line, id));
    let goodbye = goodbye.context("it was told")?;
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line["fields"]["peer"] == id)
    {
        let event = line["event"].as_str().unwrap_or_default();
        let is_blame = BLAME.contains(&event) || line["level"] == "warn" || line["level"] == "error";
        let is_late = at > goodbye && event == "peer_stalled";
        ensure!(!is_blame && !is_late, "{}: {line}", node.actor.name());
    }
    Ok(())
}
