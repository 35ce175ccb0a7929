//! libtorrent in the swarm, by Debian's Python binding: peers that are connected to each other before the barrier.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use samara_tests::Process;

use super::{Barrier, Bed, ORIGIN, Run};
use crate::rivals::torrent;

/// The interpreter that Debian's binding is for; another one on the path would not find it.
const PYTHON: &str = "/usr/bin/python3";
const PEER: &str = include_str!("libtorrent_peer.py");
const PORT: u16 = 6881;
/// How long the peers may take to start, and to meet.
const READY: Duration = Duration::from_secs(60);

/// Whether the binding is there.
pub(crate) fn is_installed() -> bool {
    let mut python = Command::new(PYTHON);
    python.args(["-c", "import libtorrent"]);
    let status = python.stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// One origin, which may super-seed, and its sites.
pub(crate) fn run(bed: &Bed<'_>, super_seeding: bool, barrier: &mut Barrier<'_>) -> Result<Run> {
    fs::write(bed.work.join("peer.py"), PEER)?;
    fs::write(bed.work.join("torrent"), torrent::of_file(bed.source, super::PIECE)?)?;
    let role = if super_seeding { "super-origin" } else { "origin" };
    let origin = start(bed, role, ORIGIN, bed.source_folder()?)?;
    let mut sites = Vec::new();
    for site in bed.sites {
        let folder = bed.work.join(site);
        fs::create_dir_all(&folder)?;
        sites.push(start(bed, "site", site, &folder)?);
    }
    let peers = || sites.iter().chain([&origin]);
    for peer in peers() {
        peer.line("it to listen", READY, |line| line == "listening")?;
    }
    // One after the other: a dial that fails in a crowd is tried again only after a minute.
    for peer in peers() {
        peer.signal(libc::SIGUSR1)?;
        peer.line("its connections", READY, |line| line == "connected")?;
    }
    let clock = bed.start(barrier)?;
    let finished = clock.each(&sites, |site| {
        site.signal(libc::SIGUSR1)?;
        site.line("the whole file", bed.limit, |line| line == "complete")?;
        Ok(Instant::now())
    })?;
    let name = bed.source_name()?;
    Ok(Run {
        finished,
        durable: None,
        origin_payload: None,
        copies: bed.sites.iter().map(|site| bed.work.join(site).join(name)).collect(),
    })
}

fn start(bed: &Bed<'_>, role: &str, place: &str, folder: &Path) -> Result<Process> {
    let mut command = bed.star.command(place, PYTHON);
    command.arg(bed.work.join("peer.py")).arg(role);
    command.arg(bed.work.join("torrent")).arg(folder);
    command.arg(format!("{}:{PORT}", bed.star.address(place)));
    command.arg(bed.others(place, PORT).join(","));
    Process::start(&mut command)
}
