//! An event in words and fields, on its way into the log and the feed.

use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

use samara_protocol::id::{LayoutId, NodeId, Part};
use samara_protocol::time::WallTime;
use serde_json::{Map, Value};
use tracing::Level;

use crate::admin::Record;
use crate::config::settings::LogLevel;

/// Characters of a text from outside that are shown.
const SHOWN_MAX: usize = 128;
/// Where events stand among the log's targets.
pub(super) const TARGET: &str = "samara";

/// An event in words and fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fact {
    /// What, in snake case; never changes its meaning.
    pub(crate) name: &'static str,
    /// How much it matters.
    pub(super) level: LogLevel,
    /// For people.
    pub(super) message: String,
    /// For programs.
    pub(crate) fields: Map<String, Value>,
    /// Who can cause as many of these as it likes.
    pub(super) caused_by: Option<NodeId>,
}

impl Fact {
    pub(super) fn new(level: LogLevel, name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            level,
            message: message.into(),
            fields: Map::new(),
            caused_by: None,
        }
    }

    /// Adds a number, a switch or a text of our own.
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Adds what shows itself.
    pub(super) fn show(self, field: &str, value: impl Display) -> Self {
        self.with(field, value.to_string())
    }

    /// Adds a text that others have written.
    pub(super) fn foreign(self, field: &str, text: &str) -> Self {
        self.with(field, shown(text))
    }

    /// Adds which layout it is about.
    pub(super) fn layout(self, layout: LayoutId) -> Self {
        let part = match layout.part {
            Part::Entries => "entries",
            Part::Payload => "payload",
        };
        self.show("manifest", layout.manifest).with("part", part)
    }

    /// Adds the peer that it is about and that can cause as many of these as it likes.
    pub(super) fn by(mut self, peer: NodeId) -> Self {
        self.caused_by = Some(peer);
        self.show("peer", peer)
    }

    /// Whether the log would take it.
    pub(super) fn is_logged(&self) -> bool {
        match self.level {
            LogLevel::Error => tracing::enabled!(target: TARGET, Level::ERROR),
            LogLevel::Warn => tracing::enabled!(target: TARGET, Level::WARN),
            LogLevel::Info => tracing::enabled!(target: TARGET, Level::INFO),
            LogLevel::Debug => tracing::enabled!(target: TARGET, Level::DEBUG),
            LogLevel::Trace => tracing::enabled!(target: TARGET, Level::TRACE),
        }
    }

    /// Writes it to the log. The fields travel as one JSON text, which [`super::lines`] takes apart again.
    pub(super) fn log(&self) {
        let fields = Value::Object(self.fields.clone()).to_string();
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(target: TARGET, $level, event = self.name, fields = fields.as_str(), "{}", self.message)
            };
        }
        match self.level {
            LogLevel::Error => line!(Level::ERROR),
            LogLevel::Warn => line!(Level::WARN),
            LogLevel::Info => line!(Level::INFO),
            LogLevel::Debug => line!(Level::DEBUG),
            LogLevel::Trace => line!(Level::TRACE),
        }
    }

    pub(super) fn into_record(self) -> Record {
        Record {
            at: now(),
            event: self.name.to_owned(),
            level: self.level,
            message: self.message,
            fields: self.fields,
        }
    }
}

/// What a watcher is told when it reads too slowly.
pub(super) fn missed(events: u64) -> Fact {
    let message = format!("{events} events are not shown: this watcher reads too slowly");
    Fact::new(LogLevel::Warn, "events_missed", message).with("events", events)
}

/// A text from outside, harmless on a terminal and short.
pub(super) fn shown(text: &str) -> String {
    let cut = text.char_indices().nth(SHOWN_MAX).map_or(text, |(end, _)| &text[..end]);
    let mut safe: String = cut.chars().flat_map(char::escape_debug).collect();
    if cut.len() < text.len() {
        safe.push_str("...");
    }
    // Quotes are harmless, and most messages have some.
    safe.replace("\\'", "'").replace("\\\"", "\"")
}

/// The wall clock, for the eyes of people: nothing is decided by it.
pub(super) fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    WallTime(i64::try_from(seconds).unwrap_or(i64::MAX)).to_rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_peers_are_escaped_and_cut() {
        assert_eq!(shown("red \x1b[31m\nline \"two\""), "red \\u{1b}[31m\\nline \"two\"");
        let long = shown(&"\u{e9}".repeat(1000));
        assert_eq!(long.chars().count(), SHOWN_MAX + 3);
        assert!(!shown("right\u{202e}to left").contains('\u{202e}'));
    }
}
