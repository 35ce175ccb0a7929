//! What goes wrong, when, to how many, and for how long.

use serde::{Deserialize, Serialize};

/// Something that goes wrong.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When, in seconds; when `until_s` is later, at a random time between.
    pub at_s: f64,
    /// See `at_s`.
    #[serde(default)]
    pub until_s: Option<f64>,
    /// To how many random honest sites (`origin-dies`: to all origins).
    #[serde(default = "one_node")]
    pub count: usize,
    /// Only to nodes of the groups of this name.
    #[serde(default)]
    pub on: Option<String>,
    /// For `half-open`: the neighbour is one of the groups of this name.
    #[serde(default)]
    pub with: Option<String>,
    /// How long it lasts, in seconds.
    #[serde(default)]
    pub for_s: f64,
    /// How often it comes.
    #[serde(default = "one_node")]
    pub times: usize,
    /// How long after its start it comes again, in seconds: a link that flaps is an outage that comes many times.
    #[serde(default)]
    pub every_s: f64,
    /// For `slow`: what is left of both rates, 0 to 1.
    #[serde(default = "a_tenth")]
    pub factor: f64,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process is killed: what was written stays.
    Kill,
    /// Power fails: what was not durable is lost.
    Power,
    /// All origins are gone for good.
    OriginDies,
    /// Nothing gets through to the node or from it; who is silent for fifteen seconds is hung up on.
    Outage,
    /// The same between the node and one of its neighbours alone.
    HalfOpen,
    /// The node's links get slower.
    Slow,
    /// The node's disk takes nothing.
    DiskFull,
}

impl Fault {
    /// The last moment at which it can come first, in seconds.
    #[must_use]
    pub fn latest_s(&self) -> f64 {
        self.until_s.unwrap_or(self.at_s).max(self.at_s)
    }

    /// The last moment at which any of it can still hold, in seconds.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let repeats = self.times.saturating_sub(1) as f64;
        self.latest_s() + repeats * self.every_s + self.for_s
    }
}

const fn one_node() -> usize {
    1
}

const fn a_tenth() -> f64 {
    0.1
}
