use bao_tree::BlockSize;
use bao_tree::io::outboard::PreOrderMemOutboard;
use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

pub(crate) fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn in_parts(data: &[u8], log: u8, step: usize) -> (ArtifactId, Vec<u8>) {
    let geometry = Geometry::new(data.len() as u64).expect("small");
    let mut outboard = vec![0xee; geometry.outboard_len() as usize];
    // Backwards, as threads may finish in any order.
    let spans: Vec<Span> = geometry.subtrees(log).collect();
    let mut parts: Vec<HashedSubtree> = spans
        .into_iter()
        .rev()
        .map(|span| {
            let mut hasher = SubtreeHasher::new(geometry, span);
            let range = span.bytes(geometry);
            for piece in data[range.start as usize..range.end as usize].chunks(step) {
                hasher.update(piece);
            }
            hasher.finish().expect("all bytes were given")
        })
        .collect();
    parts.reverse();
    for part in &parts {
        let at = part.span.outboard_offset() as usize;
        if !part.outboard.is_empty() {
            outboard[at..at + part.outboard.len()].copy_from_slice(&part.outboard);
        }
    }
    let (root, pairs) = merge(geometry, parts.iter().map(|part| (part.span, part.chaining))).expect("all parts");
    for (node, pair) in pairs {
        let at = node.offset() as usize;
        outboard[at..at + 64].copy_from_slice(&pair);
    }
    (root, outboard)
}

fn check(data: &[u8], log: u8, step: usize) {
    let (root, outboard) = of_bytes(data).expect("small");
    assert_eq!(root.0, *blake3::hash(data).as_bytes(), "{} bytes", data.len());
    let reference = PreOrderMemOutboard::create(data, BlockSize::from_chunk_log(6));
    assert_eq!(reference.root.as_bytes(), root.as_bytes());
    assert_eq!(outboard, reference.data, "{} bytes", data.len());
    assert_eq!(
        in_parts(data, log, step),
        (root, outboard),
        "{} bytes, log {log}",
        data.len()
    );
}

#[test]
fn root_is_b3sum_and_outboard_is_bao_trees_at_every_size_class() {
    let group = 65_536usize;
    let mut sizes = vec![0, 1, 1023, 1024, 1025, group - 1, group, group + 1];
    for groups in [2usize, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33] {
        sizes.extend([groups * group - 1, groups * group, groups * group + 1]);
    }
    for size in sizes {
        let data = bytes(size, size as u64);
        for log in [0, 1, 2, 4, 20] {
            check(&data, log, group);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_size_cut_and_piece_length_give_the_same_tree(size in 0usize..(5 << 20), log in 0u8..8, step in 1000usize..300_000) {
        check(&bytes(size, size as u64), log, step);
    }
}

#[test]
fn fewer_or_more_bytes_than_promised_are_refused() {
    let geometry = Geometry::new(100_000).expect("small");
    for size in [99_999usize, 100_001, 0, 200_000] {
        let mut hasher = SubtreeHasher::new(geometry, geometry.whole());
        hasher.update(&bytes(size, 1));
        assert_eq!(
            hasher.finish(),
            Err(SizeChanged {
                expected: 100_000,
                got: size as u64
            })
        );
    }
    let spans: Vec<Span> = geometry.subtrees(0).collect();
    assert!(merge(geometry, [(spans[0], [0; 32])]).is_err());
    assert!(merge(geometry, [(spans[1], [0; 32]), (spans[0], [0; 32])]).is_err());
}
