//! Writing metadata: what the vendor's verbs and the sealing origin sign.
//!
//! Two steps, because two parties hold the keys. A verb builds a [`Change`]: the next version of one delegated role's
//! file, signed with that role's keys ([`changes`]). The sealing origin takes changes and signs a new snapshot and
//! timestamp over them ([`seal`]). A new product begins with [`create`]. Everything is read back by the consumer's code
//! before it is returned, so what this module writes is what a site accepts.

pub mod changes;
mod file;

use std::collections::BTreeMap;

use crate::id::ProductId;
use crate::time::WallTime;
use crate::trust::canonical::CanonicalError;
use crate::trust::files::MetadataFiles;
use crate::trust::key::{PublicKey, SignError, Signer};
use crate::trust::product::{ProductTrust, TrustError};
use crate::trust::role::Role;

use file::Body;

/// The next version of one delegated role's file, signed, not yet sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose file.
    pub role: Role,
    /// The file.
    pub file: Vec<u8>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Something cannot be written as canonical JSON.
    #[error("it cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
    /// The consumer's own check refuses the result: wrong keys, or a rule broken.
    #[error("the result would be refused by every site: {0}")]
    Refused(#[from] TrustError),
    /// The version is published with another content.
    #[error(
        "release {version} is already published with another content; a version is never bound anew: publish the next one"
    )]
    Published {
        /// Which.
        version: semver::Version,
    },
    /// The release is not published.
    #[error("the product has no release {version}; publish it first")]
    NoRelease {
        /// Which.
        version: semver::Version,
    },
    /// The release is recalled.
    #[error("release {version} is recalled, which is for ever; publish and promote another version")]
    Recalled {
        /// Which.
        version: semver::Version,
    },
    /// There is nothing to change: it is so already.
    #[error("nothing to do: {0}")]
    NoChange(String),
    /// The product's metadata is not complete.
    #[error("the product has no sealed metadata yet; `samara vendor product` makes it")]
    Incomplete,
}

/// For how long each kind of file is valid, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Root and top-level targets: signed offline, seldom.
    pub offline: i64,
    /// The four delegated roles.
    pub delegated: i64,
    /// Snapshot.
    pub snapshot: i64,
    /// Timestamp: how long a site may be kept from news without noticing.
    pub timestamp: i64,
}

const DAY: i64 = 86_400;

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            offline: 3 * 365 * DAY,
            delegated: 365 * DAY,
            snapshot: 30 * DAY,
            timestamp: 7 * DAY,
        }
    }
}

/// The public keys and threshold of each role.
pub type RoleKeys = BTreeMap<Role, (Vec<PublicKey>, usize)>;

/// Signers by role: those at hand.
pub type Signers<'a> = BTreeMap<Role, Vec<&'a dyn Signer>>;

/// A new product: its first root, and a complete, sealed, empty set of metadata. `nonce` is random: it makes the ids of
/// two products of the same keys different.
///
/// # Errors
/// When a signer fails, or a role is without keys, or a key serves two roles.
pub fn create(
    keys: &RoleKeys,
    signers: &Signers<'_>,
    nonce: [u8; 16],
    now: WallTime,
    lifetimes: &Lifetimes,
) -> Result<ProductTrust, WriteError> {
    let offline = now.plus_seconds(lifetimes.offline);
    let root = Body::first_root(keys, nonce, offline).sign(signers_of(signers, Role::Root))?;
    let mut trust = ProductTrust::new(&root)?;
    let product = trust.product();
    let mut files = MetadataFiles::default();
    let targets = Body::targets(product, keys, offline).sign(signers_of(signers, Role::Targets))?;
    files.roles.insert(Role::Targets, targets);
    for role in Role::DELEGATED {
        let body = Body::delegated(product, 1, now.plus_seconds(lifetimes.delegated), changes::empty(role)?);
        files.roles.insert(role, body.sign(signers_of(signers, role))?);
    }
    let sealing = Sealing {
        snapshot: signers_of(signers, Role::Snapshot),
        timestamp: signers_of(signers, Role::Timestamp),
        now,
        lifetimes: *lifetimes,
    };
    sealing.add(&trust, &mut files)?;
    trust.update(&files, now)?;
    Ok(trust)
}

/// The next root: other keys or thresholds for the four top-level roles, or the same for longer. `signers` are root keys
/// of the present root and of the next one. It is a file for [`MetadataFiles::roots`], to be followed by new files of
/// every role whose keys it changes.
///
/// # Errors
/// When a signer fails, or the present root and the next one do not both accept it.
pub fn next_root(
    trust: &ProductTrust,
    keys: &RoleKeys,
    signers: &[&dyn Signer],
    expires: WallTime,
) -> Result<(u64, Vec<u8>), WriteError> {
    let version = trust.summary().version(Role::Root) + 1;
    let root = Body::root(trust.product(), version, keys, expires).sign(signers)?;
    let mut alone = ProductTrust::new(trust.first_root())?;
    let mut chain = MetadataFiles {
        roots: trust.files().roots.clone(),
        ..MetadataFiles::default()
    };
    chain.roots.insert(version, root.clone());
    alone.update(&chain, expires)?;
    Ok((version, root))
}

/// Seals `trust` anew under the root `next` of `version`, with the keys that it names.
///
/// # Errors
/// When the result would be refused.
pub fn seal_under(
    trust: &ProductTrust,
    (version, next): (u64, Vec<u8>),
    sealing: &Sealing<'_>,
) -> Result<ProductTrust, WriteError> {
    let mut files = MetadataFiles::default();
    sealing.add(trust, &mut files)?;
    files.roots.insert(version, next);
    let mut sealed = trust.clone();
    sealed.update(&files, sealing.now)?;
    Ok(sealed)
}

/// Who seals, and when.
pub struct Sealing<'a> {
    /// Signers of the snapshot role.
    pub snapshot: &'a [&'a dyn Signer],
    /// Signers of the timestamp role.
    pub timestamp: &'a [&'a dyn Signer],
    /// The time of signing.
    pub now: WallTime,
    /// For how long it shall be valid.
    pub lifetimes: Lifetimes,
}

/// Seals `changes` (none: a refresh): the next snapshot and timestamp over what `trust` holds with the changes in it.
/// The returned trust has taken them as any site would.
///
/// # Errors
/// When a change is refused by the consumer's check, or a signer fails.
pub fn seal(trust: &ProductTrust, changes: Vec<Change>, sealing: &Sealing<'_>) -> Result<ProductTrust, WriteError> {
    let mut files = MetadataFiles::default();
    for change in changes {
        files.roles.insert(change.role, change.file);
    }
    sealing.add(trust, &mut files)?;
    let mut sealed = trust.clone();
    sealed.update(&files, sealing.now)?;
    Ok(sealed)
}

impl Sealing<'_> {
    /// Adds snapshot and timestamp over `files`, completed by what `trust` holds.
    fn add(&self, trust: &ProductTrust, files: &mut MetadataFiles) -> Result<(), WriteError> {
        let summary = trust.summary();
        let held = &trust.files().roles;
        let mut pins = BTreeMap::new();
        for role in std::iter::once(Role::Targets).chain(Role::DELEGATED) {
            let file = files
                .roles
                .get(&role)
                .or_else(|| held.get(&role))
                .ok_or(WriteError::Incomplete)?;
            pins.insert(role.file_name(), file::pin(file)?);
        }
        let product: ProductId = trust.product();
        let expires = self.now.plus_seconds(self.lifetimes.snapshot);
        let snapshot = Body::snapshot(product, summary.version(Role::Snapshot) + 1, expires, &pins);
        let snapshot = snapshot.sign(self.snapshot)?;
        let pin = BTreeMap::from([(Role::Snapshot.file_name(), file::pin(&snapshot)?)]);
        // The clock may have gone back since the last seal; the time of signing does not.
        let signed = trust.signed_at().map_or(self.now, |last| last.max(self.now));
        let expires = signed.plus_seconds(self.lifetimes.timestamp);
        let timestamp = Body::timestamp(product, summary.version(Role::Timestamp) + 1, expires, signed, &pin);
        files.roles.insert(Role::Timestamp, timestamp.sign(self.timestamp)?);
        files.roles.insert(Role::Snapshot, snapshot);
        Ok(())
    }
}

fn signers_of<'a, 'b>(signers: &'b Signers<'a>, role: Role) -> &'b [&'a dyn Signer] {
    signers.get(&role).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
