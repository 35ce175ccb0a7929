//! Places in the text: from a byte offset to the line and the key, and from a misspelt key to the nearest known one.

use std::ops::Range;
use std::path::Path;

use super::ConfigError;

/// A file's text, to point into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a place in the text.
    pub(super) fn error(&self, span: Range<usize>, what: impl Into<String>, way_out: impl Into<String>) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        ConfigError::Value {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            key: self.key_at(span.start),
            what: what.into(),
            way_out: way_out.into(),
        }
    }

    /// What the TOML reader found, with the way out where its words allow one.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let what = error.message().lines().collect::<Vec<_>>().join(" ");
        let span = error.span().unwrap_or(0..0);
        if let Some(rest) = what.strip_prefix("unknown field ") {
            let mut names = rest.split('`').skip(1).step_by(2);
            let wrong = names.next().unwrap_or_default();
            let known: Vec<&str> = names.collect();
            let way_out = match nearest(wrong, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            return self.error(span, format!("unknown key `{wrong}`"), way_out);
        }
        self.error(span, what, "")
    }

    /// The dotted key that the value at `offset` belongs to.
    fn key_at(&self, offset: usize) -> String {
        let end = self.text[offset.min(self.text.len())..]
            .find('\n')
            .map_or(self.text.len(), |found| offset + found);
        let mut table = "";
        let mut key = "";
        for line in self.text.get(..end).unwrap_or_default().lines() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                if !header.contains(['"', '\'', ',']) {
                    (table, key) = (header.trim_start_matches('['), "");
                }
            } else if let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with(['#', '"', '\''])) {
                key = name.trim();
            }
        }
        match (table.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => table.to_owned(),
            (false, false) => format!("{table}.{key}"),
        }
    }
}

/// The known name with at most two edits, if any is that near.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (edits(wrong, name), *name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| name)
}

/// The Levenshtein distance, over bytes: keys are ASCII.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_as_levenshtein_does() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("listen", "listen"), 0);
    }

    #[test]
    fn only_a_near_name_is_offered() {
        assert_eq!(nearest("lissten", &["listen", "external"]), Some("listen"));
        assert_eq!(nearest("banana", &["listen", "external"]), None);
    }
}
