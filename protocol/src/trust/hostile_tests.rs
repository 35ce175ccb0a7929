//! Every parser of this module on random and mutated bytes, and vectors that pin the bytes of each document.

use proptest::prelude::*;

use crate::id::NodeId;
use crate::trust::canonical;
use crate::trust::contact::{Audience, Contact};
use crate::trust::credentials::Credentials;
use crate::trust::dsse::{Envelope, Statement};
use crate::trust::enrolment::{Enrolment, MemberKind, SiteRevocations};
use crate::trust::files::{MetadataFiles, Summary};
use crate::trust::fixture::{DAY, NOW, Vendor, enrolment, grant, key, node_credentials, sign};
use crate::trust::grant::Grant;
use crate::trust::join::{JoinFile, JoinProduct};
use crate::trust::product::ProductTrust;
use crate::trust::request::{Request, RequestFile, RequestKind};

fn join_file() -> JoinFile {
    let vendor = Vendor::new(1);
    let trust = vendor.product_with_release();
    let credentials = node_credentials(&vendor, &trust);
    JoinFile {
        schema: 0,
        kind: RequestKind::Node,
        key: key(101).public(),
        products: vec![JoinProduct::new("acme/app", &trust, credentials.grant, Vec::new())],
        enrolments: credentials.enrolments,
        site_revocations: None,
    }
}

fn request_file() -> RequestFile {
    let key = key(7);
    let request = Request {
        schema: 0,
        kind: RequestKind::Host,
        key: key.public(),
    };
    RequestFile {
        request: sign(&request, &key),
        contact: None,
    }
}

/// A statement of each kind that key 100 signs, as its payload.
fn payloads() -> [Vec<u8>; 5] {
    let (vendor, site) = (Vendor::new(1), key(100));
    let contact = Contact {
        schema: 0,
        product: None,
        node: site.node_id(),
        kind: MemberKind::Node,
        addresses: vec!["/ip4/10.0.0.1/tcp/7170".to_owned()],
        region: Some("eu".to_owned()),
        audience: Audience::Site,
        sequence: 7,
        not_after: NOW.plus_seconds(DAY),
    };
    let revocations = SiteRevocations {
        schema: 0,
        site_key: site.public(),
        sequence: 7,
        nodes: vec![NodeId([1; 32]), NodeId([2; 32])],
    };
    let request = Request {
        schema: 0,
        kind: RequestKind::Node,
        key: site.public(),
    };
    let encoded = [
        canonical::encode(&grant(&vendor.product(), &site)),
        canonical::encode(&enrolment(&site, &key(101), MemberKind::Node, true)),
        canonical::encode(&contact),
        canonical::encode(&revocations),
        canonical::encode(&request),
    ];
    encoded.map(|payload| payload.expect("canonical"))
}

/// Opens a payload of kind `T` that the right key has signed; what is taken must be what it would be written as.
fn open<T: Statement>(payload: &[u8]) -> bool {
    let envelope = Envelope::sign_any::<T>(payload, &key(100));
    let read = Envelope::from_bytes(&envelope.to_bytes());
    let Ok(read) = read else { return false };
    let opened = read.open::<T>(&[key(100).public()], 1, "the test's key");
    let Ok((statement, _)) = opened else { return false };
    assert_eq!(canonical::encode(&statement).expect("was checked"), payload);
    true
}

fn open_any(which: usize, payload: &[u8]) -> bool {
    match which {
        0 => open::<Grant>(payload),
        1 => open::<Enrolment>(payload),
        2 => open::<Contact>(payload),
        3 => open::<SiteRevocations>(payload),
        _ => open::<Request>(payload),
    }
}

#[test]
fn each_kind_of_statement_opens_as_itself_and_as_no_other() {
    for (which, payload) in payloads().iter().enumerate() {
        for other in 0..5 {
            assert_eq!(open_any(other, payload), other == which, "{which} as {other}");
        }
    }
}

/// Runs every parser; whatever they say, they must say it.
fn parse_all(bytes: &[u8]) {
    let _ = Envelope::from_bytes(bytes);
    let _ = Credentials::decode(bytes);
    let _ = Summary::decode(bytes);
    let _ = RequestFile::open(bytes);
    let _ = ProductTrust::new(bytes);
    if let Ok(file) = JoinFile::decode(bytes) {
        let _ = file.verify(key(101).public(), NOW);
    }
    if let Ok(files) = MetadataFiles::decode(bytes) {
        let mut trust = Vendor::new(1).product();
        let _ = trust.update(&files, NOW);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn parsers_survive_random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_all(&bytes);
    }

    #[test]
    fn whoever_holds_a_key_can_sign_anything_and_only_canonical_statements_are_taken(
        which in 0_usize..5, from in any::<prop::sample::Index>(), len in 0_usize..20,
        with in prop_oneof!["[ -~]{0,20}", ".{0,8}", Just("9".repeat(30)), Just("[".repeat(5000))],
    ) {
        let mut payload = payloads()[which].clone();
        let start = from.index(payload.len());
        let end = (start + len).min(payload.len());
        payload.splice(start..end, with.into_bytes());
        open_any(which, &payload);
    }

    #[test]
    fn parsers_survive_cut_and_spliced_documents(
        which in 0_usize..5, from in any::<prop::sample::Index>(), len in 0_usize..40, with in ".{0,20}"
    ) {
        let vendor = Vendor::new(1);
        let trust = vendor.product();
        let credentials = node_credentials(&vendor, &trust);
        let mut bytes = match which {
            0 => credentials.encode().expect("fits"),
            1 => trust.files().encode(),
            2 => join_file().encode(),
            3 => request_file().encode(),
            _ => trust.first_root().to_vec(),
        };
        let start = from.index(bytes.len());
        let end = (start + len).min(bytes.len());
        bytes.splice(start..end, with.into_bytes());
        parse_all(&bytes);
    }
}

#[test]
fn a_request_file_with_any_changed_bit_is_refused() {
    let good = request_file().encode();
    let (request, _) = RequestFile::open(&good).expect("a request");
    assert_eq!(request.key, key(7).public());
    for place in 0..good.len() - 1 {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 7);
        // Only white space between JSON's words is not signed.
        let same = RequestFile::open(&bytes).is_ok_and(|(other, _)| other == request);
        assert!(same || RequestFile::open(&bytes).is_err(), "byte {place}");
    }
}

/// Changed bytes are a changed format: say so in docs/trust.md, and then change the vector.
#[test]
fn the_bytes_of_every_document_are_pinned() {
    let vendor = Vendor::new(1);
    let trust = vendor.product_with_release();
    let site = key(100);
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_owned();
    let vectors = [
        ("first root", hash(trust.first_root())),
        ("metadata", hash(&trust.files().encode())),
        ("grant", hash(&vendor.sign_grant(&grant(&trust, &site)).to_bytes())),
        (
            "enrolment",
            hash(&sign(&enrolment(&site, &key(101), MemberKind::Node, true), &site).to_bytes()),
        ),
        ("request", hash(&request_file().encode())),
        ("summary", hash(&trust.summary().encode())),
    ];
    let pinned = [
        ("first root", "e63fa1634447f592"),
        ("metadata", "7b53f2555735f75e"),
        ("grant", "44bf5d678a888f7e"),
        ("enrolment", "0e700a25bf4345db"),
        ("request", "59baa77018e3f5aa"),
        ("summary", "b51555a2c17dbba3"),
    ];
    assert_eq!(vectors, pinned.map(|(name, hash)| (name, hash.to_owned())));
}
