//! Key files: one line, `samara-ed25519-seed` and 64 hexadecimal digits, readable by the owner alone.

use std::io;
use std::path::Path;

use samara_protocol::trust::key::SigningKey;

use super::AccessError;
use super::disk::{self, Readers};
use super::entropy::new_key;

const WORD: &str = "samara-ed25519-seed";
/// Longer than any key file.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// Makes a new key and its file.
///
/// # Errors
/// [`AccessError::Exists`] when the file is there: a key is never overwritten.
pub fn create(path: &Path) -> Result<SigningKey, AccessError> {
    let key = new_key();
    let line = format!("{WORD} {}\n", data_encoding::HEXLOWER.encode(key.seed()));
    match disk::write_once(path, line.as_bytes(), Readers::Owner) {
        Ok(()) => Ok(key),
        Err(AccessError::Io { source, path }) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(AccessError::Exists {
                path,
                way_out: "a key is never overwritten; move it away if a new one is wanted",
            })
        }
        Err(error) => Err(error),
    }
}

/// Opens a key file; nothing when there is none.
///
/// # Errors
/// When others can read it, or it is no key file.
pub fn open(path: &Path) -> Result<Option<SigningKey>, AccessError> {
    let Some(bytes) = disk::read(path, KEY_FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    disk::check_private(path)?;
    let seed = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.strip_prefix(WORD)?.strip_prefix(' ')?.strip_suffix('\n'))
        .and_then(|digits| data_encoding::HEXLOWER.decode(digits.as_bytes()).ok())
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match seed {
        Some(seed) => Ok(Some(SigningKey::from_seed(seed))),
        None => Err(AccessError::damaged(
            path,
            "it is not a samara key file; restore it from a backup",
        )),
    }
}

/// Opens a key file that must be there.
///
/// # Errors
/// As [`open`], and [`AccessError::Absent`] with `way_out`.
pub fn require(path: &Path, way_out: &'static str) -> Result<SigningKey, AccessError> {
    open(path)?.ok_or_else(|| AccessError::Absent {
        path: path.to_owned(),
        way_out,
    })
}

/// Opens a key file, or makes it when there is none.
///
/// # Errors
/// As [`open`].
pub fn open_or_create(path: &Path) -> Result<SigningKey, AccessError> {
    if let Some(key) = open(path)? {
        return Ok(key);
    }
    match create(path) {
        // Another process was quicker.
        Err(AccessError::Exists { path, way_out }) => require(&path, way_out),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.key");
        assert!(open(&path).expect("readable").is_none());
        let key = open_or_create(&path).expect("made");
        let again = open_or_create(&path).expect("read");
        assert_eq!(key.public(), again.public());
        assert!(matches!(create(&path), Err(AccessError::Exists { .. })));
    }

    #[test]
    fn a_damaged_key_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.key");
        create(&path).expect("made");
        let good = std::fs::read(&path).expect("read");
        for bad in [
            &good[..good.len() - 2],
            b"",
            b"samara-ed25519-seed 00\n",
            &[good.as_slice(), b"x"].concat(),
        ] {
            std::fs::write(&path, bad).expect("written");
            let error = open(&path).expect_err("refused");
            assert!(error.to_string().contains("x.key"), "{error}");
        }
    }
}
