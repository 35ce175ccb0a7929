//! Paths inside a release: names that mean the same file on Linux, macOS and Windows, and never one outside.
//!
//! Invariant: a [`ReleasePath`] is relative, `/`-separated, NFC, and each component is a name that all three systems take
//! and keep as it is. A [`LinkTarget`] may climb only at its front and never above the release's root. That keeps every
//! chain of links inside: the climbing starts from a real directory (nothing lies below a link, see
//! [`super::twins`]), and what follows never climbs again.

use std::borrow::Borrow;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

use crate::limits::{PATH_BYTES_MAX, PATH_COMPONENT_BYTES_MAX, PATH_COMPONENTS_MAX};

/// The folder that Samara itself keeps in a placed release; no release may have anything in it.
pub const OWN_FOLDER: &str = ".samara";

/// Why a text is no path of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` cannot be a path in a release: {fault}")]
pub struct PathError {
    /// What was given, shortened and with control characters escaped.
    pub path: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

/// What is wrong with a path, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Nothing, or nothing between two slashes, or a slash at an end.
    #[error("it has an empty component; write a/b, without a slash at either end")]
    Empty,
    /// `.` or `..`.
    #[error("it has a `{0}` component; name the folder itself")]
    Dots(String),
    /// A character that one of the systems does not take in a name.
    #[error("{0:?} is not allowed in a name on Windows; rename it")]
    Character(char),
    /// A trailing dot or space, which Windows cuts off.
    #[error("component `{0}` ends in a dot or a space, which Windows cuts off; rename it")]
    Trailing(String),
    /// A name that Windows keeps for a device.
    #[error("`{0}` is a device on Windows; rename it")]
    Device(String),
    /// Not normalised.
    #[error("it is not in Unicode normal form C, so the same name could be written in two ways; rename it to {0:?}")]
    NotNfc(String),
    /// Longer than file systems take.
    #[error(
        "it has {0} bytes, or a component of more than {PATH_COMPONENT_BYTES_MAX}; at most {PATH_BYTES_MAX} are possible"
    )]
    Long(usize),
    /// Too many folders in each other.
    #[error("it has {0} components; at most {PATH_COMPONENTS_MAX} are possible")]
    Deep(usize),
    /// Samara's own folder.
    #[error("`{OWN_FOLDER}` at the top is Samara's own folder; rename it")]
    Own,
    /// A link's target climbs above the release's root.
    #[error("the link leads out of the release; let it point to something inside, by a relative path")]
    Outside,
    /// A link's target climbs after it has gone down.
    #[error("the link's target has `..` behind a name; write it in its shortest form")]
    Climbs,
    /// The text is not UTF-8.
    #[error("it is not UTF-8; rename it")]
    NotUtf8,
}

/// A path inside a release.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleasePath(String);

impl ReleasePath {
    /// Checks all rules.
    ///
    /// # Errors
    /// Names the path, what is wrong and the way out.
    pub fn new(text: &str) -> Result<Self, PathError> {
        check(text).map_err(|fault| error(text, fault))?;
        Ok(Self(text.to_owned()))
    }

    /// Like [`Self::new`], for bytes as a file system has them.
    ///
    /// # Errors
    /// Also when they are not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| error(&String::from_utf8_lossy(bytes), PathFault::NotUtf8))?;
        Self::new(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components, outermost first; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// How many folders it lies in.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count() - 1
    }

    /// The folders that it lies in, outermost first, as texts.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// The folder that it lies in; `None` at the top.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for ReleasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ReleasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ReleasePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ReleasePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::new(text)
    }
}

/// Where a symbolic link in a release points: relative to the folder that the link lies in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkTarget(String);

impl LinkTarget {
    /// Checks the target of the link at `link`: `.`, or any number of `..` that stay inside the release and then names.
    ///
    /// # Errors
    /// Names the target, what is wrong and the way out.
    pub fn new(link: &ReleasePath, target: &str) -> Result<Self, PathError> {
        check_target(link, target).map_err(|fault| error(target, fault))?;
        Ok(Self(target.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), PathFault> {
    if text.len() > PATH_BYTES_MAX {
        return Err(PathFault::Long(text.len()));
    }
    text.split('/').try_for_each(check_component)?;
    let components = text.split('/').count();
    if components > PATH_COMPONENTS_MAX {
        return Err(PathFault::Deep(components));
    }
    let top = text.split('/').next().unwrap_or_default();
    if is_own(top) {
        return Err(PathFault::Own);
    }
    Ok(())
}

fn check_target(link: &ReleasePath, target: &str) -> Result<(), PathFault> {
    if target.len() > PATH_BYTES_MAX {
        return Err(PathFault::Long(target.len()));
    }
    if target == "." {
        return Ok(());
    }
    if target.starts_with('/') {
        return Err(PathFault::Outside);
    }
    let climbs = target.split('/').take_while(|part| *part == "..").count();
    if climbs > link.depth() {
        return Err(PathFault::Outside);
    }
    let mut names = target.split('/').skip(climbs).peekable();
    let at_top = climbs == link.depth();
    if at_top && names.peek().is_some_and(|top| is_own(top)) {
        return Err(PathFault::Own);
    }
    names.try_for_each(|name| match name {
        ".." => Err(PathFault::Climbs),
        _ => check_component(name),
    })
}

fn check_component(name: &str) -> Result<(), PathFault> {
    if name.is_empty() {
        return Err(PathFault::Empty);
    }
    if name == "." || name == ".." {
        return Err(PathFault::Dots(name.to_owned()));
    }
    if name.len() > PATH_COMPONENT_BYTES_MAX {
        return Err(PathFault::Long(name.len()));
    }
    let bad = |c: &char| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    if let Some(c) = name.chars().find(bad) {
        return Err(PathFault::Character(c));
    }
    if name.ends_with(['.', ' ']) {
        return Err(PathFault::Trailing(name.to_owned()));
    }
    if is_device(name) {
        return Err(PathFault::Device(name.to_owned()));
    }
    if !name.is_ascii() && !unicode_normalization::is_nfc(name) {
        return Err(PathFault::NotNfc(name.nfc().collect()));
    }
    Ok(())
}

/// Names that Windows takes for devices, with or without an extension; superscript digits count as digits there.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let stem = stem.to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    port.is_some_and(|number| {
        let mut digits = number.chars();
        let digit = digits
            .next()
            .is_some_and(|c| c.is_ascii_digit() || matches!(c, '\u{b9}' | '\u{b2}' | '\u{b3}'));
        digit && digits.next().is_none()
    })
}

/// `.samara` in any spelling that a file system takes for it, the short name of old Windows file systems included.
fn is_own(component: &str) -> bool {
    let folded = super::twins::fold(component);
    folded == OWN_FOLDER
        || folded
            .strip_prefix("samara~")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
}

fn error(path: &str, fault: PathFault) -> PathError {
    let path: String = path.chars().take(200).flat_map(char::escape_debug).collect();
    PathError { path, fault }
}

#[cfg(test)]
mod tests;
