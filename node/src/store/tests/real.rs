use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use samara_protocol::tree::ranges::RangeSet;

use super::fixture::{Release, random};
use crate::store::{Pin, Place, Source, Store, StoreError, StoreOptions, hash_file};

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).expect("a store").0
}

fn files_of(dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

fn durable(store: &Store, release: &Release) -> RangeSet {
    let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
    held.durable
}

#[test]
fn what_is_written_is_volatile_then_durable_then_served_with_proofs_and_survives_reopening() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let store = open(dir.path());
    assert!(durable(&store, &release).is_empty());
    release.write(&store, &release.all()).expect("room");
    let held = store.held(release.id).expect("open");
    assert_eq!((held.volatile, held.durable.is_empty()), (release.all(), true));
    assert_eq!(store.volatile_bytes(), release.layout.bytes());
    assert_eq!(
        release.read_checked(&store, &release.all()),
        (release.all(), RangeSet::new())
    );
    let checkpoint = store.checkpoint();
    assert!(checkpoint.fault.is_none());
    assert_eq!(checkpoint.layouts[0].1.durable, release.all());
    assert_eq!(store.volatile_bytes(), 0);
    assert!(store.checkpoint().layouts.is_empty(), "nothing changed");
    assert!(
        files_of(dir.path(), "part").is_empty(),
        "whole files have their final names"
    );
    drop(store);
    let store = open(dir.path());
    assert_eq!(durable(&store, &release), release.all());
    assert_eq!(release.read_checked(&store, &release.all()).0, release.all());
    for artifact in &release.artifacts {
        let dest = dir.path().join("out");
        store
            .place(release.id, *artifact, &dest, Place::Reflink)
            .expect("whole");
        assert_eq!(std::fs::read(&dest).expect("placed"), release.bytes(artifact.id));
        std::fs::remove_file(dest).expect("it is there");
    }
}

#[test]
fn what_was_written_before_a_kill_is_found_again_by_hashing_holes_included() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let store = open(dir.path());
    durable(&store, &release);
    let some: RangeSet = release
        .all()
        .iter()
        .filter(|group| group % 3 != 1)
        .map(|group| group..group + 1)
        .collect();
    release.write(&store, &some).expect("room");
    // A kill leaves the files as they are; nothing of the store's memory is written on drop.
    drop(store);
    let store = open(dir.path());
    let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
    assert!(held.durable.is_empty() && some.difference(&held.volatile).is_empty());
    // A group of zeros whose neighbour brought its hash is there, too: a hole is what it must be.
    let gift = held.volatile.difference(&some);
    assert!(
        gift.iter()
            .all(|group| release.group(group).iter().all(|byte| *byte == 0)),
        "{gift:?}"
    );
    assert_eq!(release.read_checked(&store, &held.volatile).0, held.volatile);
    assert_eq!(store.checkpoint().layouts[0].1.durable, held.volatile);
}

#[test]
fn a_second_process_is_told_who_owns_the_store() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let error = Store::open(dir.path(), StoreOptions::default()).expect_err("owned");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(store);
    open(dir.path());
    std::fs::write(dir.path().join("format"), "samara store 7").expect("room");
    let error = Store::open(dir.path(), StoreOptions::default()).expect_err("another format");
    assert!(matches!(error, StoreError::Format { .. }), "{error}");
}

#[test]
fn published_files_of_every_size_class_are_durable_and_come_out_as_they_were() {
    let dir = tempfile::tempdir().expect("a folder");
    let sizes = [0, 1, 65_535, 65_536, 65_537, 3 << 20, (33 << 20) + 5];
    let files: Vec<Vec<u8>> = sizes.iter().map(|size| random(*size as u64, *size)).collect();
    let release = Release::new(1, &files);
    for place in [Place::Reflink, Place::Copy, Place::Link] {
        let (sources, store_dir) = (
            dir.path().join(format!("{place:?}")),
            dir.path().join(format!("store{place:?}")),
        );
        std::fs::create_dir(&sources).expect("a folder");
        let paths = release.to_folder(&sources);
        let store = open(&store_dir);
        let each: Vec<Source> = release
            .artifacts
            .iter()
            .map(|artifact| paths[&artifact.id].clone().into())
            .collect();
        assert_eq!(store.import(&each, place).expect("readable"), release.artifacts);
        let held = store.import_packed(release.id, release.layout.clone(), &|id| {
            paths.get(&id).cloned().map(Into::into)
        });
        assert_eq!(held.expect("readable").durable, release.all());
        drop(store);
        let store = open(&store_dir);
        assert_eq!(durable(&store, &release), release.all());
        assert_eq!(release.read_checked(&store, &release.all()).0, release.all());
        assert!(files_of(&store_dir.join("incoming"), "data").is_empty());
    }
    assert_eq!(
        hash_file(&dir.path().join("Copy/6"), 2).expect("readable"),
        release.artifacts[6]
    );
}

#[test]
fn importing_a_file_that_is_not_what_was_expected_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let paths = release.to_folder(dir.path());
    let store = open(&dir.path().join("store"));
    let source = Source {
        expected: Some(release.artifacts[1]),
        ..paths[&release.artifacts[0].id].clone().into()
    };
    assert!(store.import(&[source], Place::Copy).is_err());
    assert!(files_of(&dir.path().join("store/incoming"), "data").is_empty());
    let missing = store.import_packed(release.id, release.layout.clone(), &|_| None);
    assert!(matches!(missing, Err(StoreError::Absent(_))));
}

#[test]
fn a_sparse_file_of_8_gib_stays_sparse_in_and_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("sparse");
    let file = std::fs::File::create(&path).expect("room");
    file.set_len(8 << 30).expect("room");
    file.write_all_at(&random(1, 100_000), 5 << 30).expect("room");
    let store = open(&dir.path().join("store"));
    let artifact = store.import(&[path.into()], Place::Copy).expect("readable")[0];
    let release = Release::new(1, &[]);
    store.open_layout(release.id, release.layout.clone()).expect("opens");
    let dest = dir.path().join("out");
    store.place(release.id, artifact, &dest, Place::Copy).expect("whole");
    let data = &files_of(&dir.path().join("store"), "data")[0];
    for file in [data, &dest] {
        let metadata = std::fs::metadata(file).expect("there");
        assert_eq!(metadata.len(), 8 << 30);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    }
}

#[test]
fn groups_of_zeros_are_holes_when_fetched() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut zeros = vec![0; 64 << 16];
    zeros[..5].copy_from_slice(b"first");
    let release = Release::new(1, &[zeros]);
    let store = open(dir.path());
    durable(&store, &release);
    release.write(&store, &release.all()).expect("room");
    assert!(store.checkpoint().fault.is_none());
    let data = std::fs::metadata(&files_of(dir.path(), "data")[0]).expect("there");
    assert!(data.blocks() * 512 <= 1 << 16, "{} blocks", data.blocks());
    assert_eq!(release.read_checked(&store, &release.all()).0, release.all());
}

#[test]
fn a_second_release_holds_at_once_what_the_first_one_brought() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files: Vec<Vec<u8>> = (0..4).map(|i| random(i, 20_000)).collect();
    files.extend([random(10, 200_000), random(11, 300_000)]);
    let first = Release::new(1, &files);
    files[5] = random(12, 300_000);
    let second = Release::new(2, &files);
    let store = open(dir.path());
    durable(&store, &first);
    release_all(&store, &first);
    let held = durable(&store, &second);
    let changed = second.layout.find(&second.artifacts[5].id).expect("large").groups();
    assert_eq!(second.all().difference(&held), RangeSet::from(changed));
    assert_eq!(second.read_checked(&store, &held).0, held);
    drop(store);
    // And without the first one being opened, after a restart.
    let store = open(dir.path());
    assert_eq!(durable(&store, &second), held);
    release_all(&store, &second);
    let small = second.artifacts[2];
    assert_eq!(
        store.read_small(second.id, small.id).expect("shared"),
        second.bytes(small.id)
    );
}

fn release_all(store: &Store, release: &Release) {
    let missing = release.all().difference(&durable(store, release));
    release.write(store, &missing).expect("room");
    assert!(store.checkpoint().fault.is_none());
}

#[test]
fn collection_keeps_what_is_pinned_even_what_lay_in_a_dying_pack_and_frees_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files: Vec<Vec<u8>> = (0..9).map(|i| random(i, 20_000)).collect();
    files.extend([random(20, 200_000), random(21, 300_000)]);
    let first = Release::new(1, &files);
    files[10] = random(22, 300_000);
    files[0] = random(23, 20_000);
    let second = Release::new(2, &files);
    let store = open(dir.path());
    release_all(&store, &first);
    release_all(&store, &second);
    let pin = |release: &Release| Pin {
        id: release.id,
        layout: release.layout.clone(),
    };
    assert_eq!(store.gc(&[pin(&first), pin(&second)]).expect("runs").freed, 0);
    assert_eq!(store.gc(&[]).expect("runs").freed, 0, "what is open stays");
    store.close_layout(first.id);
    let report = store.gc(&[pin(&second)]).expect("runs");
    assert_eq!((report.artifacts, report.packs), (1, 1));
    assert!(report.freed >= 300_000);
    assert_eq!(second.read_checked(&store, &second.all()).0, second.all());
    assert!(store.held(first.id).is_err());
    drop(store);
    let store = open(dir.path());
    assert_eq!(durable(&store, &second), second.all());
    assert_eq!(second.read_checked(&store, &second.all()).0, second.all());
    // The first one again: all but what died is still known.
    let again = durable(&store, &first);
    assert!(again.count() > 0 && first.read_checked(&store, &again).0 == again);
    store.close_layout(first.id);
    store.close_layout(second.id);
    assert!(store.gc(&[]).expect("runs").freed > 0);
    assert_eq!(files_of(dir.path(), "data"), Vec::<std::path::PathBuf>::new());
    assert_eq!(store.usage().expect("runs").reserved, 0);
}

#[test]
fn a_deleted_or_garbled_index_is_rebuilt_from_the_files_with_nothing_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let store = open(dir.path());
    release_all(&store, &release);
    let head = b"a head".to_vec();
    let manifest = samara_protocol::id::ManifestId(*blake3::hash(&head).as_bytes());
    store.put_head(manifest, &head).expect("room");
    drop(store);
    let index = dir.path().join("index.redb");
    let garble = |len: usize| std::fs::write(&index, random(9, len)).expect("room");
    let ways: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(&index).expect("there"),
        &|| garble(10),
        &|| garble(1 << 20),
        &|| {
            std::fs::File::options()
                .write(true)
                .open(&index)
                .and_then(|file| file.set_len(9000))
                .expect("there");
        },
    ];
    for (i, damage) in ways.iter().enumerate() {
        damage();
        let (store, report) = Store::open(dir.path(), StoreOptions::default()).expect("opens all the same");
        assert!(report.index_rebuilt, "way {i}");
        assert_eq!(store.manifests().expect("listed"), [manifest]);
        assert_eq!(store.head(manifest).expect("read"), Some(head.clone()));
        let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
        assert_eq!(held.volatile, release.all(), "way {i}");
        assert_eq!(store.checkpoint().layouts[0].1.durable, release.all());
    }
}

#[test]
fn an_index_with_flipped_bits_never_claims_what_is_not_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let store = open(dir.path());
    durable(&store, &release);
    let half = RangeSet::from(0..release.layout.group_count() / 2);
    release.write(&store, &half).expect("room");
    assert!(store.checkpoint().fault.is_none());
    drop(store);
    let index = dir.path().join("index.redb");
    let good = std::fs::read(&index).expect("there");
    let mut rng = samara_protocol::rng::Rng::new(3);
    for _ in 0..40 {
        let mut bad = good.clone();
        for _ in 0..20 {
            let at = rng.next_u64() as usize % bad.len().min(200_000);
            bad[at] ^= 1 << (rng.next_u64() % 8);
        }
        std::fs::write(&index, &bad).expect("room");
        let store = open(dir.path());
        let held = store.open_layout(release.id, release.layout.clone()).expect("opens");
        let mut all = held.durable.clone();
        all.union_with(&held.volatile);
        assert_eq!(all, half, "nothing more, and nothing less as the files are whole");
        assert_eq!(release.read_checked(&store, &all).0, half);
    }
}

#[test]
fn files_truncated_garbled_or_deleted_while_down_are_lost_and_heal() {
    damage_and_heal(|dir, store, damage| {
        drop(store);
        damage();
        open(dir)
    });
}

#[test]
fn files_truncated_garbled_or_deleted_while_running_are_lost_and_heal() {
    damage_and_heal(|_, store, damage| {
        damage();
        store
    });
}

fn damage_and_heal(apply: impl Fn(&Path, Store, &dyn Fn()) -> Store) {
    for extension in ["data", "tree", "payload"] {
        for way in ["truncate", "garble", "delete"] {
            let dir = tempfile::tempdir().expect("a folder");
            let release = Release::mixed(1);
            let store = open(dir.path());
            release_all(&store, &release);
            let file = files_of(dir.path(), extension)
                .into_iter()
                .max_by_key(|path| std::fs::metadata(path).expect("there").len());
            let file = file.expect("each kind is there");
            let damage = || match way {
                "truncate" => std::fs::File::options()
                    .write(true)
                    .open(&file)
                    .and_then(|file| file.set_len(70))
                    .expect("there"),
                "garble" => {
                    let file = std::fs::File::options().write(true).open(&file).expect("there");
                    file.write_all_at(&[0xaa; 100], 10).expect("room");
                }
                _ => std::fs::remove_file(&file).expect("there"),
            };
            let store = apply(dir.path(), store, &damage);
            store.open_layout(release.id, release.layout.clone()).expect("opens");
            let (served, lost) = release.read_checked(&store, &release.all());
            let what = format!("{extension} {way}");
            // While down it is healed before anything is said.
            assert!(!lost.is_empty() || extension == "tree", "{what}");
            assert_eq!(served, release.all().difference(&lost), "{what}");
            let checkpoint = store.checkpoint();
            assert!(checkpoint.fault.is_none(), "{what}: {:?}", checkpoint.fault);
            let held = store.held(release.id).expect("open");
            // An outboard is made again from data that is whole; everything else has to be fetched.
            if extension == "tree" {
                assert_eq!(held.durable, release.all(), "{what}");
                continue;
            }
            assert!(held.durable.intersection(&lost).is_empty(), "{what}");
            release
                .write(&store, &release.all().difference(&held.durable))
                .expect("room");
            assert!(store.checkpoint().fault.is_none(), "{what}");
            drop(store);
            let store = open(dir.path());
            assert_eq!(durable(&store, &release), release.all(), "{what}");
            assert_eq!(release.read_checked(&store, &release.all()).0, release.all(), "{what}");
        }
    }
}

#[test]
fn recheck_finds_rot_that_no_time_stamp_tells() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let store = open(dir.path());
    release_all(&store, &release);
    let file = files_of(dir.path(), "data").remove(0);
    let before = std::fs::metadata(&file).expect("there").modified().expect("known");
    let handle = std::fs::File::options().write(true).open(&file).expect("there");
    handle.write_all_at(b"rot", 5).expect("room");
    handle.set_modified(before).expect("allowed");
    let lost = store.recheck(release.id, &release.all()).expect("open");
    assert_eq!(lost.count(), 1);
    assert_eq!(store.checkpoint().layouts[0].1.lost, lost);
}

#[test]
fn a_quota_refuses_at_the_start_and_names_what_is_missing() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let options = StoreOptions {
        quota: Some(1 << 21),
        ..StoreOptions::default()
    };
    let (store, _) = Store::open(dir.path(), options).expect("a store");
    durable(&store, &release);
    let error = {
        let big = Release::new(2, &[random(1, 3 << 20)]);
        durable(&store, &big);
        store.reserve(big.id, &big.all()).expect_err("3 MiB into 2 MiB")
    };
    assert!(
        matches!(error, StoreError::QuotaFull { .. }) && error.is_full(),
        "{error}"
    );
    store.reserve(release.id, &RangeSet::from(0..4)).expect("256 KiB fit");
    let promised = store.usage().expect("runs").reserved;
    release.write(&store, &RangeSet::from(0..2)).expect("room");
    let left = store.usage().expect("runs").reserved;
    assert!(left < promised && left > 0, "{left} of {promised}");
}

#[test]
fn an_artifact_that_is_taken_is_not_held_any_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::mixed(1);
    let store = open(dir.path());
    release_all(&store, &release);
    let artifact = release.artifacts[0];
    let dest = dir.path().join("taken");
    store.take(artifact, &dest).expect("whole");
    assert_eq!(std::fs::read(&dest).expect("there"), release.bytes(artifact.id));
    let gone = RangeSet::from(release.layout.find(&artifact.id).expect("large").groups());
    assert_eq!(durable(&store, &release), release.all().difference(&gone));
    // It is no loss, which would be fetched again.
    assert!(
        store
            .checkpoint()
            .layouts
            .iter()
            .all(|(_, changes)| changes.lost.is_empty())
    );
    assert!(matches!(store.open_artifact(artifact), Err(StoreError::Absent(_))));
    drop(store);
    let store = open(dir.path());
    assert_eq!(durable(&store, &release), release.all().difference(&gone));
}

#[test]
fn a_linked_file_that_its_owner_changes_is_lost_and_healing_leaves_the_owners_file_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let release = Release::new(1, &[random(1, 300_000)]);
    let path = release
        .to_folder(dir.path())
        .remove(&release.artifacts[0].id)
        .expect("there");
    let store = open(&dir.path().join("store"));
    store.import(&[path.clone().into()], Place::Link).expect("readable");
    assert_eq!(durable(&store, &release), release.all());
    let owner = std::fs::File::options().write(true).open(&path).expect("there");
    owner.write_all_at(b"a new build", 70_000).expect("room");
    let changed = std::fs::read(&path).expect("there");
    let (served, lost) = release.read_checked(&store, &release.all());
    assert_eq!((served.count(), lost.clone()), (4, RangeSet::from(1..2)));
    release.write(&store, &lost).expect("room");
    assert!(store.checkpoint().fault.is_none());
    assert_eq!(release.read_checked(&store, &release.all()).0, release.all());
    assert_eq!(std::fs::read(&path).expect("there"), changed);
}
