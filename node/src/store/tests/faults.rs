//! The disk fails or fills up at any operation: the store stops cleanly, and goes on when the disk is well again.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use samara_protocol::tree::ranges::RangeSet;

use super::crash::{Scene, options, root};
use super::fixture::{Release, random};
use crate::store::disk::fake::{FakeDisk, Fault, Op, Stop};
use crate::store::{Frames, Pin, Place, Store, StoreError, StoreOptions};

/// A whole life: fetch, serve, import, collect. Stops at the first error, as a node's transfer would.
fn life(store: &Store, scene: &Scene) -> Result<(), StoreError> {
    for release in [&scene.first, &scene.second] {
        let held = store.open_layout(release.id, release.layout.clone())?;
        let missing = release.all().difference(&held.durable).difference(&held.volatile);
        release.write(store, &missing)?;
        if let Some(fault) = store.checkpoint().fault {
            return Err(fault);
        }
        let held = store.held(release.id)?;
        release.read_checked(store, &held.durable);
    }
    store.import(&[scene.imported.clone().into()], Place::Copy)?;
    let pin = Pin {
        id: scene.second.id,
        layout: scene.second.layout.clone(),
    };
    store.close_layout(scene.first.id);
    store.gc(&[pin])?;
    store.checkpoint().fault.map_or(Ok(()), Err)
}

/// With the disk well again, the transfer ends as it should, in this process and after a loss of power.
fn finish(disk: &FakeDisk, store: Option<Store>, scene: &Scene, what: &str) {
    let store = store.unwrap_or_else(|| {
        Store::open(root(), options(disk))
            .unwrap_or_else(|error| panic!("{what}: {error}"))
            .0
    });
    let release = &scene.second;
    // What was lost by a failed sync is told, and fetched again: a few rounds at the most.
    for _ in 0..4 {
        let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
        let mut all = held.durable.clone();
        all.union_with(&held.volatile);
        let (served, lost) = release.read_checked(&store, &all);
        assert_eq!(served, all.difference(&lost), "{what}");
        release
            .write(&store, &release.all().difference(&served))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let checkpoint = store.checkpoint();
        assert!(checkpoint.fault.is_none(), "{what}: {:?}", checkpoint.fault);
        if store.held(release.id).expect("open").durable == release.all() {
            break;
        }
    }
    assert_eq!(store.volatile_bytes(), 0, "{what}");
    drop(store);
    let disk = disk.restart(Stop::PowerLoss);
    let (store, _) = Store::open(root(), options(&disk)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
    assert_eq!(held.durable, release.all(), "{what}, then without power");
    assert!(
        store.recheck(release.id, &release.all()).expect("open").is_empty(),
        "{what}"
    );
}

fn fail_at(at: u64, kind: ErrorKind, forever: bool) -> Fault {
    Arc::new(move |op: u64, _: Op, _: &Path| (op == at || (forever && op > at)).then_some(kind))
}

/// Every operation fails, once or from then on.
fn fail_everywhere(kind: ErrorKind, forever: bool) {
    let scene = Scene::small();
    let whole = FakeDisk::new();
    let (store, _) = Store::open(root(), options(&whole)).expect("a store");
    life(&store, &scene).expect("no fault, no error");
    let ops = whole.ops();
    drop(store);
    for at in 1..=ops {
        let disk = FakeDisk::new();
        disk.set_fault(Some(fail_at(at, kind, forever)));
        let what = format!("{kind:?} at operation {at} of {ops}, forever: {forever}");
        let store = Store::open(root(), options(&disk)).map(|(store, _)| store);
        if let Ok(store) = &store {
            let outcome = life(store, &scene);
            assert!(!forever || at > ops - 20 || outcome.is_err(), "{what}");
        }
        disk.set_fault(None);
        finish(&disk, store.ok(), &scene, &what);
    }
}

#[test]
fn an_io_error_at_any_operation_is_survived() {
    fail_everywhere(ErrorKind::Other, false);
}

#[test]
fn a_disk_that_stays_broken_stops_cleanly_and_goes_on_when_it_is_well_again() {
    fail_everywhere(ErrorKind::ReadOnlyFilesystem, true);
}

#[test]
fn a_disk_that_fills_up_at_any_size_stops_cleanly_and_resumes_with_nothing_lost() {
    let scene = Scene::small();
    let whole = FakeDisk::new();
    let (store, _) = Store::open(root(), options(&whole)).expect("a store");
    life(&store, &scene).expect("no fault, no error");
    drop(store);
    let most = whole.blocks_used() + 60;
    for capacity in 0..most {
        let disk = FakeDisk::new();
        disk.set_capacity(Some(capacity));
        let what = format!("{capacity} of {most} blocks");
        let store = Store::open(root(), options(&disk)).map(|(store, _)| store);
        let written = store.as_ref().ok().and_then(|store| {
            let _ = life(store, &scene);
            let held = store.held(scene.second.id).ok()?;
            Some((held.durable, held.volatile))
        });
        disk.set_capacity(None);
        if let (Ok(store), Some((durable, volatile))) = (&store, written) {
            let held = store.held(scene.second.id).expect("open");
            let mut all = held.durable.clone();
            all.union_with(&held.volatile);
            assert!(
                durable.difference(&all).is_empty() && volatile.difference(&all).is_empty(),
                "{what}"
            );
        }
        finish(&disk, store.ok(), &scene, &what);
    }
}

#[test]
fn a_transfer_that_does_not_fit_is_refused_at_the_start_with_what_is_missing() {
    let disk = FakeDisk::new();
    disk.set_capacity(Some(1000));
    let (store, _) = Store::open(root(), options(&disk)).expect("a store");
    let release = Release::new(1, &[random(1, 8 << 20)]);
    store.open_layout(release.id, release.layout.clone()).expect("opens");
    let error = store.reserve(release.id, &release.all()).expect_err("8 MiB into 4 MB");
    let StoreError::DiskFull { needed, missing, .. } = error else {
        panic!("{error}")
    };
    assert!(
        needed == 8 << 20 && missing > 4 << 20 && missing < needed,
        "{missing} of {needed}"
    );
    store
        .reserve(release.id, &RangeSet::from(0..8))
        .expect("half a MiB fits");
}

#[test]
fn a_failed_sync_takes_back_what_was_not_durable_and_nothing_else() {
    for path in ["part", "tree", "payload"] {
        let disk = FakeDisk::new();
        let (store, _) = Store::open(root(), options(&disk)).expect("a store");
        let release = Release::mixed(1);
        store.open_layout(release.id, release.layout.clone()).expect("opens");
        // Some of each kind of file before the first checkpoint, some after it.
        let of = |odd: u32| -> RangeSet {
            let groups = release.all();
            let groups = groups.iter().filter(|group| group % 2 == odd);
            groups.map(|group| group..group + 1).collect()
        };
        let (before, after) = (of(0), of(1));
        release.write(&store, &before).expect("room");
        assert!(store.checkpoint().fault.is_none());
        release.write(&store, &after).expect("room");
        let fails = move |_: u64, op: Op, file: &Path| {
            let hit = op == Op::Sync && file.extension().is_some_and(|extension| extension == path);
            hit.then_some(ErrorKind::Other)
        };
        disk.set_fault(Some(Arc::new(fails)));
        let checkpoint = store.checkpoint();
        disk.set_fault(None);
        let Some((_, changes)) = checkpoint.layouts.first() else {
            panic!("{path}: nothing told")
        };
        assert!(
            checkpoint.fault.is_some() && !changes.lost.is_empty(),
            "{path}: {changes:?}"
        );
        assert!(changes.lost.intersection(&before).is_empty(), "{path}: {changes:?}");
        let held = store.held(release.id).expect("open");
        assert_eq!(held.durable, release.all().difference(&changes.lost), "{path}");
        // The failed writes are gone from the disk although reads still show them: they must be written again.
        release.write(&store, &changes.lost).expect("room");
        assert!(store.checkpoint().fault.is_none());
        drop(store);
        let disk = disk.restart(Stop::PowerLoss);
        let (store, _) = Store::open(root(), options(&disk)).expect("opens");
        let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
        assert_eq!(held.durable, release.all(), "{path}");
        assert!(
            store.recheck(release.id, &release.all()).expect("open").is_empty(),
            "{path}"
        );
    }
}

#[test]
fn what_lies_for_a_day_is_hashed_again_before_it_is_served() {
    let disk = FakeDisk::new();
    let (store, _) = Store::open(root(), options(&disk)).expect("a store");
    let release = Release::mixed(1);
    store.open_layout(release.id, release.layout.clone()).expect("opens");
    release.write(&store, &release.all()).expect("room");
    assert!(store.checkpoint().fault.is_none());
    disk.rot(Path::new("data"), 70_000);
    // No time stamp tells of rot: on the same day it is the peer that finds it.
    let mut reply = store.reply(release.id).expect("open");
    let mut read = |all: &RangeSet| {
        store
            .read(&mut reply, all, &mut Frames::default(), &mut |_, _| ())
            .expect("reads")
            .lost
    };
    assert!(read(&release.all()).is_empty());
    disk.wait_seconds(25 * 60 * 60);
    let (served, lost) = release.read_checked(&store, &release.all());
    assert_eq!((served.count() + 1, lost.count()), (release.all().count(), 1));
}

#[test]
fn threads_that_write_read_and_checkpoint_at_once_agree_in_the_end() {
    let disk = FakeDisk::new();
    let store_options = StoreOptions {
        threads: 2,
        ..options(&disk)
    };
    let (store, _) = Store::open(root(), store_options).expect("a store");
    let release = Release::mixed(1);
    store.open_layout(release.id, release.layout.clone()).expect("opens");
    let told = std::sync::Mutex::new(RangeSet::new());
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (store, release) = (&store, &release);
            scope.spawn(move || {
                for group in release.all().iter().filter(|group| group % 3 == part) {
                    release.write(store, &RangeSet::from(group..group + 1)).expect("room");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                let checkpoint = store.checkpoint();
                assert!(checkpoint.fault.is_none());
                for (_, changes) in checkpoint.layouts {
                    assert!(changes.lost.is_empty());
                    told.lock().expect("no panic").union_with(&changes.durable);
                }
                let held = store.held(release.id).expect("open");
                let (served, lost) = release.read_checked(&store, &held.durable);
                assert_eq!((served, lost.is_empty()), (held.durable, true));
            }
        });
    });
    let rest = store.checkpoint();
    let mut told = told.into_inner().expect("no panic");
    for (_, changes) in rest.layouts {
        told.union_with(&changes.durable);
    }
    assert_eq!(told, release.all());
    assert_eq!(store.volatile_bytes(), 0);
}

#[test]
fn a_release_that_is_let_go_makes_room_for_the_next_which_keeps_what_it_has_in_common_with_it() {
    let disk = FakeDisk::new();
    let store_options = StoreOptions {
        quota: Some(2 << 20),
        ..options(&disk)
    };
    let (store, _) = Store::open(root(), store_options).expect("a store");
    let (common, old) = (random(1, 512 << 10), random(2, 1 << 20));
    let old = Release::new(1, &[common.clone(), old]);
    let new = Release::new(2, &[common, random(3, 1 << 20)]);
    store.open_layout(old.id, old.layout.clone()).expect("opens");
    store.reserve(old.id, &old.all()).expect("1.5 of 2 MiB");
    // Half of it came before it was taken back.
    old.write(&store, &RangeSet::from(0..16)).expect("room");
    assert!(store.checkpoint().fault.is_none());
    let held = store.open_layout(new.id, new.layout.clone()).expect("opens").durable;
    assert!(!held.is_empty(), "they have something in common");
    let error = store
        .reserve(new.id, &new.all())
        .expect_err("the old one's bytes and its promise");
    assert!(error.is_full(), "{error}");
    store.close_layout(old.id);
    assert_eq!(store.usage().expect("listed").reserved, 0);
    store.gc(&[]).expect("runs");
    assert_eq!(store.held(new.id).expect("open").durable, held);
    store.reserve(new.id, &new.all()).expect("room was made");
    new.write(&store, &new.all()).expect("room");
    assert!(store.checkpoint().fault.is_none());
    assert_eq!(new.read_checked(&store, &new.all()).0, new.all());
}

#[test]
fn what_a_release_that_waits_does_not_use_is_free_for_others() {
    let disk = FakeDisk::new();
    let store_options = StoreOptions {
        quota: Some(2 << 20),
        ..options(&disk)
    };
    let (store, _) = Store::open(root(), store_options).expect("a store");
    let first = Release::new(1, &[random(1, 1 << 20)]);
    let second = Release::new(2, &[random(2, 1536 << 10)]);
    let large = Release::new(3, &[random(3, 4 << 20)]);
    for release in [&first, &second, &large] {
        store.open_layout(release.id, release.layout.clone()).expect("opens");
    }
    store.reserve(first.id, &first.all()).expect("room");
    assert!(store.reserve(second.id, &second.all()).is_err());
    store.unreserve(first.id);
    store
        .reserve(second.id, &second.all())
        .expect("nothing is promised to the first");
    store.reserve(large.id, &RangeSet::from(0..1)).expect("room");
    assert!(store.reserve(large.id, &large.all()).is_err());
    assert_eq!(
        store.usage().expect("listed").reserved,
        1536 << 10,
        "a refusal promises nothing"
    );
}

#[test]
fn a_pack_that_newer_releases_borrow_from_stays_until_the_disk_has_room_for_a_copy() {
    let disk = FakeDisk::new();
    let (store, _) = Store::open(root(), options(&disk)).expect("a store");
    let mut files: Vec<Vec<u8>> = (0..8).map(|i| random(i, 40_000)).collect();
    files.push(random(20, 512 << 10));
    let old = Release::new(1, &files);
    files[8] = random(21, 64 << 10);
    let new = Release::new(2, &files);
    for release in [&old, &new] {
        let held = store
            .open_layout(release.id, release.layout.clone())
            .expect("opens")
            .durable;
        release.write(&store, &release.all().difference(&held)).expect("room");
        assert!(store.checkpoint().fault.is_none());
    }
    store.close_layout(old.id);
    disk.set_capacity(Some(disk.blocks_used() + 8));
    let report = store.gc(&[]).expect("what can go goes");
    assert_eq!((report.artifacts, report.packs), (1, 0));
    assert_eq!(new.read_checked(&store, &new.all()).0, new.all());
    // What went made the room.
    let report = store.gc(&[]).expect("runs");
    assert_eq!((report.artifacts, report.packs), (0, 1));
    assert_eq!(new.read_checked(&store, &new.all()).0, new.all());
    drop(store);
    let disk = disk.restart(Stop::PowerLoss);
    let (store, _) = Store::open(root(), options(&disk)).expect("opens");
    let held = store.open_layout(new.id, new.layout.clone()).expect("opens").durable;
    assert_eq!(held, new.all());
    assert_eq!(new.read_checked(&store, &held).0, held);
}
