//! A scripted run is stopped at every operation that changes the disk, by a kill and by a loss of power, and what the
//! store says after a restart is compared with an oracle.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use samara_protocol::id::LayoutId;
use samara_protocol::tree::ranges::RangeSet;

use super::fixture::{Release, random};
use crate::store::disk::fake::{FakeDisk, Stop};
use crate::store::{Pin, Place, Store, StoreError, StoreOptions};

/// What must hold after a restart.
#[derive(Default)]
struct Oracle {
    /// `write` came back.
    written: HashMap<LayoutId, RangeSet>,
    /// The store called it durable.
    durable: HashMap<LayoutId, RangeSet>,
}

impl Oracle {
    fn wrote(&mut self, id: LayoutId, group: u32) {
        self.written.entry(id).or_default().insert(group..group + 1);
    }

    fn is_durable(&mut self, id: LayoutId, groups: &RangeSet) {
        self.durable.entry(id).or_default().union_with(groups);
        self.written.entry(id).or_default().union_with(groups);
    }

    fn forget(&mut self, id: LayoutId) {
        self.written.remove(&id);
        self.durable.remove(&id);
    }

    fn at_least(&self, id: LayoutId, stop: Stop) -> RangeSet {
        let sets = if stop == Stop::Kill {
            &self.written
        } else {
            &self.durable
        };
        sets.get(&id).cloned().unwrap_or_default()
    }
}

/// Two releases that share artifacts of both kinds, and a file that is imported.
pub(super) struct Scene {
    pub(super) first: Release,
    pub(super) second: Release,
    pub(super) imported: PathBuf,
    _dir: tempfile::TempDir,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut zeros = random(7, 3 << 16);
        zeros[1 << 16..2 << 16].fill(0);
        let mut files = vec![random(1, (2 << 16) + 5), zeros, random(3, 1 << 16)];
        files.extend((0..5).map(|i| random(10 + i, 25_000)));
        let first = Release::new(1, &files);
        files[1] = random(20, (3 << 16) + 1);
        files[7] = random(21, 25_000);
        files.push(random(22, 30_000));
        let second = Release::new(2, &files);
        Self::of(first, second, &files[1])
    }

    /// The same with as few groups as there can be, for what is tried at every operation that there is.
    pub(super) fn small() -> Self {
        let mut files = vec![
            random(1, (1 << 16) + 5),
            random(2, 1 << 16),
            random(10, 40_000),
            random(11, 40_000),
        ];
        let first = Release::new(1, &files);
        files[1] = random(20, (1 << 16) + 1);
        files[3] = random(21, 40_000);
        let second = Release::new(2, &files);
        Self::of(first, second, &files[1])
    }

    fn of(first: Release, second: Release, imports: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let imported = dir.path().join("file");
        std::fs::write(&imported, imports).expect("room");
        Self {
            first,
            second,
            imported,
            _dir: dir,
        }
    }
}

pub(super) fn options(disk: &FakeDisk) -> StoreOptions {
    StoreOptions {
        quota: None,
        reserve: 0,
        disk: Arc::new(disk.clone()),
        threads: 1,
    }
}

pub(super) fn root() -> &'static Path {
    Path::new("/store")
}

fn write(store: &Store, release: &Release, groups: &RangeSet, oracle: &mut Oracle) -> Result<(), StoreError> {
    for group in groups.iter() {
        release.write(store, &RangeSet::from(group..group + 1))?;
        oracle.wrote(release.id, group);
    }
    Ok(())
}

fn checkpoint(store: &Store, oracle: &mut Oracle) -> Result<(), StoreError> {
    let checkpoint = store.checkpoint();
    for (id, changes) in &checkpoint.layouts {
        oracle.is_durable(*id, &changes.durable);
    }
    checkpoint.fault.map_or(Ok(()), Err)
}

fn open(store: &Store, release: &Release, oracle: &mut Oracle) -> Result<RangeSet, StoreError> {
    let held = store.open_layout(release.id, release.layout.clone())?;
    oracle.is_durable(release.id, &held.durable);
    Ok(release.all().difference(&held.durable).difference(&held.volatile))
}

fn script(disk: &FakeDisk, scene: &Scene, oracle: &mut Oracle) -> Result<(), StoreError> {
    let (store, _) = Store::open(root(), options(disk))?;
    let missing = open(&store, &scene.first, oracle)?;
    let third = |part: u32| -> RangeSet {
        missing
            .iter()
            .filter(|group| group % 3 == part)
            .map(|group| group..group + 1)
            .collect()
    };
    write(&store, &scene.first, &third(1), oracle)?;
    checkpoint(&store, oracle)?;
    write(&store, &scene.first, &third(0), oracle)?;
    checkpoint(&store, oracle)?;
    write(&store, &scene.first, &third(2), oracle)?;
    checkpoint(&store, oracle)?;
    let missing = open(&store, &scene.second, oracle)?;
    assert!(missing.count() < scene.second.all().count(), "they share something");
    store.import(&[scene.imported.clone().into()], Place::Copy)?;
    let held = store.held(scene.second.id)?;
    oracle.is_durable(scene.second.id, &held.durable);
    let missing = missing.difference(&held.durable);
    write(&store, &scene.second, &missing, oracle)?;
    checkpoint(&store, oracle)?;
    oracle.forget(scene.first.id);
    let pin = Pin {
        id: scene.second.id,
        layout: scene.second.layout.clone(),
    };
    store.close_layout(scene.first.id);
    store.gc(&[pin])?;
    checkpoint(&store, oracle)
}

/// Restarts, compares with the oracle, and finishes the transfer.
fn check(disk: &FakeDisk, scene: &Scene, oracle: &Oracle, stop: Stop, at: u64) {
    let disk = disk.restart(stop);
    let what = format!("stopped by {stop:?} at change {at}");
    let (store, _) = Store::open(root(), options(&disk)).unwrap_or_else(|error| panic!("{what}: {error}"));
    for release in [&scene.first, &scene.second] {
        let held = store.open_layout(release.id, release.layout.clone());
        let held = held.unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut all = held.durable.clone();
        all.union_with(&held.volatile);
        let lost = store.recheck(release.id, &all).expect("open");
        assert!(
            lost.is_empty(),
            "{what}: {lost:?} of {:?} are claimed and do not verify",
            release.id
        );
        let missing = oracle.at_least(release.id, stop).difference(&all);
        assert!(missing.is_empty(), "{what}: {missing:?} of {:?} are lost", release.id);
        assert_eq!(release.read_checked(&store, &all).0, all, "{what}");
    }
    let release = &scene.second;
    let held = store.held(release.id).expect("open");
    let missing = release.all().difference(&held.durable).difference(&held.volatile);
    release
        .write(&store, &missing)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let checkpoint = store.checkpoint();
    assert!(checkpoint.fault.is_none(), "{what}: {:?}", checkpoint.fault);
    assert_eq!(store.held(release.id).expect("open").durable, release.all(), "{what}");
    drop(store);
    // And it really is: not even a loss of power changes that.
    let disk = disk.restart(Stop::PowerLoss);
    let (store, _) = Store::open(root(), options(&disk)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
    assert_eq!(held.durable, release.all(), "{what}, then without power");
    assert!(
        store.recheck(release.id, &release.all()).expect("open").is_empty(),
        "{what}"
    );
}

fn stop_everywhere(stops: &[Stop]) {
    let scene = Scene::new();
    let whole = FakeDisk::new();
    script(&whole, &scene, &mut Oracle::default()).expect("no fault, no error");
    let changes = whole.changes();
    assert!(changes > 100, "{changes} changes are a script");
    for at in 0..changes {
        let disk = FakeDisk::new();
        disk.crash_after(at);
        let mut oracle = Oracle::default();
        // The index is closed when the store is dropped, after the script: a crash there is one, too.
        let outcome = script(&disk, &scene, &mut oracle);
        assert!(disk.has_crashed(), "change {at} of {changes}: {outcome:?}");
        for stop in stops {
            check(&disk.copy(), &scene, &oracle, *stop, at);
        }
    }
}

#[test]
fn a_kill_at_any_operation_loses_nothing_that_was_written() {
    stop_everywhere(&[Stop::Kill]);
}

#[test]
fn a_power_loss_at_any_operation_keeps_what_was_durable_and_never_lies() {
    stop_everywhere(&[Stop::PowerLoss]);
}

#[test]
fn a_power_loss_that_tears_and_reorders_writes_never_makes_the_store_lie() {
    stop_everywhere(&[Stop::TornPowerLoss(1), Stop::TornPowerLoss(2)]);
}

#[test]
fn a_second_crash_in_the_recovery_from_the_first_changes_nothing() {
    let scene = Scene::small();
    let whole = FakeDisk::new();
    script(&whole, &scene, &mut Oracle::default()).expect("no fault, no error");
    let changes = whole.changes();
    for first in (1..changes).step_by(5) {
        let disk = FakeDisk::new();
        disk.crash_after(first);
        let mut oracle = Oracle::default();
        let _ = script(&disk, &scene, &mut oracle);
        assert!(disk.has_crashed());
        for second in 0.. {
            let disk = disk.copy().restart(Stop::TornPowerLoss(first));
            // What the first loss left is all that the second run can promise.
            let mut later = Oracle {
                durable: oracle.durable.clone(),
                written: oracle.durable.clone(),
            };
            disk.crash_after(second);
            let outcome = Store::open(root(), options(&disk)).and_then(|(store, _)| {
                open(&store, &scene.first, &mut Oracle::default())?;
                open(&store, &scene.second, &mut Oracle::default())?;
                checkpoint(&store, &mut later)
            });
            let crashed = disk.has_crashed();
            assert!(crashed || outcome.is_ok(), "{outcome:?}");
            check(
                &disk,
                &scene,
                &later,
                Stop::TornPowerLoss(second),
                first * 1000 + second,
            );
            if !crashed {
                break;
            }
        }
    }
}
