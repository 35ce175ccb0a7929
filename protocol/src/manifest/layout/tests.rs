//! The layout's promises, over every size class.

use proptest::prelude::*;

use super::*;
use crate::limits::BLOCKS_MAX;

fn artifact(n: u32, size: u64) -> ArtifactRef {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    ArtifactRef {
        id: ArtifactId(id),
        size,
    }
}

fn sizes() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let size = prop_oneof![
        Just(0),
        1u64..70_000,
        Just(65_535),
        Just(65_536),
        Just(65_537),
        0u64..5_000_000
    ];
    prop::collection::vec(prop::collection::vec(size, 0..40), 0..5)
}

proptest! {
    #[test]
    fn every_byte_has_one_place_and_blocks_cover_all(sizes in sizes()) {
        let mut n = 0;
        let sections: Vec<Section> = sizes.iter().map(|sizes| Section { artifacts: sizes.iter().map(|size| { n += 1; artifact(n, *size) }).collect() }).collect();
        let layout = Layout::new(&sections).expect("within the limits");
        let total: u64 = sizes.iter().flatten().sum();
        prop_assert_eq!(layout.bytes(), total);
        prop_assert_eq!(layout.blocks().bytes(), total);
        prop_assert!(layout.blocks().len() <= BLOCKS_MAX);
        let mut by_group = 0;
        for group in 0..layout.group_count() {
            let held = layout.group(group).expect("below the count");
            prop_assert!(!held.is_empty() && u64::from(held.len()) <= GROUP_BYTES);
            by_group += u64::from(held.len());
            let block = layout.blocks().of_group(group).expect("covered");
            prop_assert!(layout.blocks().get(block).range().contains(&group));
            match held {
                Group::Large { artifact, index, .. } => {
                    let placed = layout.placed()[artifact];
                    prop_assert!(!placed.is_packed());
                    prop_assert_eq!(placed.first_group + index, group);
                }
                Group::Packed { artifacts, len } => {
                    let mut at = 0;
                    for placed in &layout.placed()[artifacts] {
                        prop_assert_eq!((placed.first_group, placed.offset), (group, at));
                        at += placed.artifact.size as u32;
                    }
                    prop_assert_eq!(at, len);
                }
            }
        }
        prop_assert_eq!(by_group, total);
        prop_assert_eq!(layout.group(layout.group_count()), None);
        for section in &sections {
            for artifact in &section.artifacts {
                prop_assert_eq!(layout.find(&artifact.id).is_some(), artifact.size > 0);
            }
        }
    }
}

#[test]
fn a_section_starts_a_block_and_the_block_size_is_the_smallest_that_fits() {
    let big = Section {
        artifacts: vec![artifact(1, 8 << 30)],
    };
    let layout = Layout::new(&[
        big.clone(),
        Section {
            artifacts: vec![artifact(2, 10)],
        },
    ])
    .expect("fits");
    let last = layout.blocks().get(layout.blocks().len() - 1);
    assert_eq!((last.groups, last.bytes), (1, 10));
    // 131,072 groups at 32 a block would be 4,096 blocks, and the second section needs one more.
    assert_eq!(layout.blocks().get(0).groups, 64);
    assert_eq!(Layout::new(&[big]).expect("fits").blocks().get(0).groups, 32);
}

/// Each size with the groups of its blocks and how many there are.
#[test]
fn a_small_release_has_few_blocks_and_a_large_one_has_blocks_of_a_mebibyte_first() {
    for (mib, groups, blocks) in [
        (1, 1, 16),
        (64, 1, 1024),
        (65, 2, 520),
        (256, 4, 1024),
        (400, 8, 800),
        (600, 16, 600),
        (4 << 10, 16, 4096),
        (5 << 10, 32, 2560),
        (16 << 20, 1 << 16, 4096),
    ] {
        let artifacts = vec![artifact(1, mib << 20)];
        let layout = Layout::new(&[Section { artifacts }]).expect("fits");
        let table = layout.blocks();
        assert_eq!((table.get(0).groups, table.len()), (groups, blocks), "{mib} MiB");
    }
}

#[test]
fn an_artifact_listed_twice_is_stored_once_and_two_sizes_are_refused() {
    let twice = [
        Section {
            artifacts: vec![artifact(1, 5), artifact(1, 5)],
        },
        Section {
            artifacts: vec![artifact(1, 5)],
        },
    ];
    assert_eq!(Layout::new(&twice).expect("fits").bytes(), 5);
    let lies = [Section {
        artifacts: vec![artifact(1, 5), artifact(1, 6)],
    }];
    assert!(matches!(Layout::new(&lies), Err(LayoutError::TwoSizes(_))));
}
