//! An event of the node as `watch` and the socket show it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::settings::LogLevel;

/// Something that happened at a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What, in snake case; never changes its meaning.
    pub event: String,
    /// How much it matters.
    pub level: LogLevel,
    /// For people.
    pub message: String,
    /// For programs: ids, bytes, seconds.
    pub fields: Map<String, Value>,
}
