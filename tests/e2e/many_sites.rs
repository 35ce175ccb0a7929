//! Several sites feed each other, with and without their origin.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Member, Network, Node, PRODUCT, Plan};
use samara_tests::tree::{Tree, same};
use samara_tests::wait;

const SOON: Duration = Duration::from_secs(300);
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;
/// How often two sites meet their origin at once, and how long they may take to find each other then.
const MEETINGS: u32 = 10;
const MEETING: Duration = Duration::from_secs(60);

fn swarm(sites: usize, origin_up: &str) -> Plan {
    let mut plan = Plan {
        sites,
        hosts: 1,
        ..Plan::default()
    };
    plan.origin.up = Some(origin_up.to_owned());
    plan.site.upload = Some("all".to_owned());
    plan
}

#[test]
fn the_origin_sends_about_one_copy_to_three_sites() -> Result<()> {
    let network = Network::start(&swarm(3, "100mbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 64 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let mut from_origin = 0;
    for site in &network.sites {
        let done = site.node.wait_staged("1.0.0", SOON)?;
        ensure!(done.from("other") > 0, "a site got something from another site");
        from_origin += done.from("origin");
    }
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
    let copies = from_origin as f64 / f64::from(64 << 20);
    println!("origin copies: {copies:.3}");
    ensure!(copies < 1.3, "the origin sent {copies:.2} copies");
    Ok(())
}

/// What a grant says unless the vendor says more, and what a node does unless its file does.
#[test]
fn the_sites_of_one_tenant_that_feed_no_other_take_about_one_copy_together() -> Result<()> {
    let mut plan = Plan {
        sites: 3,
        sites_per_tenant: 3,
        reseed: "own",
        ..Plan::default()
    };
    plan.origin.up = Some("100mbit".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 32 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let mut from_origin = 0;
    for site in &network.sites {
        let done = site.node.wait_staged("1.0.0", SOON)?;
        ensure!(
            done.from("tenant") > 0,
            "a site got something from another one of its tenant"
        );
        from_origin += done.from("origin");
    }
    ensure!(from_origin < 48 << 20, "the origin sent {from_origin} bytes");
    Ok(())
}

#[test]
fn the_nodes_of_a_site_that_feeds_nobody_else_take_about_one_copy_together() -> Result<()> {
    let mut plan = Plan {
        reseed: "none",
        ..Plan::default()
    };
    plan.origin.up = Some("100mbit".to_owned());
    let network = Network::start(&plan)?;
    let site = &network.sites[0];
    let second = Member {
        name: "second",
        place: "",
        keeper: &site.keeper,
    };
    let mut second = network.member_node(&second, &plan.site, true)?;
    second.start()?;
    for node in [&site.node, &second] {
        node.wait_status("the origin and the other node", MEETING, |status| {
            status["peers"].as_array().is_some_and(|peers| peers.len() >= 2)
        })?;
    }
    let mut tree = Tree::new(network.folder("release")?, 1)?;
    tree.file("large", 32 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let mut from_origin = 0;
    for node in [&site.node, &second] {
        from_origin += node.wait_staged("1.0.0", SOON)?.from("origin");
    }
    ensure!(from_origin < 48 << 20, "the origin sent {from_origin} bytes");
    Ok(())
}

/// Each of them is up before anything of the other is known, so that neither is told of the other when it comes.
#[test]
fn sites_that_meet_their_origin_in_the_same_moment_learn_of_each_other() -> Result<()> {
    for round in 0..MEETINGS {
        let mut network = Network::prepare(&swarm(2, "50mbit"))?;
        network.origin.start()?;
        network.origin.process()?.signal(SIGSTOP)?;
        for site in &mut network.sites {
            site.node.start()?;
        }
        network.origin.process()?.signal(SIGCONT)?;
        for (site, other) in [(0, 1), (1, 0)] {
            let other = network.sites[other].node.status()?["node"]["peer"].clone();
            let what = format!("the sites to be peers in round {round}");
            network.sites[site].node.wait_status(&what, MEETING, |status| {
                let mut peers = status["peers"].as_array().into_iter().flatten();
                peers.any(|row| row["peer"] == other)
            })?;
        }
    }
    Ok(())
}

#[test]
fn sites_that_are_known_by_a_name_feed_each_other() -> Result<()> {
    let mut plan = swarm(2, "50mbit");
    plan.site.external = Some("localhost".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 6)?;
    tree.file("large", 16 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    for site in &network.sites {
        let done = site.node.wait_staged("1.0.0", SOON)?;
        ensure!(done.from("other") > 0, "nothing came from the other site: {done:?}");
        let status = site.node.status()?;
        let name = site.node.address().replace("127.0.0.1", "localhost");
        ensure!(
            status["node"]["external"] == serde_json::json!([name]),
            "{}",
            status["node"]
        );
    }
    Ok(())
}

#[test]
fn three_sites_of_which_none_has_all_finish_after_the_origin_died() -> Result<()> {
    const LARGE: u64 = 12 << 20;
    let mut plan = swarm(3, "16mbit");
    // It sends nothing twice, and the sites tell each other little beside it: when it has sent everything once, each of them
    // lacks a third or more and needs some ten seconds for that.
    plan.origin.copies = Some(1);
    plan.site.up = Some("4mbit".to_owned());
    let mut network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 2)?;
    tree.file("large", LARGE)?;
    network.publish(tree.root(), "1.0.0")?;
    // The origin stays until every block has reached some site: it sends none twice before it has sent each once.
    wait::until("the sites to hold one copy between them", SOON, || {
        let mut first_hand = 0;
        for site in &network.sites {
            first_hand += site.node.transfer("1.0.0")?.map_or(0, |now| now.from("origin"));
        }
        Ok((first_hand >= LARGE).then_some(()))
    })?;
    network.origin.kill()?;
    // Asked when it is dead: who lacks something now lacked it then.
    for site in &network.sites {
        let now = site.node.transfer("1.0.0")?.context("a transfer")?;
        ensure!(
            now.have < now.wanted,
            "{} had everything when the origin died: {now:?}",
            site.node.actor.name()
        );
    }
    for site in &network.sites {
        let staged = site.node.wait_staged("1.0.0", SOON);
        staged.with_context(|| {
            format!(
                "all sites: {:#?}",
                network
                    .sites
                    .iter()
                    .map(|site| site.node.transfer("1.0.0"))
                    .collect::<Vec<_>>()
            )
        })?;
    }
    // A site's uplink is that to its hosts too, and these need not wait for it.
    for site in &mut network.sites {
        site.node.stop()?;
        site.node.configure(|config| config.up = None)?;
        site.node.start()?;
    }
    for (number, site) in network.sites.iter().enumerate() {
        let into = network.folder(&format!("out{number}"))?;
        site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
        same(tree.root(), &into)?;
    }
    Ok(())
}

#[test]
fn a_half_complete_site_serves_what_it_has() -> Result<()> {
    let network = Network::start(&swarm(2, "40mbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 3)?;
    tree.file("large", 32 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    let limit = Duration::from_secs(60);
    let half = network.sites[0]
        .node
        .wait_transfer("1.0.0", "something served while incomplete", limit, |now| now.sent > 0);
    let half = half?;
    ensure!(
        half.have < half.wanted,
        "it was complete before it served anything: {half:?}"
    );
    for site in &network.sites {
        site.node.wait_staged("1.0.0", SOON)?;
    }
    Ok(())
}

#[test]
fn a_second_release_moves_only_what_is_new() -> Result<()> {
    let network = Network::start(&swarm(1, "1gbit"))?;
    let mut tree = Tree::new(network.folder("release")?, 4)?;
    tree.file("stays.bin", 24 << 20)?
        .small_files(400, 4 << 10, 32 << 10)?
        .file("changes.bin", 2 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    let into = network.folder("out")?;
    network.sites[0].fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
    let before = [sent(&network.origin)?, sent(&network.sites[0].node)?];

    tree.file("changes.bin", 2 << 20)?.file("new.bin", 1 << 20)?;
    network.publish(tree.root(), "1.1.0")?;
    let done = network.sites[0].node.wait_staged("1.1.0", SOON)?;
    ensure!(done.from("reused") >= 24 << 20, "the rest was reused: {done:?}");
    network.sites[0].fetch(&format!("{PRODUCT}@1.1.0"), &into)?;
    same(tree.root(), &into)?;
    // 3 MiB are new; the list of entries comes on top.
    let nodes = [&network.origin, &network.sites[0].node];
    for ((node, to), before) in nodes.into_iter().zip(["its site", "its host"]).zip(before) {
        let moved = sent(node)? - before;
        ensure!(
            (3 << 20..4 << 20).contains(&moved),
            "{} sent {to} {moved} bytes for 3 MiB that are new",
            node.actor.name()
        );
    }
    Ok(())
}

/// Payload that a node has sent since its start, to anybody.
fn sent(node: &Node) -> Result<u64> {
    let status = node.status()?;
    status["limits"]["sent_bytes"]
        .as_u64()
        .context("status says what was sent")
}

#[test]
fn an_uplink_that_is_off_serves_nobody_beyond_the_site() -> Result<()> {
    let mut plan = swarm(2, "200mbit");
    plan.site.upload = Some("off".to_owned());
    let network = Network::start(&plan)?;
    let mut tree = Tree::new(network.folder("release")?, 5)?;
    tree.file("large", 16 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    for site in &network.sites {
        let done = site.node.wait_staged("1.0.0", SOON)?;
        ensure!(
            done.from("other") == 0 && done.from("origin") >= 16 << 20,
            "everything came from the origin: {done:?}"
        );
    }
    Ok(())
}

/// What a site does that is told nothing. The grants of all three would allow more, and the other customer's site is theirs to
/// ask: it gives to everybody, so they have dialled it.
#[test]
fn a_site_feeds_its_own_tenants_sites_and_no_other_tenants_unless_it_is_told_to() -> Result<()> {
    const LARGE: u64 = 16 << 20;
    let mut plan = swarm(3, "40mbit");
    plan.sites_per_tenant = 2;
    plan.site.upload = None;
    let mut network = Network::prepare(&plan)?;
    let stranger = &mut network.sites[2].node;
    stranger.configure(|config| config.upload = Some("all".to_owned()))?;
    network.origin.start()?;
    for site in &mut network.sites {
        site.node.start()?;
    }
    let stranger = &network.sites[2].node;
    stranger.wait_status("the other tenant's two sites to be peers", SOON, |status| {
        let peers = status["peers"].as_array().into_iter().flatten();
        peers.filter(|row| row["distance"] == "other").count() == 2
    })?;
    let mut tree = Tree::new(network.folder("release")?, 7)?;
    tree.file("large", LARGE)?;
    network.publish(tree.root(), "1.0.0")?;
    let mut within = 0;
    for site in &network.sites[..2] {
        within += site.node.wait_staged("1.0.0", SOON)?.from("tenant");
        let upload = site.node.status()?["limits"]["upload"].clone();
        ensure!(upload == "tenant", "status says so: {upload}");
    }
    ensure!(within > 0, "the two fed each other");
    let done = stranger.wait_staged("1.0.0", SOON)?;
    ensure!(
        done.from("other") == 0 && done.from("origin") >= LARGE,
        "another tenant's site got something from them: {done:?}"
    );
    Ok(())
}

#[test]
fn a_site_that_was_restarted_still_avoids_whom_it_had_quarantined() -> Result<()> {
    let mut network = Network::start(&swarm(2, "40mbit"))?;
    let id = |status: &serde_json::Value| status["node"]["peer"].as_str().map(str::to_owned);
    let shunned = id(&network.sites[0].node.status()?).context("a status names its node")?;
    let file = network.sites[1].node.store().join("standings.json");
    network.sites[1].node.stop()?;
    ensure!(!file.exists(), "nothing was held against anybody");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let record = serde_json::json!({"peer": shunned, "blame": 12, "quarantines": 1, "quarantine_left_s": 3600});
    let written = serde_json::json!({"schema": 0, "at": now, "peers": [record]});
    std::fs::write(&file, written.to_string())?;
    network.sites[1].node.start()?;
    let mut tree = Tree::new(network.folder("release")?, 6)?;
    tree.file("large", 16 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    for site in &network.sites {
        let done = site.node.wait_staged("1.0.0", SOON)?;
        ensure!(
            done.from("other") == 0,
            "the two have nothing to do with each other: {done:?}"
        );
    }
    network.sites[1].node.stop()?;
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let left = kept["peers"][0]["quarantine_left_s"].as_u64();
    ensure!(
        kept["peers"][0]["peer"] == shunned.as_str() && left.is_some_and(|left| (3000..3600).contains(&left)),
        "it is still remembered, and the time goes on: {kept}"
    );
    std::fs::write(&file, "not what it should be")?;
    network.sites[1].node.start()?;
    let lines = network.sites[1].node.process()?.lines();
    ensure!(
        lines.iter().any(|line| line.contains("standings.json")),
        "a bad file is warned of: {lines:?}"
    );
    Ok(())
}
