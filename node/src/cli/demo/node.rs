//! Who takes part, as the demo sees them: a node through its admin socket, a host through its process and its site.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use samara_protocol::id::NodeId;
use serde::Serialize;

use super::process::{Process, Runner};
use crate::admin::Client;
use crate::admin::api::{Request, Response, Stage};
use crate::admin::status::{PartName, SourceBytes, SourceClass, Status, TransferStatus};
use crate::cli::{CliError, Printer};

/// How long a node may take to say how it is; one that works hard may leave it out once.
const ANSWER: Duration = Duration::from_secs(2);

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Origin,
    Site,
    Host,
}

/// A daemon.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) role: Role,
    home: PathBuf,
    process: Option<Process>,
    client: Option<Client>,
    /// What it said last.
    pub(super) status: Option<Status>,
    /// When it had all.
    pub(super) finished: Option<Instant>,
    /// Payload that an earlier process of it, killed since, had sent.
    pub(super) sent_before: u64,
    /// Payload to each neighbour.
    sent_to: BTreeMap<NodeId, Progress>,
}

impl Node {
    pub(super) fn new(name: &str, role: Role, home: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            role,
            home,
            process: None,
            client: None,
            status: None,
            finished: None,
            sent_before: 0,
            sent_to: BTreeMap::new(),
        }
    }

    /// Starts its process, the first time or again.
    pub(super) fn start(&mut self, runner: &Runner, printer: &mut Printer) -> Result<(), CliError> {
        let config = format!("{}.toml", self.name);
        (self.client, self.status) = (None, None);
        self.process = Some(runner.start(&self.name, &["node", "run", "--config", &config], printer)?);
        Ok(())
    }

    /// Asks it how it is. No answer is no error: it may be starting.
    ///
    /// # Errors
    /// When its process has ended.
    pub(super) fn look(&mut self) -> Result<(), CliError> {
        if let Some(process) = &mut self.process
            && let Some(exit) = process.exit()?
        {
            return Err(process.failed(exit));
        }
        if self.client.is_none() {
            self.client = Client::connect(&self.home.join("node.sock")).ok();
        }
        let Some(client) = &mut self.client else { return Ok(()) };
        match client.ask(&Request::Status, &[], ANSWER) {
            Ok(Response::Status(status)) => {
                for peer in &status.peers {
                    self.sent_to.entry(peer.peer).or_default().saw(peer.sent_bytes);
                }
                self.status = Some(*status);
            }
            _ => self.client = None,
        }
        let staged = self.payload().is_some_and(|payload| payload.stage == Stage::Staged);
        if staged && self.finished.is_none() {
            self.finished = Some(Instant::now());
        }
        Ok(())
    }

    /// The release's files on their way, once it is that far.
    pub(super) fn payload(&self) -> Option<&TransferStatus> {
        let transfers = &self.status.as_ref()?.transfers;
        transfers.iter().find(|transfer| transfer.part == PartName::Payload)
    }

    /// Payload bytes sent, by all of its processes.
    pub(super) fn sent(&self) -> u64 {
        self.sent_before + self.payload().map_or(0, |payload| payload.sent_bytes)
    }

    /// Payload bytes sent to one neighbour, over all of its connections.
    pub(super) fn sent_to(&self, peer: NodeId) -> u64 {
        self.sent_to.get(&peer).map_or(0, Progress::total)
    }

    /// How many it is connected to.
    pub(super) fn peers(&self) -> usize {
        self.status.as_ref().map_or(0, |status| status.peers.len())
    }

    /// `kill -9`; what it had said last stays.
    pub(super) fn kill(&mut self, runner: &Runner, printer: &mut Printer) {
        if let Some(mut process) = self.process.take() {
            process.kill();
            runner.explain_line(&format!("kill -9 {}", process.id()), printer);
        }
        self.sent_before = self.sent();
    }

    /// Ends it in order.
    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
        }
    }

    /// That it does not get on.
    pub(super) fn stuck(&self, what: &str) -> CliError {
        let none = || CliError::failure(&self.name, what);
        self.process.as_ref().map_or_else(none, |process| process.stuck(what))
    }
}

/// A machine that only fetches.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    /// Index of its site.
    pub(super) site: usize,
    process: Option<Process>,
    /// When its fetch had ended.
    pub(super) finished: Option<Instant>,
    /// What its fetch printed.
    pub(super) fetched: Option<Fetched>,
    /// Bytes that its site's node has sent it.
    progress: Progress,
}

/// What `fetch --json` says, as far as it is shown.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct Fetched {
    pub(super) sources: Vec<SourceBytes>,
}

/// A count that starts again with each connection.
#[derive(Debug, Default)]
struct Progress {
    earlier: u64,
    last: u64,
}

impl Progress {
    fn saw(&mut self, sent: u64) {
        if sent < self.last {
            self.earlier += self.last;
        }
        self.last = sent;
    }

    const fn total(&self) -> u64 {
        self.earlier + self.last
    }
}

impl Host {
    pub(super) fn new(name: &str, site: usize) -> Self {
        Self {
            name: name.to_owned(),
            site,
            process: None,
            finished: None,
            fetched: None,
            progress: Progress::default(),
        }
    }

    /// Starts its fetch into `output`.
    pub(super) fn start(
        &mut self,
        release: &str,
        output: &str,
        runner: &Runner,
        printer: &mut Printer,
    ) -> Result<(), CliError> {
        let words = [
            "--home", &self.name, "--json", "fetch", release, "-o", output, "--wait", "10m",
        ];
        self.process = Some(runner.start(&self.name, &words, printer)?);
        Ok(())
    }

    /// Looks whether its fetch has ended, and at what its site says. Each fetch has an identity of its own, so what the
    /// site's node sends to machines of its site counts in equal parts for the `fetching` hosts that are not done.
    ///
    /// # Errors
    /// When the fetch failed.
    pub(super) fn look(&mut self, site: &Node, fetching: u64) -> Result<(), CliError> {
        let peers = site.status.iter().flat_map(|status| &status.peers);
        let own = peers.filter(|peer| peer.distance == SourceClass::Site);
        let sent: u64 = own.map(|peer| peer.sent_bytes).sum();
        self.progress.saw(sent / fetching.max(1));
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let Some(exit) = process.exit()? else { return Ok(()) };
        if !exit.success() {
            return Err(process.failed(exit));
        }
        let fetched = serde_json::from_str(&process.output()?);
        self.fetched = Some(fetched.map_err(|error| process.stuck(&format!("printed no result: {error}")))?);
        (self.finished, self.process) = (Some(Instant::now()), None);
        Ok(())
    }

    /// About how many bytes it has.
    pub(super) fn have(&self) -> u64 {
        self.progress.total()
    }

    /// That it does not get on.
    pub(super) fn stuck(&self, what: &str) -> CliError {
        let none = || CliError::failure(&self.name, what);
        self.process.as_ref().map_or_else(none, |process| process.stuck(what))
    }
}
