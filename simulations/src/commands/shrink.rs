//! `shrink`: the smallest plan that still fails like a random schedule that failed.

use samara_simulations::{RunError, chaos, shrink};

/// Which schedule.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its seed.
    seed: u64,
}

/// What is left of it, and how it fails.
pub(crate) fn shrink(args: &Args) -> Result<String, RunError> {
    let plan = chaos::scenario(args.seed);
    let Some((small, error)) = shrink::shrink(&plan) else {
        return Ok(format!("seed {} does not fail\n", args.seed));
    };
    Ok(format!("{error}\n\n{small:#?}\n"))
}
