//! The programs that people use today, each as a sender that runs and a receiver that is started anew for each transfer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use samara_tests::skip::find;
use samara_tests::usage::Usage;
use samara_tests::web::{self, Certificate, Server};
use samara_tests::{Process, ports};
use tempfile::TempDir;

use crate::measure::Transfer;

pub(crate) mod torrent;

/// How long one transfer may take before it counts as hung.
pub(crate) const TRANSFER_LIMIT: Duration = Duration::from_secs(900);
/// Bytes of one piece of the torrent that one pair moves.
const TORRENT_PIECE: u64 = 1 << 20;
/// How long a sender may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// One program that moves one file.
pub(crate) trait Rival {
    /// Its name in the results.
    fn name(&self) -> &'static str;
    /// Moves the file into the empty folder `into` and says where it lies there.
    fn fetch(&mut self, into: &Path) -> Result<(Transfer, PathBuf)>;
}

/// Starts the sender of `name` over `source`, or none where the program is not installed.
pub(crate) fn start(name: &str, source: &Path) -> Result<Option<Box<dyn Rival>>> {
    let programs: &[&str] = match name {
        "https" => &["nginx", "curl", "openssl"],
        "http" => &["nginx", "curl"],
        "rqbit" => &["rqbit"],
        "sendme" => &["sendme"],
        other => bail!("no rival `{other}`; known: https, http, rqbit, sendme"),
    };
    if programs.iter().any(|program| find(program).is_none()) {
        return Ok(None);
    }
    Ok(Some(match name {
        "https" => Box::new(Web::start(source, true)?),
        "http" => Box::new(Web::start(source, false)?),
        "rqbit" => Box::new(Rqbit::start(source)?),
        _ => Box::new(Sendme::start(source)?),
    }))
}

/// Runs the receiver to its end, or to the moment when `done` is said, and charges both sides.
pub(crate) fn timed(sender: &Process, receiver: &mut Command, done: Option<&str>) -> Result<Transfer> {
    let before = sender.usage();
    let started = Instant::now();
    let process = Process::start(receiver)?;
    let (elapsed, usage) = match done {
        None => {
            let finished = process.finish(TRANSFER_LIMIT)?.success()?;
            (finished.elapsed, finished.usage)
        }
        Some(text) => {
            process.line_or_result(text, TRANSFER_LIMIT, text)?;
            let elapsed = started.elapsed();
            let usage = process.usage();
            process.terminate(Duration::from_secs(10)).or_else(|_| process.kill())?;
            (elapsed, usage)
        }
    };
    let after = sender.usage();
    let sender = Usage {
        cpu: after.cpu.saturating_sub(before.cpu),
        peak_rss: after.peak_rss,
    };
    Ok(Transfer {
        elapsed,
        durable: None,
        receiver: usage,
        sender,
    })
}

fn file_name(source: &Path) -> Result<&str> {
    source
        .file_name()
        .and_then(|name| name.to_str())
        .context("the source has a plain name")
}

/// nginx and curl.
struct Web {
    server: Server,
    url: String,
    name: &'static str,
    _certificate: Option<Certificate>,
}

impl Web {
    fn start(source: &Path, encrypted: bool) -> Result<Self> {
        let folder = source.parent().context("the source lies in a folder")?;
        let certificate = if encrypted { Some(Certificate::new()?) } else { None };
        let port = ports::free()?;
        let program = find("nginx").context("nginx")?;
        let server = web::serve(Command::new(program), folder, "127.0.0.1", port, certificate.as_ref())?;
        let name = if encrypted { "https" } else { "http" };
        let url = format!("{name}://127.0.0.1:{port}/{}", file_name(source)?);
        Ok(Self {
            server,
            url,
            name,
            _certificate: certificate,
        })
    }
}

impl Rival for Web {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fetch(&mut self, into: &Path) -> Result<(Transfer, PathBuf)> {
        let file = into.join("file");
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "-o"]).arg(&file).arg(&self.url);
        Ok((timed(&self.server.process, &mut curl, None)?, file))
    }
}

/// BitTorrent in Rust.
struct Rqbit {
    seed: Process,
    port: u16,
    torrent: PathBuf,
    file: String,
    _folder: TempDir,
}

impl Rqbit {
    fn start(source: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let torrent = folder.path().join("x.torrent");
        fs::write(&torrent, torrent::of_file(source, TORRENT_PIECE)?)?;
        let port = ports::free()?;
        let mut command = Self::command(port)?;
        command.args(["download", "--disable-http-api", "--overwrite", "-o"]);
        command
            .arg(source.parent().context("the source lies in a folder")?)
            .arg(&torrent);
        let seed = Process::start(&mut command)?;
        seed.line_or_result("rqbit's check of its own file", READY_LIMIT, "100.00%")?;
        Ok(Self {
            seed,
            port,
            torrent,
            file: file_name(source)?.to_owned(),
            _folder: folder,
        })
    }

    fn command(port: u16) -> Result<Command> {
        let mut command = Command::new(find("rqbit").context("rqbit")?);
        command.args([
            "-v",
            "info",
            "--disable-dht",
            "--disable-dht-persistence",
            "--disable-lsd",
            "--disable-upnp-port-forward",
        ]);
        command.args([
            "--disable-trackers",
            "--ipv4-only",
            "--listen-ip",
            "127.0.0.1",
            "--listen-port",
            &port.to_string(),
        ]);
        Ok(command)
    }
}

impl Rival for Rqbit {
    fn name(&self) -> &'static str {
        "rqbit"
    }

    fn fetch(&mut self, into: &Path) -> Result<(Transfer, PathBuf)> {
        let mut command = Self::command(ports::free()?)?;
        command.args([
            "download",
            "--disable-http-api",
            "--initial-peers",
            &format!("127.0.0.1:{}", self.port),
            "-o",
        ]);
        command.arg(into).arg(&self.torrent);
        let transfer = timed(&self.seed, &mut command, Some("torrent finished downloading"))?;
        Ok((transfer, into.join(&self.file)))
    }
}

/// iroh's file sender.
struct Sendme {
    send: Process,
    ticket: String,
    file: String,
    folder: TempDir,
}

impl Sendme {
    fn start(source: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Self::command(&folder)?;
        command
            .args(["send", "--relay", "disabled", "--ticket-type", "addresses"])
            .arg(source);
        let send = Process::start(command.current_dir(folder.path()))?;
        let mark = "sendme receive ";
        let line = send.line_or_result("sendme's ticket", READY_LIMIT, mark)?;
        let ticket = line
            .split(mark)
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .context("a ticket")?;
        Ok(Self {
            ticket: ticket.to_owned(),
            send,
            file: file_name(source)?.to_owned(),
            folder,
        })
    }

    fn command(folder: &TempDir) -> Result<Command> {
        let mut command = Command::new(find("sendme").context("sendme")?);
        command.env("IROH_DATA_DIR", folder.path()).env("RUST_LOG", "error");
        Ok(command)
    }
}

impl Rival for Sendme {
    fn name(&self) -> &'static str {
        "sendme"
    }

    fn fetch(&mut self, into: &Path) -> Result<(Transfer, PathBuf)> {
        let mut command = Self::command(&self.folder)?;
        command
            .args(["receive", "--relay", "disabled", &self.ticket])
            .current_dir(into);
        Ok((timed(&self.send, &mut command, None)?, into.join(&self.file)))
    }
}
