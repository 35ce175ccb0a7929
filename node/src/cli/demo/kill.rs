//! `kill -9` of one site in mid-transfer, and what it cost.

use samara_protocol::id::NodeId;
use samara_protocol::units::show_bytes;

use super::process::Runner;
use super::setup::Network;
use crate::admin::api::Stage;
use crate::admin::status::{SourceClass, TransferStatus};
use crate::cli::{CliError, Printer};

/// Per mille of the release that the site has when it is killed, or a little more.
const AT: u64 = 400;

/// The plan for a kill, and what became of it.
#[derive(Debug)]
pub(super) enum Kill {
    /// There is none.
    Never(String),
    /// When this site is at [`AT`].
    Planned {
        /// Its index.
        site: usize,
    },
    /// It was killed and started again.
    Done(Killed),
}

/// What was known at the kill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Killed {
    /// Index of the site.
    pub(super) site: usize,
    /// Its node's id.
    pub(super) peer: NodeId,
    /// Bytes verified and written, as it said last before the kill.
    pub(super) had: u64,
    /// Bytes of the release.
    pub(super) wanted: u64,
}

impl Kill {
    /// Kills and restarts when it is time. Returns what to tell.
    pub(super) fn look(
        &mut self,
        network: &mut Network,
        runner: &Runner,
        printer: &mut Printer,
    ) -> Result<Option<String>, CliError> {
        let Self::Planned { site } = *self else { return Ok(None) };
        let node = &network.sites[site];
        let Some(payload) = node.payload() else { return Ok(None) };
        if payload.stage == Stage::Staged || payload.have_bytes == payload.wanted_bytes {
            *self = Self::Never(format!("{} had all of it before it could be interrupted", node.name));
            return Ok(None);
        }
        let (had, wanted) = (payload.have_bytes, payload.wanted_bytes);
        if had * 1000 < wanted * AT {
            return Ok(None);
        }
        // As late as possible: what it has at its end, and what everybody has sent it until then.
        network.look_at_nodes()?;
        let node = &mut network.sites[site];
        let Some(peer) = node.status.as_ref().map(|status| status.node.peer) else {
            return Ok(None);
        };
        let had = node.payload().map_or(had, |payload| payload.have_bytes.max(had));
        node.kill(runner, printer);
        node.start(runner, printer)?;
        let told = format!(
            "{} was killed with kill -9 at {} % ({} verified and written), and started again",
            node.name,
            had * 100 / wanted,
            show_bytes(had)
        );
        *self = Self::Done(Killed {
            site,
            peer,
            had,
            wanted,
        });
        Ok(Some(told))
    }
}

impl Killed {
    /// Bytes that the restarted process found verified on its disk.
    pub(super) fn resumed(payload: &TransferStatus) -> u64 {
        let resumed = payload.sources.iter().filter(|of| of.source == SourceClass::Resumed);
        resumed.map(|of| of.bytes).sum()
    }
}
