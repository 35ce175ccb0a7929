//! A bare forwarding chain, origin to first site to second and so on: what the links of the test bed physically allow.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use samara_tests::Process;

use super::{Barrier, Bed, ORIGIN, Run};

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
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut Barrier<'_>) -> Result<Run> {
    ensure!(
        bed.stagger.is_zero(),
        "every link of a chain forwards at once: it cannot be staggered"
    );
    let own = std::env::current_exe()?;
    let mut links = Vec::new();
    for (index, site) in bed.sites.iter().enumerate().rev() {
        let mut command = bed.star.command(site, &own);
        command.args(["chain-link", "--listen", &bed.star.address(site)]);
        if let Some(next) = bed.sites.get(index + 1) {
            command.args(["--next", &bed.star.address(next)]);
        }
        let process = Process::start(command.arg(bed.work.join(site)))?;
        process.line("the link to listen", Duration::from_secs(10), |line| {
            line.contains("listening")
        })?;
        links.push(process);
    }
    // In the order of the sites.
    links.reverse();
    let clock = bed.start(barrier)?;
    let mut origin = bed.star.command(ORIGIN, &own);
    let first = bed.star.address(&bed.sites[0]);
    let origin = Process::start(origin.args(["chain-link", "--next", &first]).arg(bed.source))?;
    let finished = clock.each(&links, |link| {
        link.finish(bed.limit)?.success()?;
        Ok(Instant::now())
    })?;
    origin.finish(Duration::from_secs(5))?.success()?;
    Ok(Run {
        finished,
        durable: None,
        origin_payload: None,
        copies: bed.sites.iter().map(|site| bed.work.join(site)).collect(),
    })
}
