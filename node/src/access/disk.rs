//! Small files: written whole or not at all, read with a bound, private where they must be.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::AccessError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The owner alone: 0600.
    Owner,
    /// Everybody: 0644, less the umask.
    All,
}

/// Makes a directory and its parents, for the owner alone where they are new.
///
/// # Errors
/// When the system refuses.
pub fn make_dir(path: &Path) -> Result<(), AccessError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(AccessError::io(path))
}

/// Writes `bytes` to `path` so that after a crash it holds either the old or the new bytes, whole.
///
/// # Errors
/// When the system refuses; the old file is then as it was.
pub fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), AccessError> {
    let temporary = temporary(path);
    let written = write_new(&temporary, bytes, readers).and_then(|()| {
        fs::rename(&temporary, path)?;
        sync_parent(path)
    });
    written.map_err(|source| {
        // Nobody knows the temporary name: left behind, it would lie there for ever.
        let _ = fs::remove_file(&temporary);
        AccessError::io(path)(source)
    })
}

/// As [`write()`], but refuses when `path` exists: two processes never both think that they made it.
///
/// # Errors
/// [`AccessError::Io`] with `AlreadyExists` when it is there.
pub fn write_once(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), AccessError> {
    let temporary = temporary(path);
    let written = write_new(&temporary, bytes, readers).and_then(|()| {
        fs::hard_link(&temporary, path)?;
        sync_parent(path)
    });
    let _ = fs::remove_file(&temporary);
    written.map_err(AccessError::io(path))
}

/// Reads a file of at most `max` bytes; nothing when it is not there.
///
/// # Errors
/// When it is longer, or the system refuses.
pub fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, AccessError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AccessError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(AccessError::io(path))?;
    if bytes.len() as u64 > max {
        return Err(AccessError::damaged(path, format!("it is longer than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Reads a JSON file; nothing when it is not there.
///
/// # Errors
/// When it is not what is expected.
pub fn read_json<T: DeserializeOwned>(path: &Path, max: u64) -> Result<Option<T>, AccessError> {
    let Some(bytes) = read(path, max)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&bytes).map_err(|error| AccessError::damaged(path, error))?;
    Ok(Some(value))
}

/// Writes a JSON file for people to read too.
///
/// # Errors
/// As [`write()`].
pub fn write_json<T: Serialize>(path: &Path, value: &T, readers: Readers) -> Result<(), AccessError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| AccessError::damaged(path, error))?;
    bytes.push(b'\n');
    write(path, &bytes, readers)
}

/// Refuses a file that others than its owner, or the superuser, could read or write.
///
/// # Errors
/// [`AccessError::Exposed`].
pub fn check_private(path: &Path) -> Result<(), AccessError> {
    let found = fs::metadata(path).map_err(AccessError::io(path))?;
    let exposed = |reason: String| AccessError::Exposed {
        path: path.to_owned(),
        reason,
    };
    if found.mode() & 0o077 != 0 {
        return Err(exposed(format!(
            "mode {:04o} lets others at the key",
            found.mode() & 0o7777
        )));
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user && user != 0 {
        return Err(exposed(format!(
            "the key belongs to user {}, not to {user}",
            found.uid()
        )));
    }
    Ok(())
}

/// Holds a lock file until it is dropped: one writer of a directory at a time, across processes.
///
/// # Errors
/// When the system refuses.
pub fn lock(path: &Path) -> Result<File, AccessError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(AccessError::io(path))?;
    file.lock().map_err(AccessError::io(path))?;
    Ok(file)
}

fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Beside `path`, so that the rename stays in one file system; with enough randomness that two writers never meet.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let random = data_encoding::HEXLOWER.encode(&super::entropy::random_id()[..8]);
    path.with_file_name(format!(".{name}.{random}.new"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        write(&path, b"one", Readers::Owner).expect("written");
        write(&path, b"two", Readers::Owner).expect("written");
        assert_eq!(read(&path, 3).expect("read"), Some(b"two".to_vec()));
        assert!(read(&path, 2).is_err(), "longer than the bound");
        assert!(write_once(&path, b"three", Readers::Owner).is_err());
        assert_eq!(read(&path, 3).expect("read"), Some(b"two".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&dir.path().join("none"), 1).expect("read"), None);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("k");
        write(&path, b"secret", Readers::Owner).expect("written");
        assert!(check_private(&path).is_ok());
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let error = check_private(&path).expect_err("exposed");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
}
