use super::*;
use proptest::prelude::*;

fn layout() -> LayoutId {
    LayoutId {
        manifest: ManifestId([9; 32]),
        part: Part::Payload,
    }
}

fn any_blocks() -> impl Strategy<Value = RangeSet> {
    prop::collection::vec((0u32..4000, 1u32..96), 0..40)
        .prop_map(|ranges| ranges.into_iter().map(|(start, len)| start..start + len).collect())
}

fn any_bits(len: u32) -> impl Strategy<Value = Bits> {
    any::<u64>().prop_map(move |seed| {
        let (mut rng, mut bits) = (crate::rng::Rng::new(seed), Bits::none(len));
        for i in 0..len {
            bits.set(i, rng.one_in(2));
        }
        bits
    })
}

fn any_message() -> impl Strategy<Value = SwarmMessage> {
    let number = 0u16..512;
    prop_oneof![
        (number.clone(), 0u32..300)
            .prop_flat_map(|(number, len)| (Just(number), any_bits(len), any_bits(len)))
            .prop_map(|(number, have, want)| SwarmMessage::Status {
                number,
                layout: layout(),
                ask: true,
                durable: have.clone(),
                have,
                want
            }),
        (number.clone(), any_blocks()).prop_map(|(number, blocks)| SwarmMessage::Have { number, blocks }),
        (number.clone(), any_blocks()).prop_map(|(number, blocks)| SwarmMessage::Durable { number, blocks }),
        (number.clone(), any_blocks()).prop_map(|(number, blocks)| SwarmMessage::Lost { number, blocks }),
        (number.clone(), any_bits(77)).prop_map(|(number, want)| SwarmMessage::Want { number, want }),
        number.clone().prop_map(|number| SwarmMessage::Close { number }),
        (number, any_blocks()).prop_map(|(number, blocks)| SwarmMessage::Rejected { number, blocks }),
    ]
}

proptest! {
    #[test]
    fn every_message_reads_back_and_tells_its_length(message in any_message()) {
        let bytes = message.encode();
        prop_assert_eq!(bytes.len(), message.encoded_len());
        prop_assert_eq!(SwarmMessage::decode(&bytes), Ok(Some(message)));
    }

    #[test]
    fn a_cut_message_is_refused_and_added_bytes_are_ignored(message in any_message(), cut in any::<prop::sample::Index>(), more in any::<[u8; 3]>()) {
        let mut bytes = message.encode();
        let short = cut.index(bytes.len());
        prop_assert!(SwarmMessage::decode(&bytes[..short]).is_err());
        bytes.extend(more);
        prop_assert_eq!(SwarmMessage::decode(&bytes), Ok(Some(message)));
    }

    #[test]
    fn random_bytes_never_panic_and_what_reads_writes_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some(message)) = SwarmMessage::decode(&bytes) {
            let again = message.encode();
            prop_assert_eq!(&again[..], &bytes[..again.len()]);
        }
    }
}

#[test]
fn the_bytes_of_a_have_are_pinned() {
    let blocks = [1..3, 9..10].into_iter().collect();
    let bytes = SwarmMessage::Have { number: 5, blocks }.encode();
    assert_eq!(bytes, [2, 5, 0, 2, 0, 1, 0, 2, 0, 9, 0, 1, 0]);
}

#[test]
fn an_unknown_type_is_skipped_and_durable_must_be_had() {
    assert_eq!(SwarmMessage::decode(&[200, 1, 2, 3]), Ok(None));
    let message = SwarmMessage::Status {
        number: 0,
        layout: layout(),
        ask: true,
        have: Bits::none(8),
        durable: Bits::all(8),
        want: Bits::none(8),
    };
    assert_eq!(
        SwarmMessage::decode(&message.encode()),
        Err(DecodeError::Value("durable"))
    );
}
