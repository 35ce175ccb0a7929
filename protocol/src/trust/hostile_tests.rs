//! Every parser of this module on random and mutated bytes, and vectors that pin the bytes of each document.

use proptest::prelude::*;

use crate::trust::credentials::Credentials;
use crate::trust::dsse::Envelope;
use crate::trust::files::{MetadataFiles, Summary};
use crate::trust::fixture::{NOW, Vendor, enrolment, grant, key, node_credentials, sign};
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
            hash(
                &sign(
                    &enrolment(&site, &key(101), crate::trust::enrolment::MemberKind::Node, true),
                    &site,
                )
                .to_bytes(),
            ),
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
