use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::tree::outboard::of_bytes;
use crate::tree::outboard::tests::bytes;
use crate::tree::prove::{ProveError, ReplyProver};

struct Sample {
    data: Vec<u8>,
    id: ArtifactId,
    outboard: Vec<u8>,
    geometry: Geometry,
}

impl Sample {
    fn new(size: usize) -> Self {
        let data = bytes(size, size as u64 + 1);
        let (id, outboard) = of_bytes(&data).expect("small");
        let geometry = Geometry::new(size as u64).expect("small");
        Self {
            data,
            id,
            outboard,
            geometry,
        }
    }

    fn pair(&self, node: Node) -> Result<Pair, Infallible> {
        let at = node.offset() as usize;
        Ok(self.outboard[at..at + 64].try_into().expect("64 bytes"))
    }

    fn group(&self, group: u32) -> &[u8] {
        let range = self.geometry.bytes_of(GroupIndex(group)).expect("exists");
        &self.data[range.start as usize..range.end as usize]
    }

    /// Frames of one reply: group, proof, data.
    fn reply(&self, groups: &[u32]) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
        let mut prover = ReplyProver::new(self.geometry);
        let frame = |group: &u32| {
            let mut proof = Vec::new();
            let len = prover.proof_len(GroupIndex(*group));
            prover
                .proof(GroupIndex(*group), &mut proof, |node| self.pair(node))
                .expect("ascending");
            assert_eq!(proof.len(), len);
            (*group, proof, self.group(*group).to_vec())
        };
        groups.iter().map(frame).collect()
    }

    fn verifier(&self) -> ReplyVerifier {
        ReplyVerifier::new(self.id, self.geometry)
    }
}

/// A size up to 40 groups and some ascending groups of it.
fn sample() -> impl Strategy<Value = (usize, Vec<u32>)> {
    (1usize..(40 << 16)).prop_flat_map(|size| {
        let count = size.div_ceil(1 << 16) as u32;
        let groups = prop::collection::btree_set(0..count, 1..=(count as usize).min(12));
        (Just(size), groups.prop_map(|set| set.into_iter().collect()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn honest_replies_are_accepted_and_hand_out_every_pair_of_the_outboard_paths_once((size, groups) in sample()) {
        let sample = Sample::new(size);
        let mut verifier = sample.verifier();
        let mut saved = std::collections::BTreeMap::new();
        for (group, proof, data) in sample.reply(&groups) {
            let verified = verifier.verify(GroupIndex(group), &proof, &data).expect("honest");
            for (node, pair) in verified.pairs {
                prop_assert_eq!(Ok(pair), sample.pair(node));
                prop_assert!(saved.insert(node, pair).is_none(), "handed out twice");
            }
        }
        let needed: std::collections::BTreeSet<Node> = groups
            .iter()
            .flat_map(|group| sample.geometry.path(GroupIndex(*group)).map(Step::node))
            .collect();
        prop_assert_eq!(saved.keys().copied().collect::<std::collections::BTreeSet<_>>(), needed);
    }

    #[test]
    fn a_changed_frame_is_refused_and_no_wrong_byte_ever_accepted(
        (size, groups) in sample(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        change in 0u8..8,
        bit in 0u8..8,
    ) {
        let sample = Sample::new(size);
        let honest = sample.reply(&groups);
        let mut frames = honest.clone();
        let which = which.index(frames.len());
        mutate(&mut frames, which, at, change, bit);
        let changed = frames != honest;
        let mut verifier = sample.verifier();
        let mut refused = false;
        for (group, proof, data) in &frames {
            match verifier.verify(GroupIndex(*group), proof, data) {
                Ok(verified) => {
                    prop_assert_eq!(data.as_slice(), sample.group(*group));
                    for (node, pair) in verified.pairs {
                        prop_assert_eq!(Ok(pair), sample.pair(node));
                    }
                }
                Err(_) => refused = true,
            }
        }
        prop_assert!(refused || !changed || change == 7, "a change went unseen");
    }

    #[test]
    fn wrong_data_with_a_right_proof_leaves_the_following_groups_verifiable((size, groups) in sample(), which in any::<prop::sample::Index>()) {
        let sample = Sample::new(size);
        let mut frames = sample.reply(&groups);
        let which = which.index(frames.len());
        frames[which].2[0] ^= 1;
        let mut verifier = sample.verifier();
        let mut saved = std::collections::BTreeMap::new();
        for (at, (group, proof, data)) in frames.iter().enumerate() {
            let answer = verifier.verify(GroupIndex(*group), proof, data);
            if at == which {
                prop_assert_eq!(answer, Err(VerifyError::Data { group: *group }));
                continue;
            }
            saved.extend(answer.expect("its own proof is right").pairs);
            // What is accepted can be checked again from what was saved: nothing got lost with the refused group.
            let mut stored = StoredVerifier::new(sample.id, sample.geometry);
            prop_assert_eq!(stored.verify(GroupIndex(*group), data, |node| saved.get(&node).copied().ok_or(())), Ok(()));
        }
    }

    #[test]
    fn stored_groups_are_checked_in_any_order(size in 1usize..(20 << 16), order in prop::collection::vec(any::<prop::sample::Index>(), 1..20), bad in any::<prop::sample::Index>()) {
        let mut sample = Sample::new(size);
        let count = sample.geometry.group_count() as usize;
        let bad = bad.index(count) as u32;
        let at = sample.geometry.bytes_of(GroupIndex(bad)).expect("exists").start as usize;
        sample.data[at] ^= 0x40;
        let mut stored = StoredVerifier::new(sample.id, sample.geometry);
        for group in order {
            let group = group.index(count) as u32;
            let answer = stored.verify(GroupIndex(group), sample.group(group), |node| sample.pair(node));
            prop_assert_eq!(answer.is_ok(), group != bad);
        }
    }
}

/// Change 7 only drops a later frame, which nobody can see here; all others must be seen.
fn mutate(frames: &mut Vec<(u32, Vec<u8>, Vec<u8>)>, which: usize, at: prop::sample::Index, change: u8, bit: u8) {
    let count = frames.len();
    let frame = &mut frames[which];
    match change {
        0 => {
            let at = at.index(frame.2.len());
            frame.2[at] ^= 1 << bit;
        }
        1 if !frame.1.is_empty() => {
            let at = at.index(frame.1.len());
            frame.1[at] ^= 1 << bit;
        }
        2 => frame.2.truncate(at.index(frame.2.len())),
        3 if !frame.1.is_empty() => frame.1.truncate(at.index(frame.1.len())),
        4 => frame.1.extend_from_slice(&[bit; 64]),
        5 => {
            let again = frame.clone();
            frames.insert(which, again);
        }
        6 if count > 1 => {
            let other = (which + 1) % count;
            let (a, b) = (frames[which].2.clone(), frames[other].2.clone());
            frames[which].2 = b;
            frames[other].2 = a;
        }
        7 if which > 0 => {
            frames.remove(which);
        }
        _ => {
            frame.2.push(0);
        }
    }
}

#[test]
fn every_bit_of_a_small_proof_matters() {
    let sample = Sample::new((5 << 16) + 1);
    for group in 0..6 {
        let (_, proof, data) = sample.reply(&[group]).remove(0);
        for bit in 0..proof.len() * 8 {
            let mut proof = proof.clone();
            proof[bit / 8] ^= 1 << (bit % 8);
            let answer = sample.verifier().verify(GroupIndex(group), &proof, &data);
            assert!(
                matches!(answer, Err(VerifyError::Parent { .. })),
                "bit {bit}: {answer:?}"
            );
        }
    }
}

#[test]
fn a_wrong_proof_spoils_only_what_hangs_from_it() {
    let sample = Sample::new(8 << 16);
    let mut frames = sample.reply(&[0, 1, 4]);
    // The lowest pair of group 0's proof: group 1 hangs from it, group 4 does not.
    frames[0].1[130] ^= 1;
    let mut verifier = sample.verifier();
    let mut verify = |at: usize| verifier.verify(GroupIndex(frames[at].0), &frames[at].1, &frames[at].2);
    assert!(matches!(verify(0), Err(VerifyError::Parent { group: 0, .. })));
    assert_eq!(verify(1), Err(VerifyError::ParentLost { group: 1 }));
    assert!(verify(2).is_ok());
}

#[test]
fn groups_out_of_order_or_beyond_the_end_are_refused_on_both_sides() {
    let sample = Sample::new(3 << 16);
    let frames = sample.reply(&[1]);
    let mut verifier = sample.verifier();
    assert!(verifier.verify(GroupIndex(1), &frames[0].1, &frames[0].2).is_ok());
    let again = verifier.verify(GroupIndex(1), &[], &frames[0].2);
    assert_eq!(again, Err(VerifyError::OutOfOrder { group: 1, last: 1 }));
    let beyond = verifier.verify(GroupIndex(3), &[], &[]);
    assert_eq!(beyond, Err(VerifyError::NoSuchGroup { group: 3, count: 3 }));
    let mut prover = ReplyProver::new(sample.geometry);
    let mut out = vec![9];
    assert_eq!(
        prover.proof(GroupIndex(1), &mut out, |_| Err("io")),
        Err(ProveError::Read("io"))
    );
    assert_eq!(out, [9]);
    assert!(prover.proof(GroupIndex(1), &mut out, |node| sample.pair(node)).is_ok());
    let back = prover.proof(GroupIndex(0), &mut out, |node| sample.pair(node));
    assert_eq!(back, Err(ProveError::OutOfOrder { group: 0, last: 1 }));
    let beyond = prover.proof(GroupIndex(3), &mut out, |node| sample.pair(node));
    assert_eq!(beyond, Err(ProveError::NoSuchGroup { group: 3, count: 3 }));
}

#[test]
fn the_empty_artifact_has_no_group_to_verify() {
    let sample = Sample::new(0);
    assert_eq!(sample.id.as_bytes(), blake3::hash(&[]).as_bytes());
    assert!(sample.verifier().verify(GroupIndex(0), &[], &[]).is_err());
}

#[test]
fn a_packed_group_is_accepted_whole_or_not_at_all() {
    let parts: Vec<Vec<u8>> = [100, 1, 5000].iter().map(|size| bytes(*size, *size as u64)).collect();
    let artifacts: Vec<ArtifactRef> = parts
        .iter()
        .map(|part| ArtifactRef {
            id: ArtifactId(*blake3::hash(part).as_bytes()),
            size: part.len() as u64,
        })
        .collect();
    let data = parts.concat();
    let check = |data: &[u8]| verify_packed(artifacts.iter().copied(), data);
    assert_eq!(check(&data), Ok(()));
    for at in [0, 99, 100, 101, 5100] {
        let mut wrong = data.clone();
        wrong[at] ^= 1;
        assert!(matches!(check(&wrong), Err(PackedError::Artifact(_))), "byte {at}");
    }
    assert_eq!(
        check(&data[1..]),
        Err(PackedError::Length {
            expected: 5101,
            got: 5100
        })
    );
    assert_eq!(
        check(&[&data[..], &[0]].concat()),
        Err(PackedError::Length {
            expected: 5101,
            got: 5102
        })
    );
    assert!(verify_packed(artifacts.iter().rev().copied(), &data).is_err());
}
