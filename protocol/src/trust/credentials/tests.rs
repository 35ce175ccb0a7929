use super::*;
use crate::trust::fixture::{DAY, NOW, Vendor, enrolment, grant, key, node_credentials, sign};
use crate::trust::product::ProductTrust;

fn admit(trust: &ProductTrust, credentials: &Credentials, node: u8) -> Result<Covered, Refusal> {
    trust.admit(credentials, key(node).node_id(), [], NOW)
}

#[test]
fn a_node_enrolled_by_a_granted_site_is_covered() {
    let vendor = Vendor::new(1);
    let trust = vendor.product_with_release();
    let credentials = node_credentials(&vendor, &trust);
    let covered = admit(&trust, &credentials, 101).expect("covered");
    assert_eq!((covered.kind, covered.enrol), (MemberKind::Node, true));
    assert_eq!(
        covered.not_after,
        NOW.plus_seconds(90 * DAY),
        "the earliest end of the chain"
    );
    assert_eq!(covered.product, trust.product());
}

#[test]
fn credentials_shown_by_another_key_are_refused() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let credentials = node_credentials(&vendor, &trust);
    assert!(matches!(
        admit(&trust, &credentials, 102),
        Err(Refusal::NotEnrolled { .. })
    ));
}

#[test]
fn a_grant_for_one_product_opens_no_other_even_of_the_same_vendor() {
    let vendor = Vendor::new(1);
    let (one, two) = (vendor.product(), vendor.product_named(1));
    assert_ne!(one.product(), two.product());
    let credentials = node_credentials(&vendor, &one);
    assert!(matches!(
        admit(&two, &credentials, 101),
        Err(Refusal::OtherProduct { .. })
    ));
    let stranger = Vendor::new(21).product();
    assert!(matches!(
        admit(&stranger, &credentials, 101),
        Err(Refusal::Statement(_))
    ));
}

#[test]
fn only_the_grants_key_signs_grants() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let site = key(100);
    for (role, signer) in &vendor.keys {
        let credentials = Credentials {
            grant: sign(&grant(&trust, &site), signer),
            enrolments: vec![sign(&enrolment(&site, &key(101), MemberKind::Node, false), &site)],
        };
        let verdict = admit(&trust, &credentials, 101);
        assert_eq!(
            verdict.is_ok(),
            *role == crate::trust::role::Role::Grants,
            "{role}: {verdict:?}"
        );
    }
}

#[test]
fn a_host_is_enrolled_by_a_node_with_the_right_and_by_none_without() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let (site, node, host) = (key(100), key(101), key(102));
    let chain = |right, kind, enrol| Credentials {
        grant: vendor.sign_grant(&grant(&trust, &site)),
        enrolments: vec![
            sign(&enrolment(&site, &node, MemberKind::Node, right), &site),
            sign(
                &Enrolment {
                    enrol,
                    ..enrolment(&site, &host, kind, false)
                },
                &node,
            ),
        ],
    };
    let covered = admit(&trust, &chain(true, MemberKind::Host, false), 102).expect("covered");
    assert_eq!((covered.kind, covered.enrol), (MemberKind::Host, false));
    assert!(matches!(
        admit(&trust, &chain(false, MemberKind::Host, false), 102),
        Err(Refusal::NotEnrolled { .. })
    ));
    assert!(matches!(
        admit(&trust, &chain(true, MemberKind::Node, true), 102),
        Err(Refusal::NotEnrolled { .. })
    ));
}

#[test]
fn an_enrolment_for_one_site_does_not_count_at_another() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let (site, other, node) = (key(100), key(110), key(101));
    for signer in [&site, &other] {
        let credentials = Credentials {
            grant: vendor.sign_grant(&grant(&trust, &site)),
            enrolments: vec![sign(&enrolment(&other, &node, MemberKind::Node, false), signer)],
        };
        assert!(admit(&trust, &credentials, 101).is_err());
    }
}

#[test]
fn an_origin_shows_its_own_grant_and_no_site_key_is_a_node() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let origin = key(120);
    let mut terms = grant(&trust, &origin);
    let alone = |terms: &Grant| Credentials {
        grant: vendor.sign_grant(terms),
        enrolments: Vec::new(),
    };
    assert!(
        admit(&trust, &alone(&terms), 120).is_err(),
        "a site key without the right `origin`"
    );
    terms.rights.origin = true;
    assert_eq!(
        admit(&trust, &alone(&terms), 120).expect("covered").kind,
        MemberKind::Origin
    );
    assert!(admit(&trust, &alone(&terms), 121).is_err());
    let under = Credentials {
        grant: vendor.sign_grant(&terms),
        enrolments: vec![sign(&enrolment(&origin, &key(121), MemberKind::Node, false), &origin)],
    };
    assert!(admit(&trust, &under, 121).is_err(), "an origin enrols nobody");
}

#[test]
fn what_the_site_has_revoked_is_out_and_an_older_list_does_not_bring_it_back() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let (site, node, host) = (key(100), key(101), key(102));
    let list = |sequence, nodes| SiteRevocations {
        schema: 0,
        site_key: site.public(),
        sequence,
        nodes,
    };
    let credentials = node_credentials(&vendor, &trust);
    let (old, new) = (list(1, Vec::new()), list(2, vec![node.node_id()]));
    let verdict = trust.admit(&credentials, node.node_id(), [&new, &old], NOW);
    assert!(matches!(verdict, Err(Refusal::Revoked { .. })));
    assert!(trust.admit(&credentials, node.node_id(), [&old], NOW).is_ok());
    let mut below = credentials;
    below
        .enrolments
        .push(sign(&enrolment(&site, &host, MemberKind::Host, false), &node));
    assert!(trust.admit(&below, host.node_id(), [&old], NOW).is_ok());
    assert!(
        trust.admit(&below, host.node_id(), [&new], NOW).is_err(),
        "nor whom it had enrolled"
    );
}

#[test]
fn expiry_is_told_apart_and_judged_by_credential_time() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let credentials = node_credentials(&vendor, &trust);
    let node = key(101).node_id();
    // The metadata's timestamp lives 7 days, the enrolment 90: a clock at 2100 or 1970 changes nothing.
    for wall in [WallTime(0), WallTime(4_102_444_800)] {
        assert!(trust.admit(&credentials, node, [], wall).is_ok(), "{wall:?}");
    }
    // Once the vendor has signed after its end, it has ended, whatever the clock says.
    let later = vendor
        .seal(&trust, Vec::new(), NOW.plus_seconds(91 * DAY))
        .expect("sealed");
    for wall in [WallTime(0), NOW, WallTime(4_102_444_800)] {
        let verdict = later.admit(&credentials, node, [], wall);
        assert!(matches!(verdict, Err(Refusal::Expired { .. })), "{wall:?}: {verdict:?}");
    }
    let stranger = later.admit(&credentials, key(102).node_id(), [], NOW);
    assert!(
        matches!(stranger, Err(Refusal::NotEnrolled { .. })),
        "`expired` is told to its own key alone"
    );
}

#[test]
fn a_grant_that_begins_later_waits() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let mut credentials = node_credentials(&vendor, &trust);
    let mut terms = grant(&trust, &key(100));
    terms.not_before = Some(NOW.plus_seconds(DAY));
    credentials.grant = vendor.sign_grant(&terms);
    assert!(matches!(admit(&trust, &credentials, 101), Err(Refusal::NotYet { .. })));
}

#[test]
fn credentials_are_read_back_and_fit_a_hello() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let mut credentials = node_credentials(&vendor, &trust);
    let mut terms = grant(&trust, &key(100));
    terms.channels = (0..crate::limits::CHANNELS_MAX)
        .map(|number| format!("{number:032}").parse().expect("a name"))
        .collect();
    credentials.grant = vendor.sign_grant(&terms);
    credentials.enrolments.push(sign(
        &enrolment(&key(100), &key(102), MemberKind::Host, false),
        &key(101),
    ));
    let bytes = credentials.encode().expect("fits");
    assert_eq!(Credentials::decode(&bytes).expect("read"), credentials);
    let mut fetch = credentials;
    let link = enrolment(&key(100), &key(103), MemberKind::Host, false);
    fetch.enrolments.push(sign(&link, &key(102)));
    let bytes = fetch.encode().expect("fits with the longest grant");
    assert_eq!(Credentials::decode(&bytes).expect("read"), fetch);
    let mut more = node_credentials(&vendor, &trust);
    more.enrolments = vec![more.enrolments[0].clone(); 4];
    assert!(Credentials::decode(&more.encode().expect("fits")).is_err());
}

#[test]
fn a_host_lends_what_it_may_to_its_fetches_and_no_more() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let (site, host, fetch) = (key(100), key(102), key(103));
    let under_host = |link: &Enrolment| Credentials {
        grant: vendor.sign_grant(&grant(&trust, &site)),
        enrolments: vec![
            sign(&enrolment(&site, &host, MemberKind::Host, false), &site),
            sign(link, &host),
        ],
    };
    let session = under_host(&enrolment(&site, &fetch, MemberKind::Host, false));
    let covered = trust
        .admit(&session, fetch.node_id(), [], NOW)
        .expect("the host's own fetch");
    assert_eq!(covered.kind, MemberKind::Host);
    let node = under_host(&enrolment(&site, &fetch, MemberKind::Node, false));
    assert!(
        trust.admit(&node, fetch.node_id(), [], NOW).is_err(),
        "a host makes no nodes"
    );
    let mut long = enrolment(&site, &fetch, MemberKind::Host, false);
    long.not_after = NOW.plus_seconds(5000 * DAY);
    let ends = trust
        .admit(&under_host(&long), fetch.node_id(), [], NOW)
        .expect("in")
        .not_after;
    assert_eq!(ends, covered.not_after, "it ends with the host's own");
    let revoked = SiteRevocations {
        schema: 0,
        site_key: site.public(),
        sequence: 1,
        nodes: vec![host.node_id()],
    };
    let verdict = trust.admit(&session, fetch.node_id(), [&revoked], NOW);
    assert!(matches!(verdict, Err(Refusal::Revoked { .. })), "{verdict:?}");
}

#[test]
fn no_changed_byte_of_credentials_is_accepted() {
    let vendor = Vendor::new(1);
    let trust = vendor.product();
    let bytes = node_credentials(&vendor, &trust).encode().expect("fits");
    let node = key(101).node_id();
    let accepted = |bytes: &[u8]| Credentials::decode(bytes).is_ok_and(|c| trust.admit(&c, node, [], NOW).is_ok());
    assert!(accepted(&bytes));
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut mutant = bytes.clone();
            mutant[place] ^= 1 << bit;
            assert!(!accepted(&mutant), "bit {bit} of byte {place}");
        }
        assert!(!accepted(&bytes[..place]), "cut at {place}");
        let mut doubled = bytes.clone();
        doubled.insert(place, bytes[place]);
        assert!(!accepted(&doubled), "byte {place} doubled");
        let mut shorter = bytes.clone();
        shorter.remove(place);
        assert!(!accepted(&shorter), "byte {place} removed");
    }
}
