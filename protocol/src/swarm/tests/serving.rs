//! Who is served, how many at a time, and out of which budget.

use std::collections::BTreeMap;

use super::*;
use crate::swarm::io::UploadAudience;

#[test]
fn only_the_audience_is_served_and_others_are_told_to_come_back() {
    let mut bench = Bench::with_layout(Role::Site, all(64));
    bench.meet(A, Distance::Site);
    bench.meet(B, Distance::Other);
    let limits = Limits {
        upload: UploadAudience::Site,
        ..bench.swarm.limits
    };
    bench.input(Input::Limits(limits));
    bench.ask(1, A, RangeSet::from(0..1));
    bench.ask(2, B, RangeSet::from(0..1));
    let served = |output: &Output| {
        matches!(
            output,
            Output::Serve {
                serve: ServeId(1),
                last: true,
                ..
            }
        )
    };
    let refused = |output: &Output| {
        matches!(
            output,
            Output::Refuse {
                serve: ServeId(2),
                reason: Refusal::Busy(_)
            }
        )
    };
    assert!(
        bench.out.iter().any(served) && bench.out.iter().any(refused),
        "{:?}",
        bench.out
    );
}

/// A node's setting unless it is told otherwise; by their grants all five may be fed.
#[test]
fn an_uplink_for_the_tenant_serves_its_sites_and_no_other_tenants() {
    let neighbours = [
        (Distance::Site, true),
        (Distance::Tenant, true),
        (Distance::Region, false),
        (Distance::Other, false),
        (Distance::Origin, false),
    ];
    for (distance, is_served) in neighbours {
        let mut bench = Bench::with_layout(Role::Site, all(64));
        bench.meet(A, distance);
        let ask_and_look = |bench: &mut Bench, serve: u64| {
            bench.ask(serve, A, RangeSet::from(0..1));
            let answer = bench.out.iter().find_map(|output| match output {
                Output::Serve { serve: given, .. } if *given == ServeId(serve) => Some(true),
                Output::Refuse {
                    serve: refused,
                    reason: Refusal::Busy(_),
                } if *refused == ServeId(serve) => Some(false),
                _ => None,
            });
            answer.expect("an answer at once")
        };
        assert!(ask_and_look(&mut bench, 1), "{distance:?}: its grant allows it");
        take_all(&mut bench, &[A]);
        let limits = Limits {
            upload: UploadAudience::Tenant,
            ..bench.swarm.limits
        };
        bench.input(Input::Limits(limits));
        assert_eq!(ask_and_look(&mut bench, 2), is_served, "{distance:?}");
    }
}

#[test]
fn four_neighbours_are_served_at_a_time_and_the_budget_holds_though_nobody_reads() {
    let mut bench = Bench::new(Role::Site);
    bench.open(table(64, 64), all(4096));
    for peer in 10..42u8 {
        bench.meet(NodeId([peer; 32]), Distance::Other);
    }
    for peer in 10..42u8 {
        bench.ask(u64::from(peer), NodeId([peer; 32]), RangeSet::from(0..256));
    }
    let served = |bench: &Bench| {
        let peers = bench.swarm.peers.values();
        peers.filter(|peer| peer.sink.issued > 0).count()
    };
    assert_eq!(served(&bench), config::UPLOAD_SLOTS);
    // Nobody reads: others get a chance after 2 s, within the budget that `check` asserts.
    bench.pass(Duration::from_secs(6));
    assert!(served(&bench) > config::UPLOAD_SLOTS);
    bench.pass(Duration::from_secs(40));
    assert!(matches!(bench.disconnected(), Some((_, DisconnectReason::Stalled))));
}

#[test]
fn who_reads_nothing_is_hung_up_on_welcome_again_and_holds_two_groups_until_it_reads() {
    let mut bench = Bench::with_layout(Role::Site, all(64));
    let hung_up = |bench: &Bench| {
        let mut gone = bench.out.iter().filter_map(|output| match output {
            Output::Disconnect { reason, quarantine, .. } => Some((*reason, *quarantine)),
            _ => None,
        });
        gone.next_back()
    };
    let mut issued = Vec::new();
    for time in 0..3 {
        bench.out.clear();
        bench.meet(A, Distance::Other);
        bench.status(A, &RangeSet::new(), 64);
        bench.ask(time, A, RangeSet::from(0..16));
        issued.push(bench.swarm.peers[&A].sink.issued / GROUP_BYTES);
        bench.pass(Duration::from_secs(31));
        assert_eq!(hung_up(&bench), Some((DisconnectReason::Stalled, Duration::ZERO)));
        bench.input(Input::PeerDown { peer: A });
    }
    assert!(issued[0] > 2, "{issued:?}");
    assert_eq!(issued[1..], [2, 2], "what it holds by reading nothing");
    // It reads: it is served like anybody else.
    bench.meet(A, Distance::Other);
    bench.status(A, &RangeSet::new(), 64);
    bench.ask(9, A, RangeSet::from(0..16));
    bench.input(Input::ServeSent {
        serve: ServeId(9),
        groups: RangeSet::from(0..1),
        bytes: GROUP_BYTES,
    });
    assert!(bench.swarm.peers[&A].sink.issued / GROUP_BYTES > 2);
}

#[test]
fn an_ask_that_waits_when_its_layout_closes_is_answered_busy_and_one_that_comes_later_absent() {
    let mut bench = Bench::with_layout(Role::Site, all(64));
    bench.meet(A, Distance::Other);
    bench.status(A, &RangeSet::new(), 64);
    bench.ask(1, A, RangeSet::from(0..64));
    bench.input(Input::Close { layout: LAYOUT });
    bench.ask(2, A, RangeSet::from(0..1));
    let reason = |serve: u64| {
        let mut answers = bench.out.iter().filter_map(move |output| match output {
            Output::Refuse { serve: refused, reason } if *refused == ServeId(serve) => Some(*reason),
            _ => None,
        });
        answers.next()
    };
    assert!(
        matches!(reason(1), Some(Refusal::Busy(_))),
        "the word that it closes is still on its way"
    );
    assert_eq!(reason(2), Some(Refusal::Absent));
}

/// What was granted to each peer since `from`, in groups, and where the outputs end now.
pub(super) fn granted(bench: &Bench, from: usize) -> (BTreeMap<NodeId, u64>, usize) {
    let mut granted = BTreeMap::new();
    for output in &bench.out[from..] {
        if let Output::Serve { serve, groups, .. } = output
            && let Some(serve) = bench.swarm.serves.get(serve)
        {
            *granted.entry(serve.peer).or_default() += groups.count();
        }
    }
    (granted, bench.out.len())
}

/// The socket takes all that was granted.
pub(super) fn take_all(bench: &mut Bench, peers: &[NodeId]) {
    let issued: Vec<(ServeId, u64)> = bench
        .swarm
        .serves
        .iter()
        .filter(|(_, serve)| serve.issued > 0 && peers.contains(&serve.peer))
        .map(|(id, serve)| (*id, serve.issued))
        .collect();
    for (serve, bytes) in issued {
        let groups = RangeSet::from(0..u32::try_from(bytes / GROUP_BYTES).expect("few"));
        bench.input(Input::ServeSent { serve, groups, bytes });
    }
}

#[test]
fn a_narrow_uplink_goes_round_all_who_are_served() {
    let mut bench = Bench::new(Role::Site);
    bench.open(table(64, 64), all(4096));
    let limits = Limits {
        up: Some(crate::units::ByteRate(2_500_000)),
        ..bench.swarm.limits
    };
    bench.input(Input::Limits(limits));
    let peers = [A, B, C];
    for (at, peer) in peers.into_iter().enumerate() {
        bench.meet(peer, Distance::Other);
        for ask in 0..4u32 {
            let id = u64::try_from(at).expect("few") * 10 + u64::from(ask);
            bench.ask(id, peer, RangeSet::from(ask * 256..(ask + 1) * 256));
        }
    }
    let mut sum: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut from = 0;
    for _ in 0..500 {
        bench.pass(Duration::from_millis(10));
        let (now, end) = granted(&bench, from);
        from = end;
        for (peer, groups) in now {
            *sum.entry(peer).or_default() += groups;
        }
        take_all(&mut bench, &peers);
    }
    let (least, most) = (sum.values().min().copied(), sum.values().max().copied());
    assert!(
        sum.len() == 3 && most.zip(least).is_some_and(|(most, least)| most - least <= 12),
        "five seconds at 2.5 MB/s are 190 groups: {sum:?}"
    );
}

#[test]
fn four_that_stop_reading_at_full_speed_leave_the_others_a_part_of_the_budget() {
    let mut bench = Bench::new(Role::Site);
    bench.open(table(64, 64), all(4096));
    let fast: Vec<NodeId> = (10..14u8).map(|peer| NodeId([peer; 32])).collect();
    for peer in &fast {
        bench.meet(*peer, Distance::Other);
    }
    for (at, peer) in (0u64..).zip(&fast) {
        for ask in 0..8 {
            bench.ask(at * 10 + ask, *peer, RangeSet::from(0..256));
        }
    }
    // All four read at some 100 MB/s and stop at once.
    for _ in 0..40 {
        bench.pass(Duration::from_millis(10));
        take_all(&mut bench, &fast);
    }
    let held = bench.swarm.admission.issued;
    assert!(held >= 4 << 20, "what fast readers hold: {held}");
    bench.meet(A, Distance::Other);
    bench.ask(1000, A, RangeSet::from(0..256));
    // The slots pass on after two seconds without a byte taken.
    bench.pass(Duration::from_millis(2_200));
    for _ in 0..40 {
        bench.pass(Duration::from_millis(10));
        take_all(&mut bench, &[A]);
    }
    assert!(
        !bench.swarm.serves.contains_key(&ServeId(1000)),
        "16 MiB went out past those who read nothing: {:?}",
        bench.swarm.serves.get(&ServeId(1000))
    );
}
