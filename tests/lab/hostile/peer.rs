//! One site that means harm, as a process of its own in its namespace (`lab hostile-peer`).
//!
//! It has a legitimate site's key and grant. When it has taken the release's head and list as any site would it says that it is ready, and
//! begins when it is told (SIGUSR1). At its end (SIGTERM) it prints what its victims have done with it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use samara_protocol::id::ManifestId;
use samara_tests::hostile::{Conduct, Hostile, Insider, Wares, runtime};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// What it says once it holds the release.
pub(crate) const READY: &str = "ready";

/// Who it is and what it does.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// The home of the site's node, which does not run.
    #[arg(long)]
    home: PathBuf,
    /// Where the release's head and list come from.
    #[arg(long)]
    origin: String,
    /// The release.
    #[arg(long)]
    manifest: ManifestId,
    /// The folder that was published.
    #[arg(long)]
    folder: PathBuf,
    /// What it does.
    #[arg(long, value_enum)]
    conduct: Conduct,
    /// The nodes that it dials.
    #[arg(long, value_delimiter = ',')]
    victims: Vec<String>,
}

/// Runs it until it is told to end.
pub(crate) fn run(peer: &Peer) -> Result<Value> {
    let runtime = runtime()?;
    let insider = Insider::of(&peer.home).with_context(|| peer.home.display().to_string())?;
    let (mut begins, mut ends) = {
        let _entered = runtime.enter();
        (signal(SignalKind::user_defined1())?, signal(SignalKind::terminate())?)
    };
    let wares = runtime.block_on(Wares::take(&insider, &peer.origin, peer.manifest, &peer.folder))?;
    crate::note(READY);
    runtime.block_on(begins.recv());
    let hostile = Hostile::start(insider, wares, peer.conduct, &peer.victims)?;
    runtime.block_on(ends.recv());
    let seen = hostile.seen();
    Ok(json!({
        "admitted": seen.iter().map(|one| one.admitted()).sum::<u64>(),
        "refused": seen.iter().map(|one| one.refused()).sum::<u64>(),
        "asked": seen.iter().map(|one| one.asks() + one.files()).sum::<u64>(),
        "taken_bytes": seen.iter().map(|one| one.taken()).sum::<u64>(),
        "held_connections": seen.iter().map(|one| one.held_most()).max(),
        "last_error": hostile.last_error(),
    }))
}
