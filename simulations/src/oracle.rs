//! Judges of a finished run, apart from the assertions inside the scheduler.

use std::collections::BTreeMap;

use samara_protocol::swarm::io::DisconnectReason;
use samara_protocol::time::Timestamp;

use crate::pace::Progress;
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
        "liveness: {count} of {of} honest nodes have not finished after {after_s:.1} s, of which {still} stand still; node {worst} {progress} ({what})"
    )]
    Liveness {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// Virtual time.
        after_s: f64,
        /// How many of them got nothing new lately.
        still: usize,
        /// The one that needs longest.
        worst: usize,
        /// How it goes on.
        progress: Progress,
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
    liveness(world, &late, fetchers.len())?;
    let wronged = world.wrongly_quarantined();
    if wronged.is_empty() {
        Ok(())
    } else {
        Err(Objection::Fairness(wronged))
    }
}

/// Objects to nodes that are late; who stands still is named before who is slow.
fn liveness(world: &World, late: &[usize], of: usize) -> Result<(), Objection> {
    let progress = |node: &usize| {
        let entry = &world.nodes[*node];
        (*node, entry.pace.progress(world.now, world.lacks(entry)))
    };
    let all: Vec<(usize, Progress)> = late.iter().map(progress).collect();
    let is_still = |(_, progress): &&(usize, Progress)| matches!(progress, Progress::Still { .. });
    let longest =
        |a: &&(usize, Progress), b: &&(usize, Progress)| a.1.eta_s().total_cmp(&b.1.eta_s()).then(b.0.cmp(&a.0));
    let Some((worst, progress)) = all.iter().max_by(longest) else {
        return Ok(());
    };
    Err(Objection::Liveness {
        count: late.len(),
        of,
        after_s: world.now.since(Timestamp::ZERO).as_secs_f64(),
        still: all.iter().filter(is_still).count(),
        worst: *worst,
        progress: *progress,
        what: unfinished(world, *worst),
    })
}

/// What a scheduler says of the first of its layouts that lacks something.
fn unfinished(world: &World, node: usize) -> String {
    let stats = world.nodes[node].swarm.stats();
    let lacking = stats.transfers.iter().find(|transfer| transfer.have < transfer.wanted);
    lacking.map_or_else(|| "it lacks nothing".to_owned(), |transfer| format!("{transfer:?}"))
}
