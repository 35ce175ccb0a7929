//! Who speaks first of a layout, and who is told again.

use super::*;

/// The layout of the `number`th release.
pub(super) fn numbered(number: u16) -> LayoutId {
    let mut manifest = [9; 32];
    manifest[..2].copy_from_slice(&number.to_be_bytes());
    LayoutId {
        manifest: ManifestId(manifest),
        part: Part::Payload,
    }
}

/// A neighbour has nothing of such a layout of four blocks and wants all of it.
pub(super) fn wants_numbered(number: u16) -> SwarmMessage {
    SwarmMessage::Status {
        number,
        layout: numbered(number),
        ask: true,
        have: Bits::none(4),
        durable: Bits::none(4),
        want: Bits::all(4),
    }
}

#[test]
fn an_origin_of_hundreds_of_releases_speaks_of_those_it_is_asked_for() {
    let mut bench = Bench::new(Role::Origin);
    for number in 0..u16::try_from(TRANSFERS_MAX).expect("small") {
        bench.open_as(numbered(number), table(4, 1), all(4));
    }
    bench.pass(Duration::from_secs(61));
    bench.meet(A, Distance::Other);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.said(A), []);
    let (have, durable, want) = (Bits::none(4), Bits::none(4), Bits::all(4));
    let layout = numbered(300);
    bench.hear(
        A,
        SwarmMessage::Status {
            number: 0,
            layout,
            ask: true,
            have,
            durable,
            want,
        },
    );
    bench.pass(Duration::from_secs(1));
    let statuses = bench.said(A).into_iter().filter_map(|message| match message {
        SwarmMessage::Status { layout, .. } => Some(layout),
        _ => None,
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [layout]);
    // What it did not speak of it need not close either.
    bench.out.clear();
    bench.input(Input::Close { layout: numbered(1) });
    bench.input(Input::Close { layout });
    bench.pass(Duration::from_secs(1));
    assert!(
        matches!(bench.said(A)[..], [SwarmMessage::Close { .. }]),
        "{:?}",
        bench.said(A)
    );
}

#[test]
fn who_has_said_nothing_of_what_is_missing_is_told_again_more_and_more_seldom() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Origin);
    bench.pass(Duration::from_secs(60));
    let statuses = |bench: &Bench| {
        let said = bench.said(A).into_iter();
        said.filter(|message| matches!(message, SwarmMessage::Status { ask: true, .. }))
            .count()
    };
    assert_eq!(statuses(&bench), 5, "at 0, 2, 6, 14 and 30 s");
    bench.status(A, &all(64), 64);
    bench.pass(Duration::from_secs(1));
    assert!(!bench.fetches().is_empty());
    let before = statuses(&bench);
    bench.pass(Duration::from_secs(90));
    assert_eq!(statuses(&bench), before);
}

/// A transfer begins with them: of a fetch of a small release, waiting for the next announcement twice would be most of the time.
#[test]
fn first_words_on_a_layout_and_answers_to_who_asks_leave_at_once_but_few_of_them() {
    let mut bench = Bench::new(Role::Site);
    let known = 200;
    for number in 0..known {
        bench.open_as(numbered(number), table(4, 1), all(4));
    }
    let (peer, product, fed) = (A, 5, true);
    let info = PeerInfo {
        distance: Distance::Other,
        serves: true,
        domain: 1,
    };
    bench.input(Input::PeerUp { peer, info });
    bench.input(Input::PeerCovers {
        peer,
        product,
        info,
        fed,
    });
    let statuses_in = |bench: &mut Bench, milliseconds| {
        bench.out.clear();
        bench.pass(Duration::from_millis(milliseconds));
        let said = bench.said(A).into_iter();
        said.filter(|message| matches!(message, SwarmMessage::Status { .. }))
            .count()
    };
    // Whoever knows many layouts says so in the usual portions, and a few more.
    assert_eq!(statuses_in(&mut bench, 1), 64 + 8);
    for _ in 0..100 {
        bench.hear(A, wants_numbered(3));
        bench.hear(A, wants_numbered(4));
    }
    assert_eq!(statuses_in(&mut bench, 40), 0);
    while statuses_in(&mut bench, 50) > 0 {}
    bench.pass(Duration::from_millis(100));
    // Nothing is to be said now: one thing after the other leaves at once, and not for ever.
    let answers: Vec<usize> = (0..12)
        .map(|number| {
            bench.hear(A, wants_numbered(number));
            statuses_in(&mut bench, 1)
        })
        .collect();
    assert_eq!(answers[..9], [1; 9]);
    assert_eq!(answers[9..], [0; 3]);
    assert_eq!(statuses_in(&mut bench, 60), 3);
}

/// The number of a layout that is closed may be given to the next at once.
#[test]
fn a_number_is_closed_before_it_is_given_anew() {
    let mut bench = Bench::new(Role::Site);
    bench.open_as(numbered(0), table(4, 1), all(4));
    bench.meet(A, Distance::Other);
    bench.pass(Duration::from_secs(1));
    bench.open_as(numbered(1), table(4, 1), all(4));
    bench.pass(Duration::from_millis(1));
    bench.out.clear();
    bench.input(Input::Close { layout: numbered(0) });
    bench.open_as(numbered(2), table(4, 1), all(4));
    bench.pass(Duration::from_secs(1));
    let said = bench.said(A);
    let [
        SwarmMessage::Close { number },
        SwarmMessage::Status {
            number: anew, layout, ..
        },
    ] = &said[..]
    else {
        panic!("{said:?}");
    };
    assert_eq!((number, *layout), (anew, numbered(2)));
}

#[test]
fn a_peer_may_introduce_as_many_layouts_as_there_can_be_but_not_again_and_again() {
    let mut bench = Bench::new(Role::Site);
    let known = 8;
    for number in 0..known {
        bench.open_as(numbered(number), table(4, 1), RangeSet::new());
    }
    bench.meet(A, Distance::Origin);
    for number in 0..u16::try_from(TRANSFERS_MAX).expect("small") {
        bench.hear(A, wants_numbered(number));
    }
    assert_eq!(bench.disconnected(), None);
    for at in 0..300u16 {
        bench.hear(A, wants_numbered(at % known));
    }
    assert_eq!(bench.disconnected(), Some((A, DisconnectReason::Misbehaved)));
}

#[test]
fn who_may_not_be_fed_is_shown_nothing_and_given_nothing_and_gives_all_the_same() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::from(0..32));
    let info = PeerInfo {
        distance: Distance::Other,
        serves: true,
        domain: 1,
    };
    bench.input(Input::PeerUp { peer: A, info });
    let (product, fed) = (5, false);
    bench.input(Input::PeerCovers {
        peer: A,
        product,
        info,
        fed,
    });
    bench.status(A, &all(64), 64);
    bench.ask(1, A, RangeSet::from(0..1));
    bench.deliver(A);
    bench.pass(Duration::from_secs(1));
    let refused = Output::Refuse {
        serve: ServeId(1),
        reason: Refusal::Absent,
    };
    assert!(bench.out.contains(&refused), "{:?}", bench.out);
    for message in bench.said(A) {
        let shown = match message {
            SwarmMessage::Status { have, durable, .. } => have.count() + durable.count(),
            SwarmMessage::Have { .. } | SwarmMessage::Durable { .. } => 1,
            _ => 0,
        };
        assert_eq!(shown, 0);
    }
}

#[test]
fn who_has_a_block_itself_is_told_of_it_only_when_it_loses_it() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    bench.meet(A, Distance::Other);
    bench.meet(B, Distance::Other);
    bench.meet(C, Distance::Origin);
    bench.status(A, &RangeSet::from(0..4), 64);
    bench.status(B, &RangeSet::new(), 64);
    bench.status(C, &all(64), 64);
    bench.pass(Duration::from_millis(60));
    bench.out.clear();
    let told = |bench: &Bench, peer| {
        let haves = bench.said(peer).into_iter().filter_map(|message| match message {
            SwarmMessage::Have { blocks, .. } => Some(blocks),
            _ => None,
        });
        let mut all = RangeSet::new();
        haves.for_each(|blocks| all.union_with(&blocks));
        all
    };
    bench.input(Input::Durable {
        layout: LAYOUT,
        groups: RangeSet::from(2..6),
    });
    bench.pass(Duration::from_millis(60));
    assert_eq!(told(&bench, A), RangeSet::from(4..6), "it has the others itself");
    assert_eq!(told(&bench, B), RangeSet::from(2..6));
    assert_eq!(told(&bench, C), RangeSet::from(2..6), "an origin counts who has what");
    bench.out.clear();
    let blocks = RangeSet::from(2..3);
    bench.hear(A, SwarmMessage::Lost { number: 0, blocks });
    bench.pass(Duration::from_millis(60));
    assert_eq!(told(&bench, A), RangeSet::from(2..3), "now it has use for it");
    assert!(told(&bench, B).is_empty());
}

#[test]
fn a_block_is_told_to_a_few_at_once_and_to_all_within_a_moment_and_to_origins_and_the_own_site_first() {
    let mut bench = Bench::with_layout(Role::Site, RangeSet::new());
    let others: Vec<NodeId> = (10..42).map(|name| NodeId([name; 32])).collect();
    for (peer, distance) in others.iter().map(|peer| (*peer, Distance::Other)) {
        bench.meet(peer, distance);
    }
    bench.meet(A, Distance::Origin);
    bench.meet(B, Distance::Site);
    for peer in others.iter().chain(&[A, B]) {
        bench.status(*peer, &RangeSet::new(), 64);
    }
    bench.pass(Duration::from_secs(1));
    bench.out.clear();
    let groups = RangeSet::from(0..1);
    bench.input(Input::Durable { layout: LAYOUT, groups });
    let told = |bench: &Bench, peer: &NodeId| {
        let mut said = bench.said(*peer).into_iter();
        said.any(|message| matches!(message, SwarmMessage::Have { .. }))
    };
    bench.pass(Duration::from_millis(40));
    assert!(told(&bench, &A) && told(&bench, &B));
    assert_eq!(others.iter().filter(|peer| told(&bench, peer)).count(), 6);
    bench.pass(Duration::from_millis(260));
    assert!(others.iter().all(|peer| told(&bench, peer)));
}

/// What may wait for a turn among many is news; the rest would be taken for lies, or hold a transfer up.
#[test]
fn first_words_what_is_lost_what_is_closed_and_what_an_origin_shows_wait_for_nobodys_turn() {
    let others: Vec<NodeId> = (10..34).map(|name| NodeId([name; 32])).collect();
    let bench_of = |role| {
        let mut bench = Bench::new(role);
        for peer in &others {
            bench.meet(*peer, Distance::Other);
        }
        bench.pass(Duration::from_secs(1));
        bench.open(table(128, 1), all(128));
        bench.pass(Duration::from_millis(1));
        bench
    };
    let told = |bench: &Bench, what: fn(&SwarmMessage) -> bool| {
        let heard = others.iter().filter(|peer| bench.said(**peer).iter().any(what));
        heard.count()
    };
    let mut bench = bench_of(Role::Site);
    assert_eq!(
        told(&bench, |message| matches!(message, SwarmMessage::Status { .. })),
        24
    );
    for peer in &others {
        bench.status(*peer, &RangeSet::new(), 128);
    }
    bench.pass(Duration::from_secs(1));
    let groups = RangeSet::from(0..1);
    bench.input(Input::Lost { layout: LAYOUT, groups });
    bench.pass(Duration::from_millis(50));
    assert_eq!(told(&bench, |message| matches!(message, SwarmMessage::Lost { .. })), 24);
    bench.input(Input::Close { layout: LAYOUT });
    bench.pass(Duration::from_millis(50));
    assert_eq!(
        told(&bench, |message| matches!(message, SwarmMessage::Close { .. })),
        24
    );
    let mut origin = bench_of(Role::Origin);
    for peer in &others {
        origin.status(*peer, &RangeSet::new(), 128);
    }
    origin.pass(Duration::from_millis(60));
    assert_eq!(
        told(&origin, |message| matches!(message, SwarmMessage::Have { .. })),
        24
    );
}

/// Where both speak first of a layout each answers the other's question, too.
#[test]
fn a_peer_may_speak_twice_of_as_many_layouts_as_there_may_be() {
    let known = u16::try_from(TRANSFERS_MAX).expect("small");
    let mut bench = Bench::new(Role::Site);
    for number in 0..known {
        bench.open_as(numbered(number), table(4, 1), RangeSet::new());
    }
    bench.meet(A, Distance::Other);
    for punished in [None, None, Some((A, DisconnectReason::Misbehaved))] {
        for number in 0..known {
            bench.hear(A, wants_numbered(number));
        }
        assert_eq!(bench.disconnected(), punished);
    }
}
