use std::fs;
use std::io::BufReader;
use std::os::unix::fs::symlink;

use samara_protocol::manifest::list;
use samara_protocol::manifest::path::PathFault;

use super::*;

fn root(path: &Path) -> ScanRoot {
    ScanRoot {
        path: path.to_owned(),
        platforms: PlatformSet::every(),
    }
}

fn faults(path: &Path) -> Vec<Fault> {
    match scan(&[root(path)], &ScanOptions::default()) {
        Err(ScanError::Refused(faults)) => faults,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_becomes_entries_with_hashes_modes_links_and_empty_folders() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("bin/deep")).expect("made");
    fs::create_dir_all(at("var/empty")).expect("made");
    fs::write(at("bin/app"), b"#!/bin/sh\n").expect("written");
    fs::set_permissions(at("bin/app"), fs::Permissions::from_mode(0o700)).expect("set");
    fs::write(at("bin/deep/\u{fc}ml\u{e4}ut \u{4e2d}"), vec![7; 5 << 20]).expect("written");
    fs::write(at("empty"), b"").expect("written");
    symlink("deep/../app", at("bin/bad")).expect("linked");
    let refused = faults(dir.path());
    assert_eq!(refused.len(), 1);
    assert!(matches!(&refused[0].why, FaultKind::Path(error) if error.fault == PathFault::Climbs));
    fs::remove_file(at("bin/bad")).expect("removed");
    symlink("../empty", at("bin/link")).expect("linked");

    let seen = std::sync::atomic::AtomicU64::new(0);
    let count = |bytes| {
        seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    let options = ScanOptions {
        threads: 3,
        progress: Some(&count),
    };
    let mut scanned = scan(&[root(dir.path())], &options).expect("a release");
    assert_eq!(scanned.bytes, seen.into_inner());
    let encoded = list::encode(&mut scanned.entries).expect("a list");
    let lines: Vec<String> = scanned.entries.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(
        lines,
        [
            "bin/app",
            "bin/deep/\u{fc}ml\u{e4}ut \u{4e2d}",
            "bin/link",
            "empty",
            "var/empty"
        ]
    );
    for entry in &scanned.entries {
        match &entry.kind {
            EntryKind::File { mode, artifact, .. } => {
                let bytes = fs::read(at(entry.path.as_str())).expect("read");
                assert_eq!(*artifact, super::super::digest::digest_bytes(&bytes));
                assert_eq!(*mode == Mode::EXECUTABLE, entry.path.as_str() == "bin/app");
                assert_eq!(fs::read(&scanned.sources[&artifact.id]).expect("read"), bytes);
            }
            EntryKind::Symlink { target } => assert_eq!(target.as_str(), "../empty"),
            EntryKind::Directory { mode } => assert_eq!(*mode, Mode::EXECUTABLE),
        }
    }
    let streamed = super::super::entries(BufReader::with_capacity(100, encoded.bytes.as_slice()));
    let streamed: Vec<Entry> = streamed.collect::<Result<_, _>>().expect("a list");
    assert_eq!(streamed, scanned.entries);
    let mut cut = super::super::entries(&encoded.bytes[..encoded.bytes.len() - 1]);
    assert!(cut.by_ref().any(|entry| entry.is_err()) && cut.next().is_none());
}

#[test]
fn a_single_file_is_a_release_of_one_entry_named_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("db.iso"), b"iso").expect("written");
    symlink("db.iso", dir.path().join("latest")).expect("linked");
    let scanned = scan(&[root(&dir.path().join("db.iso"))], &ScanOptions::default()).expect("a release");
    assert_eq!(scanned.entries.len(), 1);
    assert_eq!(scanned.entries[0].path.as_str(), "db.iso");
    let linked = scan(&[root(&dir.path().join("latest"))], &ScanOptions::default()).expect("a release");
    assert_eq!(linked.entries[0].artifact(), scanned.entries[0].artifact());
    assert_eq!(scan_file(&dir.path().join("db.iso")).expect("a file").size, 3);
    assert!(scan_file(dir.path()).is_err());
}

#[test]
fn everything_that_cannot_be_in_a_release_is_named_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join(path);
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
    fs::write(at("nul.txt"), b"").expect("written");
    fs::write(at("back\\slash"), b"").expect("written");
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"latin\xe9")), b"").expect("written");
    fs::write(at("e\u{301}"), b"").expect("written");
    symlink("/etc/passwd", at("absolute")).expect("linked");
    symlink("../../x", at("outside")).expect("linked");
    fs::create_dir(at(".samara")).expect("made");
    fs::write(at(".samara/manifest"), b"").expect("written");
    fs::write(at("fine"), b"").expect("written");
    let refused = faults(dir.path());
    assert_eq!(refused.len(), 8, "{refused:#?}");
    let text = ScanError::Refused(refused).to_string();
    for name in [
        "socket", "nul.txt", "back", "latin", "absolute", "outside", ".samara", "e\u{301}",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

#[test]
fn what_is_missing_or_empty_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(matches!(
        scan(&[root(dir.path())], &ScanOptions::default()),
        Err(ScanError::Empty(path)) if path == dir.path()
    ));
    let gone = dir.path().join("gone");
    assert_eq!(faults(&gone)[0].path, gone);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    fs::write(&path, vec![1; 100]).expect("written");
    let seen = fs::metadata(&path).expect("there");
    fs::write(&path, vec![2; 101]).expect("written");
    assert!(matches!(hash(&path, &seen, &mut Vec::new()), Err(FaultKind::Changed)));
    let seen = fs::metadata(&path).expect("there");
    assert!(hash(&path, &seen, &mut Vec::new()).is_ok());
}

#[test]
fn roots_bring_their_platforms_and_twins_are_refused_by_the_list() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("x86")).expect("made");
    fs::create_dir_all(at("arm")).expect("made");
    fs::write(at("x86/app"), b"x86").expect("written");
    fs::write(at("arm/app"), b"arm").expect("written");
    let on = |path: &str, platform: &str| ScanRoot {
        path: at(path),
        platforms: PlatformSet::new([platform.parse().expect("one")]).expect("a set"),
    };
    let roots = [on("x86", "linux/amd64"), on("arm", "linux/arm64")];
    let mut both = scan(&roots, &ScanOptions::default()).expect("a release");
    assert_eq!(list::encode(&mut both.entries).expect("a list").count, 2);
    fs::write(at("arm/APP"), b"twin").expect("written");
    let mut twins = scan(&roots, &ScanOptions::default()).expect("each for itself");
    assert!(matches!(
        list::encode(&mut twins.entries),
        Err(list::ListError::Twin(_))
    ));
}
