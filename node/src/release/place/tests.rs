use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Mutex;

use samara_protocol::id::{ArtifactId, ManifestId, ProductId};
use samara_protocol::manifest::contents::ContentsBuilder;
use samara_protocol::manifest::entry::{Artifact, EntryKind, Mode};
use samara_protocol::manifest::head::{EntriesRef, Urgency};
use samara_protocol::manifest::path::LinkTarget;
use samara_protocol::manifest::platform::PlatformSet;

use super::*;
use crate::release::digest::digest_bytes;
use crate::release::dir::plug;
use crate::release::source::{ArtifactBytes, write_entry};
use crate::release::verify;

/// A release in memory.
#[derive(Default)]
pub(crate) struct Sample {
    entries: Vec<Entry>,
    bytes: HashMap<ArtifactId, Vec<u8>>,
}

impl Sample {
    pub(crate) fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.add(path, bytes, Mode::FILE, PlatformSet::every());
        self
    }

    pub(crate) fn program(mut self, path: &str, bytes: &[u8]) -> Self {
        self.add(path, bytes, Mode::EXECUTABLE, PlatformSet::every());
        self
    }

    fn file_on(mut self, path: &str, bytes: &[u8], platform: &str) -> Self {
        let platforms = PlatformSet::new([platform.parse().expect(platform)]).expect("a set");
        self.add(path, bytes, Mode::FILE, platforms);
        self
    }

    fn add(&mut self, path: &str, bytes: &[u8], mode: Mode, platforms: PlatformSet) {
        let artifact = digest_bytes(bytes);
        self.bytes.insert(artifact.id, bytes.to_vec());
        self.entries.push(Entry {
            path: ReleasePath::new(path).expect(path),
            platforms,
            kind: EntryKind::File {
                mode,
                artifact,
                media_type: None,
            },
        });
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        let path = ReleasePath::new(path).expect(path);
        let target = LinkTarget::new(&path, target).expect(target);
        self.entries.push(Entry {
            path,
            platforms: PlatformSet::every(),
            kind: EntryKind::Symlink { target },
        });
        self
    }

    pub(crate) fn folder(mut self, path: &str, mode: u32) -> Self {
        self.entries.push(Entry {
            path: ReleasePath::new(path).expect(path),
            platforms: PlatformSet::every(),
            kind: EntryKind::Directory {
                mode: Mode::new(mode).expect("allowed"),
            },
        });
        self
    }

    fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut entries = self.entries.clone();
        let list = list::encode(&mut entries).expect("a list");
        let mut builder = ContentsBuilder::default();
        entries.iter().for_each(|entry| builder.add(entry));
        let head = Head {
            attachments: Vec::new(),
            depends_on: Vec::new(),
            entries: EntriesRef {
                artifact: list.artifact,
                count: list.count,
            },
            payload: builder.totals(&[]).expect("a layout"),
            product: ProductId([1; 32]),
            required: false,
            schema: 0,
            upgrade_from: None,
            urgency: Urgency::Normal,
            version: semver::Version::new(1, 0, 0),
        };
        (head.encode().expect("a head"), list.bytes)
    }

    fn source(&self, artifact: &Artifact) -> io::Result<ArtifactBytes> {
        let bytes = self.bytes.get(&artifact.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(ArtifactBytes::Memory(bytes.clone()))
    }

    pub(crate) fn place(&self, dir: &Path) -> Result<PlaceReport, PlaceError> {
        self.place_from(dir, &|artifact: &Artifact, _| self.source(artifact), &[])
    }

    fn place_from(
        &self,
        dir: &Path,
        source: &dyn ArtifactSource,
        platforms: &[Platform],
    ) -> Result<PlaceReport, PlaceError> {
        let (head, list) = self.encode();
        let release = PlaceRelease {
            head: &head,
            list: &list,
            platforms,
        };
        // One thread: tests pull the plug on their own.
        let options = PlaceOptions {
            threads: 1,
            ..PlaceOptions::default()
        };
        place(dir, &release, source, &options)
    }

    /// What a folder looks like that has this and nothing else.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        for entry in &self.entries {
            for folder in entry.path.ancestors() {
                tree.entry(folder.to_owned()).or_insert_with(|| "folder 755".to_owned());
            }
            let what = match &entry.kind {
                EntryKind::Directory { mode } => format!("folder {:o}", mode.bits()),
                EntryKind::Symlink { target } => format!("link {}", target.as_str()),
                EntryKind::File { mode, artifact, .. } => format!("file {:o} {}", mode.bits(), artifact.id),
            };
            tree.insert(entry.path.to_string(), what);
        }
        tree
    }
}

/// Everything in a folder but `.samara`.
pub(crate) fn tree(dir: &Path) -> BTreeMap<String, String> {
    fn walk(dir: &Path, prefix: &str, tree: &mut BTreeMap<String, String>) {
        for item in fs::read_dir(dir).expect("a folder") {
            let item = item.expect("an item");
            let path = format!("{prefix}{}", item.file_name().to_string_lossy());
            let meta = fs::symlink_metadata(item.path()).expect("there");
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_symlink() {
                let to = fs::read_link(item.path()).expect("a link");
                tree.insert(path, format!("link {}", to.display()));
            } else if meta.is_dir() {
                if path != ".samara" {
                    walk(&item.path(), &format!("{path}/"), tree);
                    tree.insert(path, format!("folder {mode:o}"));
                }
            } else {
                let id = digest_bytes(&fs::read(item.path()).expect("read")).id;
                tree.insert(path, format!("file {mode:o} {id}"));
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(dir, "", &mut all);
    all
}

fn with(mut tree: BTreeMap<String, String>, more: &[(&str, String)]) -> BTreeMap<String, String> {
    tree.extend(more.iter().map(|(path, what)| ((*path).to_owned(), what.clone())));
    tree
}

fn file_of(bytes: &[u8]) -> String {
    format!("file 644 {}", digest_bytes(bytes).id)
}

fn first() -> Sample {
    Sample::default()
        .program("bin/app", &[1; 100_000])
        .file("bin/old", b"goes away")
        .file("same", b"stays")
        .file("kind", b"file, then folder")
        .file("deep/er/x", b"folder, then file")
        .file("gone/all/of/it", b"goes away")
        .file("shared/a", &[9; 70_000])
        .file("empty", b"")
        .link("lnk", "bin/app")
        .folder("var/empty", 0o755)
}

fn second() -> Sample {
    Sample::default()
        .program("bin/app", &[2; 100_000])
        .file("same", b"stays")
        .file("kind/inside", b"now a folder")
        .file("deep", b"now a file")
        .file("shared/a", &[9; 70_000])
        .file("shared/b", &[9; 70_000])
        .file("shared/c", &[9; 70_000])
        .file("empty", b"")
        .link("lnk", "same")
        .folder("var/empty", 0o700)
        .folder("var/more", 0o750)
}

#[test]
fn a_release_is_placed_whole_with_modes_links_and_empty_folders_and_then_is_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let target = dir.path().join("not/yet/there");
    let report = first().place(&target).expect("placed");
    assert_eq!(tree(&target), first().tree());
    assert_eq!((report.written, report.unchanged, report.removed), (10, 0, 0));
    assert!(verify::verify(&target, None).expect("comparable").is_right());
    let inode = fs::metadata(target.join("bin/app")).expect("there").ino();
    let again = first().place(&target).expect("placed");
    assert_eq!((again.written, again.unchanged, again.bytes), (0, 10, 0));
    assert_eq!(fs::metadata(target.join("bin/app")).expect("there").ino(), inode);
    let left: Vec<_> = fs::read_dir(target.join(".samara")).expect("there").collect();
    assert_eq!(left.len(), 4, "lock, manifest, entries, record: {left:?}");
}

#[test]
fn the_next_release_changes_what_changed_and_removes_what_nobody_altered() {
    let dir = tempfile::tempdir().expect("a folder");
    first().place(dir.path()).expect("placed");
    fs::write(dir.path().join("notes"), b"mine").expect("written");
    fs::write(dir.path().join("gone/mine"), b"mine").expect("written");
    let inode = fs::metadata(dir.path().join("same")).expect("there").ino();
    let report = second().place(dir.path()).expect("placed");
    let mine = file_of(b"mine");
    let folder = "folder 755".to_owned();
    let expected = with(
        second().tree(),
        &[("notes", mine.clone()), ("gone/mine", mine), ("gone", folder)],
    );
    assert_eq!(tree(dir.path()), expected);
    assert_eq!(
        fs::metadata(dir.path().join("same")).expect("there").ino(),
        inode,
        "it was written again"
    );
    assert_eq!((report.kept.len(), report.left.len()), (0, 0));
    assert_eq!(report.unchanged, 3);
    let back = first().place(dir.path()).expect("placed");
    assert_eq!(back.kept, []);
    assert!(verify::verify(dir.path(), None).expect("comparable").is_right());
}

#[test]
fn altered_and_foreign_files_are_never_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join(path);
    first().place(dir.path()).expect("placed");
    fs::write(at("bin/old"), b"altered, goes in the next").expect("written");
    fs::write(at("bin/app"), b"altered, changes in the next").expect("written");
    fs::write(at("deep/er/mine"), b"in the way").expect("written");
    fs::write(at("deep/er/x"), b"altered, in the way").expect("written");
    fs::create_dir_all(at("shared/b/mine")).expect("made");
    fs::write(at("touched"), b"").expect("written");
    // Touched and written again, but the same bytes: not altered.
    fs::write(at("gone/all/of/it"), b"goes away").expect("written");
    let mut report = second().place(dir.path()).expect("placed");
    assert_eq!(report.left, ["bin/old"]);
    report.kept.sort();
    let kept: Vec<&str> = report.kept.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(kept, ["bin/app", "deep", "deep/er/x", "shared/b"]);
    assert_eq!(
        fs::read(at(&report.kept[0].1)).expect("kept"),
        b"altered, changes in the next"
    );
    assert_eq!(
        fs::read(at(&report.kept[1].1).join("er/mine")).expect("kept"),
        b"in the way"
    );
    assert_eq!(
        fs::read(at(&report.kept[2].1)).expect("kept"),
        b"altered, in the way",
        "it is named where it is now"
    );
    assert!(at(&report.kept[3].1).join("mine").is_dir());
    let left = file_of(b"altered, goes in the next");
    let expected = with(second().tree(), &[("bin/old", left), ("touched", file_of(b""))]);
    assert_eq!(tree(dir.path()), expected);
}

#[test]
fn damaged_and_missing_files_are_repaired_by_placing_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join(path);
    first().place(dir.path()).expect("placed");
    fs::remove_file(at("same")).expect("removed");
    fs::remove_dir_all(at("deep")).expect("removed");
    fs::set_permissions(at("bin/app"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::remove_file(at("lnk")).expect("removed");
    symlink("/etc", at("lnk")).expect("linked");
    let found = verify::verify(dir.path(), None).expect("comparable");
    assert_eq!(found.missing, ["deep/er/x", "same"]);
    let report = first().place(dir.path()).expect("placed");
    assert_eq!(report.written, 4);
    assert_eq!(tree(dir.path()), first().tree());
}

#[test]
fn nothing_is_written_or_removed_through_links_that_sit_in_the_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    let at = |path: &str| dir.path().join("target").join(path);
    fs::create_dir(dir.path().join("target")).expect("made");
    fs::write(outside.path().join("old"), b"goes away").expect("written");
    fs::write(outside.path().join("victim"), b"goes away").expect("written");
    let before = tree(outside.path());
    symlink(outside.path(), at("bin")).expect("linked");
    symlink(outside.path().join("victim"), at("same")).expect("linked");
    first().place(&dir.path().join("target")).expect("placed");
    assert_eq!(tree(&dir.path().join("target")), first().tree());
    // Now a folder of ours becomes a link before the next release removes a file in it.
    fs::rename(at("bin"), at("moved")).expect("renamed");
    symlink(outside.path(), at("bin")).expect("linked");
    second().place(&dir.path().join("target")).expect("placed");
    assert_eq!(tree(outside.path()), before);
    assert!(!fs::symlink_metadata(at("bin")).expect("there").is_symlink());

    let trap = dir.path().join("trap");
    fs::create_dir(&trap).expect("made");
    symlink(outside.path(), trap.join(".samara")).expect("linked");
    assert!(matches!(first().place(&trap), Err(PlaceError::Io { path, .. }) if path == ".samara"));
    assert_eq!(tree(outside.path()), before);
}

/// Large artifacts as files that may be taken away, each once.
struct Stock {
    dir: tempfile::TempDir,
    small: HashMap<ArtifactId, Vec<u8>>,
    asked: Mutex<Vec<ArtifactId>>,
}

impl Stock {
    fn new(sample: &Sample) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut small = HashMap::new();
        for (id, bytes) in &sample.bytes {
            if bytes.len() >= 65_536 {
                fs::write(dir.path().join(id.to_string()), bytes).expect("written");
            } else {
                small.insert(*id, bytes.clone());
            }
        }
        Self {
            dir,
            small,
            asked: Mutex::default(),
        }
    }
}

impl ArtifactSource for Stock {
    fn bytes(&self, artifact: &Artifact, last: bool) -> io::Result<ArtifactBytes> {
        self.asked.lock().expect("one at a time").push(artifact.id);
        if let Some(bytes) = self.small.get(&artifact.id) {
            return Ok(ArtifactBytes::Memory(bytes.clone()));
        }
        let path = self.dir.path().join(artifact.id.to_string());
        if last {
            Ok(ArtifactBytes::Move(path))
        } else {
            Ok(ArtifactBytes::Copy(fs::File::open(path)?))
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_old_release_or_is_finished_by_the_next_run() {
    let mut crashes = 0;
    let mut switched = 0;
    for steps in 0.. {
        let dir = tempfile::tempdir().expect("a folder");
        first().place(dir.path()).expect("placed");
        fs::write(dir.path().join("bin/mine"), b"mine").expect("written");
        fs::write(dir.path().join("bin/app"), b"altered").expect("written");
        let before = tree(dir.path());
        let stock = Stock::new(&second());
        plug::pull_after(Some(steps));
        let first_try = second().place_from(dir.path(), &stock, &[]);
        plug::pull_after(None);
        if first_try.is_err() {
            crashes += 1;
            if dir.path().join(".samara/journal").exists() {
                switched += 1;
                assert!(matches!(
                    verify::verify(dir.path(), None),
                    Err(verify::VerifyDirError::Unfinished(_))
                ));
            } else if fs::read(dir.path().join(".samara/record")).expect("there").is_empty() {
                panic!("the record was cut");
            } else if tree(dir.path()) != before {
                // Only the last steps, which tidy up, have neither.
                assert!(
                    tree(dir.path()).contains_key("kind/inside"),
                    "step {steps}: half a switch without a journal"
                );
            }
            // Half of the time once more, so that a crash meets what a crash left.
            if steps % 2 == 0 {
                plug::pull_after(Some(steps / 2));
                let _ = second().place_from(dir.path(), &stock, &[]);
                plug::pull_after(None);
            }
            second()
                .place_from(dir.path(), &stock, &[])
                .expect("the next run finishes");
        }
        let expected = with(second().tree(), &[("bin/mine", file_of(b"mine"))]);
        assert_eq!(tree(dir.path()), expected, "step {steps}");
        assert!(
            verify::verify(dir.path(), None).expect("comparable").is_right(),
            "step {steps}"
        );
        assert_eq!(
            fs::read(dir.path().join(".samara/kept/1/bin/app")).expect("kept"),
            b"altered",
            "step {steps}"
        );
        assert!(!dir.path().join(".samara/stage").exists() && !dir.path().join(".samara/salvage").exists());
        if first_try.is_ok() {
            break;
        }
    }
    assert!(
        crashes > 60 && switched > 20,
        "{crashes} crashes, {switched} of them in the switch"
    );
}

#[test]
fn after_a_crash_another_release_may_be_placed_just_as_well() {
    for steps in 0.. {
        let dir = tempfile::tempdir().expect("a folder");
        first().place(dir.path()).expect("placed");
        plug::pull_after(Some(steps));
        let crashed = second().place(dir.path()).is_err();
        plug::pull_after(None);
        first().place(dir.path()).expect("placed");
        assert_eq!(tree(dir.path()), first().tree(), "step {steps}");
        if !crashed {
            break;
        }
    }
}

#[test]
fn large_files_are_renamed_from_the_source_and_copied_when_two_entries_share_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let stock = Stock::new(&second());
    let id = digest_bytes(&[2; 100_000]).id;
    let inode = fs::metadata(stock.dir.path().join(id.to_string()))
        .expect("there")
        .ino();
    second().place_from(dir.path(), &stock, &[]).expect("placed");
    assert_eq!(tree(dir.path()), second().tree());
    assert_eq!(
        fs::metadata(dir.path().join("bin/app")).expect("there").ino(),
        inode,
        "it was copied"
    );
    assert_eq!(
        fs::read_dir(stock.dir.path()).expect("there").count(),
        0,
        "all were taken"
    );
    let empty = digest_bytes(b"").id;
    assert!(
        !stock.asked.lock().expect("done").contains(&empty),
        "the source was asked for nothing"
    );
}

#[test]
fn holes_stay_holes() {
    let dir = tempfile::tempdir().expect("a folder");
    let sparse = dir.path().join("sparse");
    let file = fs::File::create(&sparse).expect("made");
    file.set_len(64 << 20).expect("set");
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], 32 << 20).expect("written");
    let bytes = fs::read(&sparse).expect("read");
    let sample = Sample::default().file("image", &bytes);
    let source = |_: &Artifact, _| fs::File::open(&sparse).map(ArtifactBytes::Copy);
    let target = dir.path().join("target");
    sample.place_from(&target, &source, &[]).expect("placed");
    assert_eq!(tree(&target), sample.tree());
    let blocks = |path: &Path| fs::metadata(path).expect("there").blocks();
    assert!(
        blocks(&target.join("image")) <= blocks(&sparse) + 16,
        "{} blocks",
        blocks(&target.join("image"))
    );
}

#[test]
fn what_changed_after_it_was_found_in_the_folder_is_not_placed() {
    let dir = tempfile::tempdir().expect("a folder");
    let found = dir.path().join("found");
    let sample = Sample::default().file("bin/app", &[7; 100_000]);
    let target = dir.path().join("target");
    let source = |_: &Artifact, _| fs::File::open(&found).map(ArtifactBytes::Exposed);
    fs::write(&found, [8; 100_000]).expect("written");
    assert!(matches!(
        sample.place_from(&target, &source, &[]),
        Err(PlaceError::Io { what: "prepared", .. })
    ));
    assert!(!target.join("bin/app").exists());
    fs::write(&found, [7; 100_000]).expect("written");
    sample.place_from(&target, &source, &[]).expect("placed");
    assert_eq!(tree(&target), sample.tree());
}

#[test]
fn a_source_that_fails_or_gives_too_little_changes_nothing_in_the_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    first().place(dir.path()).expect("placed");
    let none = |_: &Artifact, _| Err(io::ErrorKind::NotFound.into());
    assert!(matches!(
        second().place_from(dir.path(), &none, &[]),
        Err(PlaceError::Io { what: "prepared", .. })
    ));
    let short = |_: &Artifact, _| Ok(ArtifactBytes::Memory(vec![1]));
    assert!(second().place_from(dir.path(), &short, &[]).is_err());
    assert_eq!(tree(dir.path()), first().tree());
    second().place(dir.path()).expect("placed");
    assert_eq!(tree(dir.path()), second().tree());
}

#[test]
fn one_platform_is_chosen_and_a_path_that_two_have_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let sample = Sample::default()
        .file_on("app", b"x86", "linux/amd64")
        .file_on("app", b"arm", "linux/arm64")
        .file("all", b"all");
    let source = |artifact: &Artifact, _: bool| sample.source(artifact);
    let on = |texts: &[&str]| -> Vec<Platform> { texts.iter().map(|text| text.parse().expect("one")).collect() };
    let both = sample.place_from(dir.path(), &source, &on(&["linux/amd64", "linux/arm64"]));
    assert!(matches!(both, Err(PlaceError::Platforms(path)) if path.as_str() == "app"));
    assert!(matches!(
        sample.place_from(dir.path(), &source, &[]),
        Err(PlaceError::Platforms(_))
    ));
    sample
        .place_from(dir.path(), &source, &on(&["linux/arm64"]))
        .expect("placed");
    assert_eq!(fs::read(dir.path().join("app")).expect("there"), b"arm");
    let found = verify::verify(dir.path(), None).expect("comparable");
    assert!(found.is_right() && found.right == 2);
}

#[test]
fn one_entry_is_placed_alone_or_written_to_a_stream() {
    let dir = tempfile::tempdir().expect("a folder");
    first().place(dir.path()).expect("placed");
    let second = second();
    let source = |artifact: &Artifact, _: bool| second.source(artifact);
    let entry = second
        .entries
        .iter()
        .find(|entry| entry.path.as_str() == "bin/app")
        .expect("there");
    let options = PlaceOptions::default();
    let report = place_entry(dir.path(), entry, &source, &options).expect("placed");
    assert_eq!((report.written, report.kept.len()), (1, 0));
    let mut expected = first().tree();
    expected.insert("bin/app".into(), second.tree()["bin/app"].clone());
    assert_eq!(tree(dir.path()), expected);
    assert_eq!(
        place_entry(dir.path(), entry, &source, &options)
            .expect("placed")
            .unchanged,
        1
    );
    // It is ours: the next release replaces it.
    assert_eq!(first().place(dir.path()).expect("placed").kept, []);
    assert_eq!(tree(dir.path()), first().tree());

    let mut out = Vec::new();
    write_entry(entry, &source, &mut out).expect("written");
    assert_eq!(out, [2; 100_000]);
    let stock = Stock::new(&second);
    let mut out = Vec::new();
    write_entry(entry, &stock, &mut out).expect("written");
    assert_eq!(out, [2; 100_000]);
    let link = second
        .entries
        .iter()
        .find(|entry| entry.path.as_str() == "lnk")
        .expect("there");
    assert!(write_entry(link, &source, &mut out).is_err());
}

#[test]
fn two_at_once_in_one_folder_are_refused_and_a_wrong_list_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let own = Own::open(dir.path()).expect("opened");
    assert!(matches!(first().place(dir.path()), Err(PlaceError::Busy(_))));
    drop(own);
    let (head, _) = first().encode();
    let (_, list) = second().encode();
    let release = PlaceRelease {
        head: &head,
        list: &list,
        platforms: &[],
    };
    let source = |_: &Artifact, _| Err(io::ErrorKind::NotFound.into());
    let refused = place(dir.path(), &release, &source, &PlaceOptions::default());
    assert!(matches!(refused, Err(PlaceError::OtherList)));
}

#[test]
fn many_small_files_are_placed_by_many_threads_and_synced_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut sample = Sample::default();
    for i in 0..3000u32 {
        sample = sample.file(&format!("d{}/e{}/f{i}", i % 7, i % 31), format!("file {i}").as_bytes());
    }
    let (head, list) = sample.encode();
    let release = PlaceRelease {
        head: &head,
        list: &list,
        platforms: &[],
    };
    let source = |artifact: &Artifact, _: bool| sample.source(artifact);
    let seen = std::sync::atomic::AtomicU64::new(0);
    let tell = |bytes| {
        seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    let options = PlaceOptions {
        threads: 4,
        sync: true,
        progress: Some(&tell),
    };
    let report = place(dir.path(), &release, &source, &options).expect("placed");
    assert_eq!((report.written, report.bytes), (3000, seen.into_inner()));
    assert_eq!(tree(dir.path()), sample.tree());
}

#[test]
fn damage_in_what_it_remembers_costs_hashing_and_never_a_file() {
    const STEPS: usize = 12;
    for name in ["record", "manifest", "entries"] {
        for step in 0..STEPS {
            let dir = tempfile::tempdir().expect("a folder");
            first().place(dir.path()).expect("placed");
            fs::write(dir.path().join("notes"), b"mine").expect("written");
            let file = dir.path().join(".samara").join(name);
            let mut bytes = fs::read(&file).expect("there");
            if step == 0 {
                bytes.truncate(bytes.len() / 2);
            } else {
                let at = step * (bytes.len() - 1) / STEPS;
                bytes[at] ^= 1 << (step % 8);
            }
            fs::write(&file, bytes).expect("written");
            second().place(dir.path()).expect("placed all the same");
            let there = tree(dir.path());
            for (path, what) in second().tree() {
                assert_eq!(there.get(&path), Some(&what), "{path} after damage {step} to {name}");
            }
            assert_eq!(there.get("notes"), Some(&file_of(b"mine")), "damage {step} to {name}");
        }
    }
}

#[test]
fn a_record_or_journal_that_names_other_folders_reaches_nothing_outside() {
    let outer = tempfile::tempdir().expect("a folder");
    let (inside, outside) = (outer.path().join("in"), outer.path().join("out"));
    fs::create_dir_all(outside.join("folder")).expect("made");
    fs::write(outside.join("file"), b"mine").expect("written");
    let before = tree(&outside);
    let placed = |paths: &[&str]| -> String {
        let one = |path: &&str| format!("{path:?}:{{\"folder\":{{\"mode\":493}}}}");
        paths.iter().map(one).collect::<Vec<_>>().join(",")
    };
    let absolute = outside.join("folder").display().to_string();
    let paths = [
        "../out/folder",
        "../out/file",
        "bin/../../out/folder",
        &absolute,
        "",
        ".",
        "..",
        "/",
    ];
    let folders: Vec<String> = paths.iter().map(|path| format!("{path:?}")).collect();
    let record = format!(
        "{{\"schema\":0,\"manifest\":\"{}\",\"platforms\":[],\"paths\":{{{}}},\"folders\":[{}]}}",
        ManifestId([3; 32]),
        placed(&paths),
        folders.join(",")
    );
    let journal = format!("{{\"kept\":\"../../../out\",\"record\":{record}}}");
    for (name, bytes) in [("record", &record), ("journal", &journal)] {
        first().place(&inside).expect("placed");
        fs::create_dir_all(inside.join(".samara/stage/new")).expect("made");
        fs::write(inside.join(".samara").join(name), bytes).expect("written");
        // It may refuse; what it does not know it leaves alone.
        let _ = second().place(&inside);
        assert_eq!(tree(&outside), before, "a {name} reached outside");
    }
}
