//! A product's metadata files as they travel and lie on disk, and what a peer needs of them.

use std::collections::BTreeMap;

use crate::limits::{METADATA_BYTES_MAX, METADATA_SET_BYTES_MAX, ROOT_ROTATIONS_MAX};
use crate::trust::role::Role;

/// Metadata files, whole or the newer part of a set: roots by version, and at most one file of each other role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataFiles {
    /// Root files by version.
    pub roots: BTreeMap<u64, Vec<u8>>,
    /// The other roles' files.
    pub roles: BTreeMap<Role, Vec<u8>>,
}

/// The version of each role's file, 0 for none: what two peers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary(pub [u64; 8]);

impl Summary {
    /// The version of one role.
    #[must_use]
    pub const fn version(&self, role: Role) -> u64 {
        self.0[role as usize]
    }

    /// Sets the version of one role.
    pub const fn set(&mut self, role: Role, version: u64) {
        self.0[role as usize] = version;
    }

    /// The bytes that peers exchange: eight big-endian numbers in the order of [`Role::ALL`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|version| version.to_be_bytes()).collect()
    }

    /// Reads what [`Summary::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let versions: Vec<u64> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
        let versions = versions.try_into().ok().filter(|_| rest.is_empty())?;
        Some(Self(versions))
    }

    /// Whether a peer with `other` has something to learn from one with `self`: a newer root, else a newer timestamp
    /// under the same root.
    #[must_use]
    pub const fn is_ahead_of(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.version(Role::Root), other.version(Role::Root));
        mine > theirs || (mine == theirs && self.version(Role::Timestamp) > other.version(Role::Timestamp))
    }
}

/// Why bytes are not a set of metadata files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// Too many bytes or files.
    #[error("the metadata is larger than {METADATA_SET_BYTES_MAX} bytes, or has more than {ROOT_ROTATIONS_MAX} roots")]
    TooLarge,
    /// A line that is not a name and a file.
    #[error("line {line} is not the name of a metadata file and the file")]
    Line {
        /// Which, from 1.
        line: usize,
    },
}

impl MetadataFiles {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.roles.is_empty()
    }

    /// All files with their names on disk: `<n>.root.json` and `<role>.json`.
    pub fn named(&self) -> impl Iterator<Item = (String, &[u8])> {
        let roots = self
            .roots
            .iter()
            .map(|(version, file)| (format!("{version}.root.json"), file.as_slice()));
        let roles = self
            .roles
            .iter()
            .map(|(role, file)| (role.file_name(), file.as_slice()));
        roots.chain(roles)
    }

    /// Adds a file by its name; false when the name is no metadata file's.
    pub fn insert(&mut self, name: &str, file: Vec<u8>) -> bool {
        let Some(stem) = name.strip_suffix(".json") else {
            return false;
        };
        if let Some(version) = stem.strip_suffix(".root").and_then(|text| text.parse::<u64>().ok()) {
            return format!("{version}.root.json") == name && self.roots.insert(version, file).is_none();
        }
        match Role::from_name(stem) {
            Some(role) if role != Role::Root => self.roles.insert(role, file).is_none(),
            _ => false,
        }
    }

    /// The set as bytes: one line a file, its name, a space, the file. (Files are canonical JSON: no line breaks.)
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, file) in self.named() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(file);
            bytes.push(b'\n');
        }
        bytes
    }

    /// Reads what [`MetadataFiles::encode`] wrote. Nothing is verified.
    ///
    /// # Errors
    /// When it is too large or a line is not a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, FilesError> {
        if bytes.len() as u64 > METADATA_SET_BYTES_MAX {
            return Err(FilesError::TooLarge);
        }
        let mut files = Self::default();
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        for (index, line) in lines.enumerate() {
            let bad = FilesError::Line { line: index + 1 };
            let line = line.strip_suffix(b"\n").ok_or_else(|| bad.clone())?;
            let space = line.iter().position(|&byte| byte == b' ').ok_or_else(|| bad.clone())?;
            let name = std::str::from_utf8(&line[..space]).map_err(|_| bad.clone())?;
            let file = line[space + 1..].to_vec();
            if file.len() as u64 > METADATA_BYTES_MAX {
                return Err(FilesError::TooLarge);
            }
            if !files.insert(name, file) {
                return Err(bad);
            }
            if files.roots.len() > ROOT_ROTATIONS_MAX as usize {
                return Err(FilesError::TooLarge);
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_back_and_no_other_length_is() {
        let summary = Summary([1, 2, 3, 4, 5, 6, 7, u64::MAX]);
        assert_eq!(Summary::decode(&summary.encode()), Some(summary));
        assert!(summary.encode().len() <= crate::limits::SUMMARY_BYTES_MAX);
        assert_eq!(Summary::decode(&[0; 63]), None);
        assert_eq!(Summary::decode(&[0; 72]), None);
    }

    #[test]
    fn a_set_of_files_is_read_back_and_other_names_are_refused() {
        let mut files = MetadataFiles::default();
        assert!(files.insert("1.root.json", b"{}".to_vec()));
        assert!(files.insert("targets.json", b"{\"a\":1}".to_vec()));
        for bad in [
            "root.json",
            "01.root.json",
            "1.root.json",
            "../x.json",
            "evil.json",
            "targets",
        ] {
            assert!(!files.insert(bad, Vec::new()), "{bad}");
        }
        assert_eq!(MetadataFiles::decode(&files.encode()), Ok(files));
        assert!(MetadataFiles::decode(b"targets.json {}").is_err());
        assert!(MetadataFiles::decode(b"targets.json {}\ntargets.json {}\n").is_err());
        assert!(MetadataFiles::decode(b"x\n").is_err());
    }
}
