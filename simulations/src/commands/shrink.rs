//! `shrink`: the smallest plan that still fails like a random schedule that failed.

use samara_simulations::{RunError, chaos, shrink};

/// Which schedule.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its seed.
    seed: u64,
}

/// What is left of it as TOML that `run` takes, and how it fails and is replayed as comments before it.
pub(crate) fn shrink(args: &Args) -> Result<String, RunError> {
    let plan = chaos::scenario(args.seed);
    let Some((small, error)) = shrink::shrink(&plan) else {
        return Ok(format!("seed {} does not fail\n", args.seed));
    };
    let seed = args.seed;
    let file = format!("seed-{seed}.toml");
    let how = error.to_string().replace('\n', "\n# ");
    let replay = format!("samara-simulations shrink {seed} > {file}; samara-simulations run {file}");
    Ok(format!("# {how}\n# replay: {replay}\n\n{}", small.to_toml()?))
}
