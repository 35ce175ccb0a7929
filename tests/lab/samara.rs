//! Samara's side of the comparisons on one machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use samara_tests::network::{Network, PRODUCT, Plan, fetch_command};

use crate::measure::Transfer;
use crate::rivals::{Rival, timed};

/// A vendor's origin that has published the file, and a host that fetches it from there: two processes on loopback.
pub(crate) struct Pair {
    network: Network,
    file: String,
}

impl Pair {
    /// Publishes `source` at a fresh origin.
    pub(crate) fn start(source: &Path) -> Result<Self> {
        let network = Network::start(&Plan {
            direct: true,
            ..Plan::default()
        })?;
        // The release is the folder that the file lies in: the file alone.
        network.publish(source.parent().context("the source lies in a folder")?, "1.0.0")?;
        let file = source
            .file_name()
            .and_then(|name| name.to_str())
            .context("a plain name")?;
        Ok(Self {
            network,
            file: file.to_owned(),
        })
    }

    fn command(&self, into: &Path) -> Result<Command> {
        let host = self.network.sites[0].hosts.first().context("a host")?;
        Ok(fetch_command(host, &format!("{PRODUCT}@1.0.0"), into))
    }
}

impl Rival for Pair {
    fn name(&self) -> &'static str {
        "samara"
    }

    fn fetch(&mut self, into: &Path) -> Result<(Transfer, PathBuf)> {
        let origin = self.network.origin.process()?;
        let durable = into.join("durable");
        let synced = timed(origin, self.command(&durable)?.arg("--sync"), None)?;
        fs::remove_dir_all(&durable)?;
        let plain = into.join("plain");
        let mut transfer = timed(origin, &mut self.command(&plain)?, None)?;
        transfer.durable = Some(synced.elapsed);
        Ok((transfer, plain.join(&self.file)))
    }
}
