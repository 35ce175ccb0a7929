//! What is remembered of peers, and what follows from their credentials.

use samara_protocol::id::StatementId;
use samara_protocol::time::WallTime;
use samara_protocol::trust::grant::{Rights, SiteId, TenantId};
use samara_protocol::trust::key::SigningKey;

use super::*;

fn covered(tenant: u8, site: u8, kind: MemberKind, reseed: Reseed) -> Covered {
    Covered {
        node: NodeId([site; 32]),
        kind,
        product: ProductId([1; 32]),
        tenant: TenantId([tenant; 16]),
        site: SiteId([site; 16]),
        site_key: SigningKey::from_seed([site; 32]).public(),
        enrol: false,
        channels: Vec::new(),
        rights: Rights {
            fetch: true,
            reseed,
            publish: false,
            origin: kind == MemberKind::Origin,
        },
        not_after: WallTime(i64::MAX),
        grant: StatementId([1; 32]),
    }
}

#[test]
fn the_vendor_says_whom_a_site_may_feed_whatever_its_operator_sets() {
    use Reseed::{All, None, Own};
    let site = |tenant, site, reseed| covered(tenant, site, MemberKind::Node, reseed);
    let fed = |own, theirs, near: (u8, u8)| may_feed(&site(1, 1, own), &site(near.0, near.1, theirs));
    for theirs in [None, Own, All] {
        assert!(fed(None, theirs, (1, 1)), "its own site");
        assert!(!fed(None, theirs, (1, 2)), "no other");
        assert!(fed(Own, theirs, (1, 2)) && fed(All, theirs, (1, 2)), "its tenant");
        assert!(!fed(Own, theirs, (2, 3)), "no other tenant");
        assert_eq!(fed(All, theirs, (2, 3)), theirs == All, "both must allow it");
    }
    let origin = covered(9, 9, MemberKind::Origin, None);
    assert!(may_feed(&origin, &site(1, 1, None)), "an origin feeds all");
    for own in [None, Own, All] {
        assert!(
            may_feed(&site(1, 1, own), &origin),
            "an origin has to hear what has come"
        );
    }
}

#[test]
fn who_was_late_is_asked_last_and_waited_for_longer_also_after_coming_back() {
    let product = ProductId([7; 32]);
    let mut peers = Peers::default();
    let nodes = [NodeId([1; 32]), NodeId([2; 32])];
    let come = |peers: &mut Peers, node| {
        peers.insert(node, String::new(), false, Timestamp::ZERO);
        let shown = Shown::new(Vec::new(), Err(Refusal::NoAuthority));
        peers.get_mut(node).expect("came").products.insert(product, shown);
    };
    nodes.iter().for_each(|node| come(&mut peers, *node));
    assert_eq!(peers.to_ask(product), nodes);
    peers.was_late(nodes[0], Timestamp::ZERO);
    peers.remove(nodes[0]);
    come(&mut peers, nodes[0]);
    assert_eq!(peers.to_ask(product), [nodes[1], nodes[0]]);
    assert_eq!(peers.patience(nodes[0]), 2 * FILE_SILENCE_MAX);
    assert_eq!(peers.patience(nodes[1]), FILE_SILENCE_MAX);
    peers.was_in_time(nodes[0]);
    assert_eq!(peers.to_ask(product), nodes);
}

#[test]
fn who_does_not_open_a_product_is_asked_less_and_less_often_until_it_comes_again() {
    let (node, product) = (NodeId([1; 32]), ProductId([7; 32]));
    let (mut peers, mut asked) = (Peers::default(), Vec::new());
    peers.insert(node, String::new(), true, Timestamp::ZERO);
    for second in 0..1000 {
        let now = Timestamp::ZERO.after(Duration::from_secs(second));
        let peer = peers.get_mut(node).expect("there");
        if peer.is_to_open(product, now) {
            asked.push(second);
        }
    }
    assert_eq!(asked[..8], [0, 2, 6, 14, 30, 62, 126, 254]);
    assert!(asked[7..].windows(2).all(|pair| pair[1] - pair[0] == 128), "{asked:?}");

    peers.remove(node);
    peers.insert(node, String::new(), true, Timestamp::ZERO);
    let peer = peers.get_mut(node).expect("there");
    assert!(peer.is_to_open(product, Timestamp::ZERO), "a new connection");
    assert!(peer.is_to_open(ProductId([8; 32]), Timestamp::ZERO), "another product");
    let shown = Shown::new(Vec::new(), Err(Refusal::NoAuthority));
    peer.products.insert(product, shown);
    let later = Timestamp::ZERO.after(Duration::from_secs(1000));
    assert!(!peer.is_to_open(product, later), "it has");
}

#[test]
fn whose_metadata_was_refused_is_left_alone_for_longer_each_time_also_after_coming_back() {
    let (node, mut peers) = (NodeId([1; 32]), Peers::default());
    let mut now = Timestamp::ZERO;
    for doubling in 0..3 {
        assert!(peers.may_ask_metadata(node, now));
        peers.was_refused(node, now);
        peers.insert(node, String::new(), false, now);
        peers.remove(node);
        let pause = METADATA_PAUSE * (1 << doubling);
        assert!(!peers.may_ask_metadata(node, now.after(pause - Duration::from_secs(1))));
        now = now.after(pause);
    }
    assert!(peers.may_ask_metadata(node, now));
}
#[test]
fn others_are_told_of_a_peer_once_a_connection_and_product_and_not_again_at_once_when_it_returns() {
    let (node, mut peers) = (NodeId([1; 32]), Peers::default());
    let products = [ProductId([1; 32]), ProductId([2; 32])];
    let come = |peers: &mut Peers, now: Timestamp| {
        peers.insert(node, String::new(), false, now);
        let known = peers.get_mut(node).expect("it is there");
        for product in products {
            let ended = Err(Refusal::NotEnrolled { node, reason: "" });
            known.products.insert(product, Shown::new(Vec::new(), ended));
        }
    };
    let mut now = Timestamp::ZERO;
    come(&mut peers, now);
    assert_eq!(peers.due_to_introduce(now), [], "it has not said how it is reached");
    for product in products {
        peers.said_contact(node, product);
        assert_eq!(peers.due_to_introduce(now), [(node, product)]);
        peers.said_contact(node, product);
        assert_eq!(peers.due_to_introduce(now), [], "it says it again");
    }
    now = now.after(Duration::from_secs(1));
    peers.remove(node);
    come(&mut peers, now);
    peers.said_contact(node, products[0]);
    assert_eq!(peers.due_to_introduce(now), [], "it is early");
    now = now.after(INTRODUCTION_INTERVAL);
    assert_eq!(peers.due_to_introduce(now), [(node, products[0])], "and not forgotten");
}
