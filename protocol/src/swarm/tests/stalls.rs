//! Peers that bring nothing, or too little: who is asked instead, and when they are asked again.

use super::*;

#[test]
fn a_stalled_peers_span_is_asked_of_one_other_and_the_loser_is_cancelled() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(4..64));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let first = bench.fetches();
    assert!(first.iter().all(|(_, peer, _)| *peer == A));
    bench.meet(B, Distance::Other);
    bench.status(B, &all(64), 64);
    assert_eq!(
        bench.fetches().len(),
        first.len(),
        "B waits while A is expected to deliver"
    );
    bench.pass(Duration::from_millis(2_900));
    let stolen: RangeSet = bench
        .fetches()
        .iter()
        .filter(|(_, peer, _)| *peer == B)
        .flat_map(|(_, _, groups)| groups.ranges().to_vec())
        .collect();
    assert_eq!(stolen, RangeSet::from(0..4));
    while bench.swarm.transfers[&LAYOUT].left > 0 {
        bench.deliver(B);
    }
    assert!(bench.swarm.requests.is_empty(), "{:?}", bench.swarm.requests);
    assert!(bench.out.contains(&Output::CancelFetch { request: first[0].0 }));
}

#[test]
fn a_peer_that_stalled_is_asked_again_when_it_is_the_only_one_that_has_the_rest() {
    for busy in [true, false] {
        let mut bench = Bench::with_layout(Role::Site, RangeSet::from(4..64));
        bench.meet(A, Distance::Other);
        bench.status(A, &RangeSet::from(0..2), 64);
        bench.meet(B, Distance::Other);
        bench.pass(Duration::from_millis(2_500));
        assert!(bench.swarm.peers[&A].source.stalled, "it was asked and brought nothing");
        bench.status(B, &RangeSet::from(0..2), 64);
        bench.pass(Duration::from_millis(200));
        if busy {
            for request in bench.swarm.peers[&A].source.requests.clone() {
                let fault = FetchFault::Busy(Duration::from_secs(2));
                bench.input(Input::FetchFailed { request, fault });
            }
        }
        while bench.swarm.requests.values().any(|request| request.peer == B) {
            bench.deliver(B);
        }
        assert!(bench.swarm.peers[&A].source.requests.is_empty(), "it owes nothing now");
        bench.status(A, &RangeSet::from(0..4), 64);
        bench.pass(Duration::from_secs(4));
        let owed = bench.swarm.peers[&A].source.outstanding;
        assert_eq!(owed, 2 * GROUP_BYTES, "busy: {busy}");
    }
}

#[test]
fn the_only_source_that_comes_back_from_a_stall_is_not_asked_for_the_same_again() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.pass(Duration::from_secs(4));
    assert!(bench.swarm.peers[&A].source.stalled);
    while !bench.swarm.transfers[&LAYOUT].is_full() {
        bench.deliver(A);
    }
    let asked: u64 = bench.fetches().iter().map(|(_, _, groups)| groups.count()).sum();
    assert_eq!(asked, 64, "each group once");
    assert!(bench.swarm.requests.is_empty(), "{:?}", bench.swarm.requests);
}

#[test]
fn what_others_were_asked_for_meanwhile_stays_theirs_when_a_peer_comes_back() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(1..64));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.pass(Duration::from_millis(2_900));
    bench.meet(B, Distance::Other);
    bench.status(B, &all(64), 64);
    let (request, peer, _) = bench.fetches().last().cloned().expect("B is asked for what A owes");
    assert_eq!(peer, B);
    let (owed, ..) = bench.fetches()[0];
    bench.drip(owed);
    assert!(bench.swarm.requests[&owed].shared && !bench.swarm.requests[&request].shared);
    bench.deliver(A);
    assert!(bench.out.contains(&Output::CancelFetch { request }));
}

/// One block is missing; `A` was asked for it and has stalled, and now `B` is asked, who brings a drip that counts for nothing.
fn dripping() -> (Bench, RequestId) {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(1..64));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.pass(Duration::from_millis(2_900));
    bench.meet(B, Distance::Other);
    bench.status(B, &all(64), 64);
    let (request, peer, _) = bench.fetches().last().cloned().expect("B is asked for what A owes");
    assert_eq!(peer, B);
    bench.drip(request);
    bench.meet(C, Distance::Other);
    bench.status(C, &all(64), 64);
    (bench, request)
}

#[test]
fn slowness_alone_makes_one_copy_and_no_third() {
    let (mut bench, request) = dripping();
    for _ in 0..8 {
        bench.pass(Duration::from_secs(1));
        bench.drip(request);
    }
    assert!(bench.fetches().iter().all(|(_, peer, _)| *peer != C));
    // With A gone B's is the only request, and B is slow.
    bench.input(Input::PeerDown { peer: A });
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.fetches().last().map(|(_, peer, _)| *peer), Some(C));
}

#[test]
fn when_the_second_stalls_too_a_third_is_asked() {
    let (mut bench, _) = dripping();
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.fetches().last().map(|(_, peer, _)| *peer), Some(C));
    bench.deliver(C);
    assert!(bench.swarm.requests.is_empty(), "{:?}", bench.swarm.requests);
    assert!(bench.swarm.transfers[&LAYOUT].is_full());
}

#[test]
fn two_that_bring_nothing_do_not_hand_the_last_block_to_and_fro() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(C, Distance::Other);
    bench.status(C, &RangeSet::from(0..63), 64);
    // A slow one, but it delivers.
    while bench.swarm.transfers[&LAYOUT].left > GROUP_BYTES {
        bench.pass(Duration::from_millis(400));
        bench.deliver(C);
    }
    for peer in [A, B] {
        bench.meet(peer, Distance::Other);
        bench.status(peer, &all(64), 64);
    }
    bench.status(C, &all(64), 64);
    assert_eq!(bench.fetches().last().map(|(_, peer, _)| *peer), Some(A));
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.fetches().last().map(|(_, peer, _)| *peer), Some(C));
    bench.deliver(C);
    assert!(bench.swarm.transfers[&LAYOUT].is_full());
}

#[test]
fn a_stalled_peer_is_tried_again_when_others_have_brought_what_it_was_asked_for() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &RangeSet::from(0..8), 64);
    assert!(!bench.fetches().is_empty());
    bench.pass(Duration::from_secs(4));
    let stalled = |output: &Output| matches!(output, Output::Event(Event::PeerStalled { peer: A, .. }));
    assert_eq!(bench.out.iter().filter(|output| stalled(output)).count(), 1);
    bench.input(Input::FetchedLate {
        peer: B,
        distance: Distance::Other,
        layout: LAYOUT,
        groups: RangeSet::from(0..8),
        bytes: 8 * GROUP_BYTES,
    });
    assert!(bench.swarm.requests.is_empty());
    bench.status(A, &all(64), 64);
    let before = bench.fetches().len();
    bench.pass(Duration::from_secs(5));
    assert!(bench.fetches().len() > before, "it is the only one that has the rest");
    assert_eq!(bench.disconnected(), None);
}

#[test]
fn who_brings_nothing_is_asked_ever_more_rarely_and_never_shut_out() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let mut rounds = Vec::new();
    for second in 0..900 {
        let before = bench.fetches().len();
        bench.pass(Duration::from_secs(1));
        if bench.fetches().len() > before {
            rounds.push(second);
        }
    }
    assert_eq!(
        bench.disconnected(),
        None,
        "a narrow link that others keep full looks no different"
    );
    let gaps: Vec<u64> = rounds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (first, last) = (gaps[0], gaps[gaps.len() - 1]);
    assert!(
        last >= first + 45,
        "30 s of waiting, and a pause that grows to 64 s: {gaps:?}"
    );
    assert!(last <= 30 + 80 + 1, "{gaps:?}");
}

#[test]
fn what_waits_in_a_queue_moves_to_an_idle_peer_and_what_has_begun_stays() {
    for begun in [false, true] {
        let mut bench = Bench::with_layout(Role::Site, RangeSet::from(1..64));
        bench.meet(A, Distance::Other);
        bench.status(A, &all(64), 64);
        let (request, peer, _) = bench.fetches().last().cloned().expect("A is asked");
        assert_eq!(peer, A);
        bench.meet(B, Distance::Other);
        bench.status(B, &all(64), 64);
        if begun {
            bench.input(Input::FetchBegun { request });
        }
        bench.pass(Duration::from_millis(400));
        let asked_b = bench.fetches().iter().any(|(_, peer, _)| *peer == B);
        assert_eq!(asked_b, !begun, "B has nothing else to do");
        assert_eq!(bench.out.contains(&Output::CancelFetch { request }), !begun);
    }
}

/// Others wait at an idle neighbour, too: where a reply takes as long to begin as it has waited here already, moving it only has it sent twice.
#[test]
fn nothing_moves_to_an_idle_peer_that_has_lately_taken_as_long_to_begin() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(1..64));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.meet(B, Distance::Other);
    let source = &mut bench.swarm.peers.get_mut(&B).expect("met").source;
    // Its round trip is short: it is others that it is busy with.
    source.began(Duration::from_millis(10));
    for _ in 0..16 {
        source.began(Duration::from_millis(500));
    }
    bench.status(B, &all(64), 64);
    let asked_b = |bench: &Bench| bench.fetches().iter().any(|(_, peer, _)| *peer == B);
    bench.pass(Duration::from_millis(500));
    assert!(!asked_b(&bench), "it would not come sooner");
    bench.pass(Duration::from_millis(500));
    assert!(asked_b(&bench), "now it would");
}

#[test]
fn how_long_a_peer_takes_to_begin_follows_what_it_took_lately_and_the_round_trip_is_the_least() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(1..64));
    bench.meet(A, Distance::Other);
    let source = &mut bench.swarm.peers.get_mut(&A).expect("met").source;
    source.began(Duration::from_millis(20));
    for _ in 0..16 {
        source.began(Duration::from_millis(300));
    }
    assert_eq!(source.rtt, Some(Duration::from_millis(20)));
    let begins = source.begins_or_guess();
    assert!(
        begins > Duration::from_millis(280) && begins <= Duration::from_millis(300),
        "{begins:?}"
    );
}

#[test]
fn the_first_bytes_of_a_reply_tell_the_round_trip_and_not_the_time_that_a_group_takes() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(1..64));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let (request, ..) = bench.fetches().last().cloned().expect("A is asked");
    bench.pass(Duration::from_millis(20));
    bench.input(Input::FetchBegun { request });
    bench.pass(Duration::from_millis(700));
    bench.deliver(A);
    let rtt = bench.swarm.peers[&A].source.rtt.expect("measured");
    assert!(rtt < Duration::from_millis(200), "{rtt:?}");
}

#[test]
fn what_came_was_lost_and_comes_again_is_owed_by_nobody_else() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(2..64));
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let (first, ..) = bench.fetches().last().cloned().expect("A is asked");
    let groups = RangeSet::from(0..1);
    let brought = |request| Input::FetchVerified {
        request,
        groups: RangeSet::from(0..1),
        bytes: GROUP_BYTES,
    };
    bench.input(brought(first));
    bench.meet(B, Distance::Other);
    bench.status(B, &all(64), 64);
    bench.input(Input::Lost { layout: LAYOUT, groups });
    bench.pass(Duration::from_millis(200));
    let relied = &bench.swarm.transfers[&LAYOUT].requested;
    assert!(relied.contains(0), "it is missing again, and asked of somebody");
    bench.input(brought(first));
    bench.swarm.check();
}
