//! The changes that a vendor makes, each the next file of one delegated role.

use semver::Version;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::file::Body;
use super::{Change, Lifetimes, WriteError};
use crate::id::{ManifestId, NodeId, StatementId};
use crate::time::WallTime;
use crate::trust::canonical;
use crate::trust::document::{Channel, HeadRecord, Promotion, Recall, Recalls, Revoked};
use crate::trust::grant::{ChannelName, SiteId};
use crate::trust::key::Signer;
use crate::trust::product::ProductTrust;
use crate::trust::role::{RECALLS_PATH, REVOKED_PATH, Role, release_path};

/// Who signs a change, and when.
pub struct Hand<'a> {
    /// The role's signers.
    pub signers: &'a [&'a dyn Signer],
    /// The time of signing.
    pub now: WallTime,
    /// For how long it shall be valid.
    pub lifetimes: Lifetimes,
}

/// What is to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// One grant.
    Grant(StatementId),
    /// All grants of a site.
    Site(SiteId),
    /// One node, host or origin.
    Node(NodeId),
}

/// Binds `version` to the manifest head `head`.
///
/// # Errors
/// [`WriteError::NoChange`] when it is bound so already, [`WriteError::Published`] when to another head.
pub fn add_release(
    trust: &ProductTrust,
    version: &Version,
    head: &[u8],
    hand: &Hand<'_>,
) -> Result<Change, WriteError> {
    let record = HeadRecord {
        path: release_path(version),
        length: head.len() as u64,
        sha256: Sha256::digest(head).into(),
        manifest: ManifestId(*blake3::hash(head).as_bytes()),
    };
    let mut releases = trust.documents().releases.clone();
    match releases.insert(version.clone(), record.clone()) {
        None => {}
        Some(bound) if bound == record => {
            return Err(WriteError::NoChange(format!(
                "release {version} is published with this very content"
            )));
        }
        Some(_) => {
            return Err(WriteError::Published {
                version: version.clone(),
            });
        }
    }
    let targets = releases
        .into_values()
        .map(|record| (record.path.clone(), head_target(&record)));
    change(trust, Role::Releases, targets.collect(), hand)
}

/// Puts a published release on a channel, as its latest.
///
/// # Errors
/// When it is not published, recalled, or the channel's latest already.
pub fn promote(
    trust: &ProductTrust,
    version: &Version,
    channel: &ChannelName,
    hand: &Hand<'_>,
) -> Result<Change, WriteError> {
    let documents = trust.documents();
    let head = documents.releases.get(version).ok_or_else(|| WriteError::NoRelease {
        version: version.clone(),
    })?;
    if documents.recalls.contains_key(&head.manifest) {
        return Err(WriteError::Recalled {
            version: version.clone(),
        });
    }
    let mut channels = documents.channels.clone();
    let entry = channels.entry(channel.clone()).or_insert_with(|| Channel {
        schema: 0,
        name: channel.clone(),
        sequence: 0,
        releases: Vec::new(),
    });
    if entry
        .releases
        .last()
        .is_some_and(|last| last.manifest == head.manifest && !last.held)
    {
        return Err(WriteError::NoChange(format!(
            "{version} is the latest release of channel {channel}"
        )));
    }
    entry.sequence += 1;
    // Promoted anew, it moves to the end: that is how a vendor goes back to an earlier release.
    entry.releases.retain(|release| release.manifest != head.manifest);
    entry.releases.push(Promotion {
        version: version.clone(),
        manifest: head.manifest,
        sequence: entry.sequence,
        held: false,
    });
    let mut targets = Map::new();
    for channel in channels.values() {
        targets.insert(crate::trust::verify::channel_path(channel), document_target(channel)?);
    }
    change(trust, Role::Channels, targets, hand)
}

/// Takes a release back from every channel, for ever.
///
/// # Errors
/// When it is not published, or recalled already.
pub fn recall(
    trust: &ProductTrust,
    version: &Version,
    reason: &str,
    replacement: Option<&Version>,
    hand: &Hand<'_>,
) -> Result<Change, WriteError> {
    let documents = trust.documents();
    for version in std::iter::once(version).chain(replacement) {
        if !documents.releases.contains_key(version) {
            return Err(WriteError::NoRelease {
                version: version.clone(),
            });
        }
    }
    let manifest = documents.releases.get(version).map(|head| head.manifest);
    let mut recalls: Vec<Recall> = documents.recalls.values().cloned().collect();
    if let Some(manifest) = manifest {
        if documents.recalls.contains_key(&manifest) {
            return Err(WriteError::NoChange(format!("{version} is recalled already")));
        }
        recalls.push(Recall {
            version: version.clone(),
            manifest,
            reason: reason.to_owned(),
            replacement: replacement.cloned(),
        });
    }
    let targets = single(RECALLS_PATH, &Recalls { schema: 0, recalls })?;
    change(trust, Role::Recalls, targets, hand)
}

/// Revokes a grant, a site or a node, for ever.
///
/// # Errors
/// When it is revoked already.
pub fn revoke(trust: &ProductTrust, what: &[Revocation], hand: &Hand<'_>) -> Result<Change, WriteError> {
    let mut revoked = trust.documents().revoked.clone();
    for one in what {
        match *one {
            Revocation::Grant(id) => add(&mut revoked.grants, id),
            Revocation::Site(id) => add(&mut revoked.sites, id),
            Revocation::Node(id) => add(&mut revoked.nodes, id),
        }
    }
    if revoked == trust.documents().revoked {
        return Err(WriteError::NoChange("it is revoked already".to_owned()));
    }
    change(trust, Role::Grants, single(REVOKED_PATH, &revoked)?, hand)
}

/// The targets of a role in a new product.
pub(super) fn empty(role: Role) -> Result<Map<String, Value>, WriteError> {
    match role {
        Role::Recalls => single(
            RECALLS_PATH,
            &Recalls {
                schema: 0,
                recalls: Vec::new(),
            },
        ),
        Role::Grants => single(REVOKED_PATH, &Revoked::default()),
        _ => Ok(Map::new()),
    }
}

fn change(
    trust: &ProductTrust,
    role: Role,
    targets: Map<String, Value>,
    hand: &Hand<'_>,
) -> Result<Change, WriteError> {
    let version = trust.summary().version(role) + 1;
    let expires = hand.now.plus_seconds(hand.lifetimes.delegated);
    let file = Body::delegated(trust.product(), version, expires, targets).sign(hand.signers)?;
    Ok(Change { role, file })
}

fn head_target(record: &HeadRecord) -> Value {
    json!({
        "length": record.length,
        "hashes": {
            "blake3": record.manifest.to_string(),
            "sha256": data_encoding::HEXLOWER.encode(&record.sha256),
        },
    })
}

/// A document inside its own target record.
fn document_target<T: Serialize>(document: &T) -> Result<Value, WriteError> {
    let bytes = canonical::encode(document)?;
    Ok(json!({
        "length": bytes.len(),
        "hashes": {"sha256": data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes))},
        "custom": serde_json::to_value(document).map_err(canonical::CanonicalError::from)?,
    }))
}

fn single<T: Serialize>(path: &str, document: &T) -> Result<Map<String, Value>, WriteError> {
    Ok(Map::from_iter([(path.to_owned(), document_target(document)?)]))
}

fn add<T: Ord>(sorted: &mut Vec<T>, item: T) {
    if let Err(place) = sorted.binary_search(&item) {
        sorted.insert(place, item);
    }
}
