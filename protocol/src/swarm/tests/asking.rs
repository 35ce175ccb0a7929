//! What is asked for first, and of whom.

use super::introductions::numbered;
use super::*;

fn open_with(bench: &mut Bench, number: u16, priority: u8) {
    bench.input(Input::Open(OpenTransfer {
        layout: numbered(number),
        table: table(64, 1),
        wanted: Bits::all(64),
        durable: RangeSet::new(),
        volatile: RangeSet::new(),
        priority,
        product: 5,
    }));
}

/// The layout of a running request of `A` that is answered next, once it was.
fn answer_one(bench: &mut Bench) -> Option<LayoutId> {
    let running = bench.swarm.requests.iter().next();
    let layout = running.map(|(_, request)| request.layout);
    if layout.is_some() {
        bench.deliver(A);
    }
    layout
}

#[test]
fn a_more_urgent_layout_is_asked_for_first_whatever_it_is_called() {
    for urgent in [0, 1] {
        let mut bench = Bench::new(Role::Site);
        let slow = 1 - urgent;
        open_with(&mut bench, urgent, 9);
        open_with(&mut bench, slow, 0);
        bench.meet(A, Distance::Other);
        for number in [slow, urgent] {
            let (have, layout) = (Bits::all(64), numbered(number));
            let (durable, want) = (have.clone(), have.clone());
            bench.hear(
                A,
                SwarmMessage::Status {
                    number,
                    layout,
                    ask: false,
                    have,
                    durable,
                    want,
                },
            );
        }
        let running = |bench: &Bench, number: u16| {
            let mut requests = bench.swarm.requests.values();
            requests.any(|request| request.layout == numbered(number))
        };
        assert!(
            running(&bench, slow) && running(&bench, urgent),
            "the less urgent was said first"
        );
        let from = bench.out.len();
        while !bench.swarm.transfers[&numbered(urgent)].is_full() {
            answer_one(&mut bench).expect("something is under way");
        }
        let missing = |bench: &Bench| bench.swarm.transfers[&numbered(slow)].left;
        assert!(missing(&bench) > 0);
        let asked = bench.out[from..].iter().filter_map(|output| match output {
            Output::Fetch { layout, .. } => Some(*layout),
            _ => None,
        });
        let asked: Vec<LayoutId> = asked.collect();
        let last = asked.iter().rposition(|layout| *layout == numbered(urgent));
        let first = asked.iter().position(|layout| *layout == numbered(slow));
        assert!(last.is_some(), "it took more than was asked for at once");
        assert!(first.is_none_or(|first| Some(first) > last), "{asked:?}");
        while answer_one(&mut bench).is_some() {}
        assert_eq!(missing(&bench), 0);
    }
}

#[test]
fn of_several_who_have_it_the_nearest_is_asked() {
    let distances = [
        Distance::Origin,
        Distance::Other,
        Distance::Region,
        Distance::Tenant,
        Distance::Site,
    ];
    for nearest in 2..=distances.len() {
        let mut bench = Bench::with_layout(Role::Site, all(64));
        // The nearest has the last identity.
        for (at, distance) in (1..).zip(&distances[..nearest]) {
            let peer = NodeId([at; 32]);
            bench.meet(peer, *distance);
            bench.status(peer, &all(64), 64);
        }
        assert_eq!(bench.fetches(), [], "it has everything");
        let (layout, groups) = (LAYOUT, RangeSet::from(7..8));
        bench.input(Input::Lost { layout, groups });
        let asked: Vec<NodeId> = bench.fetches().into_iter().map(|(_, peer, _)| peer).collect();
        let last = u8::try_from(nearest).expect("few");
        assert_eq!(asked, [NodeId([last; 32])], "{:?}", &distances[..nearest]);
    }
}
