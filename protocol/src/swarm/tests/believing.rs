//! What a peer says or does that is not believed, what is forgiven, and what becomes of what it was asked for.

use super::*;

#[test]
fn a_bitmap_of_another_length_than_the_layout_is_misbehaviour() {
    for blocks in [0, 1, 63, 65, 128, 4096] {
        let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
        bench.meet(A, Distance::Other);
        bench.status(A, &RangeSet::new(), blocks);
        let expected = Some((A, DisconnectReason::Misbehaved));
        assert_eq!(bench.disconnected(), expected, "{blocks} blocks of 64");
        assert!(bench.swarm.peers[&A].view(&LAYOUT).is_none(), "nothing of it is kept");
        let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
        bench.meet(A, Distance::Other);
        bench.status(A, &RangeSet::new(), 64);
        assert_eq!(bench.disconnected(), None);
        let want = Bits::none(blocks);
        bench.hear(A, SwarmMessage::Want { number: 0, want });
        assert_eq!(bench.disconnected(), expected, "it wants {blocks} blocks of 64");
    }
}

#[test]
fn three_replies_in_a_row_that_break_off_are_forgiven_and_the_fourth_costs_a_pause() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let break_one = |bench: &mut Bench| {
        let request = *bench.swarm.requests.keys().next().expect("it is asked for something");
        let fault = FetchFault::Broken;
        bench.input(Input::FetchFailed { request, fault });
        bench.swarm.peers[&A].source.is_ready(bench.now)
    };
    for time in 1..=3 {
        assert!(break_one(&mut bench), "time {time}");
    }
    // A whole one in between: it begins anew.
    bench.deliver(A);
    for time in 1..=3 {
        assert!(break_one(&mut bench), "time {time} after a whole one");
    }
    assert!(!break_one(&mut bench), "the fourth in a row");
    let asked = bench.fetches().len();
    while let Some(request) = bench.swarm.requests.iter().next().map(|(id, _)| *id) {
        let fault = FetchFault::Broken;
        bench.input(Input::FetchFailed { request, fault });
    }
    assert_eq!(bench.fetches().len(), asked, "nothing meanwhile");
    bench.pass(Duration::from_secs(90));
    assert!(bench.fetches().len() > asked, "and again after a while");
    assert_eq!(bench.disconnected(), None);
}

#[test]
fn what_was_asked_of_a_peer_that_is_shut_out_is_asked_of_another_at_once() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.status(A, &all(64), 64);
    let asked: Vec<_> = bench.fetches();
    assert!(!asked.is_empty());
    bench.meet(B, Distance::Other);
    bench.status(B, &all(64), 64);
    bench.status(A, &RangeSet::new(), 65);
    assert_eq!(bench.disconnected(), Some((A, DisconnectReason::Misbehaved)));
    for (request, _, groups) in &asked {
        let cancel = Output::CancelFetch { request: *request };
        assert!(bench.out.contains(&cancel), "{request:?} of {groups:?}");
        assert!(!bench.swarm.requests.contains_key(request));
    }
    let left = &bench.swarm.peers[&A].source;
    assert!(left.requests.is_empty() && left.outstanding == 0);
    for _ in 0..64 {
        if bench.swarm.requests.values().any(|request| request.peer == B) {
            bench.deliver(B);
        }
    }
    assert!(
        bench.swarm.transfers[&LAYOUT].is_full(),
        "B has brought what A was asked for"
    );
}
