//! What an origin shows to whom, when neighbours give up what they had, leave, or have nothing to say.

use super::*;
use crate::swarm::event::Event;

/// As a site does that has collected a release and is asked for it again.
#[test]
fn what_a_peer_gave_up_is_shown_to_it_again_at_once_and_whenever_it_wants_it() {
    for waits in [0, 1, 29, 31, 300] {
        let mut bench = Bench::with_layout(Role::Origin, all(64));
        bench.meet(A, Distance::Other);
        bench.status(A, &all(64), 64);
        bench.hear(A, SwarmMessage::Close { number: 0 });
        bench.pass(Duration::from_secs(waits));
        bench.status(A, &RangeSet::new(), 64);
        bench.pass(Duration::from_millis(60));
        let shown = &bench.swarm.peers[&A].lines[&LAYOUT].shown;
        assert!(shown.is_full(), "{waits} s later, of 64 blocks {}", shown.count());
    }
}

/// Its first look falls into the time in which the one that left is expected back, its second long after.
#[test]
fn what_was_passed_over_while_its_holder_was_expected_back_is_shown_later() {
    let mut bench = Bench::with_layout(Role::Origin, all(64));
    bench.meet(A, Distance::Other);
    bench.meet(B, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.input(Input::PeerDown { peer: A });
    bench.status(B, &RangeSet::new(), 64);
    bench.pass(Duration::from_secs(1));
    bench.hear(B, SwarmMessage::Close { number: 0 });
    bench.pass(Duration::from_secs(60));
    bench.status(B, &RangeSet::new(), 64);
    bench.pass(Duration::from_secs(10));
    assert!(bench.swarm.peers[&B].lines[&LAYOUT].shown.is_full());
}

#[test]
fn a_holder_that_has_nothing_to_say_is_no_silent_one_while_others_get_on() {
    let mut bench = Bench::with_layout(Role::Origin, all(64));
    bench.meet(A, Distance::Other);
    bench.meet(B, Distance::Other);
    bench.status(A, &all(64), 64);
    bench.pass(Duration::from_secs(3600));
    bench.status(B, &RangeSet::new(), 64);
    for block in 0..64 {
        bench.pass(Duration::from_secs(1));
        let blocks = RangeSet::from(block..block + 1);
        bench.hear(B, SwarmMessage::Have { number: 0, blocks });
    }
    let again = |output: &&Output| matches!(output, Output::Event(Event::BlockSentAgain { .. }));
    assert_eq!(bench.out.iter().filter(again).count(), 0);
}

/// One that wants everything and gets nothing must not make the first look at the next one the end of the holder's time.
#[test]
fn a_holder_that_has_nothing_to_say_is_no_silent_one_when_another_comes_to_a_domain_that_stands_still() {
    let mut bench = Bench::with_layout(Role::Origin, all(64));
    for peer in [A, B, C] {
        bench.meet(peer, Distance::Other);
    }
    bench.status(A, &all(64), 64);
    bench.status(B, &RangeSet::new(), 64);
    // What B is helped with before C comes is not what this is about.
    bench.pass(Duration::from_secs(29));
    bench.out.clear();
    bench.status(C, &RangeSet::new(), 64);
    bench.pass(Duration::from_secs(29));
    let again = |output: &&Output| matches!(output, Output::Event(Event::BlockSentAgain { .. }));
    assert_eq!(bench.out.iter().filter(again).count(), 0);
}
