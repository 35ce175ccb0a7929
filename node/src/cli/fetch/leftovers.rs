//! How stores of fetches go: one's own when it ends, and those of fetches to stdout that were killed: nobody goes on with them,
//! as another fetch has one of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::Store;

/// The file in a store's folder that its process holds.
const LOCK: &str = "lock";
/// What the folder of such a store is called, before the number of its process.
const PREFIX: &str = "fetch-";

/// Where this process's fetch to stdout keeps what it has.
pub(super) fn own(home: &Path) -> PathBuf {
    home.join(format!("{PREFIX}{}", std::process::id()))
}

/// Removes those that no process uses any more. What cannot be removed now is tried again by the next fetch.
pub(super) fn remove(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if let Some(_held) = number.and_then(|_| lock(&path)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Removes the folder of a store that is done with, its lock last: until then others are told that it is in use, and whoever
/// makes it anew after that finds nothing of this one and loses nothing to it.
pub(super) fn remove_own(store: Store, dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(dir.join(LOCK))?;
    drop(store);
    match fs::remove_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
        removed => removed,
    }
}

/// The store's lock, if nobody holds it; whoever opens the store meanwhile is told that it is in use. One without a lock file is
/// just being made.
fn lock(store: &Path) -> Option<File> {
    File::open(store.join(LOCK)).ok().filter(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn a_killed_fetchs_store_goes_and_one_in_use_stays() {
        let home = tempfile::tempdir().expect("a directory");
        let path = |name: &str| home.path().join(name);
        let (running, _) = Store::open(&path("fetch-1"), StoreOptions::default()).expect("a store");
        drop(Store::open(&path("fetch-2"), StoreOptions::default()).expect("a store"));
        fs::create_dir(path("fetch-3")).expect("a directory");
        fs::create_dir(path("fetch-notes")).expect("a directory");
        File::create(path("fetch-notes/lock")).expect("a file");
        remove(home.path());
        let left = ["fetch-1", "fetch-2", "fetch-3", "fetch-notes"].map(|name| path(name).exists());
        assert_eq!(left, [true, false, true, true]);
        drop(running);
        remove(home.path());
        assert!(!path("fetch-1").exists());
    }

    /// Any number of processes that come and go in one folder: each has it alone, and none loses what it has in it.
    #[test]
    fn a_store_that_goes_takes_nothing_from_those_that_come() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("store");
        let come_and_go = || {
            let mut had = 0;
            while had < 50 {
                let Ok((store, _)) = Store::open(&dir, StoreOptions::default()) else {
                    continue;
                };
                let mine = dir.join("mine");
                File::create_new(&mine).expect("nobody else is here");
                remove_own(store, &dir).expect("removed");
                had += 1;
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(come_and_go);
            }
        });
        assert!(!dir.exists());
    }
}
