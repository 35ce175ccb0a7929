//! What an origin shows to whom, when neighbours give up what they had, leave, or have nothing to say.

use super::*;
use crate::swarm::config::{Rule, Rules};
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

/// However fast it was: it may be slow from now on, and the others would wait for it.
#[test]
fn nobody_holds_more_than_a_part_of_its_share_of_the_last_blocks() {
    let mut bench = Bench::new(Role::Origin);
    bench.open(table(256, 1), all(256));
    for peer in [A, B] {
        bench.meet(peer, Distance::Other);
        bench.status(peer, &RangeSet::new(), 256);
    }
    let mut most = 0;
    while bench.swarm.transfers[&LAYOUT]
        .seeding
        .domains
        .values()
        .any(|placement| placement.cursor < 256)
    {
        let line = &bench.swarm.peers[&A].lines[&LAYOUT];
        most = most.max(line.pledges.len());
        let block = *line
            .pledges
            .keys()
            .next()
            .expect("it is shown more as it gets what it was shown");
        let blocks = RangeSet::from(block..block + 1);
        bench.hear(A, SwarmMessage::Have { number: 0, blocks });
    }
    assert!(most > 16, "{most}: who is fast is shown more while there is much");
    let last = bench.swarm.peers[&A].lines[&LAYOUT].pledges.len();
    assert!(last <= 5, "{last} of the last blocks");
}

/// Whichever is said first: two sites that may feed each other with one product and not with the other.
#[test]
fn who_may_feed_whom_is_another_matter_for_each_product() {
    for first in [5, 6] {
        let mut bench = two_products();
        for (peer, alone) in [(A, 11), (B, 12)] {
            let info = |product| PeerInfo {
                distance: Distance::Other,
                serves: true,
                domain: if product == 5 { 1 } else { alone },
            };
            bench.input(Input::PeerUp {
                peer,
                info: info(first),
            });
            for product in [first, 11 - first] {
                let (info, fed) = (info(product), true);
                bench.input(Input::PeerCovers {
                    peer,
                    product,
                    info,
                    fed,
                });
            }
            bench.status(peer, &RangeSet::new(), 64);
            bench.hear(peer, wants_all(OTHER));
        }
        bench.pass(Duration::from_millis(60));
        let shown = |peer: NodeId, layout| &bench.swarm.peers[&peer].lines[&layout].shown;
        let twice = shown(A, LAYOUT).iter().filter(|block| shown(B, LAYOUT).get(*block));
        assert_eq!(twice.count(), 0, "{first} first: each block to one of them");
        assert!(shown(A, LAYOUT).count() > 0 && shown(B, LAYOUT).count() > 0);
        for peer in [A, B] {
            assert!(shown(peer, OTHER).is_full(), "{first} first: nobody else brings it");
        }
    }
}

const OTHER: LayoutId = LayoutId {
    manifest: ManifestId([8; 32]),
    part: Part::Payload,
};

/// An origin of two layouts of as many products, 5 and 6.
fn two_products() -> Bench {
    let mut bench = Bench::new(Role::Origin);
    for (layout, product) in [(LAYOUT, 5), (OTHER, 6)] {
        bench.input(Input::Open(OpenTransfer {
            layout,
            table: table(64, 1),
            wanted: Bits::none(64),
            durable: all(64),
            volatile: RangeSet::new(),
            priority: 0,
            product,
        }));
    }
    bench
}

fn wants_all(layout: LayoutId) -> SwarmMessage {
    SwarmMessage::Status {
        number: 1,
        layout,
        ask: false,
        durable: Bits::none(64),
        have: Bits::none(64),
        want: Bits::all(64),
    }
}

/// A node of a domain comes with everything, durable, and goes.
fn come_and_go(bench: &mut Bench, peer: NodeId, domain: u64, blocks: u32) {
    let info = PeerInfo {
        distance: Distance::Other,
        serves: true,
        domain,
    };
    bench.input(Input::PeerUp { peer, info });
    let (product, fed) = (5, true);
    bench.input(Input::PeerCovers {
        peer,
        product,
        info,
        fed,
    });
    bench.status(peer, &all(blocks), blocks);
    bench.pass(Duration::from_millis(100));
    bench.input(Input::PeerDown { peer });
}

#[test]
fn of_domains_that_are_gone_and_of_members_that_come_and_go_an_origin_keeps_little() {
    let mut bench = Bench::with_layout(Role::Origin, all(64));
    for domain in 1..400_u64 {
        let mut id = A;
        id.0[..8].copy_from_slice(&domain.to_le_bytes());
        come_and_go(&mut bench, id, domain, 64);
    }
    let domains = |bench: &Bench| bench.swarm.transfers[&LAYOUT].seeding.domains.len();
    assert!(domains(&bench) <= 310, "those of half a minute: {}", domains(&bench));
    for _ in 0..100 {
        come_and_go(&mut bench, B, 7, 64);
    }
    let seeding = &bench.swarm.transfers[&LAYOUT].seeding;
    let away = seeding.domains.values().map(|placement| placement.away.len());
    assert!(away.max() <= Some(8));
}

/// Who asks keeps what it was shown however long that takes.
#[test]
fn what_is_shown_and_not_asked_for_in_five_seconds_is_shown_to_another() {
    for asks in [false, true] {
        let mut bench = Bench::new(Role::Origin);
        // A second copy while the first is not asked for is another matter.
        bench.swarm.rules = Rules::ALL.without(Rule::Help);
        bench.open(table(512, 1), all(512));
        // B is needier, and so the next to be shown something.
        for (peer, have) in [(A, RangeSet::from(16..512)), (B, RangeSet::new())] {
            bench.meet(peer, Distance::Other);
            bench.status(peer, &have, 512);
        }
        let shown = |bench: &Bench, peer: NodeId| bench.swarm.peers[&peer].lines[&LAYOUT].shown.clone();
        let pledged = |bench: &Bench| -> Vec<u32> {
            let line = &bench.swarm.peers[&A].lines[&LAYOUT];
            line.pledges.keys().copied().collect()
        };
        // B gets what it is shown, and a block of A's now and then: nobody stands still.
        let (mut kept, mut seen) = (Vec::new(), Vec::new());
        for at in 0..60 {
            bench.pass(Duration::from_millis(100));
            let mut blocks: RangeSet = shown(&bench, B).iter().map(|block| block..block + 1).collect();
            blocks.insert(16 + at..17 + at);
            bench.hear(B, SwarmMessage::Have { number: 0, blocks });
            if at == 20 {
                // All else that nobody had is with B by now.
                kept = pledged(&bench);
                if asks {
                    bench.ask(1, A, RangeSet::from(kept[0]..kept[0] + 1));
                }
            }
            let taken = kept.iter().filter(|block| shown(&bench, B).get(**block));
            seen.push(taken.count());
        }
        assert!(!kept.is_empty());
        assert_eq!(seen[45], 0, "it may still ask: {kept:?}, {seen:?}");
        let most = if asks { 0..1 } else { kept.len() / 2..kept.len() + 1 };
        assert!(most.contains(&seen[59]), "asks {asks}: {kept:?}, {seen:?}");
    }
}
