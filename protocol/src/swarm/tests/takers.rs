//! Those who only take: what they may make a node do, and whom they may keep waiting.

use std::collections::BTreeMap;

use super::introductions::{numbered, wants_numbered};
use super::serving::{granted, take_all};
use super::*;
use crate::limits::{LINES_NEEDING_MAX, RECHECK_BYTES_MAX, RECHECK_PAUSE, RECHECK_RATE};

/// The blocks that were to be read again, of a layout whose blocks have one group.
fn rechecks(bench: &Bench) -> Vec<RangeSet> {
    let checks = bench.out.iter().filter_map(|output| match output {
        Output::Recheck { groups, .. } => Some(groups.clone()),
        _ => None,
    });
    checks.collect()
}

fn reject(bench: &mut Bench, peer: NodeId, blocks: RangeSet) {
    bench.hear(peer, SwarmMessage::Rejected { number: 0, blocks });
}

#[test]
fn only_what_a_peer_was_sent_is_read_again_for_it() {
    let mut bench = Bench::with_layout(Role::Site, all(64));
    bench.meet(A, Distance::Other);
    bench.status(A, &RangeSet::new(), 64);
    reject(&mut bench, A, all(64));
    assert_eq!(rechecks(&bench), [], "it was sent nothing");
    bench.ask(1, A, RangeSet::from(3..5));
    reject(&mut bench, A, all(64));
    assert_eq!(rechecks(&bench), [RangeSet::from(3..5)]);
    assert_eq!(
        bench.disconnected(),
        None,
        "an honest one names what was still to come, too"
    );
    reject(&mut bench, A, RangeSet::from(0..u32::MAX));
    assert_eq!(bench.disconnected(), Some((A, DisconnectReason::Misbehaved)));
}

#[test]
fn a_peer_makes_us_read_our_disk_seldom_though_it_comes_again_and_again() {
    let mut bench = Bench::with_layout(Role::Site, all(64));
    for serve in 0..10 {
        bench.meet(A, Distance::Other);
        bench.status(A, &RangeSet::new(), 64);
        bench.ask(serve, A, RangeSet::from(3..4));
        for _ in 0..5 {
            reject(&mut bench, A, RangeSet::from(3..4));
        }
        bench.input(Input::PeerDown { peer: A });
    }
    assert!(bench.now < Timestamp::ZERO.after(RECHECK_PAUSE));
    assert_eq!(rechecks(&bench).len(), 1);
    bench.pass(RECHECK_PAUSE);
    bench.meet(A, Distance::Other);
    bench.status(A, &RangeSet::new(), 64);
    bench.ask(10, A, RangeSet::from(3..4));
    reject(&mut bench, A, RangeSet::from(3..4));
    assert_eq!(rechecks(&bench).len(), 2);
}

#[test]
fn many_peers_together_make_us_read_our_disk_no_faster_than_one_may_expect() {
    let mut bench = Bench::new(Role::Site);
    bench.open(table(64, 64), all(4096));
    let peers: Vec<NodeId> = (10..42u8).map(|peer| NodeId([peer; 32])).collect();
    for (serve, peer) in (0..).zip(&peers) {
        bench.meet(*peer, Distance::Site);
        bench.status(*peer, &RangeSet::new(), 64);
        for block in 0..16u32 {
            let ask = serve * 16 + u64::from(block);
            bench.ask(ask, *peer, RangeSet::from(block * 256..(block + 1) * 256));
        }
        for _ in 0..40 {
            take_all(&mut bench, &[*peer]);
        }
    }
    let (from, seconds) = (bench.out.len(), 20);
    for _ in 0..10 * seconds {
        bench.pass(Duration::from_millis(100));
        for peer in &peers {
            reject(&mut bench, *peer, all(64));
        }
    }
    let mut bytes = 0;
    for output in &bench.out[from..] {
        if let Output::Recheck { groups, .. } = output {
            assert!(groups.count() * GROUP_BYTES <= RECHECK_BYTES_MAX);
            bytes += groups.count() * GROUP_BYTES;
        }
    }
    let most = seconds * RECHECK_RATE + 2 * RECHECK_BYTES_MAX;
    assert!((most / 2..=most).contains(&bytes), "{bytes} of {most}");
}

#[test]
fn one_rejection_of_everything_makes_us_read_32_mib_of_it_and_no_more() {
    let mut bench = Bench::new(Role::Site);
    bench.open(table(64, 64), all(4096));
    bench.meet(A, Distance::Site);
    bench.status(A, &RangeSet::new(), 64);
    for serve in 0..64u32 {
        bench.ask(u64::from(serve), A, RangeSet::from(serve * 64..(serve + 1) * 64));
        while bench.swarm.serves.contains_key(&ServeId(u64::from(serve))) {
            bench.pass(Duration::from_millis(10));
            take_all(&mut bench, &[A]);
        }
    }
    assert_eq!(
        bench.swarm.transfers[&LAYOUT].sent,
        4096 * GROUP_BYTES,
        "it was sent all of it"
    );
    reject(&mut bench, A, all(64));
    let read: Vec<u64> = rechecks(&bench)
        .iter()
        .map(|groups| groups.count() * GROUP_BYTES)
        .collect();
    assert_eq!((read, RECHECK_BYTES_MAX), (vec![32 << 20], 32 << 20));
}

#[test]
fn who_takes_the_same_again_and_again_waits_for_those_who_take_it_first() {
    for role in [Role::Origin, Role::Site] {
        let mut bench = Bench::new(role);
        bench.open(table(64, 64), all(4096));
        let greedy: Vec<NodeId> = (10..18u8).map(|peer| NodeId([peer; 32])).collect();
        let mut asks = 0;
        let mut ask = |bench: &mut Bench, peer: NodeId, from: u32| {
            asks += 1;
            bench.ask(asks, peer, RangeSet::from(from * 64..(from + 4) * 64));
        };
        // Each is of a domain of its own, and has shown to it what it wants: everything.
        for peer in &greedy {
            let info = PeerInfo {
                distance: Distance::Other,
                serves: false,
                domain: 0,
            };
            let (peer, product, fed) = (*peer, 5, true);
            bench.input(Input::PeerUp { peer, info });
            bench.input(Input::PeerCovers {
                peer,
                product,
                info,
                fed,
            });
            bench.pass(Duration::from_millis(60));
            bench.status(peer, &RangeSet::new(), 64);
        }
        let mut sum: BTreeMap<NodeId, u64> = BTreeMap::new();
        let (mut from, mut honest) = (0, 0);
        for at in 0..2_000 {
            if at == 500 {
                bench.meet(A, Distance::Other);
                bench.status(A, &RangeSet::new(), 64);
                sum.clear();
            }
            for peer in &greedy {
                if bench.swarm.peers[peer].sink.serves.len() < 4 {
                    ask(&mut bench, *peer, 0);
                }
            }
            // An honest one asks ahead, and says what it has got.
            while at >= 500 && honest < 16 && bench.swarm.peers[&A].sink.serves.len() < 3 {
                ask(&mut bench, A, honest * 4);
                honest += 1;
                let blocks = RangeSet::from(0..4 * honest.saturating_sub(3));
                bench.hear(A, SwarmMessage::Have { number: 0, blocks });
            }
            bench.pass(Duration::from_millis(10));
            let (now, end) = granted(&bench, from);
            from = end;
            for (peer, groups) in now {
                *sum.entry(peer).or_default() += groups;
            }
            let everybody: Vec<NodeId> = bench.swarm.peers.keys().copied().collect();
            take_all(&mut bench, &everybody);
            if honest == 16 && bench.swarm.peers[&A].sink.serves.is_empty() {
                break;
            }
        }
        let given = |peer: &NodeId| sum.get(peer).copied().unwrap_or(0);
        let taken: u64 = greedy.iter().map(given).sum();
        assert_eq!(honest, 16, "{role:?}: it got all that it asked for");
        assert!(taken <= given(&A) / 4, "{role:?}: {taken} groups beside {}", given(&A));
    }
}

/// An origin of twelve layouts of four blocks, all of which `A` of this domain wants.
fn twelve_wanted(serves: bool) -> Bench {
    let mut bench = Bench::new(Role::Origin);
    for number in 0..12 {
        bench.open_as(numbered(number), table(4, 1), all(4));
    }
    let info = PeerInfo {
        distance: Distance::Other,
        serves,
        domain: 1,
    };
    bench.input(Input::PeerUp { peer: A, info });
    let (product, fed) = (5, true);
    bench.input(Input::PeerCovers {
        peer: A,
        product,
        info,
        fed,
    });
    for number in 0..12 {
        bench.hear(A, wants_numbered(number));
    }
    bench
}

/// The layouts of which `A` is shown anything.
fn shown(bench: &Bench) -> Vec<u16> {
    let lines = &bench.swarm.peers[&A].lines;
    let shown = |number: &u16| lines[&numbered(*number)].shown.count() > 0;
    (0..13)
        .filter(|number| lines.contains_key(&numbered(*number)) && shown(number))
        .collect()
}

#[test]
fn an_origin_shows_a_peer_eight_layouts_at_a_time_and_the_next_when_one_is_had_or_closed() {
    let mut bench = twelve_wanted(true);
    assert_eq!(LINES_NEEDING_MAX, 8);
    assert_eq!(shown(&bench), (0..8).collect::<Vec<_>>());
    let blocks = all(4);
    bench.hear(A, SwarmMessage::Have { number: 3, blocks });
    assert_eq!(shown(&bench), (0..9).collect::<Vec<_>>());
    bench.hear(A, SwarmMessage::Close { number: 4 });
    assert_eq!(shown(&bench), (0..10).collect::<Vec<_>>());
    bench.hear(
        A,
        SwarmMessage::Want {
            number: 5,
            want: Bits::none(4),
        },
    );
    assert_eq!(shown(&bench), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]);
    // One that this node closes frees its place at the next tick.
    bench.input(Input::Close { layout: numbered(0) });
    bench.pass(Duration::from_millis(200));
    assert_eq!(shown(&bench), [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn an_urgent_layout_gets_a_place_at_once_and_what_does_not_move_makes_room() {
    let mut bench = twelve_wanted(true);
    bench.input(Input::Open(OpenTransfer {
        layout: numbered(12),
        table: table(4, 1),
        wanted: Bits::none(4),
        durable: all(4),
        volatile: RangeSet::new(),
        priority: 9,
        product: 5,
    }));
    bench.hear(A, wants_numbered(12));
    assert_eq!(shown(&bench), [0, 1, 2, 3, 4, 5, 6, 12], "the last one makes room");
    let blocks = all(4);
    bench.hear(A, SwarmMessage::Have { number: 12, blocks });
    for _ in 0..35 {
        bench.pass(Duration::from_secs(1));
        let blocks = RangeSet::from(0..1);
        bench.hear(A, SwarmMessage::Have { number: 6, blocks });
    }
    let after = shown(&bench);
    assert!(
        [6, 8, 9, 10, 11].iter().all(|number| after.contains(number)),
        "{after:?}"
    );
    assert!(
        !after.contains(&0),
        "half a minute without a byte, and others wait: {after:?}"
    );
}

#[test]
fn a_peer_that_feeds_nobody_is_shown_everything_and_nothing_is_kept_of_it() {
    let bench = twelve_wanted(false);
    assert_eq!(shown(&bench), (0..12).collect::<Vec<_>>());
    assert!(bench.swarm.peers[&A].lines.values().all(|line| line.pledges.is_empty()));
    let mut transfers = bench.swarm.transfers.values();
    assert!(transfers.all(|transfer| transfer.seeding.domains.is_empty()));
}

#[test]
fn what_a_peer_was_shown_that_then_closes_is_shown_to_another() {
    let mut bench = Bench::with_layout(Role::Origin, all(64));
    for peer in [A, B] {
        bench.meet(peer, Distance::Other);
        bench.status(peer, &RangeSet::new(), 64);
    }
    let shown = |bench: &Bench| bench.swarm.peers[&B].lines[&LAYOUT].shown.count();
    assert!(shown(&bench) < 64);
    bench.hear(A, SwarmMessage::Close { number: 0 });
    bench.pass(Duration::from_millis(200));
    assert_eq!(shown(&bench), 64);
}
