//! Whose slot it is: for a second, and at an origin the neediest one's.

use super::*;
use crate::swarm::config::{Rule, Rules};
use crate::swarm::serving::Serve;

/// A node that has 64 blocks of 64 groups and tries no further slots.
fn four_slots(role: Role) -> Bench {
    let mut bench = Bench::new(role);
    bench.swarm.rules = Rules::ALL.without(Rule::MoreSlots);
    bench.open(table(64, 64), all(4096));
    bench
}

/// Comes up as somebody who feeds nobody: an origin shows it everything.
fn come(bench: &mut Bench, peer: NodeId, have: &RangeSet) {
    let info = PeerInfo {
        distance: Distance::Other,
        serves: false,
        domain: 0,
    };
    let (product, fed) = (5, true);
    bench.input(Input::PeerUp { peer, info });
    bench.input(Input::PeerCovers {
        peer,
        product,
        info,
        fed,
    });
    bench.pass(Duration::from_millis(60));
    bench.status(peer, have, 64);
}

fn serves_of(bench: &Bench, peer: NodeId) -> Vec<(ServeId, u64)> {
    let of = |(_, serve): &(&ServeId, &Serve)| serve.peer == peer && serve.issued > 0;
    let all = bench.swarm.serves.iter().filter(of);
    all.map(|(id, serve)| (*id, serve.issued / GROUP_BYTES)).collect()
}

/// The socket of a peer takes so many groups at the most.
fn take(bench: &mut Bench, peer: NodeId, most: u64) {
    for (serve, issued) in serves_of(bench, peer) {
        let groups = all(u32::try_from(issued.min(most)).expect("few"));
        let bytes = groups.count() * GROUP_BYTES;
        bench.input(Input::ServeSent { serve, groups, bytes });
    }
}

#[test]
fn a_slot_passes_on_after_its_second_though_its_peer_wants_more() {
    let mut bench = four_slots(Role::Site);
    let peers: Vec<NodeId> = (10..15u8).map(|peer| NodeId([peer; 32])).collect();
    for peer in &peers {
        come(&mut bench, *peer, &RangeSet::new());
    }
    for (serve, peer) in (0..).zip(&peers) {
        bench.ask(serve, *peer, all(1024));
    }
    let is_served = |bench: &Bench, peer: &NodeId| !serves_of(bench, *peer).is_empty();
    let first: Vec<bool> = peers.iter().map(|peer| is_served(&bench, peer)).collect();
    assert_eq!(first, [true, true, true, true, false], "four at a time");
    let mut fifth = None;
    for step in 0..300 {
        bench.pass(Duration::from_millis(10));
        for peer in &peers {
            take(&mut bench, *peer, 1);
        }
        if is_served(&bench, &peers[4]) {
            fifth = fifth.or(Some(step * 10));
        }
    }
    // A second, and what is on its way to the sockets; then it is a matter of lots who is next.
    let fifth = fifth.expect("the fifth is served within three seconds");
    assert!(fifth >= 1000, "{fifth} ms");
    let open: u64 = bench.swarm.serves.values().map(|serve| serve.left.count()).sum();
    assert!(open > 3000, "nobody had finished: {open} groups are left");
}

#[test]
fn an_origin_gives_the_slot_that_is_free_to_the_neediest() {
    // The needy one has the first identity, and the last.
    for needy in [A, C] {
        let mut bench = four_slots(Role::Origin);
        let fillers: Vec<NodeId> = (10..14u8).map(|peer| NodeId([peer; 32])).collect();
        for peer in &fillers {
            come(&mut bench, *peer, &RangeSet::new());
        }
        come(&mut bench, B, &all(60));
        come(&mut bench, needy, &RangeSet::new());
        for (serve, peer) in (0..).zip(&fillers) {
            bench.ask(serve, *peer, all(64));
        }
        for (serve, peer) in (10..).zip([B, needy]) {
            bench.ask(serve, peer, RangeSet::from(4032..4096));
        }
        assert!(
            serves_of(&bench, B).is_empty() && serves_of(&bench, needy).is_empty(),
            "all four are taken"
        );
        while !serves_of(&bench, fillers[0]).is_empty() {
            take(&mut bench, fillers[0], 64);
        }
        assert!(!serves_of(&bench, needy).is_empty(), "it has nothing yet");
        assert!(serves_of(&bench, B).is_empty(), "it lacks four of 64 blocks");
    }
}
