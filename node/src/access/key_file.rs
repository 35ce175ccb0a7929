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
    match seed_in(&bytes) {
        Some(seed) => Ok(Some(SigningKey::from_seed(seed))),
        None => Err(AccessError::damaged(
            path,
            "it is not a samara key file; restore it from a backup",
        )),
    }
}

fn seed_in(bytes: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text.strip_prefix(WORD)?.strip_prefix(' ')?.strip_suffix('\n')?;
    let seed = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok()?;
    seed.try_into().ok()
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
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "samara-ed25519-seed 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

    proptest! {
        #[test]
        fn random_and_mutated_bytes_are_no_key_unless_they_are_the_line_of_one(
            random in proptest::collection::vec(any::<u8>(), 0..100), at in 0..GOOD.len(), value: u8
        ) {
            prop_assert_eq!(seed_in(&random), None);
            let mut mutated = GOOD.as_bytes().to_vec();
            mutated[at] = value;
            if let Some(seed) = seed_in(&mutated) {
                let line = format!("{WORD} {}\n", data_encoding::HEXLOWER.encode(&seed));
                prop_assert_eq!(line.as_bytes(), mutated.as_slice());
            }
        }
    }

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
