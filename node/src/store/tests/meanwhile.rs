//! Two threads meet at every operation of the disk, one after the other so that a failure can be had again: a checkpoint,
//! a write or a read is held before its n-th operation while the other's whole work is done. Then the power goes.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use samara_protocol::tree::ranges::RangeSet;

use super::crash::{options, root};
use super::fixture::{Release, random};
use crate::store::disk::fake::{FakeDisk, Meanwhile, Op, Stop};
use crate::store::files::Key;
use crate::store::recover::CHECK_AFTER_SECONDS;
use crate::store::{Checkpoint, Store};

/// Two large artifacts, one of which ends with a group of zeros, and two packed groups.
fn release() -> Arc<Release> {
    let mut zeros = random(2, 3 << 16);
    zeros[2 << 16..].fill(0);
    let mut files = vec![random(1, (3 << 16) + 5), zeros];
    files.extend((0..3).map(|i| random(10 + i, 40_000)));
    Arc::new(Release::new(1, &files))
}

fn open(disk: &FakeDisk, release: &Release) -> Arc<Store> {
    let (store, _) = Store::open(root(), options(disk)).expect("a store");
    store.open_layout(release.id, release.layout.clone()).expect("opens");
    Arc::new(store)
}

fn part(release: &Release, of: u32, is: u32) -> RangeSet {
    let groups = release.all();
    let groups = groups.iter().filter(|group| group % of == is);
    groups.map(|group| group..group + 1).collect()
}

fn note(durable: &Mutex<RangeSet>, checkpoint: &Checkpoint) {
    let mut durable = durable.lock().expect("no panic");
    for (_, changes) in &checkpoint.layouts {
        durable.subtract(&changes.lost);
        durable.union_with(&changes.durable);
    }
}

/// See [`restart`], after each kind of power loss.
fn lose_power(disk: &FakeDisk, release: &Release, durable: &RangeSet, what: &str) {
    for stop in [Stop::TornPowerLoss(0), Stop::PowerLoss] {
        let what = format!("{what}, then {stop:?}");
        restart(&disk.copy().restart(stop), release, durable, &what);
    }
}

/// What was durable is held, all that is held verifies at the first look, and the transfer ends with everything durable.
fn restart(disk: &FakeDisk, release: &Release, durable: &RangeSet, what: &str) {
    let store = open(disk, release);
    let held = store.held(release.id).expect("open");
    let mut all = held.durable;
    all.union_with(&held.volatile);
    let missing = durable.difference(&all);
    assert!(missing.is_empty(), "{what}: {missing:?} were durable");
    let lost = store.recheck(release.id, &all).expect("open");
    assert!(lost.is_empty(), "{what}: {lost:?} are claimed and do not verify");
    release
        .write(&store, &release.all().difference(&all))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(store.checkpoint().fault.is_none(), "{what}");
    assert_eq!(store.held(release.id).expect("open").durable, release.all(), "{what}");
    drop(store);
    let disk = disk.restart(Stop::PowerLoss);
    let store = open(&disk, release);
    assert_eq!(store.held(release.id).expect("open").durable, release.all(), "{what}");
    let lost = store.recheck(release.id, &release.all()).expect("open");
    assert!(lost.is_empty(), "{what}: {lost:?} were durable in the end");
}

#[test]
fn what_is_left_of_files_that_were_never_synced_is_claimed_only_if_it_stays_so() {
    let release = release();
    let disk = FakeDisk::new();
    let store = open(&disk, &release);
    release.write(&store, &release.all()).expect("room");
    for seed in 0..120 {
        let disk = disk.copy().restart(Stop::TornPowerLoss(seed));
        restart(&disk, &release, &RangeSet::new(), &format!("seed {seed}"));
    }
}

#[test]
fn writes_that_meet_a_checkpoint_at_any_operation_leave_what_it_called_durable_whole() {
    let release = release();
    for at in 0.. {
        let disk = FakeDisk::new();
        let store = open(&disk, &release);
        // As in a reply: a pair comes with the first group that needs it, and never again.
        let first = part(&release, 2, 0);
        release.write_once(&store, &first, &RangeSet::new()).expect("room");
        let durable = Mutex::new(RangeSet::new());
        let (writer, its) = (Arc::clone(&store), Arc::clone(&release));
        let rest = part(&release, 2, 1);
        let write = move || its.write_once(&writer, &rest, &part(&its, 2, 0)).expect("room");
        disk.meanwhile(at, Arc::new(write));
        note(&durable, &store.checkpoint());
        if disk.was_not_reached() {
            break;
        }
        let what = format!("writes before operation {at} of a checkpoint");
        let called = durable.lock().expect("no panic").clone();
        assert!(first.difference(&called).is_empty(), "{what}");
        lose_power(&disk, &release, &called, &what);
        note(&durable, &store.checkpoint());
        assert_eq!(durable.into_inner().expect("no panic"), release.all(), "{what}");
        assert_eq!(store.volatile_bytes(), 0, "{what}");
    }
}

#[test]
fn a_crash_after_writes_met_a_checkpoint_keeps_what_was_durable_before() {
    let release = release();
    // The meeting and the crash: every 31st pair of the two.
    for (at, crash) in (0..60u64).flat_map(|at| (at % 31..90u64).step_by(31).map(move |crash| (at, crash))) {
        let disk = FakeDisk::new();
        let store = open(&disk, &release);
        let durable = Mutex::new(RangeSet::new());
        release.write(&store, &part(&release, 3, 0)).expect("room");
        note(&durable, &store.checkpoint());
        release.write(&store, &part(&release, 3, 1)).expect("room");
        let (writer, its) = (Arc::clone(&store), Arc::clone(&release));
        let write = move || drop(its.write(&writer, &part(&its, 3, 2)));
        disk.meanwhile(at, Arc::new(write));
        disk.crash_after(crash);
        note(&durable, &store.checkpoint());
        note(&durable, &store.checkpoint());
        let _ = disk.was_not_reached();
        let what = format!("writes before operation {at} of a checkpoint, stopped at change {crash}");
        let durable = durable.into_inner().expect("no panic");
        lose_power(&disk, &release, &durable, &what);
    }
}

#[test]
fn a_sync_that_fails_while_a_group_is_being_written_takes_it_back_or_has_it_written_again() {
    let release = release();
    for extension in ["part", "tree", "payload"] {
        for at in 0.. {
            let disk = FakeDisk::new();
            let store = open(&disk, &release);
            release.write(&store, &part(&release, 2, 0)).expect("room");
            let durable = Arc::new(Mutex::new(RangeSet::new()));
            let (other, told, its) = (Arc::clone(&store), Arc::clone(&durable), disk.clone());
            let checkpoint = move || {
                let fails = move |_: u64, op: Op, file: &Path| {
                    let hit = op == Op::Sync && file.extension().is_some_and(|is| is == extension);
                    hit.then_some(ErrorKind::Other)
                };
                its.set_fault(Some(Arc::new(fails)));
                let checkpoint = other.checkpoint();
                assert!(checkpoint.fault.is_some());
                note(&told, &checkpoint);
                its.set_fault(None);
            };
            disk.meanwhile(at, Arc::new(checkpoint));
            release.write(&store, &part(&release, 2, 1)).expect("room");
            if disk.was_not_reached() {
                break;
            }
            let what = format!("a failed sync of {extension} before operation {at} of writes");
            assert!(store.checkpoint().fault.is_none(), "{what}");
            let held = store.held(release.id).expect("open");
            assert!(held.volatile.is_empty(), "{what}");
            lose_power(&disk, &release, &held.durable, &what);
        }
    }
}

#[test]
fn a_reader_that_opens_files_while_they_are_being_made_spoils_no_checkpoint() {
    let release = Arc::new(Release::new(1, &[random(1, (3 << 16) + 5)]));
    let torn = FakeDisk::new();
    let store = open(&torn, &release);
    release.write(&store, &RangeSet::from(0..1)).expect("room");
    assert!(store.checkpoint().fault.is_none());
    drop(store);
    torn.delete(Path::new("tree"));
    for (at, then) in (0..8).flat_map(|at| (0..8).map(move |then| (at, then))) {
        // A data file without its outboard, as after the loss of the newer name.
        let disk = torn.copy().restart(Stop::Kill);
        let store = open(&disk, &release);
        // Closed, as when more bodies are in use than files may be open.
        store.shared.files.forget(Key::Artifact(release.artifacts[0].id));
        let durable = Arc::new(Mutex::new(RangeSet::new()));
        let (other, told, its, same) = (
            Arc::clone(&store),
            Arc::clone(&durable),
            Arc::clone(&release),
            disk.clone(),
        );
        let write = move || {
            its.write(&other, &its.all()).expect("room");
            let (other, told) = (Arc::clone(&other), Arc::clone(&told));
            same.meanwhile(then, Arc::new(move || note(&told, &other.checkpoint())));
        };
        disk.meanwhile(at, Arc::new(write));
        release.read_checked(&store, &release.all());
        let _ = disk.was_not_reached();
        note(&durable, &store.checkpoint());
        let what = format!("written before operation {at} of a read, and a checkpoint {then} later");
        let durable = durable.lock().expect("no panic").clone();
        lose_power(&disk, &release, &durable, &what);
    }
}

type Look = (&'static str, fn(&Store, &Release));
type Damage = (&'static str, fn(&FakeDisk));

/// Ways to look at everything that a store holds.
const LOOKS: [Look; 5] = [
    ("a reply", |store, release| {
        drop(release.read_checked(store, &release.all()));
    }),
    ("a recheck", |store, release| {
        store.recheck(release.id, &release.all()).expect("open");
    }),
    ("a scrub", |store, release| {
        store.scrub(release.id).expect("open");
    }),
    ("the beginning of a checkpoint", |store, release| {
        for artifact in &release.artifacts {
            let key = Key::Artifact(artifact.id);
            // Closed, as when more bodies are in use than files may be open.
            store.shared.files.forget(key);
            drop(store.shared.body_in_use(key).map(|body| store.shared.begin(&body)));
        }
    }),
    ("a copy", |store, release| {
        for artifact in &release.artifacts {
            let _ = store.open_artifact(*artifact);
            let _ = store.read_small(release.id, artifact.id);
        }
    }),
];

/// Ways to damage what it holds while it runs.
const DAMAGE: [Damage; 7] = [
    ("rotten data", |disk| disk.rot(Path::new("data"), 70_000)),
    ("a rotten outboard", |disk| disk.rot(Path::new("tree"), 10)),
    ("a rotten pack", |disk| disk.rot(Path::new("payload"), 70_000)),
    ("deleted data", |disk| disk.delete(Path::new("data"))),
    ("a deleted outboard", |disk| disk.delete(Path::new("tree"))),
    ("a deleted pack", |disk| disk.delete(Path::new("payload"))),
    ("nothing left", |disk| {
        for extension in ["data", "tree", "payload"] {
            disk.delete(Path::new(extension));
        }
    }),
];

#[test]
fn whoever_looks_at_damage_that_another_heals_meanwhile_takes_nothing_of_it_away_again() {
    let release = release();
    let whole = FakeDisk::new();
    let store = open(&whole, &release);
    release.write(&store, &release.all()).expect("room");
    assert!(store.checkpoint().fault.is_none());
    drop(store);
    for ((damage, spoil), (look, looks)) in DAMAGE.iter().flat_map(|damage| LOOKS.map(|look| (damage, look))) {
        let spoiled = || {
            let disk = whole.copy().restart(Stop::Kill);
            let store = open(&disk, &release);
            spoil(&disk);
            // Long enough for everything to be hashed before it is given to anyone.
            disk.wait_seconds(CHECK_AFTER_SECONDS);
            (disk, store)
        };
        let damaged = spoiled().1.recheck(release.id, &release.all()).expect("open");
        for at in 0.. {
            let (disk, store) = spoiled();
            let healed = Arc::new(Mutex::new(RangeSet::new()));
            let (other, its, says) = (Arc::clone(&store), Arc::clone(&release), Arc::clone(&healed));
            let heal = move || {
                let lost = other.recheck(its.id, &its.all()).expect("open");
                its.write(&other, &lost).expect("room");
                *says.lock().expect("no panic") = lost;
            };
            disk.meanwhile(at, Arc::new(heal));
            looks(&store, &release);
            let what = format!("{damage}, healed before operation {at} of {look}");
            if disk.was_not_reached() {
                assert!(at > 0, "{what}");
                break;
            }
            // What the other did not find, as it was just being looked at, the look may have found.
            let healed = healed.lock().expect("no panic").clone();
            let missing = release.all().difference(&all_held(&store, &release));
            assert!(
                missing.difference(&damaged.difference(&healed)).is_empty(),
                "{what}: {missing:?}"
            );
            release.write(&store, &missing).expect("room");
            let lost = store.recheck(release.id, &release.all()).expect("open");
            assert!(lost.is_empty(), "{what}: {lost:?}");
        }
    }
}

/// Fetches what is not held until all of it is durable, as a transfer would.
fn finish(store: &Store, release: &Release, what: &str) {
    for _ in 0..3 {
        let missing = release.all().difference(&all_held(store, release));
        release.write(store, &missing).expect("room");
        assert!(store.checkpoint().fault.is_none(), "{what}");
    }
    assert_eq!(store.held(release.id).expect("open").durable, release.all(), "{what}");
}

#[test]
fn a_file_that_is_deleted_in_mid_transfer_is_written_anew_and_keeps_no_other_from_becoming_durable() {
    let release = release();
    let half = FakeDisk::new();
    let store = open(&half, &release);
    release.write(&store, &part(&release, 2, 0)).expect("room");
    assert!(store.checkpoint().fault.is_none());
    drop(store);
    for extension in ["part", "tree", "payload"] {
        for at in 0.. {
            let disk = half.copy().restart(Stop::Kill);
            let store = open(&disk, &release);
            let (other, its) = (disk.clone(), PathBuf::from(extension));
            let work: Meanwhile = Arc::new(move || other.delete(&its));
            // First while the rest is being written, and then while the checkpoint runs.
            disk.meanwhile(at, work);
            release.write(&store, &part(&release, 2, 1)).expect("room");
            let _ = store.checkpoint();
            if disk.was_not_reached() {
                break;
            }
            let what = format!("{extension} deleted before operation {at}");
            finish(&store, &release, &what);
            // What nobody has had a reason to look at.
            store.recheck(release.id, &release.all()).expect("open");
            finish(&store, &release, &what);
            lose_power(&disk, &release, &release.all(), &what);
        }
    }
}

fn all_held(store: &Store, release: &Release) -> RangeSet {
    let mut held = store.held(release.id).expect("open");
    held.durable.union_with(&held.volatile);
    held.durable
}

/// Opens while another collects, on a thread of its own. Where the collection holds at this moment what opening needs, the
/// collection goes on first: either order must be sound.
fn opens_meanwhile(store: &Arc<Store>, release: &Arc<Release>, told: &Told) -> JoinHandle<()> {
    let is_free = store.shared.opening.try_lock().is_ok();
    let (store, release, told) = (Arc::clone(store), Arc::clone(release), Arc::clone(told));
    let (done, is_done) = mpsc::sync_channel(1);
    let opening = std::thread::spawn(move || {
        let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
        *told.lock().expect("no panic") = Some(held.durable);
        let _ = done.send(());
    });
    if is_free {
        // The index may be held, too, in the middle of a commit.
        let _ = is_done.recv_timeout(Duration::from_millis(200));
    }
    opening
}

type Told = Arc<Mutex<Option<RangeSet>>>;

#[test]
fn a_release_that_is_opened_while_garbage_is_collected_holds_what_it_was_told() {
    let mut files = vec![random(1, (3 << 16) + 5), random(2, 2 << 16)];
    files.extend((0..4).map(|i| random(10 + i, 40_000)));
    let old = Release::new(1, &files);
    files[1] = random(20, 2 << 16);
    files[5] = random(21, 40_000);
    let new = Arc::new(Release::new(2, &files));
    // What it has in common with the old one is copied before anything goes: a long way before the door is shut.
    let heir = Release::new(3, &files[2..5]);
    let whole = FakeDisk::new();
    let store = open(&whole, &old);
    old.write(&store, &old.all()).expect("room");
    assert!(store.checkpoint().fault.is_none());
    let borrowed = store.open_layout(heir.id, heir.layout.clone()).expect("opens").durable;
    assert!(!borrowed.is_empty(), "they have small files in common");
    heir.write(&store, &heir.all().difference(&borrowed)).expect("room");
    assert!(store.checkpoint().fault.is_none());
    drop(store);
    let mut found = BTreeSet::new();
    for at in 0.. {
        let disk = whole.copy().restart(Stop::Kill);
        let store = open(&disk, &old);
        store.open_layout(heir.id, heir.layout.clone()).expect("opens");
        store.close_layout(old.id);
        let (told, waiting) = (Told::default(), Arc::new(Mutex::new(None)));
        let (other, its, says, waits) = (
            Arc::clone(&store),
            Arc::clone(&new),
            Arc::clone(&told),
            Arc::clone(&waiting),
        );
        let work = move || *waits.lock().expect("no panic") = Some(opens_meanwhile(&other, &its, &says));
        disk.meanwhile(at, Arc::new(work));
        store.gc(&[]).expect("a sound disk");
        if disk.was_not_reached() {
            break;
        }
        if let Some(opening) = waiting.lock().expect("no panic").take() {
            opening.join().expect("no panic");
        }
        let what = format!("opened before operation {at} of a collection");
        let told = told.lock().expect("no panic").take().expect("opened");
        let held = store.held(new.id).expect("open").durable;
        assert_eq!(told.difference(&held), RangeSet::new(), "{what}");
        let lost = store.recheck(new.id, &held).expect("open");
        assert!(lost.is_empty(), "{what}: {lost:?} are said to be durable and are gone");
        assert_eq!(new.read_checked(&store, &held).0, held, "{what}");
        found.insert(told.count());
        assert_eq!(heir.read_checked(&store, &heir.all()).0, heir.all(), "{what}");
        lose_power(&disk, &new, &held, &what);
    }
    assert!(
        found.len() > 1,
        "who opens first finds more than who comes after: {found:?}"
    );
}
