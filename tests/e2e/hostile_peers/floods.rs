//! Peers that say more than anybody wants to hear, or what is nothing.

use anyhow::{Result, ensure};
use samara_tests::hostile::Conduct;
use samara_tests::tree::Tree;
use samara_tests::wait;

use super::beside::{Beside, NAMED, SOON, event, kept_out};

#[test]
fn peers_that_flood_are_kept_out() -> Result<()> {
    let beside = Beside::start(
        &[
            Conduct::FloodHaves,
            Conduct::FloodMetadata,
            Conduct::FloodAsks,
            Conduct::FloodPings,
            Conduct::FloodUnknown,
        ],
        "16mbit",
    )?;
    for flood in 0..3 {
        beside.name_and_avoid(flood, &[kept_out("misbehaved")])?;
    }
    for flood in 3..5 {
        beside.name_and_avoid(flood, &[event("protocol_broken"), kept_out("misbehaved")])?;
    }
    beside.complete()
}

#[test]
fn peers_whose_frames_claim_too_much_or_are_none_are_kept_out() -> Result<()> {
    let beside = Beside::start(
        &[
            Conduct::OversizedControl,
            Conduct::OversizedAsk,
            Conduct::OversizedReply,
            Conduct::UnknownReply,
        ],
        "16mbit",
    )?;
    for oversized in 0..4 {
        beside.name_and_avoid(oversized, &[event("protocol_broken"), kept_out("misbehaved")])?;
    }
    beside.complete()
}

#[test]
fn contacts_of_nodes_that_are_not_members_are_neither_dialled_nor_passed_on() -> Result<()> {
    let mut beside = Beside::start(&[Conduct::TellContacts], "64mbit")?;
    for one in beside.hostile[0].seen() {
        wait::until("it to be let in", NAMED, || Ok((one.admitted() > 0).then_some(())))?;
    }
    beside.complete()?;
    // Who comes to an origin that has been told hears what it has kept.
    beside.network.sites[0].node.stop()?;
    beside.network.sites[0].node.start()?;
    let mut tree = Tree::new(beside.network.folder("second")?, 12)?;
    tree.file("new", 1 << 20)?;
    beside.network.publish(tree.root(), "2.0.0")?;
    for site in beside.honest() {
        site.wait_staged("2.0.0", SOON)?;
        let peers = site.status()?["peers"].as_array().map_or(0, Vec::len);
        ensure!(peers >= 2, "the origin and the other site are found: {peers}");
    }
    ensure!(
        beside.hostile[0].lured() == 0,
        "dialled {} times",
        beside.hostile[0].lured()
    );
    Ok(())
}
