//! A scenario: what is moved, by whom, over which links, and what goes wrong. TOML; a field that is not known is refused.

use std::path::Path;

use serde::Deserialize;

use samara_protocol::units::{ByteRate, parse_bytes};

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
    /// A value makes no sense.
    #[error("`{0}`: {1}")]
    Value(&'static str, String),
}

/// The whole plan.
#[derive(Debug, Clone, Deserialize)]
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
    /// One way, in milliseconds.
    #[serde(default = "default_latency")]
    pub latency_ms: f64,
    /// Neighbours of a node at the most, the origin's included.
    #[serde(default = "default_neighbours")]
    pub neighbours: usize,
    /// The run fails when an honest node has not finished after so many times the bound plus 60 s.
    #[serde(default = "default_deadline")]
    pub deadline_factor: f64,
    /// Who takes part.
    pub nodes: Vec<Nodes>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
}

/// A release.
#[derive(Debug, Clone, Deserialize)]
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

/// Alike nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// How many.
    pub count: usize,
    /// What they are.
    pub role: RoleName,
    /// Link rates, e.g. "50mbit".
    pub up: String,
    /// See `up`.
    pub down: String,
    /// The reseed domain; 0 is "feeds nobody". Default 1.
    #[serde(default = "one")]
    pub domain: u64,
    /// Nodes with equal numbers above 0 are of one site.
    #[serde(default)]
    pub site: u64,
    /// The part of the release that they hold at the start, 0 to 1.
    #[serde(default)]
    pub holds: f64,
    /// When they join, in seconds.
    #[serde(default)]
    pub joins_s: f64,
    /// How they behave.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Operator's limits, e.g. "10mbit".
    #[serde(default)]
    pub limit_up: Option<String>,
    /// See `limit_up`.
    #[serde(default)]
    pub limit_down: Option<String>,
    /// For hosts: they know only nodes of their site.
    #[serde(default)]
    pub site_only: bool,
}

/// A node's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// A vendor's node that has everything.
    Origin,
    /// A site's node.
    Site,
    /// A leaf.
    Host,
}

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// As the scheduler says.
    #[default]
    Honest,
    /// Claims everything and serves bytes that do not verify.
    Garbage,
    /// Claims everything and has nothing.
    LyingHaves,
    /// Claims everything, takes every ask and sends nothing.
    Stall,
    /// Sends a thousand messages a second.
    Flood,
    /// Honest, but one group in fifty is bad on its disk until it is told.
    Rotten,
    /// Wants everything, keeps nothing of it, never says that it has any, and asks for it again at once.
    Greedy,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When, in seconds; when `until_s` is later, at a random time between.
    pub at_s: f64,
    /// See `at_s`.
    #[serde(default)]
    pub until_s: f64,
    /// To how many random honest sites (`origin-dies`: to all origins).
    #[serde(default = "one_node")]
    pub count: usize,
    /// How long it lasts.
    #[serde(default)]
    pub for_s: f64,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process is killed: what was written stays.
    Kill,
    /// Power fails: what was not durable is lost.
    Power,
    /// All origins are gone for good.
    OriginDies,
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

const fn default_neighbours() -> usize {
    32
}

const fn default_deadline() -> f64 {
    4.0
}

const fn one() -> u64 {
    1
}

const fn one_node() -> usize {
    1
}

/// The scenarios that the program carries.
pub const BUILT_IN: [(&str, &str); 7] = [
    ("flash-release", include_str!("../scenarios/flash-release.toml")),
    ("liars-and-crashes", include_str!("../scenarios/liars-and-crashes.toml")),
    ("greedy-takers", include_str!("../scenarios/greedy-takers.toml")),
    ("origin-dies", include_str!("../scenarios/origin-dies.toml")),
    ("weak-uplinks", include_str!("../scenarios/weak-uplinks.toml")),
    ("spread-uplinks", include_str!("../scenarios/spread-uplinks.toml")),
    ("own-only", include_str!("../scenarios/own-only.toml")),
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
    /// When the text is no scenario.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        toml::from_str(text).map_err(|error| ScenarioError::Parse(name.to_owned(), error))
    }

    /// Sets how many sites there are in the first group of sites.
    pub fn set_sites(&mut self, count: usize) {
        if let Some(nodes) = self.nodes.iter_mut().find(|nodes| nodes.role == RoleName::Site) {
            nodes.count = count;
        }
    }
}

/// A rate in bytes a second.
///
/// # Errors
/// When the text is no rate.
pub fn rate(text: &str) -> Result<f64, ScenarioError> {
    let rate: ByteRate = text
        .parse()
        .map_err(|error: samara_protocol::units::UnitError| ScenarioError::Value("rate", error.to_string()))?;
    #[expect(clippy::cast_precision_loss, reason = "rates are below 2^53")]
    Ok(rate.0 as f64)
}

/// A size in bytes.
///
/// # Errors
/// When the text is no size.
pub fn size(text: &str) -> Result<u64, ScenarioError> {
    parse_bytes(text).map_err(|error| ScenarioError::Value("size", error.to_string()))
}
