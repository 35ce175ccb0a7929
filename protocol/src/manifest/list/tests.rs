use proptest::prelude::*;
use sha2::Digest as _;

use super::*;
use crate::manifest::entry::{MediaType, Mode};
use crate::manifest::path::LinkTarget;
use crate::manifest::platform::Platform;

pub(crate) fn artifact(bytes: &[u8]) -> Artifact {
    Artifact {
        id: ArtifactId(*blake3::hash(bytes).as_bytes()),
        sha256: Sha256(sha2::Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

pub(crate) fn platforms(texts: &[&str]) -> PlatformSet {
    let all = texts.iter().map(|text| text.parse::<Platform>().expect(text));
    PlatformSet::new(all).expect("a set")
}

pub(crate) fn file(path: &str, artifact: Artifact, on: &[&str]) -> Entry {
    Entry {
        path: ReleasePath::new(path).expect(path),
        platforms: platforms(on),
        kind: EntryKind::File {
            mode: Mode::FILE,
            artifact,
            media_type: None,
        },
    }
}

pub(crate) fn link(path: &str, target: &str) -> Entry {
    let path = ReleasePath::new(path).expect(path);
    let target = LinkTarget::new(&path, target).expect(target);
    Entry {
        path,
        platforms: PlatformSet::every(),
        kind: EntryKind::Symlink { target },
    }
}

pub(crate) fn folder(path: &str) -> Entry {
    Entry {
        path: ReleasePath::new(path).expect(path),
        platforms: PlatformSet::every(),
        kind: EntryKind::Directory { mode: Mode::EXECUTABLE },
    }
}

/// One of everything; pinned in `vectors/entries.jsonl`.
pub(crate) fn sample() -> Vec<Entry> {
    let mut readme = file("README.md", artifact(b"hello"), &[]);
    if let EntryKind::File { media_type, .. } = &mut readme.kind {
        *media_type = Some("text/markdown".parse::<MediaType>().expect("one"));
    }
    let mut program = file("bin/app", artifact(&[1; 200_000]), &["linux/amd64"]);
    if let EntryKind::File { mode, .. } = &mut program.kind {
        *mode = Mode::EXECUTABLE;
    }
    vec![
        file("lib/b.so", artifact(&[2; 65_536]), &["linux/amd64", "linux/arm64"]),
        program,
        file("bin/app", artifact(&[3; 70_000]), &["linux/arm64/v8"]),
        file("lib/a.so", artifact(&[2; 65_536]), &["linux/amd64"]),
        folder("var/empty"),
        link("lib/c.so", "b.so"),
        link("doc", "."),
        readme,
        file("empty", artifact(b""), &[]),
        file("stra\u{df}e/\u{4e2d} \u{6587}", artifact(b"unicode"), &[]),
    ]
}

#[test]
fn the_bytes_of_a_list_are_pinned() {
    let list = encode(&mut sample()).expect("a list");
    assert_eq!(
        String::from_utf8_lossy(&list.bytes),
        include_str!("../../../vectors/entries.jsonl")
    );
    assert_eq!(list.artifact, artifact(&list.bytes));
    assert_eq!(list.count, 10);
}

#[test]
fn a_list_is_read_back_in_pieces_of_any_length() {
    let mut entries = sample();
    let list = encode(&mut entries).expect("a list");
    assert_eq!(decode(&list.bytes).expect("the same"), entries);
    for step in [1, 7, 100, 1000] {
        let mut read = Vec::new();
        let mut reader = ListReader::new();
        for piece in list.bytes.chunks(step) {
            reader.feed(piece, |entry| read.push(entry)).expect("a list");
        }
        assert_eq!(reader.finish().expect("whole"), list.count);
        assert_eq!(read, entries);
    }
    assert!(decode(b"").expect("no entries").is_empty());
}

#[test]
fn what_cannot_be_one_release_is_refused_with_its_name() {
    let some = artifact(b"x");
    let refuse = |entries: &[Entry]| {
        let error = encode(&mut entries.to_vec()).expect_err("refused");
        let mut bytes: Vec<u8> = Vec::new();
        for entry in entries {
            bytes.extend(entry.encode());
            bytes.push(b'\n');
        }
        assert!(decode(&bytes).is_err(), "the reader takes what the writer refuses");
        error
    };
    assert!(matches!(
        refuse(&[file("a", some, &[]), file("a", some, &[])]),
        ListError::Order(_)
    ));
    assert!(matches!(
        refuse(&[file("a", some, &["linux/arm"]), file("a", some, &["linux/arm/v7"])]),
        ListError::Platforms { .. }
    ));
    assert!(matches!(
        refuse(&[file("a", some, &[]), file("a", some, &["linux/arm"])]),
        ListError::Platforms { .. }
    ));
    assert!(matches!(
        refuse(&[file("A", some, &[]), file("a", some, &[])]),
        ListError::Twin(_)
    ));
    assert!(matches!(
        refuse(&[file("a", some, &[]), file("a/b", some, &[])]),
        ListError::Twin(_)
    ));
    assert!(matches!(
        refuse(&[link("a", "b"), file("a/b", some, &[])]),
        ListError::Twin(_)
    ));
    let many: Vec<Entry> = (0..65)
        .map(|i| file(&format!("f{i:02}"), some, &[&format!("os{i}/a")]))
        .collect();
    assert!(matches!(refuse(&many), ListError::Sets));
    assert!(encode(&mut many[..64].to_vec()).is_ok());
}

#[test]
fn order_ends_and_lengths_are_checked() {
    let list = encode(&mut sample()).expect("a list").bytes;
    let lines: Vec<&[u8]> = list.split_inclusive(|b| *b == b'\n').collect();
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert!(matches!(decode(&swapped.concat()), Err(ListError::Order(_))));
    let mut swapped = lines.clone();
    swapped.swap(0, 5);
    assert!(matches!(decode(&swapped.concat()), Err(ListError::Order(_))));
    assert!(matches!(decode(&list[..list.len() - 1]), Err(ListError::Cut(10))));
    assert!(matches!(decode(b"\n"), Err(ListError::Entry { line: 1, .. })));
    assert!(matches!(
        decode(&[lines[0], b"\n"].concat()),
        Err(ListError::Entry { line: 2, .. })
    ));
    let mut reader = ListReader::new();
    let endless = [b' '; 1000];
    let refused = (0..20).find_map(|_| reader.feed(&endless, |_| ()).err());
    assert!(matches!(refused, Some(ListError::Line(1))));
}

fn entry() -> impl Strategy<Value = Entry> {
    let path = "[a-cA]{1,2}(/[a-c]{1,2}){0,2}";
    let on = prop::sample::subsequence(vec!["linux/amd64", "linux/arm", "linux/arm/v7", "windows/amd64"], 0..3);
    (path, on, 0u8..4, 0usize..3).prop_filter_map("not an entry", |(path, on, kind, n)| {
        let path = ReleasePath::new(&path).ok()?;
        let platforms = PlatformSet::new(on.iter().map(|text| text.parse::<Platform>().expect(text))).ok()?;
        let kind = match kind {
            0 => EntryKind::Directory { mode: Mode::EXECUTABLE },
            1 => EntryKind::Symlink {
                target: LinkTarget::new(&path, ["x", "../y", "."][n]).ok()?,
            },
            _ => EntryKind::File {
                mode: [Mode::FILE, Mode::EXECUTABLE, Mode::FILE][n],
                artifact: artifact(&vec![7; n]),
                media_type: None,
            },
        };
        Some(Entry { path, platforms, kind })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_the_order_given_does_not_matter(mut entries in prop::collection::vec(entry(), 0..8)) {
        let mut backwards: Vec<Entry> = entries.iter().rev().cloned().collect();
        let (Ok(a), Ok(b)) = (encode(&mut entries), encode(&mut backwards)) else { return Ok(()) };
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(decode(&a.bytes).expect("a list"), entries);
    }

    #[test]
    fn random_and_mutated_bytes_never_panic_and_only_canonical_ones_are_taken(
        at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..4), cut in 0usize..4, noise in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut bytes = encode(&mut sample()).expect("a list").bytes;
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        for bytes in [bytes, noise] {
            if let Ok(mut entries) = decode(&bytes) {
                prop_assert_eq!(encode(&mut entries).expect("it was read").bytes, bytes);
            }
        }
    }

    #[test]
    fn platforms_modes_and_media_types_are_taken_only_as_they_are_written(
        text in prop_oneof![".{0,30}", "[a-z0-9]{1,8}(/[a-z0-9]{0,8}){0,3}", "0?[0-7]{0,5}", "[a-z]{1,8}/[a-z.+-]{0,12}"]
    ) {
        if let Ok(platform) = text.parse::<Platform>() {
            prop_assert_eq!(platform.to_string().parse::<Platform>().ok(), Some(platform));
        }
        if let Ok(mode) = text.parse::<Mode>() {
            prop_assert_eq!(Mode::new(mode.bits()), Ok(mode));
        }
        if let Ok(media_type) = text.parse::<MediaType>() {
            prop_assert_eq!(media_type.as_str(), text.as_str());
        }
    }

    #[test]
    fn a_line_with_one_changed_character_is_taken_only_if_canonical(at in any::<prop::sample::Index>(), c in any::<char>()) {
        let list = String::from_utf8(encode(&mut sample()).expect("a list").bytes).expect("JSON is text");
        for line in list.lines() {
            let mut chars: Vec<char> = line.chars().collect();
            let at = at.index(chars.len());
            chars[at] = c;
            let line: String = chars.into_iter().collect();
            if let Ok(entry) = Entry::decode(line.as_bytes()) {
                prop_assert_eq!(entry.encode(), line.as_bytes());
            }
        }
    }
}
