use samara_protocol::trust::contact::Audience;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::{Grant, Reseed, Rights, SiteId, TenantId};
use samara_protocol::trust::key::SigningKey;
use samara_protocol::trust::product::TrustError;
use samara_protocol::trust::role::Role;

use super::*;
use crate::access::entropy::new_key;
use crate::access::vendor::{SealingKeys, Vendor};

const NOW: WallTime = WallTime(1_790_000_000);

/// A vendor with a product, and an empty home for a site's machine.
struct Fixture {
    dir: tempfile::TempDir,
    keys: SealingKeys,
    trust: ProductTrust,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let vendor = Vendor::at(&dir.path().join("vendor"));
        vendor.init().expect("keys");
        let trust = vendor.create_product("acme/app", NOW).expect("a product").trust;
        let keys = vendor.sealing_keys().expect("keys");
        Self { dir, keys, trust }
    }

    fn home(&self) -> ProductHome {
        ProductHome::at(&self.dir.path().join("machine"), self.trust.product())
    }

    fn refreshed(&self, times: usize) -> ProductTrust {
        let mut trust = self.trust.clone();
        for _ in 0..times {
            trust = self.keys.seal(&trust, Vec::new(), NOW).expect("sealed");
        }
        trust
    }
}

fn revocations(site: &SigningKey, sequence: u64, nodes: Vec<NodeId>) -> Envelope {
    let list = SiteRevocations {
        schema: 0,
        site_key: site.public(),
        sequence,
        nodes,
    };
    Envelope::sign(&list, &[site]).expect("signed")
}

#[test]
fn rollback_after_restart_is_refused() {
    let fixture = Fixture::new();
    let new = fixture.refreshed(3);
    fixture.home().update(new.files(), NOW).expect("stored");
    // Another process, later: the floors come from the disk.
    let reopened = fixture.home();
    let verdict = reopened.update(fixture.trust.files(), NOW);
    let back = matches!(
        &verdict,
        Err(AccessError::Trust {
            source: TrustError::Rollback { .. },
            ..
        })
    );
    assert!(back, "{verdict:?}");
    assert_eq!(
        reopened.load().expect("read").map(|trust| trust.summary()),
        Some(new.summary())
    );
}

#[test]
fn stored_metadata_that_somebody_altered_is_not_trusted() {
    let fixture = Fixture::new();
    let home = fixture.home();
    home.update(fixture.trust.files(), NOW).expect("stored");
    let path = home.dir().join(METADATA);
    let good = fs::read(&path).expect("read");
    for place in (0..good.len()).step_by(53) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x02;
        fs::write(&path, &bytes).expect("written");
        match home.load() {
            Err(error) => assert!(error.to_string().contains(METADATA), "{error}"),
            // The time of acceptance is not signed; it decides nothing.
            Ok(trust) => assert!(place < 40 && trust.map(|trust| trust.summary()) == Some(fixture.trust.summary())),
        }
        fs::write(&path, &bytes[..place]).expect("written");
        assert!(home.load().is_err(), "cut at {place}");
    }
    fs::write(&path, &good).expect("written");
    assert!(home.load().expect("read").is_some());
}

#[test]
fn another_products_metadata_under_this_id_is_refused() {
    let (one, two) = (Fixture::new(), Fixture::new());
    two.home().update(two.trust.files(), NOW).expect("stored");
    disk::make_dir(one.home().dir()).expect("made");
    fs::copy(two.home().dir().join(METADATA), one.home().dir().join(METADATA)).expect("copied");
    assert!(one.home().load().is_err());
}

#[test]
fn many_writers_leave_the_newest() {
    let fixture = Fixture::new();
    let versions: Vec<ProductTrust> = (1..=8).map(|times| fixture.refreshed(times)).collect();
    let same_signer = versions
        .windows(2)
        .all(|pair| pair[1].summary().is_ahead_of(&pair[0].summary()));
    assert!(same_signer, "each is a step further");
    let newest = versions[7].summary();
    std::thread::scope(|scope| {
        for trust in &versions {
            let home = fixture.home();
            scope.spawn(move || {
                for _ in 0..5 {
                    home.save_metadata(trust.files(), NOW)
                        .expect("stored, or older than what is there");
                    assert!(home.load().expect("always whole").is_some());
                }
            });
        }
    });
    let stored = fixture.home().load().expect("read").expect("there");
    assert_eq!(stored.summary(), newest);
    assert!(stored.summary().version(Role::Timestamp) == 9);
}

#[test]
fn the_newest_list_of_a_site_is_kept_and_an_older_one_is_not_taken() {
    let fixture = Fixture::new();
    let (home, site, node) = (fixture.home(), new_key(), new_key().node_id());
    assert!(
        home.learn_revocations(&revocations(&site, 2, vec![node]))
            .expect("stored")
    );
    assert!(
        !home
            .learn_revocations(&revocations(&site, 1, Vec::new()))
            .expect("read")
    );
    assert!(
        !home
            .learn_revocations(&revocations(&site, 2, Vec::new()))
            .expect("read")
    );
    let other = new_key();
    assert!(
        home.learn_revocations(&revocations(&other, 1, Vec::new()))
            .expect("stored")
    );
    let lists = home.site_revocations().expect("read");
    assert_eq!(lists.len(), 2);
    assert!(
        lists
            .iter()
            .any(|(list, _)| list.site_key == site.public() && list.nodes == [node])
    );
    // A list that another key signed.
    let forged = SiteRevocations {
        schema: 0,
        site_key: site.public(),
        sequence: 9,
        nodes: Vec::new(),
    };
    let envelope = Envelope::sign(&forged, &[&other]).expect("signed");
    assert!(home.learn_revocations(&envelope).is_err());
}

#[test]
fn contacts_come_back_and_what_is_no_contact_is_left_out() {
    let fixture = Fixture::new();
    let (home, node) = (fixture.home(), new_key());
    let good = contact(&node, 1);
    let opened = Contact::open(&good).expect("one");
    let forged = Envelope::sign(&opened, &[&new_key()]).expect("signed");
    home.save_contacts([&good, &forged], &BTreeMap::new()).expect("stored");
    assert_eq!(home.contacts().expect("read"), std::slice::from_ref(&good));
    // A join file made before does not put the older address back.
    let newer = contact(&node, 2);
    home.save_contacts([&newer], &BTreeMap::new()).expect("stored");
    home.save_contacts([&good], &BTreeMap::new()).expect("stored");
    assert_eq!(home.contacts().expect("read"), [newer]);
}

fn contact(node: &SigningKey, sequence: u64) -> Envelope {
    let contact = Contact {
        schema: 0,
        product: None,
        node: node.node_id(),
        kind: MemberKind::Node,
        addresses: vec!["/ip4/192.0.2.1/tcp/7170".to_owned()],
        region: None,
        audience: Audience::Site,
        sequence,
        not_after: NOW,
    };
    Envelope::sign(&contact, &[node]).expect("signed")
}

#[test]
fn what_a_verb_stores_stays_when_the_daemon_stores_and_what_it_has_forgotten_goes() {
    let (fixture, nodes) = (Fixture::new(), [new_key(), new_key()]);
    let home = fixture.home();
    let (mine, joined) = (contact(&nodes[0], 1), contact(&nodes[1], 5));
    home.save_contacts([&joined], &BTreeMap::new()).expect("stored");
    let store = |forgotten: u64| {
        let forgotten = BTreeMap::from([(nodes[1].node_id(), forgotten)]);
        home.save_contacts([&mine], &forgotten).expect("stored");
        home.contacts().expect("read")
    };
    // An older one was forgotten, not this.
    assert_eq!(store(4), [mine.clone(), joined]);
    assert_eq!(store(5), std::slice::from_ref(&mine));
    home.save_contacts([&mine], &BTreeMap::new()).expect("stored");
    assert_eq!(home.contacts().expect("read"), [mine], "it does not come back");
}

#[test]
fn of_contacts_that_many_store_at_once_none_is_lost() {
    let fixture = Fixture::new();
    let nodes: Vec<SigningKey> = (0..8).map(|_| new_key()).collect();
    std::thread::scope(|scope| {
        for node in &nodes {
            let home = fixture.home();
            scope.spawn(move || {
                for sequence in 0..5 {
                    home.save_contacts([&contact(node, sequence)], &BTreeMap::new())
                        .expect("stored");
                }
            });
        }
    });
    let stored = fixture.home().contacts().expect("read");
    let mut newest: Vec<NodeId> = stored
        .iter()
        .map(|envelope| Contact::open(envelope).expect("one"))
        .filter(|contact| contact.sequence == 4)
        .map(|contact| contact.node)
        .collect();
    newest.sort_unstable();
    let mut all: Vec<NodeId> = nodes.iter().map(SigningKey::node_id).collect();
    all.sort_unstable();
    assert_eq!((newest, stored.len()), (all, nodes.len()));
}

#[test]
fn the_own_sites_list_is_taken_when_others_have_taken_all_places() {
    let fixture = Fixture::new();
    let (home, own) = (fixture.home(), new_key());
    home.update(fixture.trust.files(), NOW).expect("stored");
    let grant = Grant {
        schema: 0,
        product: fixture.trust.product(),
        tenant: TenantId([1; 16]),
        site: SiteId([2; 16]),
        site_key: own.public(),
        channels: vec!["stable".parse().expect("a name")],
        rights: Rights {
            fetch: true,
            reseed: Reseed::Own,
            publish: false,
            origin: false,
        },
        not_before: None,
        not_after: NOW.plus_seconds(1000),
    };
    let granting = Vendor::at(&fixture.dir.path().join("vendor"))
        .key(Role::Grants)
        .expect("there");
    home.save_membership(&Membership {
        schema: 0,
        name: "acme/app".to_owned(),
        product: fixture.trust.product(),
        grant: Envelope::sign(&grant, &[&granting]).expect("signed"),
        enrolments: Vec::new(),
    })
    .expect("stored");
    let others: Vec<SigningKey> = (0..SITES_REMEMBERED_MAX).map(|_| new_key()).collect();
    let lists: Vec<Envelope> = others.iter().map(|site| revocations(site, 1, Vec::new())).collect();
    home.save_lines(SITE_REVOCATIONS, lists.iter()).expect("stored");
    assert!(
        home.learn_revocations(&revocations(&new_key(), 1, Vec::new())).is_err(),
        "no place"
    );
    for sequence in 1..3 {
        let taken = home.learn_revocations(&revocations(&own, sequence, vec![NodeId([4; 32])]));
        assert!(taken.expect("its own place"), "{sequence}");
    }
    // Those that have a place keep it.
    assert!(
        home.learn_revocations(&revocations(&others[0], 2, Vec::new()))
            .expect("a place")
    );
    let stored = home.site_revocations().expect("read");
    assert_eq!(stored.len(), SITES_REMEMBERED_MAX + 1);
    assert!(
        home.learn_revocations(&revocations(&new_key(), 1, Vec::new())).is_err(),
        "no place"
    );
}

#[test]
fn damage_in_a_products_files_is_named_or_changes_nothing() {
    const STEPS: usize = 60;
    let fixture = Fixture::new();
    let home = fixture.home();
    home.update(fixture.refreshed(2).files(), NOW).expect("stored");
    let site = new_key();
    home.learn_revocations(&revocations(&site, 3, vec![NodeId([4; 32])]))
        .expect("stored");
    let contact = Contact {
        schema: 0,
        product: None,
        node: site.node_id(),
        kind: MemberKind::Node,
        addresses: vec!["/ip4/10.0.0.1/tcp/7170".to_owned()],
        region: None,
        audience: Audience::Site,
        sequence: 1,
        not_after: NOW.plus_seconds(1000),
    };
    let contact = Envelope::sign(&contact, &[&site]).expect("signed");
    home.save_contacts([&contact], &BTreeMap::new()).expect("stored");
    let grant = contact.clone();
    home.save_membership(&Membership {
        schema: 0,
        name: "acme/app".to_owned(),
        product: fixture.trust.product(),
        grant,
        enrolments: Vec::new(),
    })
    .expect("stored");
    let (summary, lists) = (
        home.load().expect("good").expect("there").summary(),
        home.site_revocations().expect("good"),
    );
    for name in [METADATA, MEMBERSHIP, CONTACTS, SITE_REVOCATIONS] {
        let file = home.dir().join(name);
        let good = fs::read(&file).expect("there");
        for step in 0..STEPS {
            let mut bytes = good.clone();
            if step == 0 {
                bytes.truncate(good.len() / 2);
            } else {
                bytes[step * (good.len() - 1) / STEPS] ^= 1 << (step % 8);
            }
            fs::write(&file, bytes).expect("written");
            match home.load() {
                Ok(trust) => assert_eq!(trust.expect("there").summary(), summary, "{name} {step}"),
                Err(error) => assert!(error.to_string().contains("metadata"), "{error}"),
            }
            if let Err(error) = home.membership() {
                assert!(error.to_string().contains(MEMBERSHIP), "{error}");
            }
            let contacts = home.contacts().expect("what does not open is left out");
            assert!(contacts.iter().all(|one| *one == contact), "{name} {step}");
            let known = home.site_revocations().expect("what does not open is left out");
            assert!(known.iter().all(|one| lists.contains(one)), "{name} {step}");
        }
        fs::write(&file, good).expect("written");
    }
}
