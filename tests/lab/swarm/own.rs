//! Samara in the swarm.

use anyhow::{Result, bail};

use super::{Bed, Run};

/// One origin and its sites, connected before the barrier.
pub(crate) fn run(_bed: &Bed<'_>, _barrier: &mut dyn FnMut() -> Result<()>) -> Result<Run> {
    bail!("the samara half waits for the verbs")
}
