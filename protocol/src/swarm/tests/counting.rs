//! What is counted to whom.

use super::*;

#[test]
fn what_had_come_from_a_peer_that_is_gone_is_held_and_counted_to_it_once() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Tenant);
    bench.status(A, &all(64), 64);
    let (_, _, groups) = bench.fetches().swap_remove(0);
    bench.input(Input::PeerDown { peer: A });
    let bytes = groups.count() * GROUP_BYTES;
    let late = Input::FetchedLate {
        peer: A,
        distance: Distance::Tenant,
        layout: LAYOUT,
        groups: groups.clone(),
        bytes,
    };
    bench.input(late.clone());
    let transfer = &bench.swarm.transfers[&LAYOUT];
    assert!(bytes > 0 && groups.difference(&transfer.held).is_empty());
    assert_eq!(transfer.sources.by_distance.get(&Distance::Tenant), Some(&bytes));
    assert_eq!(transfer.sources.by_peer.get(&A), Some(&bytes));
    assert_eq!(transfer.wasted, 0);

    bench.input(late);
    let transfer = &bench.swarm.transfers[&LAYOUT];
    assert_eq!((transfer.sources.total(), transfer.wasted), (bytes, bytes));

    // Nobody is asked for it again.
    bench.meet(B, Distance::Other);
    bench.status(B, &all(64), 64);
    let asked_of_b = bench.fetches().into_iter().filter(|(_, peer, _)| *peer == B);
    let asked: Vec<RangeSet> = asked_of_b.map(|(_, _, groups)| groups).collect();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|asked| asked.intersection(&groups).is_empty()));
}
