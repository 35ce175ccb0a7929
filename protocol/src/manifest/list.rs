//! The entries list: one entry a line, sorted by path and then by platforms, each line ended by a line feed.
//!
//! The list is an artifact of its own that moves first and is read as a stream: [`ListReader`] takes its bytes in pieces
//! of any length. Invariant: a list has one spelling; reader and writer hold it to the same rules ([`ListRules`]). The
//! same path may stand in it more than once for platforms that no machine has together, as long as it is a folder in
//! each or in none.

use std::collections::BTreeSet;

use super::entry::{Artifact, Entry, EntryError, EntryKind};
use super::path::ReleasePath;
use super::platform::PlatformSet;
use super::twins::{PathKind, TwinCheck, TwinError};
use crate::id::{ArtifactId, Sha256};
use crate::limits::{ENTRIES_BYTES_MAX, ENTRIES_MAX, ENTRY_LINE_BYTES_MAX, PLATFORM_SETS_MAX};

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A line is no entry.
    #[error("line {line} of the entries list is refused")]
    Entry {
        /// From 1.
        line: u32,
        /// Why.
        #[source]
        cause: EntryError,
    },
    /// A line is longer than any entry.
    #[error("line {0} of the entries list is longer than {ENTRY_LINE_BYTES_MAX} bytes")]
    Line(u32),
    /// The last line is not ended.
    #[error("the entries list ends inside line {0}")]
    Cut(u32),
    /// Too many entries or bytes.
    #[error(
        "the entries list has more than {ENTRIES_MAX} entries or {ENTRIES_BYTES_MAX} bytes; publish the release in parts, or pack small files into archives"
    )]
    Large,
    /// Out of order, or the same twice.
    #[error("`{0}` is listed twice, or out of order")]
    Order(ReleasePath),
    /// The same path for platforms that overlap.
    #[error("`{path}` is listed for {a} and for {b}, which are the same machines in part; give each platform one")]
    Platforms {
        /// Which path.
        path: ReleasePath,
        /// One entry's platforms.
        a: String,
        /// The other's.
        b: String,
    },
    /// Too many different platform sets.
    #[error("the release has more than {PLATFORM_SETS_MAX} different sets of platforms; merge some")]
    Sets,
    /// Twins.
    #[error(transparent)]
    Twin(#[from] TwinError),
}

/// What the list as a whole must keep, entry by entry.
#[derive(Debug, Default)]
pub struct ListRules {
    count: u32,
    bytes: u64,
    twins: TwinCheck,
    /// The path before, with the platforms of each of its entries.
    path: Option<ReleasePath>,
    platforms: Vec<PlatformSet>,
    sets: BTreeSet<PlatformSet>,
}

impl ListRules {
    /// Adds the next entry, whose line has `len` bytes with its line feed.
    ///
    /// # Errors
    /// When the list cannot have it in this place.
    pub fn add(&mut self, entry: &Entry, len: usize) -> Result<(), ListError> {
        self.count += 1;
        self.bytes += len as u64;
        if self.count > ENTRIES_MAX || self.bytes > ENTRIES_BYTES_MAX {
            return Err(ListError::Large);
        }
        self.order(entry)?;
        let kind = match entry.kind {
            EntryKind::Directory { .. } => PathKind::Folder,
            EntryKind::File { .. } | EntryKind::Symlink { .. } => PathKind::Leaf,
        };
        self.twins.add(&entry.path, kind)?;
        if !self.sets.contains(&entry.platforms) {
            self.sets.insert(entry.platforms.clone());
            if self.sets.len() > PLATFORM_SETS_MAX {
                return Err(ListError::Sets);
            }
        }
        Ok(())
    }

    /// Entries so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    fn order(&mut self, entry: &Entry) -> Result<(), ListError> {
        if self.path.as_ref() != Some(&entry.path) {
            if self.path.as_ref().is_some_and(|before| *before > entry.path) {
                return Err(ListError::Order(entry.path.clone()));
            }
            self.path = Some(entry.path.clone());
            self.platforms.clear();
        }
        if self.platforms.last().is_some_and(|before| *before >= entry.platforms) {
            return Err(ListError::Order(entry.path.clone()));
        }
        if let Some(other) = self.platforms.iter().find(|other| !other.is_disjoint(&entry.platforms)) {
            return Err(ListError::Platforms {
                path: entry.path.clone(),
                a: other.to_string(),
                b: entry.platforms.to_string(),
            });
        }
        self.platforms.push(entry.platforms.clone());
        Ok(())
    }
}

/// Reads a list in pieces of any length.
#[derive(Debug, Default)]
pub struct ListReader {
    rules: ListRules,
    /// The line that has begun.
    line: Vec<u8>,
}

impl ListReader {
    /// At the start of a list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes; `each` gets every entry that they complete.
    ///
    /// # Errors
    /// When the bytes are no list; nothing more may be fed then. What `each` got before must not be used either.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Entry)) -> Result<(), ListError> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.line.is_empty() {
                each(self.entry(line)?);
            } else {
                self.keep(line)?;
                let line = std::mem::take(&mut self.line);
                each(self.entry(&line)?);
            }
        }
        self.keep(bytes)
    }

    /// The end of the list: how many entries it had.
    ///
    /// # Errors
    /// When the last line is not ended.
    pub fn finish(self) -> Result<u32, ListError> {
        if self.line.is_empty() {
            Ok(self.rules.count())
        } else {
            Err(ListError::Cut(self.rules.count() + 1))
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        if self.line.len() + bytes.len() > ENTRY_LINE_BYTES_MAX {
            return Err(ListError::Line(self.rules.count() + 1));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn entry(&mut self, line: &[u8]) -> Result<Entry, ListError> {
        let number = self.rules.count() + 1;
        if line.len() > ENTRY_LINE_BYTES_MAX {
            return Err(ListError::Line(number));
        }
        let entry = Entry::decode(line).map_err(|cause| ListError::Entry { line: number, cause })?;
        self.rules.add(&entry, line.len() + 1)?;
        Ok(entry)
    }
}

/// Reads a whole list.
///
/// # Errors
/// When the bytes are no list.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, ListError> {
    let mut entries = Vec::new();
    let mut reader = ListReader::new();
    reader.feed(bytes, |entry| entries.push(entry))?;
    reader.finish()?;
    Ok(entries)
}

/// A list as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedList {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Them as an artifact.
    pub artifact: Artifact,
    /// How many entries.
    pub count: u32,
}

/// Sorts entries and writes the list.
///
/// # Errors
/// When they cannot be one release.
pub fn encode(entries: &mut [Entry]) -> Result<EncodedList, ListError> {
    entries.sort_by(|a, b| (&a.path, &a.platforms).cmp(&(&b.path, &b.platforms)));
    let mut rules = ListRules::default();
    let mut bytes = Vec::new();
    for entry in entries.iter() {
        let line = entry.encode();
        if line.len() > ENTRY_LINE_BYTES_MAX {
            return Err(ListError::Line(rules.count() + 1));
        }
        rules.add(entry, line.len() + 1)?;
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
    }
    let artifact = Artifact {
        id: ArtifactId(*blake3::hash(&bytes).as_bytes()),
        sha256: Sha256(<sha2::Sha256 as sha2::Digest>::digest(&bytes).into()),
        size: bytes.len() as u64,
    };
    Ok(EncodedList {
        bytes,
        artifact,
        count: rules.count(),
    })
}

#[cfg(test)]
pub(super) mod tests;
