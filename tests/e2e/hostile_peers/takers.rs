//! Peers that ask and are of no use to anybody.

use anyhow::{Context, Result, ensure};
use samara_tests::hostile::Conduct;

use super::beside::{Beside, HONEST, event};

#[test]
fn a_peer_that_reads_nothing_of_what_it_asked_for_is_hung_up_on_and_holds_nothing_up() -> Result<()> {
    let beside = Beside::start(&[Conduct::Unread], "16mbit")?;
    beside.complete()?;
    beside.name(0, event("peer_dropped"))
}

#[test]
fn a_peer_that_takes_the_same_again_and_again_gets_what_the_others_leave() -> Result<()> {
    let beside = Beside::start(&[Conduct::Take], "16mbit")?;
    beside.complete()?;
    // Looked at as soon as both are done: what nobody else wants any more it may have.
    let taken: Vec<u64> = beside.hostile[0].seen().iter().map(|seen| seen.taken()).collect();
    println!("taken of each site and of the origin: {taken:?}");
    // Of the origin's uplink, which is what there is too little of, each honest site had more.
    for site in beside.honest() {
        let honest = site.transfer("1.0.0")?.context("a transfer")?.from("origin");
        ensure!(
            taken[HONEST] < honest,
            "{} of the origin, an honest site {honest}",
            taken[HONEST]
        );
    }
    Ok(())
}
