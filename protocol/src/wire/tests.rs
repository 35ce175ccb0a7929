//! Golden bytes, round trips, and every decoder on random and mutated bytes.

use proptest::prelude::*;

use super::codec::DecodeError;
use super::control::{ControlMessage, Goodbye};
use super::data::{Ask, AskFrame, ENCODING_RAW, End, EndStatus, FileHeader, GroupHeader, ReplyHeader};
use super::frame::{self, Decoder};
use super::hello::{Hello, HelloReply, Standing};
use super::message::SwarmMessage;
use crate::id::{LayoutId, ManifestId, Part, ProductId};
use crate::limits::{
    CONTACT_BYTES_MAX, CONTACTS_PER_MESSAGE_MAX, CONTROL_BYTES_MAX, CREDENTIALS_BYTES_MAX, FILE_CHUNK_BYTES_MAX,
    FILE_NAME_BYTES_MAX, GROUP_BYTES, PROOF_BYTES_MAX, REQUEST_RANGES_MAX, SITE_REVOCATIONS_BYTES_MAX,
    SUMMARY_BYTES_MAX, WIRE_VERSIONS_MAX,
};
use crate::tree::ranges::RangeSet;

/// One line a message: its name, a space, its bytes in hexadecimal.
const VECTORS: &str = include_str!("../../vectors/wire/messages.txt");

const PRODUCT: ProductId = ProductId([0xa1; 32]);
const LAYOUT: LayoutId = LayoutId {
    manifest: ManifestId([0x3c; 32]),
    part: Part::Payload,
};

type Vectors = Vec<(&'static str, Vec<u8>)>;

fn golden() -> Vectors {
    [golden_hello(), golden_control(), golden_data()].concat()
}

fn golden_hello() -> Vectors {
    let hello = Hello {
        versions: vec![1, 0],
        product: PRODUCT,
        credentials: b"cred".to_vec(),
        summary: b"sum".to_vec(),
    };
    let reply = HelloReply {
        version: 0,
        standing: Standing::Expired,
        credentials: b"cred".to_vec(),
        summary: b"sum".to_vec(),
    };
    let busy = HelloReply {
        version: 0,
        standing: Standing::Busy,
        credentials: Vec::new(),
        summary: Vec::new(),
    };
    vec![
        ("frame", frame::encode(b"payload")),
        ("hello", hello.encode()),
        ("hello-reply", reply.encode()),
        ("hello-busy", busy.encode()),
    ]
}

fn golden_control() -> Vectors {
    let product = PRODUCT;
    let metadata = ControlMessage::Metadata {
        product,
        summary: b"sum".to_vec(),
    };
    let contacts = ControlMessage::Contacts {
        product,
        envelopes: vec![b"one".to_vec(), b"three".to_vec()],
    };
    let revocations = ControlMessage::SiteRevocations {
        product,
        envelope: b"list".to_vec(),
    };
    let room = ControlMessage::Room {
        product,
        manifest: LAYOUT.manifest,
        full: true,
    };
    let messages = [
        ("ping", ControlMessage::Ping(7)),
        ("pong", ControlMessage::Pong(7)),
        ("goodbye-shutdown", ControlMessage::Goodbye(Goodbye::Shutdown)),
        ("goodbye-duplicate", ControlMessage::Goodbye(Goodbye::Duplicate)),
        ("goodbye-unneeded", ControlMessage::Goodbye(Goodbye::Unneeded)),
        ("metadata", metadata),
        ("contacts", contacts),
        ("site-revocations", revocations),
        ("room", room),
        ("swarm-close", ControlMessage::Swarm(SwarmMessage::Close { number: 5 })),
    ];
    messages.map(|(name, message)| (name, message.encode())).into()
}

fn golden_data() -> Vectors {
    let ask = |ask| AskFrame::Ask { id: 7, ask }.encode();
    let groups = [0..3, 10..11].into_iter().collect::<RangeSet>();
    let end = |status| End { id: 7, status }.encode().to_vec();
    let group = GroupHeader {
        id: 7,
        group: 0x0102_0304,
        encoding: ENCODING_RAW,
        proof_len: 128,
        data_len: 65_536,
    };
    let asked = Ask::File {
        product: PRODUCT,
        name: "7.snapshot.json".to_owned(),
        offset: 65_536,
    };
    let file = FileHeader {
        id: 7,
        total: 0x0001_0203_0405,
        chunk_len: 65_536,
    };
    vec![
        ("ask", ask(Ask::Groups { layout: LAYOUT, groups })),
        ("ask-file", ask(asked)),
        ("cancel", AskFrame::Cancel { id: 7 }.encode()),
        ("group", group.encode().to_vec()),
        ("file", file.encode().to_vec()),
        ("end-done", end(EndStatus::Done)),
        ("end-busy", end(EndStatus::Busy { millis: 1500 })),
        ("end-absent", end(EndStatus::Absent)),
        ("end-cancelled", end(EndStatus::Cancelled)),
        ("end-failed", end(EndStatus::Failed)),
    ]
}

#[test]
fn the_bytes_of_every_message_are_the_recorded_ones() {
    let lines = golden()
        .into_iter()
        .map(|(name, bytes)| format!("{name} {}\n", data_encoding::HEXLOWER.encode(&bytes)));
    let now: String = lines.collect();
    assert_eq!(now, VECTORS, "the wire changed; if that is meant, record:\n{now}");
}

#[test]
fn every_recorded_message_is_read_back_to_the_same_bytes() {
    for line in VECTORS.lines() {
        let (name, hex) = line.split_once(' ').expect("name and bytes");
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal");
        let again = match name {
            "frame" => {
                let mut decoder = Decoder::new(16);
                decoder.push(&bytes);
                frame::encode(&decoder.next_frame().expect("fits").expect("whole"))
            }
            "hello" => Hello::decode(&bytes).expect(name).encode(),
            "hello-reply" | "hello-busy" => HelloReply::decode(&bytes).expect(name).encode(),
            "ask" | "ask-file" | "cancel" => AskFrame::decode(&bytes).expect(name).expect("known").encode(),
            "group" | "file" => encode_header(ReplyHeader::decode(&header(&bytes)).expect(name)),
            _ if name.starts_with("end-") => encode_header(ReplyHeader::decode(&header(&bytes)).expect(name)),
            _ => ControlMessage::decode(&bytes).expect(name).expect("known").encode(),
        };
        assert_eq!(again, bytes, "{name}");
    }
}

fn header(bytes: &[u8]) -> [u8; ReplyHeader::BYTES] {
    bytes.try_into().expect("the size of a header")
}

fn encode_header(header: ReplyHeader) -> Vec<u8> {
    match header {
        ReplyHeader::Group(group) => group.encode().to_vec(),
        ReplyHeader::File(file) => file.encode().to_vec(),
        ReplyHeader::End(end) => end.encode().to_vec(),
    }
}

#[test]
fn bounds_hold_to_the_byte() {
    let group = GroupHeader {
        id: 1,
        group: 1,
        encoding: ENCODING_RAW,
        proof_len: u16::try_from(PROOF_BYTES_MAX).expect("fits"),
        data_len: u32::try_from(GROUP_BYTES).expect("fits"),
    };
    assert_eq!(ReplyHeader::decode(&group.encode()), Ok(ReplyHeader::Group(group)));
    let over = GroupHeader {
        data_len: group.data_len + 1,
        ..group
    };
    assert!(matches!(
        ReplyHeader::decode(&over.encode()),
        Err(DecodeError::Bound { field: "data", .. })
    ));
    let over = GroupHeader {
        proof_len: group.proof_len + 1,
        ..group
    };
    assert!(matches!(
        ReplyHeader::decode(&over.encode()),
        Err(DecodeError::Bound { field: "proof", .. })
    ));
    let other = GroupHeader { encoding: 1, ..group };
    assert_eq!(
        ReplyHeader::decode(&other.encode()),
        Err(DecodeError::Value("encoding"))
    );
    let chunk_len = u32::try_from(FILE_CHUNK_BYTES_MAX + 1).expect("fits");
    let over = FileHeader {
        id: 1,
        total: 1,
        chunk_len,
    };
    assert!(matches!(
        ReplyHeader::decode(&over.encode()),
        Err(DecodeError::Bound { field: "chunk", .. })
    ));
}

#[test]
fn a_list_of_revoked_nodes_has_a_bound() {
    let list = |bytes| ControlMessage::SiteRevocations {
        product: PRODUCT,
        envelope: vec![7; bytes],
    };
    let (full, over) = (list(SITE_REVOCATIONS_BYTES_MAX), list(SITE_REVOCATIONS_BYTES_MAX + 1));
    assert!(full.is_within_limits() && !over.is_within_limits());
    assert!(matches!(
        ControlMessage::decode(&over.encode()),
        Err(DecodeError::Bound {
            field: "site revocations",
            ..
        })
    ));
    assert_eq!(ControlMessage::decode(&full.encode()), Ok(Some(full)));
}

#[test]
fn an_ask_names_something_and_not_too_much() {
    let ranges = |count: u32| (0..count).map(|i| 2 * i..2 * i + 1).collect::<RangeSet>();
    let max = u32::try_from(REQUEST_RANGES_MAX).expect("small");
    for (count, is_good) in [(0, false), (1, true), (max, true), (max + 1, false)] {
        let ask = Ask::Groups {
            layout: LAYOUT,
            groups: ranges(count),
        };
        assert_eq!(ask.is_within_limits(), is_good);
        assert_eq!(
            AskFrame::decode(&AskFrame::Ask { id: 1, ask }.encode()).is_ok(),
            is_good,
            "{count} ranges"
        );
    }
    let long = "x".repeat(FILE_NAME_BYTES_MAX + 1);
    for (name, is_good) in [
        ("", false),
        ("a b", false),
        ("a\n", false),
        ("\u{e9}", false),
        (&long, false),
        (&long[1..], true),
    ] {
        let ask = Ask::File {
            product: PRODUCT,
            name: name.to_owned(),
            offset: 0,
        };
        assert_eq!(ask.is_within_limits(), is_good);
        assert_eq!(
            AskFrame::decode(&AskFrame::Ask { id: 1, ask }.encode()).is_ok(),
            is_good,
            "{name:?}"
        );
    }
}

#[test]
fn the_largest_hello_fits_its_bound_and_a_larger_one_is_refused() {
    let hello = |credentials, summary, versions| Hello {
        versions: vec![0; versions],
        product: PRODUCT,
        credentials: vec![1; credentials],
        summary: vec![2; summary],
    };
    let full = hello(CREDENTIALS_BYTES_MAX, SUMMARY_BYTES_MAX, WIRE_VERSIONS_MAX);
    assert!(frame::encode(&full.encode()).len() <= crate::limits::HELLO_BYTES_MAX);
    assert_eq!(Hello::decode(&full.encode()), Ok(full));
    for over in [
        hello(CREDENTIALS_BYTES_MAX + 1, 0, 0),
        hello(0, SUMMARY_BYTES_MAX + 1, 0),
        hello(0, 0, WIRE_VERSIONS_MAX + 1),
    ] {
        assert!(matches!(Hello::decode(&over.encode()), Err(DecodeError::Bound { .. })));
    }
}

#[test]
fn a_frame_that_claims_too_much_is_refused_before_its_bytes_come() {
    let mut decoder = Decoder::new(100);
    decoder.push(&101_u32.to_le_bytes());
    let error = decoder.next_frame().expect_err("over the bound");
    assert_eq!((error.claimed, error.max), (101, 100));
}

fn control_message() -> impl Strategy<Value = ControlMessage> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..=max);
    let envelopes = prop::collection::vec(bytes(CONTACT_BYTES_MAX.min(200)), 0..=CONTACTS_PER_MESSAGE_MAX);
    prop_oneof![
        any::<u32>().prop_map(ControlMessage::Ping),
        any::<u32>().prop_map(ControlMessage::Pong),
        (3_u8..).prop_map(|byte| ControlMessage::Goodbye(Goodbye::Other(byte))),
        (any::<[u8; 32]>(), bytes(SUMMARY_BYTES_MAX)).prop_map(|(product, summary)| ControlMessage::Metadata {
            product: ProductId(product),
            summary
        }),
        (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<bool>()).prop_map(|(product, manifest, full)| {
            ControlMessage::Room {
                product: ProductId(product),
                manifest: ManifestId(manifest),
                full,
            }
        }),
        (any::<[u8; 32]>(), envelopes).prop_map(|(product, envelopes)| ControlMessage::Contacts {
            product: ProductId(product),
            envelopes
        }),
        (any::<[u8; 32]>(), bytes(200)).prop_map(|(product, envelope)| ControlMessage::SiteRevocations {
            product: ProductId(product),
            envelope
        }),
        any::<u16>().prop_map(|number| ControlMessage::Swarm(SwarmMessage::Close { number: number % 512 })),
    ]
}

/// Nothing may panic; what decodes must encode to something that decodes to the same.
fn check_all_decoders(bytes: &[u8]) {
    if let Ok(Some(message)) = ControlMessage::decode(bytes) {
        assert_eq!(ControlMessage::decode(&message.encode()), Ok(Some(message)));
    }
    if let Ok(Some(frame)) = AskFrame::decode(bytes) {
        assert_eq!(AskFrame::decode(&frame.encode()), Ok(Some(frame)));
    }
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(reply) = HelloReply::decode(bytes) {
        assert_eq!(HelloReply::decode(&reply.encode()), Ok(reply));
    }
    if let Some(header) = bytes.first_chunk()
        && let Ok(header) = ReplyHeader::decode(header)
    {
        assert!(header.body_len() <= super::data::REPLY_BODY_BYTES_MAX);
        let again = encode_header(header);
        assert_eq!(
            ReplyHeader::decode(again.as_slice().try_into().expect("16")),
            Ok(header)
        );
    }
}

proptest! {
    #[test]
    fn control_messages_survive_the_trip(message in control_message()) {
        prop_assert!(message.is_within_limits());
        let bytes = message.encode();
        prop_assert!(bytes.len() <= CONTROL_BYTES_MAX);
        prop_assert_eq!(ControlMessage::decode(&bytes), Ok(Some(message)));
    }

    #[test]
    fn bytes_behind_the_known_fields_are_ignored(message in control_message(), more in prop::collection::vec(any::<u8>(), 0..40)) {
        let bytes = [message.encode(), more].concat();
        prop_assert_eq!(ControlMessage::decode(&bytes), Ok(Some(message)));
    }

    #[test]
    fn a_message_cut_short_is_an_error_and_never_another_message(message in control_message(), cut in any::<prop::sample::Index>()) {
        let bytes = message.encode();
        let cut = cut.index(bytes.len());
        prop_assert!(ControlMessage::decode(&bytes[..cut]).is_err());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        check_all_decoders(&bytes);
    }

    #[test]
    fn mutated_messages_never_panic(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value: u8, cut in any::<prop::sample::Index>()) {
        let golden = golden();
        let mut bytes = golden[which.index(golden.len())].1.clone();
        let at = at.index(bytes.len());
        bytes[at] = value;
        check_all_decoders(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        check_all_decoders(&bytes);
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_come_in(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        pieces in prop::collection::vec(1_usize..97, 1..20),
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame::encode(payload)).collect();
        let (mut decoder, mut out, mut rest) = (Decoder::new(300), Vec::new(), bytes.as_slice());
        for piece in pieces.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at(rest.len().min(*piece));
            decoder.push(now);
            rest = later;
            while let Some(frame) = decoder.next_frame().expect("within the bound") { out.push(frame); }
        }
        prop_assert_eq!(out, payloads);
        prop_assert!(decoder.is_at_boundary());
    }
}

#[test]
fn any_number_of_contacts_travels_in_messages_that_their_receiver_takes() {
    for count in [0, 1, CONTACTS_PER_MESSAGE_MAX, CONTACTS_PER_MESSAGE_MAX + 1, 256] {
        let envelope = |number: usize| vec![u8::try_from(number % 251).expect("small"); CONTACT_BYTES_MAX];
        let mut envelopes: Vec<Vec<u8>> = (0..count).map(envelope).collect();
        let expected = envelopes.clone();
        envelopes.insert(count / 2, vec![0; CONTACT_BYTES_MAX + 1]);
        let mut received = Vec::new();
        for message in ControlMessage::contacts(PRODUCT, envelopes) {
            assert!(message.is_within_limits());
            match ControlMessage::decode(&message.encode()) {
                Ok(Some(ControlMessage::Contacts {
                    product: PRODUCT,
                    envelopes,
                })) => received.extend(envelopes),
                other => panic!("{count}: {other:?}"),
            }
        }
        assert_eq!(received, expected, "all but the one that is too long, in order");
    }
}
