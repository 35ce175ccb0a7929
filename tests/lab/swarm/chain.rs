//! A bare forwarding chain, origin to first site to second and so on: what the links of the test bed physically allow.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use samara_tests::{Process, wait};

use super::{Bed, ORIGIN, RUN_LIMIT, Run};

const PORT: u16 = 7000;

/// One link of the chain, as a process of its own in its namespace (`lab chain-link`).
#[derive(Debug, clap::Args)]
pub(crate) struct Link {
    /// Where the previous one connects; without it this is the origin, which reads `file`.
    #[arg(long)]
    listen: Option<String>,
    /// The next one.
    #[arg(long)]
    next: Option<String>,
    /// What is sent, or where it is kept.
    file: PathBuf,
}

/// Runs one link to the end of the stream.
pub(crate) fn link(link: &Link) -> Result<()> {
    let mut from: Box<dyn Read> = match &link.listen {
        None => Box::new(File::open(&link.file)?),
        Some(address) => {
            let listener = TcpListener::bind((address.as_str(), PORT))?;
            crate::note("listening");
            Box::new(listener.accept()?.0)
        }
    };
    let mut kept = if link.listen.is_some() {
        Some(File::create(&link.file)?)
    } else {
        None
    };
    let mut next = match &link.next {
        None => None,
        Some(address) => Some(TcpStream::connect((address.as_str(), PORT)).with_context(|| address.clone())?),
    };
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        if let Some(file) = &mut kept {
            file.write_all(&buffer[..read])?;
        }
        if let Some(next) = &mut next {
            next.write_all(&buffer[..read])?;
        }
    }
}

/// Starts the links from the last to the first, then lets the origin send.
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut dyn FnMut() -> Result<()>) -> Result<Run> {
    let own = std::env::current_exe()?;
    let mut links = Vec::new();
    let mut copies = Vec::new();
    for (index, site) in bed.sites.iter().enumerate().rev() {
        let mut command = bed.star.command(site, &own);
        command.args(["chain-link", "--listen", &bed.star.address(site)]);
        if let Some(next) = bed.sites.get(index + 1) {
            command.args(["--next", &bed.star.address(next)]);
        }
        let copy = bed.work.join(site);
        let process = Process::start(command.arg(&copy))?;
        process.line("the link to listen", Duration::from_secs(10), |line| {
            line.contains("listening")
        })?;
        links.push(process);
        copies.push(copy);
    }
    barrier()?;
    let started = Instant::now();
    let mut origin = bed.star.command(ORIGIN, &own);
    let first = bed.star.address(&bed.sites[0]);
    let origin = Process::start(origin.args(["chain-link", "--next", &first]).arg(bed.source))?;
    let mut finished = Vec::new();
    for process in links.iter().rev() {
        wait::until("a link to end", RUN_LIMIT, || Ok((!process.is_running()).then_some(())))?;
        finished.push(started.elapsed());
        process.finish(Duration::from_secs(5))?.success()?;
    }
    origin.finish(Duration::from_secs(5))?.success()?;
    Ok(Run {
        finished,
        origin_payload: None,
        copies,
    })
}
