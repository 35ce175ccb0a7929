//! Peers that mean harm and have every right to be let in: sites of the vendor's whose node is a program of ours. The
//! release completes beside each of them; each is named in the logs of its victims and avoided.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use samara_protocol::id::ProductId;
use samara_protocol::limits::REQUESTS_PER_PEER_MAX;
use samara_protocol::wire::frame;
use samara_tests::hostile::{CONTROL, Conduct, DATA, Insider, Link, runtime};
use samara_tests::network::{Network, PRODUCT, Plan};
use samara_tests::tree::{Tree, same};
use samara_tests::wait;
use serde_json::Value;

mod beside;
mod floods;
mod hoards;
mod takers;

use beside::{Beside, HONEST, NAMED, SOON, event, kept_out};

#[test]
fn a_peer_of_stock_parts_that_tells_the_truth_is_a_source_like_any_other() -> Result<()> {
    let beside = Beside::start(&[Conduct::Truth], "16mbit")?;
    beside.complete()?;
    let peer = beside.hostile[0].node().to_string();
    for site in beside.honest() {
        let from_others = site.transfer("1.0.0")?.context("a transfer")?.from("other");
        ensure!(from_others > 4 << 20, "{from_others} bytes from other sites");
        let lines = site.process()?.lines();
        let blamed = lines.iter().filter(|line| {
            let level = serde_json::from_str::<Value>(line).map(|line| line["level"].clone());
            line.contains(&peer) && level.is_ok_and(|level| level == "warn" || level == "error")
        });
        ensure!(blamed.count() == 0, "who tells the truth is not blamed");
    }
    for seen in &beside.hostile[0].seen()[..HONEST] {
        ensure!(
            seen.asks() > 0 && seen.refused() == 0,
            "{seen:?}: {}",
            beside.hostile[0].last_error()
        );
    }
    Ok(())
}

#[test]
fn peers_that_serve_wrong_bytes_are_found_out_and_kept_out() -> Result<()> {
    let beside = Beside::start(&[Conduct::WrongData, Conduct::WrongProof], "16mbit")?;
    beside.name_and_avoid(0, &[event("groups_rejected"), kept_out("served_garbage")])?;
    beside.name_and_avoid(1, &[event("groups_rejected"), kept_out("served_garbage")])?;
    beside.complete()
}

#[test]
fn peers_that_stall_or_stop_in_the_middle_of_a_frame_hold_nothing_up() -> Result<()> {
    let beside = Beside::start(&[Conduct::Stall, Conduct::HalfFrame], "16mbit")?;
    beside.name(0, event("peer_stalled"))?;
    beside.name(1, event("peer_stalled"))?;
    beside.complete()?;
    for hostile in &beside.hostile {
        for seen in &hostile.seen()[..HONEST] {
            // What may be open at a time, once more after the pause, and never while nothing comes.
            let most = 2 * REQUESTS_PER_PEER_MAX as u64;
            ensure!(seen.asks() <= most, "asked again and again: {seen:?}");
        }
    }
    Ok(())
}

#[test]
fn a_peer_that_never_answers_asks_for_files_holds_no_release_up_and_is_asked_last_from_then_on() -> Result<()> {
    let beside = Beside::start(&[Conduct::StallFiles], "64mbit")?;
    beside.complete()?;
    let seen = &beside.hostile[0].seen()[..HONEST];
    let files = || seen.iter().map(|one| one.files()).collect::<Vec<_>>();
    // Each has let it in before there is anything to ask for.
    for one in seen {
        wait::until("it to be let in", NAMED, || Ok((one.admitted() > 0).then_some(())))?;
    }
    let publish = |version: &str| -> Result<()> {
        let mut tree = Tree::new(beside.network.folder(version)?, version.len() as u64)?;
        tree.file("new", 1 << 20)?;
        beside.network.publish(tree.root(), version)?;
        for site in beside.honest() {
            site.wait_staged(version, NAMED)?;
        }
        Ok(())
    };
    publish("2.0.0")?;
    let asked = files();
    ensure!(asked.iter().all(|asked| *asked > 0), "it was asked: {asked:?}");
    beside.name(0, event("file_late"))?;
    publish("3.0.0")?;
    ensure!(files() == asked, "asked again before the others: {:?}", files());
    Ok(())
}

#[test]
fn a_peer_whose_newer_metadata_is_none_is_named_and_not_asked_again_and_again() -> Result<()> {
    let beside = Beside::start(&[Conduct::ClaimMetadata], "16mbit")?;
    beside.name(0, event("metadata_refused"))?;
    beside.complete()?;
    for seen in &beside.hostile[0].seen()[..HONEST] {
        // Once for metadata, and once perhaps for the release's head; it has said many times that it is ahead.
        ensure!(seen.files() <= 2, "asked again: {seen:?}");
    }
    Ok(())
}

#[test]
fn a_peer_that_drips_is_named_and_its_share_asked_of_others() -> Result<()> {
    let beside = Beside::start(&[Conduct::Drip], "16mbit")?;
    beside.name(0, event("peer_stalled"))?;
    beside.complete()
}

#[test]
fn a_peer_that_lies_about_what_it_has_is_found_out_and_kept_out() -> Result<()> {
    let beside = Beside::start(&[Conduct::Lie], "16mbit")?;
    beside.name_and_avoid(0, &[event("have_was_false"), kept_out("lied_about_haves")])?;
    beside.complete()
}

#[test]
fn an_honest_site_whose_disk_rots_heals_and_stays_a_peer() -> Result<()> {
    let mut plan = Plan {
        sites: 2,
        ..Plan::default()
    };
    plan.site.upload = Some("all".to_owned());
    plan.site.log = Some("info");
    let mut network = Network::prepare(&plan)?;
    network.origin.start()?;
    network.sites[0].node.start()?;
    let mut tree = Tree::new(network.folder("release")?, 8)?;
    tree.file("large", 32 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    // Slow from here on, so that the second site gets most of it from the first.
    network.origin.stop()?;
    network
        .origin
        .configure(|config| config.up = Some("16mbit".to_owned()))?;
    network.origin.start()?;
    // Every fourth group: more than three in a row is what makes a liar.
    let rotten = rot(&network.sites[0].node.store(), 4)?;
    ensure!(rotten >= 100, "{rotten} groups are damaged");

    network.sites[1].node.start()?;
    let staged = network.sites[1].node.wait_staged("1.0.0", SOON)?;
    ensure!(staged.from("other") > 8 << 20, "it was of use: {staged:?}");
    let (first, second) = (&network.sites[0].node, &network.sites[1].node);
    let peer = first.status()?["node"]["peer"]
        .as_str()
        .context("node.peer")?
        .to_owned();
    let said = second.process()?.lines();
    ensure!(
        !said.iter().any(|line| event("peer_quarantined").is_in(line, &peer)),
        "an honest site was kept out:\n{}",
        said.iter()
            .filter(|line| line.contains(&peer))
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    second.wait_status("the first site to be a peer", NAMED, |status| {
        status["peers"]
            .as_array()
            .is_some_and(|peers| peers.iter().any(|row| row["peer"] == peer.as_str()))
    })?;
    first.process()?.line("groups_lost", NAMED, |line| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == "groups_lost")
    })?;
    // Healed: what it was asked for is right again on its own disk, and a host gets the very bytes.
    let all = 32 << 20;
    first.wait_transfer("1.0.0", "all of it again", SOON, |now| {
        now.have == all && now.durable == all
    })?;
    for (number, site) in network.sites.iter().enumerate() {
        let into = network.folder(&format!("out{number}"))?;
        site.fetch(&format!("{PRODUCT}@1.0.0"), &into)?;
        same(tree.root(), &into)?;
    }
    println!(
        "{rotten} rotten groups; {} bytes of it from the site that has them",
        staged.from("other")
    );
    Ok(())
}

#[test]
fn a_stranger_with_a_key_and_no_grant_gets_as_far_as_hello_and_hears_nothing() -> Result<()> {
    let network = Network::start(&Plan {
        hosts: 0,
        ..Plan::default()
    })?;
    let mut tree = Tree::new(network.folder("release")?, 9)?;
    tree.file("secret", 1 << 20)?;
    network.publish(tree.root(), "1.0.0")?;
    network.sites[0].node.wait_staged("1.0.0", SOON)?;
    // A customer of another vendor's: all is right with its credentials, and they are for another product.
    let other = Network::prepare(&Plan {
        hosts: 0,
        ..Plan::default()
    })?;
    let foreign = Insider::of(other.sites[0].node.actor.home())?;
    let insider = Insider::of(network.sites[0].node.actor.home())?;
    let (product, shown) = (insider.product(), insider.credentials().to_vec());
    let stranger = |seed: u8, credentials: Vec<u8>| Insider::new([seed; 32], product, credentials);
    let mut damaged = shown.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let hellos = [
        ("nothing", stranger(1, Vec::new())?),
        ("garbage", stranger(2, vec![0xa5; 700])?),
        ("somebody else's credentials", stranger(3, shown.clone())?),
        ("somebody else's, damaged", stranger(4, damaged)?),
        ("another vendor's grant", stranger(5, foreign.credentials().to_vec())?),
        ("its own grant, of another vendor", foreign),
    ];
    let runtime = runtime()?;
    for node in [&network.origin, &network.sites[0].node] {
        let address = node.address();
        let say = |who: &Insider, bytes: Vec<u8>| -> Result<Vec<u8>> {
            runtime.block_on(async { Link::dial(who, &address).await?.raw_hello(&bytes).await })
        };
        for (shows, who) in &hellos {
            let mut hello = who.hello();
            // The product that is there, and one that is not: one answer.
            for product in [product, ProductId([0x77; 32])] {
                hello.product = product;
                let heard = say(who, frame::encode(&hello.encode()))?;
                ensure!(heard.is_empty(), "who shows {shows} heard {heard:?}");
            }
        }
        let (_, nobody) = &hellos[0];
        for (sends, bytes) in [
            ("a length of four gigabytes", vec![0xff; 64]),
            ("a frame of noise", frame::encode(&[0x5a; 300])),
            ("noise", vec![0x5a; 9000]),
        ] {
            let heard = say(nobody, bytes)?;
            ensure!(heard.is_empty(), "who sends {sends} heard {heard:?}");
        }
        for protocol in [CONTROL, DATA, "/samara/hello/1", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"] {
            let offered = runtime.block_on(async { Link::dial(nobody, &address).await?.open(protocol).await })?;
            ensure!(offered.is_none(), "a stranger was offered {protocol}");
        }
        ensure!(node.process()?.is_running(), "{} goes on", node.actor.name());
    }
    // The same words from the key that they were written for open the door: it is the credentials that decide.
    let origin = network.origin.address();
    let welcome = runtime.block_on(async {
        Link::dial(&insider, &origin)
            .await?
            .hello(&insider.hello().encode())
            .await
    })?;
    ensure!(
        welcome.is_some_and(|reply| !reply.credentials.is_empty()),
        "an insider is let in"
    );
    Ok(())
}

/// Flips a bit in every `step`-th group of each large file of a store that is in use.
fn rot(store: &Path, step: usize) -> Result<usize> {
    let mut damaged = 0;
    for entry in fs::read_dir(store.join("artifacts"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "data") {
            continue;
        }
        let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        for offset in (0..file.metadata()?.len()).step_by(step * 65_536) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset)?;
            file.write_all_at(&[byte[0] ^ 1], offset)?;
            damaged += 1;
        }
    }
    Ok(damaged)
}
