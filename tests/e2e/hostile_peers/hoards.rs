//! Peers that hold what is there for all: streams, connections, the time of handshakes.

use std::sync::Arc;

use anyhow::Result;
use samara_protocol::limits::{UNADMITTED_MAX, UNADMITTED_PER_ADDRESS_MAX};
use samara_tests::hostile::Conduct;
use samara_tests::namespace::{Place, Star};
use samara_tests::{runnable, wait};

use super::beside::{Beside, HONEST, NAMED, event, kept_out};

#[test]
fn a_peer_that_hoards_streams_is_kept_out() -> Result<()> {
    let beside = Beside::start(&[Conduct::HoardStreams], "16mbit")?;
    beside.name_and_avoid(0, &[event("protocol_broken"), kept_out("misbehaved")])?;
    beside.complete()
}

#[test]
fn those_who_hoard_strangers_places_keep_nobody_else_from_coming() -> Result<()> {
    if !runnable("a hoard of connections", &["ip", "tc"], true) {
        return Ok(());
    }
    // With as many each as one address may have, these would have more than there are.
    let conducts = [Conduct::HoardConnections; UNADMITTED_MAX / UNADMITTED_PER_ADDRESS_MAX + 1];
    let mut beside = Beside::prepare(&conducts, "16mbit", Some(&star(conducts.len())?))?;
    // All have begun at once: one that is through its handshake has found the others' half ones there.
    wait::until("the origin to be held", NAMED, || {
        let mut origin = beside.hostile.iter().map(|hostile| &hostile.seen()[HONEST]);
        Ok(origin.any(|seen| seen.held_most() > 0).then_some(()))
    })?;
    beside.let_honest_sites_in()?;
    beside.complete()
}

#[test]
fn a_storm_of_reconnects_holds_nothing_up() -> Result<()> {
    if !runnable("a storm of reconnects", &["ip", "tc"], true) {
        return Ok(());
    }
    let mut beside = Beside::prepare(&[Conduct::ReconnectStorm], "16mbit", Some(&star(1)?))?;
    let origin = &beside.hostile[0].seen()[HONEST];
    wait::until("the storm at the origin", NAMED, || {
        Ok((origin.admitted() > 20).then_some(()))
    })?;
    beside.let_honest_sites_in()?;
    beside.complete()
}

/// An address for each: the origin, the honest sites and so many hostile ones.
fn star(hostile: usize) -> Result<Arc<Star>> {
    let sites = (1..=HONEST + hostile).map(|number| format!("s{number}"));
    let places = std::iter::once("o".to_owned()).chain(sites);
    Ok(Arc::new(Star::new(
        places.map(|name| Place::new(name, None, None)).collect(),
    )?))
}
