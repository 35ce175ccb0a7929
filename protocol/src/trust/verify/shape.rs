//! The one shape that a product's roles have: who delegates what to whom, and one role per key.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sigstore_tuf::{Key, Root, Snapshot, Targets, Timestamp};

use super::file::SIGNED_AT_FIELD;
use crate::id::ProductId;
use crate::time::WallTime;
use crate::trust::canonical::wall_time;
use crate::trust::credentials::GrantAuthority;
use crate::trust::key::PublicKey;
use crate::trust::product::TrustError;
use crate::trust::role::Role;

/// A root names exactly the four top-level roles, with a key of its own for each, under their computed ids.
pub(super) fn root(root: &Root) -> Result<(), TrustError> {
    let names: Vec<&str> = root.roles.keys().map(String::as_str).collect();
    if names != Role::TOP.map(Role::as_str) {
        return Err(malformed(
            Role::Root,
            "it does not name exactly root, snapshot, targets and timestamp",
        ));
    }
    check_key_ids(Role::Root, &root.keys)?;
    each_key_once(Role::Root, root.roles.values().map(|role| role.keyids.as_slice()))
}

/// A snapshot pins exactly the five files below it, each by length and SHA-256.
pub(super) fn snapshot(snapshot: Option<&Snapshot>) -> Result<(), TrustError> {
    let snapshot = snapshot.ok_or(TrustError::Missing { role: Role::Snapshot })?;
    let pinned: BTreeSet<&str> = snapshot.meta.keys().map(String::as_str).collect();
    let expected: Vec<String> = [Role::Targets]
        .iter()
        .chain(&Role::DELEGATED)
        .map(|role| role.file_name())
        .collect();
    if pinned != expected.iter().map(String::as_str).collect() {
        return Err(malformed(
            Role::Snapshot,
            "it does not pin exactly the five targets files",
        ));
    }
    let whole = |file: &sigstore_tuf::MetaFile| {
        file.length.is_some() && file.hashes.as_ref().is_some_and(|hashes| hashes.contains_key("sha256"))
    };
    if !snapshot.meta.values().all(whole) {
        return Err(malformed(
            Role::Snapshot,
            "it pins a file without its length and sha256",
        ));
    }
    Ok(())
}

/// The top-level targets delegate to the four roles, terminating and each for its own paths, and list nothing.
pub(super) fn targets(
    root: &Root,
    targets: Option<&Targets>,
    product: ProductId,
) -> Result<GrantAuthority, TrustError> {
    let targets = targets.ok_or(TrustError::Missing { role: Role::Targets })?;
    if !targets.targets.is_empty() {
        return Err(malformed(Role::Targets, "it lists targets; it may only delegate"));
    }
    let none = || malformed(Role::Targets, "it delegates nothing");
    let delegations = targets.delegations.as_ref().ok_or_else(none)?;
    check_key_ids(Role::Targets, &delegations.keys)?;
    if delegations.roles.len() != Role::DELEGATED.len() {
        return Err(malformed(Role::Targets, "it does not delegate to exactly four roles"));
    }
    for (role, found) in Role::DELEGATED.iter().zip(&delegations.roles) {
        let paths = found.paths.as_deref().unwrap_or_default();
        let limited = paths.iter().map(String::as_str).eq(role.path_pattern());
        if found.name != role.as_str() || !limited || !found.terminating || found.path_hash_prefixes.is_some() {
            return Err(malformed(
                Role::Targets,
                &format!("its delegation to `{role}` has another name, path or is not terminating"),
            ));
        }
    }
    let delegated = delegations.roles.iter().map(|role| role.keyids.as_slice());
    let top = root.roles.values().map(|role| role.keyids.as_slice());
    each_key_once(Role::Targets, delegated.chain(top))?;
    let grants = delegations.roles.last().ok_or_else(none)?;
    let keys = grants.keyids.iter().map(|id| ed25519(delegations.keys.get(id)));
    Ok(GrantAuthority {
        product,
        keys: keys.collect::<Result<_, _>>()?,
        threshold: grants.threshold,
    })
}

/// When a timestamp says it was signed.
pub(super) fn signed_at(timestamp: Option<&Timestamp>) -> Result<WallTime, TrustError> {
    #[derive(Deserialize)]
    struct Text(#[serde(with = "wall_time")] WallTime);
    let timestamp = timestamp.ok_or(TrustError::Missing { role: Role::Timestamp })?;
    let bad = || malformed(Role::Timestamp, "it does not say when it was signed, before its expiry");
    let value = timestamp.extra.get(SIGNED_AT_FIELD).ok_or_else(bad)?;
    let signed = Text::deserialize(value).map_err(|_| bad())?.0;
    if signed.0 > timestamp.expires.as_second() {
        return Err(bad());
    }
    Ok(signed)
}

fn ed25519(key: Option<&Key>) -> Result<PublicKey, TrustError> {
    let bad = || malformed(Role::Targets, "a key of `grants` is not an Ed25519 key in hexadecimal");
    let key = key
        .filter(|key| key.keytype == "ed25519" && key.scheme == "ed25519")
        .ok_or_else(bad)?;
    key.keyval.public.parse().map_err(|_| bad())
}

/// A key under two ids would count twice towards a threshold.
fn check_key_ids(role: Role, keys: &BTreeMap<String, Key>) -> Result<(), TrustError> {
    let right = |(id, key): (&String, &Key)| key.key_id().is_ok_and(|computed| computed == *id);
    if keys.iter().all(right) {
        Ok(())
    } else {
        Err(malformed(role, "a key does not stand under its own id"))
    }
}

/// Every role its own keys: who holds one role's keys cannot do another's work.
fn each_key_once<'a>(role: Role, roles: impl Iterator<Item = &'a [String]>) -> Result<(), TrustError> {
    let mut seen = BTreeSet::new();
    for id in roles.flatten() {
        if !seen.insert(id) {
            return Err(malformed(role, &format!("key {id} serves two roles, or one twice")));
        }
    }
    Ok(())
}

fn malformed(role: Role, reason: &str) -> TrustError {
    TrustError::Malformed {
        role,
        reason: reason.to_owned(),
    }
}
