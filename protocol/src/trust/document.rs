//! The documents that the delegated roles sign: channels, recalls, revocations.
//!
//! Each is a TUF target whose bytes travel inside its target record (`custom`), so that a product's metadata is eight
//! files and no more; the record's length and hashes are those of the document's canonical JSON, and are checked. None of
//! them ever loses a fact: a channel's sequence never falls, a recall and a revocation stay.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::id::{ManifestId, NodeId, StatementId};
use crate::limits::{CHANNEL_RELEASES_MAX, REASON_BYTES_MAX};
use crate::trust::credentials::Covered;
use crate::trust::enrolment::MemberKind;
use crate::trust::grant::{ChannelName, SiteId, check_schema};

/// One channel: what a product has promoted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The format: 0.
    pub schema: u32,
    /// Its name, as in its path.
    pub name: ChannelName,
    /// Counts every change of this channel.
    pub sequence: u64,
    /// Its releases in order of promotion; the last one neither held nor recalled is the latest.
    pub releases: Vec<Promotion>,
}

/// One release on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Its version.
    pub version: Version,
    /// Its manifest: a version alone could be bound anew.
    pub manifest: ManifestId,
    /// The channel's sequence at which it was promoted.
    pub sequence: u64,
    /// Not to be offered at present.
    pub held: bool,
}

/// All recalls of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalls {
    /// The format: 0.
    pub schema: u32,
    /// In the order they were made.
    pub recalls: Vec<Recall>,
}

/// One release that is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// Its version.
    pub version: Version,
    /// Its manifest.
    pub manifest: ManifestId,
    /// Why, for people.
    pub reason: String,
    /// What to take instead.
    pub replacement: Option<Version>,
}

/// Everything that the vendor has revoked for a product, each list sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// The format: 0.
    pub schema: u32,
    /// Single grants.
    pub grants: Vec<StatementId>,
    /// All grants of a site.
    pub sites: Vec<SiteId>,
    /// Single nodes, hosts or origins.
    pub nodes: Vec<NodeId>,
}

/// What the four delegated roles say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Documents {
    /// Every release that was ever published: version, and where its head is.
    pub releases: BTreeMap<Version, HeadRecord>,
    /// Every channel.
    pub channels: BTreeMap<ChannelName, Channel>,
    /// Every recall, by manifest.
    pub recalls: BTreeMap<ManifestId, Recall>,
    /// Every revocation.
    pub revoked: Revoked,
}

/// What the `releases` role says about a manifest head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRecord {
    /// Its target path.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its BLAKE3.
    pub manifest: ManifestId,
}

impl Channel {
    pub(crate) fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        if self.releases.len() > CHANNEL_RELEASES_MAX {
            return Err(format!(
                "channel {} has more than {CHANNEL_RELEASES_MAX} releases",
                self.name
            ));
        }
        let ordered = self.releases.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
        if !ordered || self.releases.last().is_some_and(|last| last.sequence > self.sequence) {
            return Err(format!("channel {} is not in the order of its sequence", self.name));
        }
        Ok(())
    }
}

impl Recalls {
    pub(crate) fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        match self
            .recalls
            .iter()
            .find(|recall| recall.reason.len() > REASON_BYTES_MAX)
        {
            Some(recall) => Err(format!(
                "the recall of {} has a reason of more than {REASON_BYTES_MAX} bytes",
                recall.version
            )),
            None => Ok(()),
        }
    }
}

impl Revoked {
    pub(crate) fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        if sorted(&self.grants) && sorted(&self.sites) && sorted(&self.nodes) {
            Ok(())
        } else {
            Err("the revocations are not in sorted order, each once".to_owned())
        }
    }
}

fn sorted<T: Ord>(list: &[T]) -> bool {
    list.windows(2).all(|pair| pair[0] < pair[1])
}

impl Documents {
    /// The channels that list a release, with its place on each.
    pub fn listings(&self, manifest: ManifestId) -> impl Iterator<Item = (&ChannelName, &Promotion)> {
        self.channels.values().flat_map(move |channel| {
            let listed = channel
                .releases
                .iter()
                .filter(move |release| release.manifest == manifest);
            listed.map(move |release| (&channel.name, release))
        })
    }

    /// The latest release of a channel: the last promoted that is neither held nor recalled.
    #[must_use]
    pub fn latest(&self, channel: &ChannelName) -> Option<&Promotion> {
        let releases = &self.channels.get(channel)?.releases;
        releases
            .iter()
            .rev()
            .find(|release| !release.held && !self.recalls.contains_key(&release.manifest))
    }

    /// Whether a peer with these credentials may have a release: an origin all that is on any channel, whatever channels there
    /// were when it was granted, others what is on theirs.
    #[must_use]
    pub fn offered_to(&self, manifest: ManifestId, to: &Covered) -> bool {
        if to.kind == MemberKind::Origin {
            let all: Vec<ChannelName> = self.channels.keys().cloned().collect();
            return self.offered(manifest, &all);
        }
        self.offered(manifest, &to.channels)
    }

    /// Whether a holder of these channels may have a release: one of them lists it, not held, and no recall names it.
    #[must_use]
    pub fn offered(&self, manifest: ManifestId, channels: &[ChannelName]) -> bool {
        !self.recalls.contains_key(&manifest)
            && self
                .listings(manifest)
                .any(|(name, release)| !release.held && channels.contains(name))
    }
}
