//! A scenario: what is moved, by whom, over which links, and what goes wrong. TOML; a field that is not known is refused,
//! and so is a value that makes no sense.

mod baseline;
mod check;
#[cfg(test)]
mod documented;
mod fault;
mod nodes;
mod spread;
mod written;

use std::path::Path;

use serde::{Deserialize, Serialize};

use samara_protocol::swarm::config::Rules;
use samara_protocol::units::parse_bytes;

pub(crate) use check::bounds::TIME_MAX;

pub use baseline::Baseline;
pub use fault::{Fault, FaultKind};
pub use nodes::{Behaviour, Nodes, Reach, Reseed, RoleName};
pub use spread::{Number, Rate, Spread};

/// What stands in the way of a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a file nor the name of a built-in scenario.
    #[error("`{0}` is neither a file nor one of {1}")]
    Unknown(String, String),
    /// The file cannot be read.
    #[error("cannot read `{0}`: {1}")]
    Read(String, std::io::Error),
    /// The text is no scenario.
    #[error("`{0}` is not a scenario: {1}")]
    Parse(String, toml::de::Error),
    /// The plan has what no text can say.
    #[error("this cannot be written as TOML: {0}")]
    Write(String),
    /// A value makes no sense.
    #[error("`{0}`: {1}")]
    Value(String, String),
}

/// The whole plan.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Shown in reports.
    pub name: String,
    /// Decides all random choices.
    #[serde(default)]
    pub seed: u64,
    /// What moves, most urgent first or not.
    #[serde(default = "one_release")]
    pub release: Vec<Release>,
    /// One way between any two nodes, in milliseconds; what nodes and regions add comes on top.
    #[serde(default = "default_latency")]
    pub latency_ms: f64,
    /// One way between nodes of different regions, in milliseconds.
    #[serde(default)]
    pub region_latency_ms: f64,
    /// Neighbours of a node at the most, the origin's included. Without it 32, as a real node has, and 8 where there are more
    /// than 2,000 nodes, so that the run ends.
    #[serde(default)]
    pub neighbours: Option<usize>,
    /// The part of all replies that break off midway, 0 to 1.
    #[serde(default)]
    pub broken_replies: f64,
    /// `[limits] origin-copies-max` of the origins.
    #[serde(default)]
    pub origin_copies_max: Option<u32>,
    /// The run fails when an honest node has not finished after so many times the bound plus 60 s, counted from the end of
    /// the last fault.
    #[serde(default = "default_deadline")]
    pub deadline_factor: f64,
    /// Who takes part.
    pub nodes: Vec<Nodes>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
    /// The bound to compare with, in seconds, where it is that of another plan: a baseline is compared with what could be.
    #[serde(skip)]
    pub bound_s: Option<f64>,
    /// The scheduler's rules; all of them, unless a baseline or an ablation is measured.
    #[serde(skip)]
    pub rules: Rules,
}

/// A release.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// E.g. "64MiB".
    pub size: String,
    /// Blocks of 2^k groups; the size is rounded up to whole groups.
    #[serde(default)]
    pub blocks: Option<u32>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: u8,
    /// When sites are told to fetch it, in seconds.
    #[serde(default)]
    pub at_s: f64,
}

fn one_release() -> Vec<Release> {
    vec![Release {
        size: "64MiB".to_owned(),
        blocks: None,
        priority: 0,
        at_s: 0.0,
    }]
}

const fn default_latency() -> f64 {
    5.0
}

const fn default_deadline() -> f64 {
    4.0
}

/// The scenarios that the program carries.
pub const BUILT_IN: [(&str, &str); 21] = [
    ("flash-release", include_str!("../scenarios/flash-release.toml")),
    ("liars-and-crashes", include_str!("../scenarios/liars-and-crashes.toml")),
    ("greedy-takers", include_str!("../scenarios/greedy-takers.toml")),
    ("narrow-takers", include_str!("../scenarios/narrow-takers.toml")),
    ("origin-dies", include_str!("../scenarios/origin-dies.toml")),
    ("weak-uplinks", include_str!("../scenarios/weak-uplinks.toml")),
    ("spread-uplinks", include_str!("../scenarios/spread-uplinks.toml")),
    ("spread-100x", include_str!("../scenarios/spread-100x.toml")),
    ("own-only", include_str!("../scenarios/own-only.toml")),
    ("broken-replies", include_str!("../scenarios/broken-replies.toml")),
    ("half-hostile", include_str!("../scenarios/half-hostile.toml")),
    ("one-site", include_str!("../scenarios/one-site.toml")),
    ("overtaking", include_str!("../scenarios/overtaking.toml")),
    ("mixed-fleet", include_str!("../scenarios/mixed-fleet.toml")),
    ("slow-hosts", include_str!("../scenarios/slow-hosts.toml")),
    ("two-origins", include_str!("../scenarios/two-origins.toml")),
    ("mixed-links", include_str!("../scenarios/mixed-links.toml")),
    ("staggered", include_str!("../scenarios/staggered.toml")),
    ("outbound-only", include_str!("../scenarios/outbound-only.toml")),
    ("flapping", include_str!("../scenarios/flapping.toml")),
    ("half-open", include_str!("../scenarios/half-open.toml")),
];

impl Scenario {
    /// Reads a file, or the built-in scenario of that name.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(name: &str) -> Result<Self, ScenarioError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if !Path::new(name).exists() {
            let known: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
            return Err(ScenarioError::Unknown(name.to_owned(), known.join(", ")));
        }
        let text = std::fs::read_to_string(name).map_err(|error| ScenarioError::Read(name.to_owned(), error))?;
        Self::parse(name, &text)
    }

    /// Reads the text of a scenario; `name` is for messages.
    ///
    /// # Errors
    /// When the text is no scenario, or a value makes no sense.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::Parse(name.to_owned(), error))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Looks at all values once more, after some were changed.
    ///
    /// # Errors
    /// Names the one that makes no sense.
    pub fn check(&self) -> Result<(), ScenarioError> {
        check::check(self)
    }

    /// Sets how many sites there are in the first group of sites.
    pub fn set_sites(&mut self, count: usize) {
        if let Some(nodes) = self.nodes.iter_mut().find(|nodes| nodes.role == RoleName::Site) {
            nodes.count = count;
        }
    }

    /// How many neighbours a node has at the most.
    #[must_use]
    pub fn neighbours(&self) -> usize {
        let count: usize = self.nodes.iter().map(|nodes| nodes.count).sum();
        self.neighbours.unwrap_or(if count > MANY_NODES { 8 } else { 32 })
    }
}

/// With more nodes than this, each has fewer neighbours unless the scenario says how many.
const MANY_NODES: usize = 2000;

/// A size in bytes.
///
/// # Errors
/// When the text is no size.
pub fn size(text: &str) -> Result<u64, ScenarioError> {
    parse_bytes(text).map_err(|error| ScenarioError::Value("size".to_owned(), error.to_string()))
}
