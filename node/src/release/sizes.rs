//! How large a release is: what its files come to, and what of that is unique, since content that repeats moves and is
//! stored once. `publish` and `fetch` say both in the same words.

use std::collections::BTreeSet;
use std::fmt;

use samara_protocol::manifest::entry::Entry;
use samara_protocol::units::show_bytes;

/// Two sizes of the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Bytes of all files.
    pub files: u64,
    /// Bytes of them, each content once.
    pub unique: u64,
}

impl Sizes {
    /// Those of some entries of a release.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let (mut sizes, mut seen) = (Self::default(), BTreeSet::new());
        for artifact in entries.into_iter().filter_map(Entry::artifact) {
            sizes.files += artifact.size;
            if seen.insert(artifact.id) {
                sizes.unique += artifact.size;
            }
        }
        sizes
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, unique } = self;
        write!(f, "{} of files, {} unique", show_bytes(*files), show_bytes(*unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::scan::{ScanOptions, ScanRoot, scan};

    #[test]
    fn what_repeats_counts_once_among_what_is_unique() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, bytes) in [
            ("a", vec![1; 2048]),
            ("b", vec![1; 2048]),
            ("c", vec![2; 1024]),
            ("d", vec![]),
        ] {
            std::fs::write(dir.path().join(name), bytes).expect("written");
        }
        let root = ScanRoot {
            path: dir.path().to_owned(),
            platforms: samara_protocol::manifest::platform::PlatformSet::every(),
        };
        let scanned = scan(&[root], &ScanOptions::default()).expect("a release");
        let sizes = Sizes::of(&scanned.entries);
        assert_eq!((sizes.files, sizes.unique), (5120, 3072));
        assert_eq!(sizes.to_string(), "5.0 KiB of files, 3.0 KiB unique");
    }
}
