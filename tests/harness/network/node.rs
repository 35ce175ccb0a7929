//! A daemon with its configuration file: started, asked, killed, started again.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Actor, CHANNEL, PRODUCT};
use crate::{Finished, Process, ports, wait};

/// How long a node may take to answer after its start.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);
/// How many of a node's last lines are told with a wait that was in vain.
const LAST_LINES: usize = 30;

/// What differs from the defaults in a node's file.
#[derive(Debug, Clone, Default)]
pub struct NodeConfig {
    /// `[limits] up`.
    pub up: Option<String>,
    /// `[limits] down`.
    pub down: Option<String>,
    /// `[limits] upload`.
    pub upload: Option<String>,
    /// `[limits] origin-copies-max`.
    pub copies: Option<u32>,
    /// `[store] quota`.
    pub quota: Option<String>,
    /// `[store] reserve`.
    pub reserve: Option<String>,
    /// Whether the node takes every release of the channel by itself.
    pub follow: bool,
    /// How many releases of the channel it keeps.
    pub keep: Option<u32>,
    /// `platforms` of the product.
    pub platforms: Vec<String>,
    /// Products that it carries beside [`PRODUCT`], followed like that one.
    pub further: Vec<&'static str>,
    /// `[node] proxy`.
    pub proxy: Option<String>,
    /// `[node] external`, when others are to dial something else than what is listened on; a host alone gets the own port.
    pub external: Option<String>,
    /// `[store] dir`, when not below the home.
    pub store: Option<PathBuf>,
    /// `[log] level`; with one, the log is JSON.
    pub log: Option<&'static str>,
    /// `[metrics] listen`.
    pub metrics: Option<String>,
    /// Where the vendor's online keys are; at the origin that signs.
    pub signer: Option<PathBuf>,
}

/// One line of `transfers` in a node's status.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// `offered`, `fetching`, `verified` or `staged`.
    pub stage: String,
    /// Verified bytes.
    pub have: u64,
    /// Of those, durable.
    pub durable: u64,
    /// Wanted bytes.
    pub wanted: u64,
    /// Served to others.
    pub sent: u64,
    sources: Value,
}

impl Transfer {
    /// That of the payload of a version in a status, if it is there.
    pub fn find(status: &Value, version: &str) -> Option<Self> {
        let transfers = status["transfers"].as_array()?;
        let found = transfers
            .iter()
            .find(|row| row["version"] == version && row["part"] == "payload")?;
        let number = |key: &str| found[key].as_u64().unwrap_or(0);
        Some(Self {
            stage: found["stage"].as_str()?.to_owned(),
            have: number("have_bytes"),
            durable: number("durable_bytes"),
            wanted: number("wanted_bytes"),
            sent: number("sent_bytes"),
            sources: found["sources"].clone(),
        })
    }

    /// Bytes from one class of source: `origin`, `other`, `resumed`, `reused` ..
    #[must_use]
    pub fn from(&self, source: &str) -> u64 {
        let rows = self.sources.as_array().into_iter().flatten();
        rows.filter(|row| row["source"] == source)
            .filter_map(|row| row["bytes"].as_u64())
            .sum()
    }
}

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    /// Its home.
    pub actor: Actor,
    role: &'static str,
    config: NodeConfig,
    port: u16,
    process: Option<Process>,
}

impl Node {
    /// Writes its configuration; nothing runs yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(actor: Actor, role: &'static str, config: &NodeConfig) -> Result<Self> {
        // In a namespace of its own any port is free.
        let port = if actor.ip() == "127.0.0.1" {
            ports::free()?
        } else {
            4901
        };
        let node = Self {
            actor,
            role,
            config: config.clone(),
            port,
            process: None,
        };
        node.write()?;
        Ok(node)
    }

    /// Where it listens for others, as configuration and `join` take it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.actor.ip(), self.port)
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.actor.home().join("node.sock")
    }

    /// Its configuration file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.actor.home().join("node.toml")
    }

    /// Its store's folder.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.config
            .store
            .clone()
            .unwrap_or_else(|| self.actor.home().join("store"))
    }

    /// Its process, while it runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&self) -> Result<&Process> {
        self.process
            .as_ref()
            .with_context(|| format!("{} does not run", self.actor.name()))
    }

    /// Changes the configuration of a node that does not run.
    ///
    /// # Errors
    /// When it runs, or the file cannot be written.
    pub fn configure(&mut self, change: impl FnOnce(&mut NodeConfig)) -> Result<()> {
        ensure!(self.process.is_none(), "stop {} first", self.actor.name());
        change(&mut self.config);
        self.write()
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// What it said when it ends instead.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.actor.command();
        let process = Process::start(command.args(["node", "run", "--config"]).arg(self.file()))?;
        wait::until(&format!("{} to answer", self.actor.name()), ANSWER, || {
            ensure!(
                process.is_running(),
                "{} ended:\n{}",
                self.actor.name(),
                process.lines().join("\n")
            );
            Ok(self.status().is_ok().then_some(()))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// What `status --json` prints.
    ///
    /// # Errors
    /// What it said instead.
    pub fn status(&self) -> Result<Value> {
        self.actor.run(["status", "--json"])?.json()
    }

    /// Waits until its status satisfies `wanted`.
    ///
    /// # Errors
    /// The last status when it does not within `limit`.
    pub fn wait_status(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let waited = wait::until(what, limit, || {
            last = self.status()?;
            Ok(wanted(&last).then(|| last.clone()))
        });
        waited.with_context(|| {
            let name = self.actor.name();
            format!(
                "{name}'s last status: {last:#}\nand what {name} said last:\n{}",
                self.last_lines()
            )
        })
    }

    /// The payload transfer of a version in its status.
    ///
    /// # Errors
    /// What `status` said instead; a version that is not known is none.
    pub fn transfer(&self, version: &str) -> Result<Option<Transfer>> {
        Ok(Transfer::find(&self.status()?, version))
    }

    /// Waits until the payload of a version satisfies `wanted`.
    ///
    /// # Errors
    /// As [`Node::wait_status`].
    pub fn wait_transfer(
        &self,
        version: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Transfer) -> bool,
    ) -> Result<Transfer> {
        let reached = |status: &Value| Transfer::find(status, version).is_some_and(|transfer| wanted(&transfer));
        let status = self.wait_status(what, limit, reached)?;
        Transfer::find(&status, version).context("it was there")
    }

    /// Waits until a version is staged: all here, checked and durable.
    ///
    /// # Errors
    /// As [`Node::wait_status`].
    pub fn wait_staged(&self, version: &str, limit: Duration) -> Result<Transfer> {
        self.wait_transfer(version, &format!("{version} to be staged"), limit, |transfer| {
            transfer.stage == "staged"
        })
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<Finished> {
        self.process
            .take()
            .with_context(|| format!("{} does not run", self.actor.name()))?
            .kill()
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it does not run or does not end.
    pub fn stop(&mut self) -> Result<Finished> {
        self.process
            .take()
            .with_context(|| format!("{} does not run", self.actor.name()))?
            .terminate(DRAIN)
    }

    /// Writes what the running node has said so far to `node.log` in its home.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_log(&self) -> Result<()> {
        let lines = self.process.as_ref().map(Process::lines).unwrap_or_default();
        fs::write(self.actor.home().join("node.log"), lines.join("\n"))?;
        Ok(())
    }

    /// The end of what the running node has said.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let lines = self.process.as_ref().map(Process::lines).unwrap_or_default();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    fn write(&self) -> Result<()> {
        let config = &self.config;
        let home = self.actor.home().display();
        let mut text = format!(
            "[node]\nrole = \"{}\"\nhome = \"{home}\"\nlisten = [\"{}\"]\n",
            self.role,
            self.address()
        );
        if let Some(proxy) = &config.proxy {
            writeln!(text, "proxy = \"{proxy}\"")?;
        }
        if let Some(external) = &config.external {
            let port = if external.contains(':') {
                String::new()
            } else {
                format!(":{}", self.port)
            };
            writeln!(text, "external = [\"{external}{port}\"]")?;
        }
        text.push_str("\n[limits]\n");
        for (key, value) in [("up", &config.up), ("down", &config.down), ("upload", &config.upload)] {
            if let Some(value) = value {
                writeln!(text, "{key} = \"{value}\"")?;
            }
        }
        if let Some(copies) = config.copies {
            writeln!(text, "origin-copies-max = {copies}")?;
        }
        if let Some(address) = &config.metrics {
            writeln!(text, "\n[metrics]\nlisten = \"{address}\"")?;
        }
        if let Some(level) = config.log {
            writeln!(text, "\n[log]\nformat = \"json\"\nlevel = \"{level}\"")?;
        }
        writeln!(text, "\n[store]\ndir = \"{}\"", self.store().display())?;
        for (key, value) in [("quota", &config.quota), ("reserve", &config.reserve)] {
            if let Some(value) = value {
                writeln!(text, "{key} = \"{value}\"")?;
            }
        }
        writeln!(text, "\n[[product]]\nname = \"{PRODUCT}\"")?;
        if config.follow {
            writeln!(text, "follow = [\"{CHANNEL}\"]")?;
        }
        if let Some(keep) = config.keep {
            writeln!(text, "keep = {keep}")?;
        }
        if !config.platforms.is_empty() {
            writeln!(text, "platforms = {:?}", config.platforms)?;
        }
        if let Some(signer) = &config.signer {
            writeln!(text, "signer = \"{}\"", signer.display())?;
        }
        for name in &config.further {
            writeln!(text, "\n[[product]]\nname = \"{name}\"")?;
            if config.follow {
                writeln!(text, "follow = [\"{CHANNEL}\"]")?;
            }
        }
        fs::write(self.file(), text).with_context(|| self.file().display().to_string())
    }
}
