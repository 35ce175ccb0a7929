//! From verified targets files to documents, and the rule that no document ever loses a fact.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sigstore_tuf::{TargetFile, Targets, TrustedMetadataSet};

use crate::id::ManifestId;
use crate::limits::{CHANNELS_MAX, HEAD_BYTES_MAX};
use crate::trust::canonical;
use crate::trust::document::{Channel, Documents, HeadRecord, Recalls, Revoked};
use crate::trust::product::TrustError;
use crate::trust::role::{RECALLS_PATH, REVOKED_PATH, Role, release_version};

/// Reads the documents of the four delegated roles.
pub(super) fn read(set: &TrustedMetadataSet) -> Result<Documents, TrustError> {
    let mut documents = Documents::default();
    for (path, record) in targets(set, Role::Releases)? {
        let (version, head) = head_record(path, record)
            .ok_or_else(|| malformed(Role::Releases, format!("`{path}` is not the record of a release")))?;
        documents.releases.insert(version, head);
    }
    for (path, record) in targets(set, Role::Channels)? {
        let channel: Channel = document(Role::Channels, path, record)?;
        channel.check().map_err(|reason| malformed(Role::Channels, reason))?;
        if *path != channel_path(&channel) {
            return Err(malformed(
                Role::Channels,
                format!("`{path}` holds channel {}", channel.name),
            ));
        }
        documents.channels.insert(channel.name.clone(), channel);
    }
    if documents.channels.len() > CHANNELS_MAX {
        return Err(malformed(
            Role::Channels,
            format!("there are more than {CHANNELS_MAX} channels"),
        ));
    }
    for (path, record) in targets(set, Role::Recalls)? {
        require(Role::Recalls, path, RECALLS_PATH)?;
        let list: Recalls = document(Role::Recalls, path, record)?;
        list.check().map_err(|reason| malformed(Role::Recalls, reason))?;
        documents.recalls = list
            .recalls
            .into_iter()
            .map(|recall| (recall.manifest, recall))
            .collect();
    }
    for (path, record) in targets(set, Role::Grants)? {
        require(Role::Grants, path, REVOKED_PATH)?;
        let revoked: Revoked = document(Role::Grants, path, record)?;
        revoked.check().map_err(|reason| malformed(Role::Grants, reason))?;
        documents.revoked = revoked;
    }
    consistent(&documents)?;
    Ok(documents)
}

/// The target path of a channel.
pub(crate) fn channel_path(channel: &Channel) -> String {
    format!("channels/{}.json", channel.name)
}

/// A channel may only list what `releases` has bound, and bound so.
fn consistent(documents: &Documents) -> Result<(), TrustError> {
    for channel in documents.channels.values() {
        for release in &channel.releases {
            let bound = documents.releases.get(&release.version);
            if bound.is_none_or(|head| head.manifest != release.manifest) {
                return Err(TrustError::VersionRebound {
                    version: release.version.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Whatever the carrier, the key or the version numbers: a version keeps its manifest, a recall and a revocation stay,
/// a channel's sequence does not fall.
pub(super) fn only_grows(old: &Documents, new: &Documents) -> Result<(), TrustError> {
    for (version, head) in &old.releases {
        if new.releases.get(version).is_none_or(|new| new != head) {
            return Err(TrustError::VersionRebound {
                version: version.clone(),
            });
        }
    }
    for (name, channel) in &old.channels {
        let same_or_newer = new
            .channels
            .get(name)
            .is_some_and(|new| new.sequence > channel.sequence || (new.sequence == channel.sequence && new == channel));
        if !same_or_newer {
            return Err(TrustError::Lost {
                role: Role::Channels,
                what: format!("channel {name} goes back"),
            });
        }
    }
    for recall in old.recalls.values() {
        if !new.recalls.contains_key(&recall.manifest) {
            return Err(TrustError::Lost {
                role: Role::Recalls,
                what: format!("the recall of {}", recall.version),
            });
        }
    }
    let (was, is) = (&old.revoked, &new.revoked);
    let kept = contains_all(&is.grants, &was.grants)
        && contains_all(&is.sites, &was.sites)
        && contains_all(&is.nodes, &was.nodes);
    if kept {
        Ok(())
    } else {
        Err(TrustError::Lost {
            role: Role::Grants,
            what: "a revocation".to_owned(),
        })
    }
}

fn contains_all<T: Ord>(sorted: &[T], wanted: &[T]) -> bool {
    wanted.iter().all(|item| sorted.binary_search(item).is_ok())
}

fn targets(set: &TrustedMetadataSet, role: Role) -> Result<&BTreeMap<String, TargetFile>, TrustError> {
    let file: &Targets = set.targets_role(role.as_str()).ok_or(TrustError::Missing { role })?;
    if file.delegations.is_some() {
        return Err(malformed(role, "it delegates further".to_owned()));
    }
    Ok(&file.targets)
}

fn head_record(path: &str, record: &TargetFile) -> Option<(semver::Version, HeadRecord)> {
    let version = release_version(path)?;
    let hash = |name: &str| {
        let bytes = data_encoding::HEXLOWER
            .decode(record.hashes.get(name)?.as_bytes())
            .ok()?;
        <[u8; 32]>::try_from(bytes).ok()
    };
    let head = HeadRecord {
        path: path.to_owned(),
        length: Some(record.length).filter(|&length| length <= HEAD_BYTES_MAX)?,
        sha256: hash("sha256")?,
        manifest: ManifestId(hash("blake3")?),
    };
    Some((version, head))
}

/// A document inside its record; the record's length and hash must be the document's.
fn document<T: DeserializeOwned>(role: Role, path: &str, record: &TargetFile) -> Result<T, TrustError> {
    let bad = |reason: String| malformed(role, format!("`{path}`: {reason}"));
    let custom = record
        .custom
        .as_ref()
        .ok_or_else(|| bad("the document is missing".to_owned()))?;
    let bytes = canonical::encode(custom).map_err(|error| bad(error.to_string()))?;
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    if record.length != bytes.len() as u64 || record.hashes.get("sha256") != Some(&sha256) {
        return Err(bad("its length or hash is another document's".to_owned()));
    }
    T::deserialize(custom).map_err(|error| bad(error.to_string()))
}

fn require(role: Role, path: &str, expected: &str) -> Result<(), TrustError> {
    if path == expected {
        Ok(())
    } else {
        Err(malformed(
            role,
            format!("it signs `{path}`; only `{expected}` is its own"),
        ))
    }
}

const fn malformed(role: Role, reason: String) -> TrustError {
    TrustError::Malformed { role, reason }
}
