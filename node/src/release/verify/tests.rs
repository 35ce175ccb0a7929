use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::release::place::tests::Sample;

fn sample() -> Sample {
    Sample::default()
        .program("bin/app", &[1; 100_000])
        .file("bin/data", b"data")
        .file("a", b"a")
        .file("b", b"b")
        .link("lnk", "a")
        .folder("var/empty", 0o755)
}

#[test]
fn every_difference_is_found_and_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join(path);
    sample().place(dir.path()).expect("placed");
    let found = verify(dir.path(), Some(2)).expect("comparable");
    assert!(found.is_right() && found.extra.is_empty());
    assert_eq!((found.right, found.bytes), (6, 100_006));

    let mut bytes = fs::read(at("bin/app")).expect("read");
    bytes[50_000] ^= 1;
    let time = fs::metadata(at("bin/app")).expect("there").modified().expect("known");
    fs::write(at("bin/app"), bytes).expect("written");
    fs::File::options()
        .write(true)
        .open(at("bin/app"))
        .expect("opened")
        .set_modified(time)
        .expect("set");
    fs::write(at("bin/data"), b"longer").expect("written");
    fs::set_permissions(at("a"), fs::Permissions::from_mode(0o666)).expect("set");
    fs::remove_file(at("b")).expect("removed");
    fs::remove_file(at("lnk")).expect("removed");
    symlink("b", at("lnk")).expect("linked");
    fs::remove_dir(at("var/empty")).expect("removed");
    fs::write(at("var/empty"), b"").expect("written");
    fs::create_dir_all(at("more/of/it")).expect("made");
    fs::write(at("more/of/it/x"), b"").expect("written");
    fs::write(at("bin/extra"), b"").expect("written");
    let found = verify(dir.path(), Some(2)).expect("comparable");
    assert!(!found.is_right());
    let modified: Vec<(&str, &str)> = found.modified.iter().map(|(path, why)| (path.as_str(), *why)).collect();
    let expected = [
        ("a", "mode"),
        ("bin/app", "content"),
        ("bin/data", "size"),
        ("lnk", "points elsewhere"),
        ("var/empty", "is no folder"),
    ];
    assert_eq!(modified, expected);
    assert_eq!(found.missing, ["b"]);
    assert_eq!(found.extra, ["bin/extra", "more"]);
}

#[test]
fn a_folder_without_a_release_or_with_a_damaged_manifest_is_said_to_be_so() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(matches!(verify(dir.path(), None), Err(VerifyDirError::NoRelease(_))));
    assert!(matches!(
        verify(&dir.path().join("gone"), None),
        Err(VerifyDirError::Io { .. })
    ));
    sample().place(dir.path()).expect("placed");
    for name in [MANIFEST, ENTRIES, RECORD] {
        let path = dir.path().join(".samara").join(name);
        let whole = fs::read(&path).expect("read");
        let mut bytes = whole.clone();
        bytes.truncate(bytes.len() - 2);
        fs::write(&path, bytes).expect("written");
        let found = verify(dir.path(), None);
        assert!(
            matches!(found, Err(VerifyDirError::Damaged { .. })),
            "{name}: {found:?}"
        );
        fs::write(&path, whole).expect("written");
    }
    assert!(verify(dir.path(), None).expect("comparable").is_right());
}
