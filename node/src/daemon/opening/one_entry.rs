//! The one entry that `fetch --entry` names, looked for among all of a release; where it is none, what might be meant.

use samara_protocol::manifest::entry::{Entry, EntryKind};

use super::Selection;

/// How many others are named.
const SHOWN_MAX: usize = 5;

/// Whom a refusal names that is about the one entry alone: the release stays as it is, so waiting brings none.
#[must_use]
pub fn entry_culprit(entry: &str) -> String {
    format!("--entry {entry}")
}

/// What is looked for, and what was seen on the way.
#[derive(Debug)]
pub(in crate::daemon) struct OneEntry {
    missing: NoEntry,
    found: Option<Entry>,
}

/// A release has no such entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", if *is_folder { "it is a folder, and one file is fetched at a time" } else { "the release has no such entry" })]
pub(in crate::daemon) struct NoEntry {
    path: String,
    is_folder: bool,
    /// The entry is there for other machines than these.
    elsewhere: bool,
    entries: usize,
    /// Files in the folder of that name.
    inside: Vec<String>,
    /// Files of that name in other folders.
    alike: Vec<String>,
    /// The first of all.
    first: Vec<String>,
}

impl OneEntry {
    pub(super) fn named(path: &str) -> Self {
        Self {
            missing: NoEntry {
                path: path.to_owned(),
                is_folder: false,
                elsewhere: false,
                entries: 0,
                inside: Vec::new(),
                alike: Vec::new(),
                first: Vec::new(),
            },
            found: None,
        }
    }

    pub(super) fn look_at(&mut self, entry: Entry, selection: &Selection) {
        let missing = &mut self.missing;
        missing.entries += 1;
        let (wanted, path) = (missing.path.trim_end_matches('/'), entry.path.as_str());
        if path == wanted {
            match &entry.kind {
                EntryKind::Directory { .. } => missing.is_folder = true,
                // No folder is called so; the file is not what was named.
                _ if path != missing.path => missing.alike.push(path.to_owned()),
                _ if selection.takes(&entry) => self.found = Some(entry),
                _ => missing.elsewhere = true,
            }
            return;
        }
        let is_inside = path.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'));
        let list = if is_inside {
            missing.is_folder = true;
            &mut missing.inside
        } else if name(path) == name(wanted) {
            &mut missing.alike
        } else {
            &mut missing.first
        };
        if list.len() < SHOWN_MAX {
            list.push(path.to_owned());
        }
    }

    pub(super) fn found(self) -> Result<Entry, NoEntry> {
        self.found.ok_or(self.missing)
    }
}

impl NoEntry {
    /// What to write instead.
    pub(in crate::daemon) fn way_out(&self) -> String {
        if self.elsewhere {
            return "it is there for other machines: name one with --platform, or `--platform all`".to_owned();
        }
        let all = "fetch without --entry to have everything";
        for (list, what) in [(&self.inside, "in it are"), (&self.alike, "of that name there are")] {
            if !list.is_empty() {
                return format!("{what} {}; {all}", list.join(", "));
            }
        }
        let such = self.first.join(", ");
        format!("it has {} entries, such as {such}; {all}", self.entries)
    }
}

/// The last part of a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use samara_protocol::id::{ArtifactId, Sha256};
    use samara_protocol::manifest::entry::{Artifact, Mode};
    use samara_protocol::manifest::path::ReleasePath;
    use samara_protocol::manifest::platform::{Platform, PlatformSet};

    use super::*;

    fn entry(path: &str, kind: EntryKind, platforms: &[&str]) -> Entry {
        let platforms: Vec<Platform> = platforms.iter().map(|text| text.parse().expect("a platform")).collect();
        Entry {
            path: ReleasePath::new(path).expect("a path"),
            kind,
            platforms: PlatformSet::new(platforms).expect("platforms"),
        }
    }

    fn file(path: &str, platforms: &[&str]) -> Entry {
        let kind = EntryKind::File {
            mode: Mode::FILE,
            artifact: Artifact {
                id: ArtifactId([1; 32]),
                sha256: Sha256([2; 32]),
                size: 3,
            },
            media_type: None,
        };
        entry(path, kind, platforms)
    }

    fn look(path: &str) -> Result<Entry, NoEntry> {
        let selection = Selection {
            platforms: vec!["linux/amd64".parse().expect("a platform")],
            ..Selection::default()
        };
        let folder = EntryKind::Directory { mode: Mode::EXECUTABLE };
        let mut one = OneEntry::named(path);
        for entry in [
            file("bin/tool", &[]),
            file("bin/tool.exe", &["windows/amd64"]),
            entry("empty", folder, &[]),
            file("share/tool/readme", &[]),
        ] {
            one.look_at(entry, &selection);
        }
        one.found()
    }

    #[test]
    fn an_entry_is_found_by_its_whole_path() {
        assert_eq!(look("bin/tool").expect("it is there").path.as_str(), "bin/tool");
    }

    #[test]
    fn what_is_none_says_why_and_what_might_be_meant() {
        for (path, what, way_out) in [
            ("nope", "no such entry", "4 entries, such as bin/tool, "),
            ("tool", "no such entry", "of that name there are bin/tool; "),
            ("bin", "a folder", "in it are bin/tool, bin/tool.exe; "),
            ("bin/", "a folder", "in it are bin/tool, "),
            ("empty", "a folder", "4 entries, "),
            ("bin/tool/", "no such entry", "of that name there are bin/tool; "),
            ("bin/tool.exe", "no such entry", "--platform"),
        ] {
            let missing = look(path).expect_err(path);
            assert!(missing.to_string().contains(what), "{path}: {missing}");
            assert!(missing.way_out().contains(way_out), "{path}: {}", missing.way_out());
        }
    }
}
