use proptest::prelude::*;

use super::*;
use crate::manifest::list::tests::artifact;

fn attachment(name: &str, bytes: &[u8]) -> Attachment {
    Attachment {
        artifact: artifact(bytes),
        media_type: "text/plain".parse().expect("one"),
        name: name.to_owned(),
    }
}

/// Pinned in `vectors/head.json`.
fn sample() -> Head {
    Head {
        attachments: vec![attachment("notes.txt", b"notes"), attachment("sbom.json", b"{}")],
        depends_on: vec![Dependency {
            product: ProductId([9; 32]),
            version: VersionReq::parse(">=1.2.0, <2").expect("one"),
        }],
        entries: EntriesRef {
            artifact: artifact(b"the list"),
            count: 3,
        },
        payload: PayloadTotals {
            bytes: 100_000,
            groups: 2,
        },
        product: ProductId([7; 32]),
        required: false,
        schema: SCHEMA,
        upgrade_from: Some(VersionReq::parse("^2.0").expect("one")),
        urgency: Urgency::Security,
        version: Version::new(2, 4, 1),
    }
}

#[test]
fn the_bytes_of_a_head_and_the_release_name_are_pinned() {
    let bytes = sample().encode().expect("a head");
    let pinned = include_bytes!("../../../vectors/head.json");
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(pinned));
    assert_eq!(Head::decode(&bytes).expect("the same"), sample());
    assert_eq!(
        Head::id_of(&bytes).to_string(),
        include_str!("../../../vectors/manifest-id.txt").trim_end()
    );
}

#[test]
fn heads_that_cannot_be_are_neither_written_nor_read() {
    type Change = fn(&mut Head);
    let changes: [(&str, Change); 16] = [
        ("schema", |head| head.schema = 1),
        ("build metadata", |head| {
            head.version = Version::parse("1.0.0+x").expect("semver");
        }),
        ("long version", |head| {
            head.version = Version::parse(&format!("1.0.0-{}", "a".repeat(80))).expect("semver");
        }),
        ("entries without bytes", |head| head.entries.artifact = artifact(b"")),
        ("bytes without entries", |head| head.entries.count = 0),
        ("too many entries", |head| head.entries.count = ENTRIES_MAX + 1),
        ("too large a list", |head| {
            head.entries.artifact.size = ENTRIES_BYTES_MAX + 1;
        }),
        ("more bytes than groups hold", |head| head.payload.bytes = 131_073),
        ("empty groups", |head| head.payload.bytes = 1),
        ("too many groups", |head| head.payload.groups = GROUPS_MAX + 1),
        ("attachments out of order", |head| head.attachments.reverse()),
        ("attachments twice", |head| {
            head.attachments[1].name = "notes.txt".into();
        }),
        ("attachment twins", |head| head.attachments[0].name = "SBOM.json".into()),
        ("attachment in a folder", |head| head.attachments[0].name = "a/b".into()),
        ("attachment with no name", |head| {
            head.attachments[0].name = String::new();
        }),
        ("a dependency twice", |head| {
            head.depends_on.push(head.depends_on[0].clone());
        }),
    ];
    for (what, change) in changes {
        let mut head = sample();
        change(&mut head);
        assert!(head.encode().is_err(), "{what} was written");
        let bytes = serde_json::to_vec(&head).expect("JSON");
        assert!(Head::decode(&bytes).is_err(), "{what} was read");
    }
}

#[test]
fn only_the_canonical_spelling_is_read() {
    let text = String::from_utf8(sample().encode().expect("a head")).expect("text");
    for (from, to) in [
        ("{\"attachments\"", "{ \"attachments\""),
        ("\"count\":3", "\"count\":3.0"),
        ("\"required\":false", "\"required\":false,\"required\":false"),
        ("\"required\":false,", ""),
        ("\"required\":false", "\"more\":1,\"required\":false"),
        (">=1.2.0, <2", ">=1.2.0,<2"),
        ("\"2.4.1\"", "\"2.4.01\""),
        ("\"2.4.1\"", "\"v2.4.1\""),
        ("security", "Security"),
        ("security", "s\\u0065curity"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is there");
        assert!(Head::decode(changed.as_bytes()).is_err(), "{changed}");
    }
    assert!(Head::decode(format!("{text}\n").as_bytes()).is_err());
    let later = text.replacen("\"schema\":0", "\"news\":[],\"schema\":1", 1);
    assert!(matches!(Head::decode(later.as_bytes()), Err(HeadError::Schema(1))));
    let long = vec![b' '; 70_000];
    assert!(matches!(Head::decode(&long), Err(HeadError::Long(70_000))));
}

#[test]
fn versions_have_one_spelling() {
    assert_eq!(parse_version("1.2.3-rc.1").expect("one").to_string(), "1.2.3-rc.1");
    for text in ["1.2", "v1.2.3", "1.2.3+build", "01.2.3", "", " 1.2.3", "1.2.3/.."] {
        assert!(matches!(parse_version(text), Err(HeadError::Version(_))), "{text}");
    }
}

proptest! {
    #[test]
    fn random_and_mutated_bytes_never_panic_and_only_canonical_ones_are_taken(
        at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..4), cut in 0usize..4, noise in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut bytes = sample().encode().expect("a head");
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        for bytes in [bytes, noise] {
            if let Ok(head) = Head::decode(&bytes) {
                prop_assert_eq!(head.encode().expect("it was read"), bytes);
            }
        }
    }
}
