use std::fmt::Write as _;

use super::*;
use crate::id::ProductId;
use crate::limits::GROUP_BYTES;
use crate::manifest::entry::EntryKind;
use crate::manifest::head::{Attachment, EntriesRef, SCHEMA, Urgency};
use crate::manifest::list;
use crate::manifest::list::tests::{artifact, file, sample};

fn release(mut entries: Vec<Entry>, attachments: Vec<Attachment>) -> (Head, Vec<Entry>) {
    let list = list::encode(&mut entries).expect("a list");
    let mut builder = ContentsBuilder::default();
    entries.iter().for_each(|entry| builder.add(entry));
    let head = Head {
        payload: builder.totals(&attachments).expect("a layout"),
        attachments,
        depends_on: Vec::new(),
        entries: EntriesRef {
            artifact: list.artifact,
            count: list.count,
        },
        product: ProductId([1; 32]),
        required: false,
        schema: SCHEMA,
        upgrade_from: None,
        urgency: Urgency::Normal,
        version: semver::Version::new(1, 0, 0),
    };
    (head, entries)
}

fn notes() -> Vec<Attachment> {
    vec![Attachment {
        artifact: artifact(b"notes"),
        media_type: "text/plain".parse().expect("one"),
        name: "notes.txt".into(),
    }]
}

fn platform(text: &str) -> Platform {
    text.parse().expect(text)
}

#[test]
fn the_layout_of_a_release_is_pinned() {
    let (head, entries) = release(sample(), notes());
    let contents = Contents::new(&head, &entries).expect("a release");
    let mut text = String::new();
    for placed in contents.layout().placed() {
        writeln!(
            text,
            "artifact {} size {} group {} offset {}",
            placed.artifact.id, placed.artifact.size, placed.first_group, placed.offset
        )
        .expect("a string");
    }
    for i in 0..contents.layout().blocks().len() {
        let block = contents.layout().blocks().get(i);
        writeln!(text, "block {i} groups {:?} bytes {}", block.range(), block.bytes).expect("a string");
    }
    assert_eq!(text, include_str!("../../../vectors/layout.txt"));
}

#[test]
fn each_platform_wants_its_own_blocks_and_what_lies_in_another_section() {
    let (head, entries) = release(sample(), notes());
    let contents = Contents::new(&head, &entries).expect("a release");
    for machine in ["linux/amd64", "linux/arm64", "linux/arm64/v8", "windows/amd64"] {
        let wanted = contents.wanted_by(&[platform(machine)]);
        for entry in &entries {
            let needs = entry.platforms.admits(&platform(machine));
            let blocks = contents.wanted_entry(entry);
            if needs {
                assert_eq!(
                    blocks.count_common(&wanted),
                    blocks.count(),
                    "{machine} lacks {}",
                    entry.path
                );
            }
        }
        let attached = contents.wanted_attachments();
        assert_eq!(attached.count_common(&wanted), attached.count());
    }
    let windows = contents.wanted_by(&[platform("windows/amd64")]);
    // Attachments and what is for every platform: one packed group each.
    assert_eq!(windows.count(), 2);
    assert!(contents.wanted_by(&[platform("linux/amd64")]).count() < contents.wanted_all().count());
    let both = contents.wanted_by(&[platform("linux/amd64"), platform("linux/arm64/v8")]);
    assert!(both.is_full());
    // b.so is for both and lies in amd64's section, where a.so brought it first.
    let arm = contents.wanted_by(&[platform("linux/arm64")]);
    assert_eq!(arm.count(), 3);
}

#[test]
fn one_entry_wants_only_its_blocks_and_links_want_none() {
    let (head, entries) = release(sample(), Vec::new());
    let contents = Contents::new(&head, &entries).expect("a release");
    for entry in &entries {
        let blocks = contents.wanted_entry(entry);
        let bytes: u64 = blocks.iter().map(|i| contents.layout().blocks().get(i).bytes).sum();
        match &entry.kind {
            EntryKind::File { artifact, .. } if artifact.size >= GROUP_BYTES => assert_eq!(bytes, artifact.size),
            EntryKind::File { artifact, .. } => assert!(bytes >= artifact.size && bytes <= GROUP_BYTES),
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => assert_eq!(bytes, 0),
        }
    }
}

#[test]
fn a_list_that_is_not_the_heads_is_refused() {
    let (head, entries) = release(sample(), notes());
    assert!(matches!(
        Contents::new(&head, &entries[1..]),
        Err(ContentsError::Count { promised: 10, found: 9 })
    ));
    let mut other = entries;
    other[0] = file("README.md", artifact(b"hello, longer"), &[]);
    assert!(matches!(
        Contents::new(&head, &other),
        Err(ContentsError::Totals { .. })
    ));
}

#[test]
fn a_release_of_nothing_has_a_layout_of_nothing() {
    let (head, entries) = release(Vec::new(), Vec::new());
    let contents = Contents::new(&head, &entries).expect("a release");
    assert_eq!(contents.layout().group_count(), 0);
    assert_eq!(contents.wanted_all().count(), 0);
}
