//! rqbit in the swarm, as the server that it also is: it runs before the barrier and is then given, by HTTP, the torrent and
//! everybody's address.
//!
//! Its clock so includes that it makes its file and connects. It takes pieces in the order of the file, so sites that begin
//! within the same milliseconds all ask the origin for the same ones: 8 sites and 64 MiB then took 4.0 to 6.9 times the bound
//! (six runs, holding the torrent before or not). Its sites are therefore told a tenth of a second apart, each one's time
//! counting from its own telling: 3.8 to 4.7 times (four runs). Further apart it does better still, 3.3 times at 0.3 s (one run),
//! but that is no longer a common start; `--stagger` shows it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use samara_tests::skip::find;
use samara_tests::{Process, wait};
use serde_json::Value;

use super::{Barrier, Bed, ORIGIN, Run};
use crate::rivals::torrent;

const PORT: u16 = 6881;
/// Where each server takes orders, inside its own namespace.
const ORDERS: &str = "127.0.0.1:3030";
/// How long after one site the next is told.
const APART: Duration = Duration::from_millis(100);
/// How long a server may take to start, and to have looked at its file.
const READY: Duration = Duration::from_secs(60);
/// How long one order may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Whether it is there.
pub(crate) fn is_installed() -> bool {
    find("rqbit").is_some()
}

/// One origin and its sites.
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut Barrier<'_>) -> Result<Run> {
    let torrent = torrent::of_file(bed.source, super::PIECE)?;
    let origin = Peer::start(bed, ORIGIN, bed.source_folder()?)?;
    origin.take(&torrent, "")?;
    wait::until("rqbit's check of its own file", READY, || {
        let stats = origin.order("GET", "/torrents/0/stats/v1", b"")?;
        Ok((stats["finished"] == true).then_some(()))
    })?;
    let mut sites = Vec::new();
    for site in bed.sites {
        let folder = bed.work.join(site);
        fs::create_dir_all(&folder)?;
        sites.push(Peer::start(bed, site, &folder)?);
    }
    let clock = bed.start(barrier)?.at_least_apart(APART);
    let finished = clock.each(&sites, |site| {
        let others = bed.others(site.place, PORT).join(",");
        site.take(&torrent, &format!("&initial_peers={others}"))?;
        let said = "torrent finished downloading";
        site.process.line_or_result("the whole file", bed.limit, said)?;
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

/// One server and the place it runs in.
struct Peer<'a> {
    bed: &'a Bed<'a>,
    place: &'a str,
    process: Process,
}

impl<'a> Peer<'a> {
    fn start(bed: &'a Bed<'a>, place: &'a str, folder: &Path) -> Result<Self> {
        let mut command = bed.star.command(place, find("rqbit").context("rqbit")?);
        command.args([
            "-v",
            "info",
            "--disable-dht",
            "--disable-dht-persistence",
            "--disable-lsd",
        ]);
        command.args(["--disable-upnp-port-forward", "--disable-trackers", "--ipv4-only"]);
        command.args(["--listen-ip", "0.0.0.0", "--listen-port", &PORT.to_string()]);
        command.args(["--http-api-listen-addr", ORDERS]);
        command.args(["server", "start", "--disable-persistence"]).arg(folder);
        let process = Process::start(&mut command)?;
        process.line_or_result("rqbit to take orders", READY, "started HTTP API")?;
        Ok(Self { bed, place, process })
    }

    /// Gives it the torrent, and with that the order to fetch what of it is not there.
    fn take(&self, torrent: &[u8], more: &str) -> Result<()> {
        let path = format!("/torrents?overwrite=true{more}");
        self.order("POST", &path, torrent).map(drop)
    }

    /// One request, sent from inside the server's own namespace, and its answer.
    fn order(&self, verb: &str, path: &str, body: &[u8]) -> Result<Value> {
        let answer = self.bed.star.inside(self.place, || exchange(verb, path, body))?;
        answer.with_context(|| format!("{verb} {path} at {}", self.place))
    }
}

fn exchange(verb: &str, path: &str, body: &[u8]) -> Result<Value> {
    let mut stream = TcpStream::connect(ORDERS)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let length = body.len();
    let head =
        format!("{verb} {path} HTTP/1.1\r\nHost: {ORDERS}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    let (head, body) = said.split_once("\r\n\r\n").context("a header and a body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{said}");
    serde_json::from_str(body).with_context(|| said.clone())
}
