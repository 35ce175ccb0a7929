//! Who there is and who knows whom.

use samara_protocol::id::NodeId;
use samara_protocol::rng::Rng;
use samara_protocol::swarm::config::{Role, SwarmConfig};
use samara_protocol::swarm::io::{Distance, PeerInfo};
use samara_protocol::time::Timestamp;
use samara_protocol::units::ByteRate;

use crate::bound::Rates;
use crate::node::{Nature, Node};
use crate::scenario::{Nodes, RoleName, Scenario, ScenarioError, rate};

/// Makes all nodes of a scenario.
///
/// # Errors
/// When a rate is none.
pub fn nodes(scenario: &Scenario) -> Result<Vec<Node>, ScenarioError> {
    let mut nodes = Vec::new();
    for group in &scenario.nodes {
        for _ in 0..group.count {
            let number = nodes.len() as u64;
            let nature = nature(group, scenario.seed, number)?;
            nodes.push(Node::new(nature, scenario.seed ^ number));
        }
    }
    if !nodes
        .iter()
        .any(|node| node.nature.role == Role::Origin || node.nature.holds > 0.0)
    {
        let message = "nobody has anything: one group needs role = \"origin\" or holds above 0".to_owned();
        return Err(ScenarioError::Value("nodes", message));
    }
    acquaint(scenario, &mut nodes);
    Ok(nodes)
}

fn nature(group: &Nodes, seed: u64, number: u64) -> Result<Nature, ScenarioError> {
    let role = match group.role {
        RoleName::Origin => Role::Origin,
        RoleName::Site => Role::Site,
        RoleName::Host => Role::Host,
    };
    let mut limits = SwarmConfig::unlimited(role).limits;
    let limit = |text: &Option<String>| text.as_deref().map(rate).transpose();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a parsed rate")]
    let whole = |rate: Option<f64>| rate.map(|rate| ByteRate(rate as u64));
    limits.up = whole(limit(&group.limit_up)?);
    limits.down = whole(limit(&group.limit_down)?);
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes()).update(&number.to_le_bytes());
    Ok(Nature {
        id: NodeId(*hash.finalize().as_bytes()),
        role,
        behaviour: group.behaviour,
        rates: Rates {
            up: rate(&group.up)?,
            down: rate(&group.down)?,
        },
        limits,
        domain: group.domain,
        site: group.site,
        site_only: group.site_only,
        holds: if role == Role::Origin { 1.0 } else { group.holds },
        joins: seconds(group.joins_s),
    })
}

/// Seconds of a scenario as a moment.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a plan's seconds"
)]
#[must_use]
pub fn seconds(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e6) as u64)
}

/// Everybody knows everybody who may feed it while that is within the bound; else some at random.
fn acquaint(scenario: &Scenario, nodes: &mut [Node]) {
    let mut rng = Rng::new(scenario.seed ^ 0x746f_706f);
    let count = nodes.len();
    let max = scenario.neighbours;
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for a in 0..count {
        for b in a + 1..count {
            if may_meet(&nodes[a].nature, &nodes[b].nature) {
                pairs.push((a, b));
            }
        }
    }
    rng.shuffle(&mut pairs);
    // One link to an origin is worth more than any other, and own site first.
    pairs.sort_by_key(|(a, b)| rank(&nodes[*a].nature, &nodes[*b].nature));
    for (a, b) in pairs {
        if nodes[a].knows.len() < max && nodes[b].knows.len() < max {
            nodes[a].knows.insert(b);
            nodes[b].knows.insert(a);
        }
    }
}

fn rank(a: &Nature, b: &Nature) -> u8 {
    match distance(a, b) {
        Distance::Site => 0,
        Distance::Origin => 1,
        Distance::Tenant | Distance::Region | Distance::Other => 2,
    }
}

fn may_meet(a: &Nature, b: &Nature) -> bool {
    let same_site = a.site != 0 && a.site == b.site;
    if a.site_only || b.site_only {
        return same_site;
    }
    let feeds = a.domain != 0 && a.domain == b.domain && a.role == Role::Site && b.role == Role::Site;
    same_site || feeds || a.role == Role::Origin || b.role == Role::Origin
}

fn distance(of: &Nature, to: &Nature) -> Distance {
    if of.role == Role::Origin || to.role == Role::Origin {
        Distance::Origin
    } else if of.site != 0 && of.site == to.site {
        Distance::Site
    } else {
        Distance::Other
    }
}

/// What `to` is to `of`.
#[must_use]
pub fn info(of: &Nature, to: &Nature) -> PeerInfo {
    let distance = if to.role == Role::Origin {
        Distance::Origin
    } else if of.site != 0 && of.site == to.site {
        Distance::Site
    } else {
        Distance::Other
    };
    PeerInfo {
        distance,
        serves: to.role != Role::Host,
        domain: to.domain,
    }
}
