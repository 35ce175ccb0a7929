//! One line of the entries list: what lies at a path, for which platforms.
//!
//! Invariant: a line is the canonical JSON of its entry: keys sorted, no white space, nothing that is a default. Decoding
//! encodes again and compares, so no entry has two spellings and no field is overlooked.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::layout::ArtifactRef;
use super::path::{LinkTarget, PathError, ReleasePath};
use super::platform::{Platform, PlatformError, PlatformSet};
use crate::id::{ArtifactId, Sha256};
use crate::tree::geometry::{Geometry, TooLarge};

/// Why bytes are no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not the JSON that is expected.
    #[error("it is not an entry")]
    Json(#[from] serde_json::Error),
    /// The path or link target.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The platforms.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// The mode.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// The artifact's size.
    #[error(transparent)]
    Size(#[from] TooLarge),
    /// A field that the kind has not, or lacks.
    #[error("`{path}`: a {kind} entry has the wrong fields")]
    Fields {
        /// Where.
        path: String,
        /// `file`, `directory` or `symlink`.
        kind: &'static str,
    },
    /// Empty, but its id is not that of no bytes.
    #[error("artifact {0} has no bytes, but is not named by the hash of no bytes")]
    Empty(ArtifactId),
    /// Right but spelled in another way.
    #[error("it is not in canonical form (sorted keys, no white space, no defaults)")]
    Canonical,
}

/// Immutable bytes with both their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// BLAKE3 root.
    pub id: ArtifactId,
    /// SHA-256, for tools that know no BLAKE3; checked by `verify`.
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
}

impl Artifact {
    /// What a layout needs of it.
    #[must_use]
    pub const fn layout_ref(&self) -> ArtifactRef {
        ArtifactRef {
            id: self.id,
            size: self.size,
        }
    }

    /// Whether size and id can belong together.
    pub(super) fn check(&self) -> Result<(), EntryError> {
        Geometry::new(self.size)?;
        if self.size == 0 && self.id.as_bytes() != blake3::hash(&[]).as_bytes() {
            return Err(EntryError::Empty(self.id));
        }
        Ok(())
    }
}

/// The mode is not one that a release may give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "mode `{0}` is not allowed: four octal digits, readable by the owner, writable by nobody else, no setuid, setgid or sticky bit"
)]
pub struct ModeError(pub String);

/// Permission bits. A release never gives setuid, setgid or sticky bits, never lets others write, and never makes a file
/// that its owner cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u16);

impl Mode {
    /// 0644.
    pub const FILE: Self = Self(0o644);
    /// 0755, of programs and folders.
    pub const EXECUTABLE: Self = Self(0o755);

    /// Checks the bits.
    ///
    /// # Errors
    /// When a bit is set that may not be, or the owner cannot read.
    pub fn new(bits: u32) -> Result<Self, ModeError> {
        let allowed = bits & !0o755 == 0 && bits & 0o400 != 0;
        let bits16 = u16::try_from(bits).ok().filter(|_| allowed);
        bits16.map(Self).ok_or_else(|| ModeError(format!("{bits:04o}")))
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let error = || ModeError(text.chars().take(20).collect());
        let bits = u32::from_str_radix(text, 8).map_err(|_| error())?;
        Self::new(bits).map_err(|_| error())
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A media type without parameters, `application/json` for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MediaType(String);

/// The text is no media type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a media type; write type/subtype in lower case, without parameters")]
pub struct MediaTypeError(String);

impl MediaType {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&^_.+-".contains(&b);
        let name = |part: &str| (1..=64).contains(&part.len()) && part.bytes().all(inside);
        match text.split_once('/') {
            Some((kind, subtype)) if name(kind) && name(subtype) => Ok(Self(text.to_owned())),
            _ => Err(MediaTypeError(text.chars().take(100).collect())),
        }
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Its permissions.
        mode: Mode,
        /// Its bytes.
        artifact: Artifact,
        /// What they are, when the publisher said so.
        media_type: Option<MediaType>,
    },
    /// A folder. Those above other entries need none of their own: they get 0755.
    Directory {
        /// Its permissions.
        mode: Mode,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: LinkTarget,
    },
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: ReleasePath,
    /// For which platforms.
    pub platforms: PlatformSet,
    /// What.
    pub kind: EntryKind,
}

/// The line as JSON has it; fields in the order of their keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<Artifact>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "mediaType", skip_serializing_if = "Option::is_none")]
    media_type: Option<MediaType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    platforms: Cow<'a, [Platform]>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
}

impl Entry {
    /// The artifact, of a file.
    #[must_use]
    pub const fn artifact(&self) -> Option<&Artifact> {
        match &self.kind {
            EntryKind::File { artifact, .. } => Some(artifact),
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => None,
        }
    }

    /// The canonical line, without the line feed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut line = Line {
            artifact: None,
            kind: Cow::Borrowed("file"),
            media_type: None,
            mode: None,
            path: Cow::Borrowed(self.path.as_str()),
            platforms: Cow::Borrowed(self.platforms.members()),
            target: None,
        };
        match &self.kind {
            EntryKind::File {
                mode,
                artifact,
                media_type,
            } => {
                line.artifact = Some(*artifact);
                line.media_type.clone_from(media_type);
                line.mode = Some(*mode);
            }
            EntryKind::Directory { mode } => {
                line.kind = Cow::Borrowed("directory");
                line.mode = Some(*mode);
            }
            EntryKind::Symlink { target } => {
                line.kind = Cow::Borrowed("symlink");
                line.target = Some(Cow::Borrowed(target.as_str()));
            }
        }
        serde_json::to_vec(&line).expect("strings and numbers always have a JSON form")
    }

    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// When it is not the canonical line of a possible entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let line: Line<'_> = serde_json::from_slice(bytes)?;
        let path = ReleasePath::new(&line.path)?;
        let platforms = PlatformSet::try_from(line.platforms.into_owned())?;
        let kind = match (line.kind.as_ref(), line.artifact, line.mode, line.target) {
            ("file", Some(artifact), Some(mode), None) => {
                artifact.check()?;
                EntryKind::File {
                    mode,
                    artifact,
                    media_type: line.media_type,
                }
            }
            ("directory", None, Some(mode), None) if mode.bits() & 0o700 == 0o700 => EntryKind::Directory { mode },
            ("symlink", None, None, Some(target)) => EntryKind::Symlink {
                target: LinkTarget::new(&path, &target)?,
            },
            (kind, ..) => {
                let kind = ["file", "directory", "symlink"].into_iter().find(|name| *name == kind);
                let (path, kind) = (path.to_string(), kind.unwrap_or("unknown"));
                return Err(EntryError::Fields { path, kind });
            }
        };
        let entry = Self { path, platforms, kind };
        // A media type of a folder, white space, escapes, defaults spelled out: all end here.
        if entry.encode() == bytes {
            Ok(entry)
        } else {
            Err(EntryError::Canonical)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"artifact":{"id":"ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f","sha256":"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","size":5},"kind":"file","mediaType":"text/plain","mode":"0644","path":"a/hello.txt","platforms":["linux/amd64","linux/arm64"]}"#;
    const LINK: &str = r#"{"kind":"symlink","path":"a/b","target":"../c"}"#;
    const FOLDER: &str = r#"{"kind":"directory","mode":"0755","path":"empty"}"#;

    #[test]
    fn canonical_lines_are_read_and_written_byte_for_byte() {
        for line in [FILE, LINK, FOLDER] {
            let entry = Entry::decode(line.as_bytes()).expect(line);
            assert_eq!(String::from_utf8(entry.encode()).as_deref(), Ok(line));
        }
        let file = Entry::decode(FILE.as_bytes()).expect("a file");
        assert_eq!(file.artifact().expect("a file").size, 5);
    }

    #[test]
    fn everything_but_the_canonical_line_is_refused() {
        for (from, to) in [
            (r#""mode":"0644""#, r#""mode":"644""#),
            (r#""mode":"0644""#, r#""mode":"4755""#),
            (r#""mode":"0644""#, r#""mode":"0666""#),
            (r#""mode":"0644""#, r#""mode":"0044""#),
            (r#""mode":"0644""#, r#""mode":"+644""#),
            (r#""mode":"0644","#, ""),
            (r#""size":5"#, r#""size":5.0"#),
            (r#""size":5"#, r#""size":-5"#),
            (r#""size":5"#, r#""size":99999999999999999"#),
            (r#""size":5"#, r#""size":0"#),
            ("\"size\":5", "\"size\":5,\"size\":5"),
            ("hello", "h\\u0065llo"),
            ("a/hello", "../hello"),
            ("ea8f", "EA8F"),
            ("ea8f", "ea8"),
            ("text/plain", "text/Plain"),
            ("text/plain", "text"),
            (r#"["linux/amd64","linux/arm64"]"#, r#"["linux/arm64","linux/amd64"]"#),
            (r#"["linux/amd64","linux/arm64"]"#, "[]"),
            (r#"["linux/amd64","linux/arm64"]"#, "null"),
            (r#""kind":"file""#, r#""kind":"device""#),
            (r#""kind":"file""#, r#""kind":"directory""#),
            (r#""kind":"file","#, r#""kind":"file","more":1,"#),
            (r#"{"artifact""#, r#" {"artifact""#),
        ] {
            let line = FILE.replacen(from, to, 1);
            assert_ne!(line, FILE, "{from} is there");
            assert!(Entry::decode(line.as_bytes()).is_err(), "{line}");
        }
        for line in [
            r#"{"kind":"symlink","path":"a/b","target":"../../c"}"#,
            r#"{"kind":"symlink","mode":"0755","path":"a/b","target":"c"}"#,
            r#"{"kind":"symlink","mediaType":"a/b","path":"a/b","target":"c"}"#,
            r#"{"kind":"symlink","path":"a/b"}"#,
            r#"{"kind":"directory","mode":"0444","path":"empty"}"#,
            r#"{"kind":"directory","mode":"0755","path":"empty","target":null}"#,
            "",
            "[]",
            "null",
        ] {
            assert!(Entry::decode(line.as_bytes()).is_err(), "{line}");
        }
    }
}
