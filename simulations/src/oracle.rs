//! Judges of a finished run, apart from the assertions inside the scheduler.

use std::collections::BTreeMap;

use samara_protocol::swarm::io::DisconnectReason;

use crate::world::World;

/// What must not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Objection {
    /// Bytes came from somebody who did not have them.
    #[error("safety: {0}")]
    Safety(String),
    /// A scheduler used more of something than its limits allow.
    #[error("budget: {0}")]
    Budget(String),
    /// An honest node did not finish.
    #[error(
        "liveness: {count} of {of} honest nodes have not finished after {after_s:.1} s, the first is node {first} ({what})"
    )]
    Liveness {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// Virtual time.
        after_s: f64,
        /// One of them.
        first: usize,
        /// What its scheduler says.
        what: String,
    },
    /// A node was quarantined that had done nothing.
    #[error("fairness: honest nodes were quarantined: {0:?}")]
    Fairness(BTreeMap<usize, DisconnectReason>),
}

/// Objects to what must not happen.
///
/// # Errors
/// The first objection.
pub fn judge(world: &World) -> Result<(), Objection> {
    if let Some(first) = world.violations.first() {
        return Err(Objection::Safety(first.clone()));
    }
    let over = world.overruns.first().cloned().or_else(|| world.over_limits());
    if let Some(what) = over {
        return Err(Objection::Budget(what));
    }
    let fetchers: Vec<usize> = (0..world.nodes.len())
        .filter(|node| world.nodes[*node].counts() && !world.nodes[*node].gone)
        .collect();
    let mut late = Vec::new();
    for node in &fetchers {
        for release in &world.releases {
            let entry = &world.nodes[*node];
            let groups = 0..release.table.group_count();
            let holds = entry
                .disk
                .get(&release.layout)
                .is_some_and(|disk| disk.held.contains_range(groups));
            let says = entry.finished.contains_key(&release.layout);
            if says && !holds {
                return Err(Objection::Safety(format!(
                    "node {node} says that it has everything and has not"
                )));
            }
            if !says {
                late.push(*node);
            }
        }
    }
    late.dedup();
    if let Some(first) = late.first() {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a run")]
        let after_s = world.now.0 as f64 / 1e6;
        return Err(Objection::Liveness {
            count: late.len(),
            of: fetchers.len(),
            after_s,
            first: *first,
            what: unfinished(world, *first),
        });
    }
    let wronged = world.wrongly_quarantined();
    if wronged.is_empty() {
        Ok(())
    } else {
        Err(Objection::Fairness(wronged))
    }
}

/// What a scheduler says of the first of its layouts that lacks something.
fn unfinished(world: &World, node: usize) -> String {
    let stats = world.nodes[node].swarm.stats();
    let lacking = stats.transfers.iter().find(|transfer| transfer.have < transfer.wanted);
    lacking.map_or_else(|| "it lacks nothing".to_owned(), |transfer| format!("{transfer:?}"))
}
