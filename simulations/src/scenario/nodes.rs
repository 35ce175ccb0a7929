//! Who takes part: groups of alike nodes.

use serde::{Deserialize, Serialize};

use super::spread::{Number, Rate, Spread};

/// Alike nodes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// What faults call them.
    #[serde(default)]
    pub name: Option<String>,
    /// How many.
    pub count: usize,
    /// What they are.
    pub role: RoleName,
    /// Link rates, e.g. "50mbit" or "5mbit..80mbit log".
    pub up: Spread<Rate>,
    /// See `up`.
    pub down: Spread<Rate>,
    /// What their own way to the network adds to each path, in milliseconds.
    #[serde(default = "zero")]
    pub latency_ms: Spread<Number>,
    /// The part of their packets that is lost, 0 to 1: what one connection gets is held down to what TCP makes of it.
    #[serde(default = "zero")]
    pub loss: Spread<Number>,
    /// Whether they can be dialled.
    #[serde(default)]
    pub reach: Reach,
    /// Whom their grants let them feed.
    #[serde(default)]
    pub reseed: Reseed,
    /// The tenants that they belong to, evenly; without it each site is a tenant of its own.
    #[serde(default)]
    pub tenants: Option<usize>,
    /// The one tenant that they belong to.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The site that they belong to.
    #[serde(default)]
    pub site: Option<String>,
    /// How many of them in a row make a site, when `site` does not say.
    #[serde(default = "one")]
    pub nodes_per_site: usize,
    /// The region that they are in.
    #[serde(default)]
    pub region: String,
    /// The part of each release that they hold at the start, 0 to 1.
    #[serde(default = "zero")]
    pub holds: Spread<Number>,
    /// When they join, in seconds.
    #[serde(default = "zero")]
    pub joins_s: Spread<Number>,
    /// When they leave for good, in seconds; those who have not finished by then are not expected to.
    #[serde(default)]
    pub leaves_s: Option<Spread<Number>>,
    /// How they behave.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Operator's limits, e.g. "10mbit".
    #[serde(default)]
    pub limit_up: Option<Spread<Rate>>,
    /// See `limit_up`.
    #[serde(default)]
    pub limit_down: Option<Spread<Rate>>,
    /// For hosts: they know only nodes of their site.
    #[serde(default)]
    pub site_only: bool,
}

/// A node's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// A vendor's node that has everything.
    Origin,
    /// A site's node.
    Site,
    /// A leaf.
    Host,
}

/// Whether a node can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// By everybody.
    #[default]
    Open,
    /// By nobody: it dials out, so two such nodes never meet.
    Outbound,
}

/// Whom a node's grant lets it feed beside its own site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reseed {
    /// Everybody whose grant says the same.
    #[default]
    All,
    /// Its own tenant.
    Own,
    /// Nobody.
    None,
}

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
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
    /// Was never admitted, and talks to everybody all the same.
    Stranger,
}

impl Behaviour {
    /// Whether what happens to such a node counts.
    #[must_use]
    pub const fn is_honest(self) -> bool {
        matches!(self, Self::Honest | Self::Rotten)
    }
}

fn zero() -> Spread<Number> {
    Spread::one(0.0)
}

const fn one() -> usize {
    1
}
