//! Who there is: the nodes of a scenario, each with what it drew, and what two of them are to each other.

use std::collections::BTreeMap;

use samara_protocol::id::NodeId;
use samara_protocol::rng::Rng;
use samara_protocol::swarm::config::{Role, SwarmConfig};
use samara_protocol::swarm::io::{Distance, PeerInfo};
use samara_protocol::time::Timestamp;
use samara_protocol::units::ByteRate;

use crate::bound::Rates;
use crate::meeting;
use crate::node::{Nature, Node};
use crate::scenario::{Nodes, Rate, Reseed, RoleName, Scenario, Spread};

/// Makes all nodes of a scenario and says who knows whom.
#[must_use]
pub fn nodes(scenario: &Scenario) -> Vec<Node> {
    let mut names = Names::default();
    let mut rng = Rng::new(scenario.seed ^ 0x6e61_7475);
    let mut nodes = Vec::new();
    for (place, group) in scenario.nodes.iter().enumerate() {
        for at in 0..group.count {
            let number = nodes.len() as u64;
            let mut nature = nature(group, scenario, number, &mut rng);
            nature.group = place;
            names.place(group, at, &mut nature);
            nodes.push(Node::new(nature, scenario.seed ^ number));
        }
    }
    meeting::acquaint(scenario, &mut nodes);
    nodes
}

fn nature(group: &Nodes, scenario: &Scenario, number: u64, rng: &mut Rng) -> Nature {
    let role = match group.role {
        RoleName::Origin => Role::Origin,
        RoleName::Site => Role::Site,
        RoleName::Host => Role::Host,
    };
    let mut limits = SwarmConfig::unlimited(role).limits;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a parsed rate")]
    let mut limit = |rate: &Option<Spread<Rate>>| rate.as_ref().map(|rate| ByteRate(rate.draw(rng) as u64));
    limits.up = limit(&group.limit_up);
    limits.down = limit(&group.limit_down);
    limits.origin_copies_max = scenario.origin_copies_max.filter(|_| role == Role::Origin);
    let mut hash = blake3::Hasher::new();
    hash.update(&scenario.seed.to_le_bytes()).update(&number.to_le_bytes());
    Nature {
        id: NodeId(*hash.finalize().as_bytes()),
        group: 0,
        role,
        behaviour: group.behaviour,
        rates: Rates {
            up: group.up.draw(rng),
            down: group.down.draw(rng),
        },
        limits,
        rules: scenario.rules,
        latency_ms: group.latency_ms.draw(rng),
        loss: group.loss.draw(rng),
        reach: group.reach,
        tenant: 0,
        domain: 0,
        site: 0,
        region: 0,
        site_only: group.site_only,
        holds: if role == Role::Origin {
            1.0
        } else {
            group.holds.draw(rng)
        },
        joins: seconds(group.joins_s.draw(rng)),
        leaves: group.leaves_s.as_ref().map(|at| seconds(at.draw(rng))),
    }
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

/// Numbers for the names of tenants, sites and regions.
#[derive(Debug, Default)]
struct Names {
    given: BTreeMap<String, u64>,
    groups: usize,
}

impl Names {
    fn number(&mut self, kind: &str, name: &str) -> u64 {
        let next = self.given.len() as u64 + 1;
        *self.given.entry(format!("{kind} {name}")).or_insert(next)
    }

    /// Says where the node number `at` of a group is.
    fn place(&mut self, group: &Nodes, at: usize, nature: &mut Nature) {
        if at == 0 {
            self.groups += 1;
        }
        let (number, site) = (self.groups, at / group.nodes_per_site);
        nature.site = match &group.site {
            Some(name) => self.number("site", name),
            None => self.number("site", &format!("{number}.{site}")),
        };
        nature.tenant = match (&group.tenant, group.tenants) {
            (Some(name), _) => self.number("tenant", name),
            (None, Some(count)) => self.number("tenant", &format!("{number}.{}", site % count)),
            (None, None) => self.number("tenant of site", &nature.site.to_string()),
        };
        nature.region = match group.region.as_str() {
            "" => 0,
            name => self.number("region", name),
        };
        // Everybody who may feed everybody is of one domain, of which no tenant has the number.
        nature.domain = match group.reseed {
            Reseed::All => ALL,
            Reseed::Own => nature.tenant,
            Reseed::None => 0,
        };
    }
}

/// The domain of those who may feed everybody.
const ALL: u64 = u64::MAX;

/// How far two nodes are from each other.
#[must_use]
pub fn distance(of: &Nature, to: &Nature) -> Distance {
    if to.role == Role::Origin {
        Distance::Origin
    } else if of.site == to.site {
        Distance::Site
    } else if of.tenant == to.tenant {
        Distance::Tenant
    } else if of.region != 0 && of.region == to.region {
        Distance::Region
    } else {
        Distance::Other
    }
}

/// What `to` is to `of`.
#[must_use]
pub fn info(of: &Nature, to: &Nature) -> PeerInfo {
    PeerInfo {
        distance: distance(of, to),
        serves: to.role != Role::Host,
        domain: to.domain,
    }
}
