//! What is counted to whom.

use super::*;
use crate::units::ByteRate;

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

fn late(bench: &mut Bench, peer: NodeId, groups: RangeSet, bytes: u64) {
    bench.input(Input::FetchedLate {
        peer,
        distance: Distance::Other,
        layout: LAYOUT,
        groups,
        bytes,
    });
}

#[test]
fn of_what_comes_together_only_what_is_new_counts_to_its_source() {
    let short = |block: u32| if block == 3 { GROUP_BYTES - 1000 } else { 0 };
    let block = |at: u32| Block {
        first_group: at * 4,
        groups: 4,
        bytes: 4 * GROUP_BYTES - short(at),
    };
    let table = Arc::new(BlockTable::new((0..4).map(block).collect()));
    let mut bench = Bench::new(Role::Site);
    bench.open(Arc::clone(&table), RangeSet::new());
    let counted = |bench: &Bench, peer: NodeId| {
        let transfer = &bench.swarm.transfers[&LAYOUT];
        (transfer.sources.by_peer.get(&peer).copied(), transfer.wasted)
    };
    late(&mut bench, A, RangeSet::from(0..5), 5 * GROUP_BYTES);
    assert_eq!(counted(&bench, A), (Some(5 * GROUP_BYTES), 0));
    // Nine groups, of which the first five are there.
    late(&mut bench, B, RangeSet::from(0..9), 9 * GROUP_BYTES);
    assert_eq!(counted(&bench, B), (Some(4 * GROUP_BYTES), 5 * GROUP_BYTES));
    // The short one is new.
    let rest = 6 * GROUP_BYTES + 1000;
    late(&mut bench, C, RangeSet::from(9..16), rest);
    assert_eq!(counted(&bench, C), (Some(rest), 5 * GROUP_BYTES));
    assert_eq!(bench.swarm.transfers[&LAYOUT].sources.total(), table.bytes());

    // The short one comes again, beside one that was lost.
    bench.input(Input::Lost {
        layout: LAYOUT,
        groups: RangeSet::from(14..15),
    });
    late(&mut bench, A, RangeSet::from(14..16), GROUP_BYTES + 1000);
    assert_eq!(counted(&bench, A), (Some(6 * GROUP_BYTES), 5 * GROUP_BYTES + 1000));
    // And the other way round.
    bench.input(Input::Lost {
        layout: LAYOUT,
        groups: RangeSet::from(15..16),
    });
    late(&mut bench, B, RangeSet::from(14..16), GROUP_BYTES + 1000);
    assert_eq!(
        counted(&bench, B),
        (Some(4 * GROUP_BYTES + 1000), 6 * GROUP_BYTES + 1000)
    );
}

#[test]
fn late_bytes_count_towards_the_limit_like_any_others() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.input(Input::Limits(Limits {
        down: Some(ByteRate(1_000_000)),
        ..SwarmConfig::unlimited(Role::Site).limits
    }));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let (_, _, groups) = bench.fetches().swap_remove(0);
    bench.input(Input::PeerDown { peer: A });
    let now = bench.now;
    assert!(bench.swarm.down.is_open(now), "what is not fetched is given back");
    let bytes = groups.count() * GROUP_BYTES;
    late(&mut bench, A, groups, bytes);
    assert!(!bench.swarm.down.is_open(now), "{bytes} bytes have come");
}
