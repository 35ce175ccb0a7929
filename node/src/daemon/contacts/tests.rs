use samara_protocol::id::StatementId;
use samara_protocol::trust::grant::{Rights, TenantId};
use samara_protocol::trust::key::SigningKey;

use super::*;

const PRODUCT: ProductId = ProductId([7; 32]);
const NOW: WallTime = WallTime(1_790_000_000);

fn key(number: u32) -> SigningKey {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_seed(seed)
}

/// Member `number` of a site; the tenant of site 12 is 1.
fn member(number: u32, kind: MemberKind, site: u8) -> Covered {
    Covered {
        node: key(number).node_id(),
        kind,
        product: PRODUCT,
        tenant: TenantId([site / 10; 16]),
        site: SiteId([site; 16]),
        site_key: key(1_000_000 + u32::from(site)).public(),
        enrol: false,
        channels: Vec::new(),
        rights: Rights {
            fetch: true,
            publish: false,
            reseed: Reseed::All,
            origin: kind == MemberKind::Origin,
        },
        not_after: NOW.plus_seconds(1000),
        grant: StatementId([1; 32]),
    }
}

fn contact(number: u32, kind: MemberKind) -> Contact {
    Contact {
        schema: 0,
        product: Some(PRODUCT),
        node: key(number).node_id(),
        kind,
        addresses: vec!["/ip4/192.0.2.1/tcp/7170".to_owned()],
        region: None,
        audience: Audience::All,
        sequence: 1,
        not_after: NOW.plus_seconds(1000),
    }
}

fn signed(number: u32, contact: &Contact) -> Vec<u8> {
    Envelope::sign(contact, &[&key(number)]).expect("signed").to_bytes()
}

fn nodes(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| signed(number, &contact(number, MemberKind::Node)))
        .collect()
}

fn site(number: u32, site: u8) -> Covered {
    member(number, MemberKind::Node, site)
}

fn origin(number: u32) -> Covered {
    member(number, MemberKind::Origin, 0)
}

fn knows(contacts: &Contacts, number: u32) -> bool {
    contacts.get(key(number).node_id()).is_some()
}

#[test]
fn a_customer_speaks_for_itself_and_for_nobody_else_whatever_it_calls_them() {
    for own in [site(1, 11), origin(1)] {
        let mut contacts = Contacts::new(PRODUCT);
        let forged = contact(50, MemberKind::Origin);
        let said = [signed(50, &forged), nodes(2..3).remove(0), nodes(60..61).remove(0)];
        let learned = contacts.learn(&said, &site(2, 22), Some(&own), NOW);
        assert!(learned.any && knows(&contacts, 2));
        assert!(!knows(&contacts, 50) && !knows(&contacts, 60));
        // Not as what it is.
        let mut contacts = Contacts::new(PRODUCT);
        let said = [signed(2, &contact(2, MemberKind::Origin))];
        assert_eq!(contacts.learn(&said, &site(2, 22), Some(&own), NOW), Learned::default());
    }
}

#[test]
fn origins_and_the_own_site_and_tenant_speak_for_others_and_an_origin_listens_to_origins_alone() {
    let said = nodes(50..51);
    let own = site(1, 11);
    for teller in [origin(2), site(2, 11), site(2, 12)] {
        let mut contacts = Contacts::new(PRODUCT);
        assert!(contacts.learn(&said, &teller, Some(&own), NOW).any, "{teller:?}");
    }
    for (teller, taken) in [(origin(2), true), (site(2, 11), false)] {
        let mut contacts = Contacts::new(PRODUCT);
        assert_eq!(contacts.learn(&said, &teller, Some(&origin(1)), NOW).any, taken);
    }
    let mut contacts = Contacts::new(PRODUCT);
    let host = member(2, MemberKind::Host, 11);
    assert!(!contacts.learn(&said, &host, Some(&own), NOW).any, "hosts tell nothing");
}

#[test]
fn a_contact_for_another_product_or_for_none_or_one_that_has_ended_is_not_taken_from_a_peer() {
    let (own, teller) = (site(1, 11), origin(2));
    let other = Contact {
        product: Some(ProductId([8; 32])),
        ..contact(50, MemberKind::Node)
    };
    let unbound = Contact {
        product: None,
        ..contact(50, MemberKind::Node)
    };
    let ended = Contact {
        not_after: NOW,
        ..contact(50, MemberKind::Node)
    };
    let mut contacts = Contacts::new(PRODUCT);
    let said = [signed(50, &other), signed(50, &unbound), signed(50, &ended)];
    assert!(!contacts.learn(&said, &teller, Some(&own), NOW).any);
    // By hand the second is, and goes no further.
    let envelopes = said.iter().map(|bytes| Envelope::from_bytes(bytes).expect("one"));
    contacts.restore(envelopes.take(2).collect());
    assert!(knows(&contacts, 50));
    assert!(contacts.to_tell(&own, &site(3, 11), |_| None).0.is_empty());
}

#[test]
fn a_full_table_gives_way_to_whoever_counts_for_more_and_no_teller_fills_it() {
    let own = site(1, 11);
    let mut contacts = Contacts::new(PRODUCT);
    let many = u32::try_from(CONTACTS_MAX).expect("fits");
    for number in 100..100 + many {
        let said = nodes(number..number + 1);
        assert!(contacts.learn(&said, &site(number, 22), Some(&own), NOW).any);
    }
    // Of equals the one goes that was heard of longest ago.
    let newest = nodes(5000..5001);
    let learned = contacts.learn(&newest, &site(5000, 22), Some(&own), NOW);
    assert_eq!(learned.gone, [key(100).node_id()]);
    // An origin is believed of as many as one teller may speak for, and they stay.
    let per_teller = u32::try_from(CONTACTS_PER_TELLER_MAX).expect("fits");
    let said = nodes(10_000..10_000 + per_teller + 10);
    let learned = contacts.learn(&said, &origin(2), Some(&own), NOW);
    assert_eq!(learned.gone.len(), CONTACTS_PER_TELLER_MAX);
    for number in 20_000..20_000 + 2 * many {
        let said = nodes(number..number + 1);
        contacts.learn(&said, &site(number, 22), Some(&own), NOW);
    }
    assert!((10_000..10_000 + per_teller).all(|number| knows(&contacts, number)));
    assert_eq!(contacts.all.len(), CONTACTS_MAX);
    // They are dialled first, and only what somebody vouches for is written down.
    let first = contacts.to_dial(false, false);
    assert_eq!(first.len(), NEIGHBOURS_MAX);
    let trusted: Vec<NodeId> = (10_000..10_000 + per_teller)
        .map(|number| key(number).node_id())
        .collect();
    assert!(first.iter().all(|(node, _)| trusted.contains(node)));
    let unkept = contacts.take_unkept().expect("changed");
    assert_eq!(unkept.contacts.len(), CONTACTS_PER_TELLER_MAX);
    assert!(unkept.forgotten.is_empty(), "the home had none of those that went");
    assert_eq!(contacts.take_unkept(), None);
}

#[test]
fn what_has_ended_is_forgotten_unless_its_node_is_there() {
    let mut contacts = Contacts::new(PRODUCT);
    contacts.learn(&nodes(50..52), &origin(2), Some(&site(1, 11)), NOW);
    let later = NOW.plus_seconds(2000);
    assert!(contacts.prune(NOW, |_| false).is_empty());
    let gone = contacts.prune(later, |node| node == key(51).node_id());
    assert_eq!(gone, [key(50).node_id()]);
    assert!(knows(&contacts, 51));
}

#[test]
fn the_home_is_told_once_what_of_its_contacts_is_forgotten() {
    let mut contacts = Contacts::new(PRODUCT);
    let envelopes = nodes(50..52);
    let envelopes = envelopes.iter().map(|bytes| Envelope::from_bytes(bytes).expect("one"));
    contacts.restore(envelopes.collect());
    let (later, teller, own) = (NOW.plus_seconds(2000), origin(2), site(1, 11));
    let forgotten = |contacts: &mut Contacts| contacts.take_unkept().expect("changed").forgotten;
    let gone = |number| BTreeMap::from([(key(number).node_id(), 1)]);
    // One that the home had, then one that was written down since.
    contacts.prune(later, |node| node == key(51).node_id());
    assert_eq!(forgotten(&mut contacts), gone(50));
    contacts.learn(&nodes(52..53), &teller, Some(&own), NOW);
    assert!(forgotten(&mut contacts).is_empty(), "told already");
    contacts.prune(later, |node| node == key(51).node_id());
    assert_eq!(forgotten(&mut contacts), gone(52));
}

/// An origin that has met four nodes each of thirty sites, of other tenants than the one that asks.
fn met() -> (Contacts, BTreeMap<NodeId, Covered>) {
    let mut contacts = Contacts::new(PRODUCT);
    let mut members = BTreeMap::new();
    for number in 0..120 {
        let shown = site(number, u8::try_from(30 + number / 4).expect("fits"));
        contacts.learn(&nodes(number..number + 1), &shown, Some(&origin(900)), NOW);
        members.insert(shown.node, shown);
    }
    (contacts, members)
}

#[test]
fn an_origin_tells_sixteen_of_other_customers_of_as_many_sites_and_not_the_lowest_names() {
    let (contacts, members) = met();
    let asks = member(950, MemberKind::Node, 255);
    let told = |contacts: &Contacts, to: &Covered| -> Vec<NodeId> {
        let (told, _) = contacts.to_tell(&origin(900), to, |node| members.get(&node).cloned());
        let open = |bytes: &Vec<u8>| {
            Contact::open(&Envelope::from_bytes(bytes).expect("one"))
                .expect("one")
                .node
        };
        told.iter().map(open).collect()
    };
    let first = told(&contacts, &asks);
    assert_eq!(first.len(), CONTACTS_ACROSS_TENANTS_MAX);
    let sites: std::collections::BTreeSet<SiteId> = first.iter().map(|node| members[node].site).collect();
    assert_eq!(sites.len(), CONTACTS_ACROSS_TENANTS_MAX, "each of another site");
    // Another node of the same site hears of nobody else; at another origin the choice is another one.
    assert_eq!(told(&contacts, &member(951, MemberKind::Node, 255)), first);
    assert_ne!(told(&met().0, &asks), first);
    // Who reseeds to its own alone hears of nobody; nor of anybody that is not there.
    let mut shy = asks.clone();
    shy.rights.reseed = Reseed::Own;
    assert!(told(&contacts, &shy).is_empty());
    assert!(contacts.to_tell(&origin(900), &asks, |_| None).0.is_empty());
    let reserved = |node| {
        let mut member: Option<Covered> = members.get(&node).cloned();
        member.iter_mut().for_each(|member| member.rights.reseed = Reseed::Own);
        member
    };
    assert!(contacts.to_tell(&origin(900), &asks, reserved).0.is_empty());
}

#[test]
fn a_sites_node_tells_its_own_site_also_when_the_origin_is_gone_and_strangers_nothing() {
    let own = site(1, 11);
    let mut contacts = Contacts::new(PRODUCT);
    contacts.learn(&nodes(50..53), &origin(2), Some(&own), NOW);
    assert_eq!(contacts.to_tell(&own, &site(3, 11), |_| None).0.len(), 3);
    assert!(contacts.to_tell(&own, &site(3, 22), |_| None).0.is_empty());
    let host = member(4, MemberKind::Host, 11);
    assert!(contacts.to_tell(&own, &host, |_| None).0.is_empty());
    let there = |node| (node == key(50).node_id()).then(|| site(50, 11));
    assert_eq!(contacts.to_tell(&own, &host, there).0.len(), 1, "its own site's");
}

#[test]
fn a_peers_own_contact_is_noticed_whether_it_is_new_or_not_and_what_others_say_of_it_is_not() {
    let (own, mut contacts) = (origin(900), Contacts::new(PRODUCT));
    let mut said = contact(1, MemberKind::Node);
    let (itself, another) = (site(1, 11), origin(901));
    let learn = |contacts: &mut Contacts, said: &Contact, teller: &Covered| {
        let learned = contacts.learn(&[signed(1, said)], teller, Some(&own), NOW);
        (learned.any, learned.of_teller)
    };
    assert_eq!(learn(&mut contacts, &said, &itself), (true, true), "new");
    assert_eq!(learn(&mut contacts, &said, &itself), (false, true), "it comes again");
    said.sequence = 2;
    assert_eq!(learn(&mut contacts, &said, &another), (true, false), "by another");
    said.kind = MemberKind::Origin;
    assert_eq!(
        learn(&mut contacts, &said, &itself),
        (false, false),
        "it may not say that"
    );
}

#[test]
fn a_newcomer_is_introduced_to_whom_it_would_have_been_told() {
    let (own, mut contacts) = (origin(900), Contacts::new(PRODUCT));
    let all = [site(1, 11), site(2, 22), site(3, 33)];
    for (number, teller) in (1..).zip(&all[..2]) {
        contacts.learn(&nodes(number..number + 1), teller, Some(&own), NOW);
    }
    let introduced = |of: usize, to: &Covered| contacts.introduction(&all[of], &own, to, &mut Across::new());
    assert_eq!(introduced(0, &all[1]), nodes(1..2).pop());
    assert_eq!(introduced(1, &all[0]), nodes(2..3).pop());
    assert_eq!(introduced(2, &all[0]), None, "nothing is known of it");
    let mut own_only = all[1].clone();
    own_only.rights.reseed = Reseed::Own;
    assert_eq!(introduced(0, &own_only), None);
}

#[test]
fn of_other_customers_who_come_later_as_many_are_named_as_at_a_meeting_and_one_of_a_site() {
    let (contacts, members) = met();
    let (own, asks) = (origin(900), member(950, MemberKind::Node, 255));
    let mut named = Across::new();
    let mut said = 0;
    for newcomer in members.values() {
        let told = contacts.introduction(newcomer, &own, &asks, &mut named);
        said += usize::from(told.is_some());
    }
    assert_eq!(
        (said, named.len()),
        (CONTACTS_ACROSS_TENANTS_MAX, CONTACTS_ACROSS_TENANTS_MAX)
    );
    let sites: std::collections::BTreeSet<_> = named.values().collect();
    assert_eq!(sites.len(), CONTACTS_ACROSS_TENANTS_MAX, "each of another site");
    let again = members
        .values()
        .find(|member| named.contains_key(&member.node))
        .expect("one");
    assert!(
        contacts.introduction(again, &own, &asks, &mut named).is_some(),
        "who was named has moved, perhaps"
    );
    let (told, at_meeting) = contacts.to_tell(&own, &asks, |node| members.get(&node).cloned());
    assert_eq!(
        (told.len(), at_meeting.len()),
        (CONTACTS_ACROSS_TENANTS_MAX, CONTACTS_ACROSS_TENANTS_MAX)
    );
    let near = members.values().next().expect("one").clone();
    let sibling = Covered {
        site: asks.site,
        tenant: asks.tenant,
        ..near
    };
    assert!(
        contacts.introduction(&sibling, &own, &asks, &mut named).is_some(),
        "its own site's in any case"
    );
    assert_eq!(named.len(), CONTACTS_ACROSS_TENANTS_MAX);
}
