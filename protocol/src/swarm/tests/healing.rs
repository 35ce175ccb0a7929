//! What is not asked of a peer for a while, and what brings that to an end.

use super::*;
use crate::swarm::rules::Rule;

/// A site whose only source has everything and has sent a bad group; the block that it was asked for.
fn after_a_bad_group() -> (Bench, RangeSet) {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Site);
    bench.status(A, &all(64), 64);
    let (request, _, groups) = bench.fetches()[0].clone();
    let fault = FetchFault::Invalid;
    bench.input(Input::FetchFailed { request, fault });
    bench.pass(Duration::from_secs(2));
    (bench, groups)
}

/// Delivers whatever is asked, for `time`; whether something of `groups` was.
fn is_asked_within(bench: &mut Bench, groups: &RangeSet, time: Duration) -> bool {
    let (end, before) = (bench.now.after(time), bench.fetches().len());
    while bench.now < end {
        while !bench.swarm.requests.is_empty() {
            bench.deliver(A);
        }
        bench.pass(Duration::from_millis(250));
    }
    let mut fetches = bench.fetches().into_iter().skip(before);
    fetches.any(|(_, _, asked)| !asked.intersection(groups).is_empty())
}

#[test]
fn what_a_peer_lost_and_has_again_is_asked_of_it_again() {
    let (mut bench, groups) = after_a_bad_group();
    assert!(
        !is_asked_within(&mut bench, &groups, Duration::from_secs(5)),
        "it has not said that it read it again"
    );
    let (number, blocks) = (0, groups.clone());
    let healed = blocks.clone();
    bench.hear(A, SwarmMessage::Lost { number, blocks });
    bench.hear(A, SwarmMessage::Have { number, blocks: healed });
    let (_, _, asked) = bench.fetches().pop().expect("fetches");
    assert_eq!(asked, groups);
}

#[test]
fn what_did_not_verify_once_is_asked_again_of_a_peer_that_says_nothing_of_it() {
    let (mut bench, groups) = after_a_bad_group();
    assert!(!is_asked_within(&mut bench, &groups, Duration::from_secs(7)));
    assert!(is_asked_within(&mut bench, &groups, Duration::from_secs(2)));
    assert_eq!(bench.swarm.transfers[&LAYOUT].left, 0);
}

/// Of several blocks one was lost: which ones are there nevertheless only the peer can say. And an origin may have shown by now
/// what it hid when it was asked: data waits behind data, and that word does not.
#[test]
fn a_peer_that_answers_absent_is_asked_what_it_has() {
    for distance in [Distance::Other, Distance::Origin] {
        let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
        bench.meet(A, distance);
        bench.status(A, &RangeSet::from(0..2), 64);
        let (request, _, groups) = bench.fetches()[0].clone();
        bench.out.clear();
        let fault = FetchFault::Absent;
        bench.input(Input::FetchFailed { request, fault });
        bench.pass(Duration::from_millis(100));
        let asks = |message: &SwarmMessage| matches!(message, SwarmMessage::Status { ask: true, .. });
        assert!(bench.said(A).iter().any(asks));
        assert!(
            bench
                .fetches()
                .iter()
                .all(|(_, _, of)| of.intersection(&groups).is_empty())
        );
        bench.status(A, &RangeSet::from(0..2), 64);
        assert!(
            bench
                .fetches()
                .iter()
                .any(|(_, _, of)| !of.intersection(&groups).is_empty())
        );
    }
}

#[test]
fn a_node_of_the_own_site_that_is_very_slow_does_not_keep_others_from_being_asked() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.swarm.rules = bench.swarm.rules.without(Rule::TakeOver);
    for (peer, distance) in [(A, Distance::Site), (B, Distance::Origin)] {
        bench.meet(peer, distance);
        bench.status(peer, &all(64), 64);
    }
    let is_asked = |bench: &Bench, of: NodeId| bench.fetches().iter().any(|(_, peer, _)| *peer == of);
    while bench.swarm.peers[&A].source.meter.total() < 1 << 20 {
        assert!(!is_asked(&bench, B), "what the own site has is asked of nobody else");
        bench.pass(Duration::from_millis(250));
        bench.deliver(A);
    }
    bench.pass(Duration::from_secs(1));
    assert!(is_asked(&bench, B));
}
