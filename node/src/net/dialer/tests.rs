use super::*;
use crate::net::address;

const PRODUCT: ProductId = ProductId([1; 32]);

fn peer(seed: u8) -> NodeId {
    NodeId([seed; 32])
}

fn at(text: &str) -> Vec<Address> {
    vec![address::parse(text).expect("an address")]
}

fn wanting(once: bool, with_quic: bool) -> (Dialer, Instant) {
    let (mut dialer, now) = (Dialer::new(7, with_quic), Instant::now());
    dialer.want(peer(1), at("192.0.2.1:4001"), PRODUCT, once, now);
    (dialer, now)
}

#[test]
fn tcp_is_tried_first_then_quic_then_a_pause() {
    let (mut dialer, now) = wanting(false, true);
    let first = dialer.due(now);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].addresses[0].to_string(), "/ip4/192.0.2.1/tcp/4001");
    assert!(dialer.due(now).is_empty(), "under way");
    assert!(!dialer.failed(peer(1), now), "something else is tried");
    let second = dialer.second(peer(1)).expect("QUIC");
    assert_eq!(second.addresses[0].to_string(), "/ip4/192.0.2.1/udp/4001/quic-v1");
    assert!(dialer.failed(peer(1), now));
    assert!(dialer.due(now).is_empty());
    let wake = dialer.wake_at().expect("a pause");
    assert!(wake > now && wake <= now + PAUSE_MIN);
    assert_eq!(dialer.due(wake), first);
}

#[test]
fn pauses_grow_to_their_bound_with_jitter() {
    let (mut dialer, mut now) = wanting(false, false);
    let mut last = Duration::ZERO;
    for failures in 1..20 {
        assert_eq!(dialer.due(now).len(), 1);
        assert!(dialer.failed(peer(1), now));
        let pause = dialer.wake_at().expect("a pause") - now;
        let full = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(failures.min(11) - 1));
        assert!(pause >= full / 2 && pause <= full, "{failures}: {pause:?} of {full:?}");
        now += pause;
        last = pause;
    }
    assert!(last >= PAUSE_MAX / 2);
}

#[test]
fn a_connection_that_ends_is_dialled_again_soon_if_it_lasted_and_later_if_it_did_not() {
    let (mut dialer, now) = wanting(false, false);
    for _ in 0..6 {
        dialer.due(dialer.wake_at().unwrap_or(now));
        dialer.failed(peer(1), now);
    }
    dialer.due(now + PAUSE_MAX);
    assert_eq!(dialer.up(peer(1)), BTreeSet::from([PRODUCT]));
    assert_eq!(dialer.wake_at(), None, "nothing to do while connected");
    let soon = Instant::now();
    dialer.down(peer(1), soon);
    assert!(
        dialer.wake_at().expect("a pause") - soon > Duration::from_secs(16),
        "it broke at once"
    );
    dialer.due(soon + PAUSE_MAX);
    dialer.up(peer(1));
    let later = Instant::now() + STABLE * 2;
    dialer.down(peer(1), later);
    assert!(dialer.wake_at().expect("a pause") - later <= PAUSE_MIN, "it lasted");
}

#[test]
fn what_is_wanted_once_is_forgotten_after_success_and_after_failure() {
    let (mut dialer, now) = wanting(true, false);
    dialer.due(now);
    assert!(dialer.failed(peer(1), now));
    assert!(dialer.due(now + PAUSE_MAX).is_empty());
    let (mut dialer, now) = wanting(true, false);
    dialer.due(now);
    assert_eq!(dialer.up(peer(1)), BTreeSet::from([PRODUCT]));
    dialer.down(peer(1), now);
    assert!(dialer.due(now + PAUSE_MAX).is_empty());
}

#[test]
fn new_addresses_end_a_pause_and_the_same_ones_do_not() {
    let (mut dialer, now) = wanting(false, false);
    dialer.due(now);
    dialer.failed(peer(1), now);
    dialer.want(peer(1), at("192.0.2.1:4001"), PRODUCT, false, now);
    assert!(dialer.due(now).is_empty(), "the same address, just failed");
    dialer.want(peer(1), at("192.0.2.9:4001"), PRODUCT, false, now);
    assert_eq!(dialer.due(now).len(), 1);
    dialer.unwant(peer(1));
    assert!(dialer.failed(peer(1), now), "nobody wants it now");
    assert_eq!(dialer.wake_at(), None);
}

#[test]
fn dials_under_way_and_peers_wanted_are_bounded() {
    let (mut dialer, now) = (Dialer::new(7, false), Instant::now());
    for number in 0..2 * WANTED_MAX {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        dialer.want(NodeId(id), at("192.0.2.1:4001"), PRODUCT, false, now);
    }
    assert_eq!(dialer.wanted.len(), WANTED_MAX);
    let dials = dialer.due(now);
    assert_eq!(dials.len(), DIALS_MAX);
    assert!(dialer.due(now).is_empty());
    dialer.up(dials[0].peer);
    assert_eq!(dialer.due(now).len(), 1);
}

#[test]
fn a_product_that_is_turned_away_does_not_keep_the_others_out() {
    let (mut dialer, mut now) = wanting(false, false);
    let other = ProductId([2; 32]);
    dialer.want(peer(1), at("192.0.2.1:4001"), other, false, now);
    let mut said = Vec::new();
    for _ in 0..4 {
        said.extend(dialer.due(now).iter().map(|dial| dial.product));
        dialer.failed(peer(1), now);
        now = dialer.wake_at().expect("a pause");
    }
    assert_eq!(said, [PRODUCT, other, PRODUCT, other]);
}
