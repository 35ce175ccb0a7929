//! What a run comes to.

use serde::Serialize;

use samara_protocol::swarm::config::Role;

use crate::world::World;

/// The figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Of this object's fields.
    pub schema: u32,
    /// The scenario's name.
    pub scenario: String,
    /// Nodes that were to get everything.
    pub nodes: usize,
    /// Neighbours of a node at the most.
    pub neighbours: usize,
    /// Kumar–Ross for all releases together, in seconds.
    pub bound_s: f64,
    /// Mundinger, Weber and Weiss for equal links, in seconds.
    pub mundinger_s: Option<f64>,
    /// When the last node had everything, over the bound.
    pub last_over_bound: f64,
    /// The median node.
    pub p50_over_bound: f64,
    /// 99 of 100 nodes.
    pub p99_over_bound: f64,
    /// Payload bytes out of the origins over the size.
    pub origin_copies: f64,
    /// The copies that the origins have to send so that the bound can be reached: at least one for each group of nodes that
    /// may feed each other.
    pub copies_needed: f64,
    /// Control bytes (messages and requests) over payload bytes.
    pub control_fraction: f64,
    /// Bytes of proofs over payload bytes.
    pub proof_fraction: f64,
    /// Payload bytes that came in vain, over payload bytes.
    pub waste_fraction: f64,
    /// Blocks of all releases.
    pub blocks: u32,
    /// Steps of all schedulers.
    pub steps: u64,
    /// Real time; 0 until the caller sets it.
    pub wall_s: f64,
    /// Equal for equal runs.
    pub trace_hash: String,
}

/// Sums up a finished run.
#[must_use]
pub fn report(world: &World) -> Report {
    let bound = world.bound();
    let mut times: Vec<f64> = Vec::new();
    for node in world.nodes.iter().filter(|node| node.counts() && !node.gone) {
        for (layout, at) in &node.finished {
            let told = node.told.get(layout).copied().unwrap_or_default();
            times.push(at.since(told).as_secs_f64() / bound);
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |hundredths: usize| {
        let index = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or(f64::NAN)
    };
    let origins = world.nodes.iter().filter(|node| node.nature.role == Role::Origin);
    let from_origins: u64 = origins.map(|node| node.sent).sum();
    let sent: u64 = world.nodes.iter().map(|node| node.sent).sum();
    let control: u64 = world.nodes.iter().map(|node| node.control).sum();
    let proofs: u64 = world.nodes.iter().map(|node| node.proofs).sum();
    let wasted: u64 = world.nodes.iter().map(|node| node.wasted).sum();
    let bytes: u64 = world.releases.iter().map(|release| release.table.bytes()).sum();
    Report {
        schema: 1,
        scenario: world.scenario.name.clone(),
        nodes: world.nodes.iter().filter(|node| node.counts() && !node.gone).count(),
        neighbours: world.scenario.neighbours(),
        bound_s: bound,
        mundinger_s: world.mundinger(),
        last_over_bound: at(100),
        p50_over_bound: at(50),
        p99_over_bound: at(99),
        origin_copies: ratio(from_origins, bytes),
        copies_needed: world.copies_needed(),
        control_fraction: ratio(control, sent),
        proof_fraction: ratio(proofs, sent),
        waste_fraction: ratio(wasted, sent),
        blocks: world.releases.iter().map(|release| release.table.len()).sum(),
        steps: world.steps,
        wall_s: 0.0,
        trace_hash: world.trace_hash(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "byte counts below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
