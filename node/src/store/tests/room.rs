//! Room: what is promised, what is left to others, and what an import may take of it.

use samara_protocol::tree::ranges::RangeSet;

use super::crash::{options, root};
use super::fixture::{Release, random};
use crate::store::disk::fake::FakeDisk;
use crate::store::{Place, Store, StoreError, StoreOptions};

#[test]
fn what_is_reserved_for_others_stays_free_and_is_named() {
    let disk = FakeDisk::new();
    disk.set_capacity(Some(2000));
    let store_options = StoreOptions {
        reserve: 4 << 20,
        ..options(&disk)
    };
    let (store, _) = Store::open(root(), store_options).expect("a store");
    let release = Release::new(1, &[random(1, 5 << 20)]);
    store.open_layout(release.id, release.layout.clone()).expect("opens");
    let error = store
        .reserve(release.id, &release.all())
        .expect_err("5 of 8 MB, 4 of them are reserved");
    let StoreError::DiskFull { missing, kept, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*kept, 4 << 20);
    assert!(*missing > 1 << 20, "{missing}");
    assert!(error.to_string().contains("`reserve`"), "{error}");
    store.reserve(release.id, &RangeSet::from(0..32)).expect("2 MiB fit");
}

#[test]
fn a_publish_that_has_to_copy_more_than_the_quota_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, random(1, 3 << 20)).expect("room");
    let twin = dir.path().join("twin");
    std::fs::write(&twin, random(2, 3 << 20)).expect("room");
    let options = StoreOptions {
        quota: Some(6 << 20),
        ..StoreOptions::default()
    };
    let (store, _) = Store::open(&dir.path().join("store"), options).expect("a store");
    let clone = dir.path().join("clone");
    let shares = [&file, &clone].map(|path| {
        std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    });
    let [from, to] = shares.map(|file| file.expect("opens"));
    let shares = crate::store::import::reflink(Some(&from), Some(&to));
    for place in [Place::Copy, Place::Reflink] {
        let outcome = store.import(&[file.clone().into(), twin.clone().into()], place);
        if shares && place == Place::Reflink {
            outcome.expect("shared blocks need no room");
            continue;
        }
        let error = outcome.expect_err("6 MiB and an index into 6 MiB");
        assert!(matches!(error, StoreError::QuotaFull { .. }), "{place:?}: {error}");
        assert!(
            store.usage().expect("listed").used < 3 << 20,
            "{place:?} leaves something"
        );
    }
    // A link takes nothing.
    store
        .import(&[file.into(), twin.into()], Place::Link)
        .expect("no room is needed");
    assert_eq!(store.usage().expect("listed").reserved, 0);
}
