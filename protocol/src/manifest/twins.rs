//! No two paths of a release may be one file on some system.
//!
//! Invariant: over all platforms together, paths that fold to the same text (Unicode canonical caseless matching, and
//! characters that some file systems ignore left out) are spelled the same, and a path is either a folder or something
//! else. Folders count wherever a path goes through them: `Docs/a` and `docs/b` are twins. Kept per path: two 64-bit
//! hashes, so that a million entries stay in tens of megabytes; a chance collision (below one in ten million) refuses.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use super::path::ReleasePath;

/// What a path is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Something may lie below it.
    Folder,
    /// A file or a link.
    Leaf,
}

/// Two paths that cannot be in one release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// Two spellings of what is one name on some system.
    #[error(
        "`{0}` differs from another path of the release only by letter case or Unicode form; macOS and Windows take them for one, rename one"
    )]
    Spelling(String),
    /// A file or link that is a folder elsewhere.
    #[error("`{0}` is a file or link in one place of the release and a folder in another; rename one")]
    Kind(String),
}

/// All paths seen so far.
#[derive(Debug, Default)]
pub struct TwinCheck {
    seen: BTreeMap<u64, (u64, PathKind)>,
    /// The folder of the path before, known to be fine with all above it.
    folder: String,
}

impl TwinCheck {
    /// Nothing seen.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a path and the folders above it. The same path may come again with the same kind (for another platform).
    ///
    /// # Errors
    /// When it is a twin of an earlier one, or a folder and not one.
    pub fn add(&mut self, path: &ReleasePath, kind: PathKind) -> Result<(), TwinError> {
        let folder = path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder != self.folder {
            for above in path.ancestors() {
                self.add_one(above, PathKind::Folder)?;
            }
            folder.clone_into(&mut self.folder);
        }
        self.add_one(path.as_str(), kind)
    }

    fn add_one(&mut self, path: &str, kind: PathKind) -> Result<(), TwinError> {
        let (folded, spelled) = (short_hash(&fold(path)), short_hash(path));
        let (other, other_kind) = *self.seen.entry(folded).or_insert((spelled, kind));
        if other != spelled {
            Err(TwinError::Spelling(path.to_owned()))
        } else if other_kind != kind {
            Err(TwinError::Kind(path.to_owned()))
        } else {
            Ok(())
        }
    }
}

/// What two names have in common when some file system takes them for one.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let visible: String = text.chars().filter(|c| !is_ignored(*c)).collect();
    let decomposed: String = visible.nfd().collect();
    caseless::default_case_fold_str(&decomposed).nfd().collect()
}

/// Characters that HFS+ leaves out when it compares names.
const fn is_ignored(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn short_hash(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_all(paths: &[(&str, PathKind)]) -> Result<(), TwinError> {
        let mut check = TwinCheck::new();
        paths
            .iter()
            .try_for_each(|(path, kind)| check.add(&ReleasePath::new(path).expect(path), *kind))
    }

    #[test]
    fn spellings_of_one_name_are_twins_wherever_they_stand() {
        use PathKind::Leaf;
        for (a, b) in [
            ("README", "readme"),
            ("Docs/a", "docs/b"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{c9}t\u{e9}", "\u{e9}t\u{e9}"),
            ("a\u{200d}b", "ab"),
            ("\u{212a}elvin", "kelvin"),
            ("x/\u{3a3}", "x/\u{3c2}"),
        ] {
            let (Ok(_), Ok(_)) = (ReleasePath::new(a), ReleasePath::new(b)) else {
                // The Kelvin sign is not NFC and is refused before it gets here.
                assert_eq!(a, "\u{212a}elvin");
                continue;
            };
            let answer = add_all(&[(a, Leaf), (b, Leaf)]);
            assert!(matches!(answer, Err(TwinError::Spelling(_))), "{a} and {b}");
        }
        assert_eq!(
            add_all(&[("a", Leaf), ("b", Leaf), ("\u{e9}", Leaf), ("e", Leaf)]),
            Ok(())
        );
    }

    #[test]
    fn a_path_is_a_folder_or_something_else() {
        use PathKind::{Folder, Leaf};
        assert_eq!(add_all(&[("a", Leaf), ("a/b", Leaf)]), Err(TwinError::Kind("a".into())));
        assert_eq!(
            add_all(&[("a/b/c", Leaf), ("a/b", Leaf)]),
            Err(TwinError::Kind("a/b".into()))
        );
        assert_eq!(add_all(&[("a", Folder), ("a/b", Leaf), ("a/c", Leaf)]), Ok(()));
        assert_eq!(add_all(&[("a", Leaf), ("a", Leaf)]), Ok(()));
        assert_eq!(add_all(&[("a", Leaf), ("a", Folder)]), Err(TwinError::Kind("a".into())));
    }
}
