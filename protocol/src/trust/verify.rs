//! One step of a product's metadata: what is held, and what was offered, become what is held next, or an error.
//!
//! `sigstore_tuf` judges signatures, thresholds, versions, pins and delegations; this file feeds it and adds what Samara
//! asks beyond TUF: canonical bytes, the product's id in every file, the one shape of the delegations, keys that serve
//! one role each, versions that are never bound anew, and documents that never lose a fact. Everything is tried on a
//! copy: a set of files is taken whole or not at all. Called by [`super::product`] alone.

mod content;
mod file;
mod shape;

use std::collections::BTreeMap;

use sigstore_tuf::trusted::TrustedMetadataSet;

use crate::id::ProductId;
use crate::time::WallTime;
use crate::trust::credentials::GrantAuthority;
use crate::trust::document::Documents;
use crate::trust::files::{MetadataFiles, Summary};
use crate::trust::product::TrustError;
use crate::trust::role::Role;

pub(crate) use content::channel_path;
use file::{Header, header};
pub(crate) use file::{PRODUCT_FIELD, SIGNED_AT_FIELD};

/// Everything that is verified of one product.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) product: ProductId,
    pub(crate) set: TrustedMetadataSet,
    pub(crate) files: MetadataFiles,
    pub(crate) summary: Summary,
    pub(crate) expires: BTreeMap<Role, WallTime>,
    pub(crate) signed_at: Option<WallTime>,
    pub(crate) authority: Option<GrantAuthority>,
    pub(crate) documents: Documents,
}

impl State {
    /// Trust in a product begins with its first root, whose hash is the product's id.
    pub(crate) fn first(root: &[u8]) -> Result<Self, TrustError> {
        let product = ProductId(*blake3::hash(root).as_bytes());
        let header = header(Role::Root, root, product)?;
        let set = TrustedMetadataSet::from_root(root).map_err(|source| TrustError::tuf(Role::Root, source))?;
        shape::root(set.root())?;
        if header.version != 1 {
            return Err(TrustError::FirstRoot {
                version: header.version,
            });
        }
        let mut state = Self {
            product,
            set,
            files: MetadataFiles::default(),
            summary: Summary::default(),
            expires: BTreeMap::from([(Role::Root, header.expires)]),
            signed_at: None,
            authority: None,
            documents: Documents::default(),
        };
        state.files.roots.insert(1, root.to_vec());
        state.summary.set(Role::Root, 1);
        Ok(state)
    }

    /// What is held after `offered` was taken at `wall`; `None` when nothing in it is new.
    pub(crate) fn next(&self, offered: &MetadataFiles, wall: WallTime) -> Result<Option<Self>, TrustError> {
        let mut next = self.clone();
        let rotated = next.take_roots(offered)?;
        let floors = if rotated { next.replay_floors() } else { Floors::ALL };
        let mut headers = BTreeMap::new();
        let mut news = rotated;
        for role in Role::ALL.into_iter().filter(|&role| role != Role::Root) {
            if let Some(file) = offered.roles.get(&role) {
                let header = header(role, file, self.product)?;
                news |= self.is_news(role, file, &header, floors)?;
                next.files.roles.insert(role, file.clone());
                headers.insert(role, header);
            } else if let Some(file) = self.files.roles.get(&role) {
                headers.insert(role, header(role, file, self.product)?);
            } else if !offered.roles.is_empty() || !self.files.roles.is_empty() {
                return Err(TrustError::Missing { role });
            }
        }
        if !news {
            return Ok(None);
        }
        if !headers.is_empty() {
            next.verify_roles(&headers, wall)?;
            content::only_grows(&self.documents, &next.documents)?;
        }
        Ok(Some(next))
    }

    fn take_roots(&mut self, offered: &MetadataFiles) -> Result<bool, TrustError> {
        let mut rotated = false;
        for (&version, file) in &offered.roots {
            let header = header(Role::Root, file, self.product)?;
            let known = self.summary.version(Role::Root);
            if header.version != version || version > known + 1 {
                return Err(TrustError::RootGap {
                    known,
                    offered: header.version,
                });
            }
            if version <= known {
                let ours = self
                    .files
                    .roots
                    .get(&version)
                    .map(|file| file::header(Role::Root, file, self.product));
                if ours.transpose()?.is_some_and(|ours| ours.signed != header.signed) {
                    return Err(TrustError::Rebound {
                        role: Role::Root,
                        version,
                    });
                }
                continue;
            }
            self.set
                .update_root(file)
                .map_err(|source| TrustError::tuf(Role::Root, source))?;
            shape::root(self.set.root())?;
            self.files.roots.insert(version, file.clone());
            self.summary.set(Role::Root, version);
            self.expires.insert(Role::Root, header.expires);
            rotated = true;
        }
        Ok(rotated)
    }

    /// A new root clears what was under the old one. What the new keys still vouch for is put back as the floor; what
    /// they do not is gone on purpose: that is how a product recovers from a stolen online key.
    fn replay_floors(&mut self) -> Floors {
        let mut at = jiff::Timestamp::MAX;
        for expires in self.expires.values() {
            at = at.min(file::instant(*expires));
        }
        let role = |role| self.files.roles.get(&role).map(Vec::as_slice).unwrap_or_default();
        let timestamp = self.set.update_timestamp(role(Role::Timestamp), at).is_ok();
        let snapshot = timestamp && self.set.update_snapshot(role(Role::Snapshot), at).is_ok();
        Floors { timestamp, snapshot }
    }

    /// Whether an offered file differs from the held one. The same version with other content is refused.
    fn is_news(&self, role: Role, offered: &[u8], header: &Header, floors: Floors) -> Result<bool, TrustError> {
        let Some(held) = self.files.roles.get(&role) else {
            return Ok(true);
        };
        if held == offered {
            return Ok(false);
        }
        let held = file::header(role, held, self.product)?;
        if held.version == header.version && held.signed == header.signed {
            return Ok(false);
        }
        if floors.hold(role) {
            if held.version == header.version {
                return Err(TrustError::Rebound {
                    role,
                    version: header.version,
                });
            }
            if held.version > header.version {
                return Err(TrustError::Rollback {
                    role,
                    known: held.version,
                    offered: header.version,
                });
            }
        }
        Ok(true)
    }

    /// Runs the TUF workflow over the files, at a time when none of them has expired: expiry is a state
    /// ([`super::product::Freshness`]), not an error.
    fn verify_roles(&mut self, headers: &BTreeMap<Role, Header>, wall: WallTime) -> Result<(), TrustError> {
        let root = self.expires.get(&Role::Root).copied().unwrap_or(wall);
        let expiries = headers.values().map(|header| header.expires);
        let at = file::instant(expiries.fold(wall.min(root), WallTime::min));
        let set = &mut self.set;
        for role in ORDER {
            let file = self.files.roles.get(&role).map(Vec::as_slice).unwrap_or_default();
            let verdict = match role {
                Role::Timestamp => match set.update_timestamp(file, at) {
                    Err(sigstore_tuf::Error::EqualVersion { .. }) => Ok(()),
                    verdict => verdict,
                },
                Role::Snapshot => set.update_snapshot(file, at),
                Role::Targets => set.update_targets(file, at).map(|_| ()),
                _ => set
                    .update_delegated_targets(file, role.as_str(), "targets", at)
                    .map(|_| ()),
            };
            verdict.map_err(|source| TrustError::tuf(role, source))?;
            match role {
                Role::Snapshot => shape::snapshot(set.snapshot())?,
                Role::Targets => {
                    self.authority = Some(shape::targets(set.root(), set.targets_role("targets"), self.product)?);
                }
                _ => {}
            }
        }
        for (&role, header) in headers {
            self.summary.set(role, header.version);
            self.expires.insert(role, header.expires);
        }
        self.signed_at = Some(shape::signed_at(set.timestamp())?);
        self.documents = content::read(set)?;
        Ok(())
    }
}

/// The order of the TUF workflow after the root.
const ORDER: [Role; 7] = [
    Role::Timestamp,
    Role::Snapshot,
    Role::Targets,
    Role::Releases,
    Role::Channels,
    Role::Recalls,
    Role::Grants,
];

/// Which of the held files still bound what may be offered.
#[derive(Debug, Clone, Copy)]
struct Floors {
    timestamp: bool,
    snapshot: bool,
}

impl Floors {
    const ALL: Self = Self {
        timestamp: true,
        snapshot: true,
    };

    const fn hold(self, role: Role) -> bool {
        match role {
            Role::Root => true,
            Role::Timestamp => self.timestamp,
            _ => self.snapshot,
        }
    }
}
