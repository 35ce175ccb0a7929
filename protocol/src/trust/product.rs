//! One product's trust: the verified metadata, and every question that is answered by it.
//!
//! A state machine without IO. [`ProductTrust::new`] takes the first root, whose hash is the product's id; `update` takes
//! files from any carrier, whole or the newer part, and the wall time at which they came. At start, a node replays what
//! it has stored, which restores the rollback floors. Expired files are verified as of their own expiry and make the
//! product stale: what staleness forbids is the caller's policy. Called by the node's joiner, the verbs and the tests.

use std::collections::BTreeMap;

use semver::Version;

use crate::id::{NodeId, ProductId};
use crate::time::WallTime;
use crate::trust::credentials::{Covered, Credentials, GrantAuthority, Refusal, Revocations, credential_time};
use crate::trust::document::Documents;
use crate::trust::enrolment::SiteRevocations;
use crate::trust::files::{MetadataFiles, Summary};
use crate::trust::key::PublicKey;
use crate::trust::role::Role;
use crate::trust::verify::State;

/// Why metadata was not taken. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// TUF's own verification failed.
    #[error("the `{role}` metadata is refused: {source}")]
    Tuf {
        /// Whose file.
        role: Role,
        /// What is wrong.
        #[source]
        source: Box<sigstore_tuf::Error>,
    },
    /// A file does not have the form that Samara's files have.
    #[error("the `{role}` metadata is malformed: {reason}")]
    Malformed {
        /// Whose file.
        role: Role,
        /// What is wrong.
        reason: String,
    },
    /// A file of another product.
    #[error("the `{role}` metadata is for product {}, not {expected}", found.map_or_else(|| "(none)".to_owned(), |id| id.to_string()))]
    OtherProduct {
        /// Whose file.
        role: Role,
        /// The product it names.
        found: Option<ProductId>,
        /// The product it was offered for.
        expected: ProductId,
    },
    /// Trust must begin with version 1.
    #[error("this root is version {version}; trust in a product begins with version 1")]
    FirstRoot {
        /// Its version.
        version: u64,
    },
    /// A root is missing between.
    #[error("root {offered} does not follow root {known}; the ones between are needed too")]
    RootGap {
        /// The newest verified one.
        known: u64,
        /// The offered one.
        offered: u64,
    },
    /// A version went back.
    #[error("the `{role}` metadata goes back from version {known} to {offered}")]
    Rollback {
        /// Whose file.
        role: Role,
        /// The verified version.
        known: u64,
        /// The offered one.
        offered: u64,
    },
    /// The same version with other content: two signers, or a forger with a key.
    #[error("two different `{role}` files both say version {version}; does more than one origin sign for the product?")]
    Rebound {
        /// Whose file.
        role: Role,
        /// The version.
        version: u64,
    },
    /// A release's version was bound to another manifest, or unbound.
    #[error("version {version} was bound to one manifest and may not be bound to another; publish a new version")]
    VersionRebound {
        /// Which version.
        version: Version,
    },
    /// A document lost what it may not lose.
    #[error("the `{role}` metadata no longer holds what it held: {what}")]
    Lost {
        /// Whose file.
        role: Role,
        /// What is gone.
        what: String,
    },
    /// A file is needed and was not given.
    #[error("the `{role}` metadata is missing")]
    Missing {
        /// Whose file.
        role: Role,
    },
}

impl TrustError {
    pub(crate) fn tuf(role: Role, source: sigstore_tuf::Error) -> Self {
        match source {
            sigstore_tuf::Error::Rollback { trusted, new, .. } => Self::Rollback {
                role,
                known: trusted,
                offered: new,
            },
            source => Self::Tuf {
                role,
                source: Box::new(source),
            },
        }
    }
}

/// How current the metadata is at some wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing has expired.
    Fresh,
    /// Something has: what is verified stays verified, "latest" may be old news.
    Stale {
        /// The file that expired first.
        role: Role,
        /// When.
        since: WallTime,
    },
    /// The clock is behind the newest signature, or there is no metadata: nothing can be said.
    Unknown,
}

/// What an update changed, by versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Versions before.
    pub before: Summary,
    /// Versions now.
    pub after: Summary,
}

impl Changed {
    /// Whether anything changed.
    #[must_use]
    pub fn any(&self) -> bool {
        self.before != self.after
    }

    /// Whether one role's file changed.
    #[must_use]
    pub const fn role(&self, role: Role) -> bool {
        self.before.version(role) != self.after.version(role)
    }
}

/// The verified metadata of one product.
#[derive(Debug, Clone)]
pub struct ProductTrust {
    state: State,
}

impl ProductTrust {
    /// Trust in the product whose first root is `root`. Where those bytes came from is the caller's responsibility: a
    /// join file from the vendor, or this node's own disk.
    ///
    /// # Errors
    /// When they are not a well-formed, self-signed root of version 1.
    pub fn new(root: &[u8]) -> Result<Self, TrustError> {
        State::first(root).map(|state| Self { state })
    }

    /// Takes `offered` files, or nothing of them. Whatever is not offered stays as it is, and must fit.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn update(&mut self, offered: &MetadataFiles, wall: WallTime) -> Result<Changed, TrustError> {
        let before = self.summary();
        if let Some(next) = self.state.next(offered, wall)? {
            self.state = next;
        }
        Ok(Changed {
            before,
            after: self.summary(),
        })
    }

    /// The product's id.
    #[must_use]
    pub const fn product(&self) -> ProductId {
        self.state.product
    }

    /// The version of each role's file.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.state.summary
    }

    /// Every verified file: what is stored, and what a newcomer needs.
    #[must_use]
    pub const fn files(&self) -> &MetadataFiles {
        &self.state.files
    }

    /// The first root: with it, trust in the product begins.
    #[must_use]
    pub fn first_root(&self) -> &[u8] {
        self.state.files.roots.get(&1).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a peer that has `theirs` needs to be where this node is: the roots it lacks, and the files of other versions.
    /// Empty when this node is not ahead.
    #[must_use]
    pub fn files_newer_than(&self, theirs: &Summary) -> MetadataFiles {
        let ours = self.summary();
        if !ours.is_ahead_of(theirs) {
            return MetadataFiles::default();
        }
        let rotated = ours.version(Role::Root) > theirs.version(Role::Root);
        let files = &self.state.files;
        let roots = files.roots.range(theirs.version(Role::Root).saturating_add(1)..);
        let roles = files
            .roles
            .iter()
            .filter(|(role, _)| rotated || ours.version(**role) != theirs.version(**role));
        MetadataFiles {
            roots: roots.map(|(version, file)| (*version, file.clone())).collect(),
            roles: roles.map(|(role, file)| (*role, file.clone())).collect(),
        }
    }

    /// Whether the four delegated roles have been verified, not only the root.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.state.authority.is_some()
    }

    /// What the delegated roles say: releases, channels, recalls, revocations.
    #[must_use]
    pub const fn documents(&self) -> &Documents {
        &self.state.documents
    }

    /// When each verified file expires.
    #[must_use]
    pub const fn expiries(&self) -> &BTreeMap<Role, WallTime> {
        &self.state.expires
    }

    /// When the newest timestamp was signed.
    #[must_use]
    pub const fn signed_at(&self) -> Option<WallTime> {
        self.state.signed_at
    }

    /// How current everything is at `wall`.
    #[must_use]
    pub fn freshness(&self, wall: WallTime) -> Freshness {
        let first = self.state.expires.iter().min_by_key(|(_, expires)| **expires);
        match (self.state.signed_at, first) {
            (Some(signed), Some((&role, &since))) if wall >= signed => {
                if wall > since {
                    Freshness::Stale { role, since }
                } else {
                    Freshness::Fresh
                }
            }
            _ => Freshness::Unknown,
        }
    }

    /// The keys that the verified root or targets name for `role`, with the threshold.
    #[must_use]
    pub fn role_keys(&self, role: Role) -> (Vec<PublicKey>, usize) {
        let root = self.state.set.root();
        let found = if Role::TOP.contains(&role) {
            root.role(role.as_str())
                .map(|keys| (keys.keyids.clone(), keys.threshold, &root.keys))
        } else {
            let delegations = self
                .state
                .set
                .targets_role("targets")
                .and_then(|file| file.delegations.as_ref());
            delegations.and_then(|all| {
                let one = all.roles.iter().find(|one| one.name == role.as_str())?;
                Some((one.keyids.clone(), one.threshold, &all.keys))
            })
        };
        let Some((ids, threshold, keys)) = found else {
            return (Vec::new(), 0);
        };
        let keys = ids.iter().filter_map(|id| keys.get(id)?.keyval.public.parse().ok());
        (keys.collect(), threshold)
    }

    /// Whose signature makes a grant for this product.
    #[must_use]
    pub const fn grant_authority(&self) -> Option<&GrantAuthority> {
        self.state.authority.as_ref()
    }

    /// What the vendor has revoked, to be completed with what sites have ([`Revocations::learn`]).
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        let revoked = &self.state.documents.revoked;
        Revocations {
            grants: revoked.grants.iter().copied().collect(),
            sites: revoked.sites.iter().copied().collect(),
            nodes: revoked.nodes.iter().copied().collect(),
            by_site: BTreeMap::new(),
        }
    }

    /// The time at which credentials are judged when the wall clock says `wall`.
    #[must_use]
    pub fn credential_time(&self, wall: WallTime) -> WallTime {
        let expires = self.state.expires.get(&Role::Timestamp);
        match (self.state.signed_at, expires) {
            (Some(signed), Some(&expires)) => credential_time(wall, signed, expires),
            _ => wall,
        }
    }

    /// Judges what the peer `node` shows: the one way into [`Covered`].
    ///
    /// # Errors
    /// With why it is not let in.
    pub fn admit<'a>(
        &self,
        credentials: &Credentials,
        node: NodeId,
        by_site: impl IntoIterator<Item = &'a SiteRevocations>,
        wall: WallTime,
    ) -> Result<Covered, Refusal> {
        let authority = self.state.authority.as_ref().ok_or(Refusal::NoAuthority)?;
        let mut revocations = self.revocations();
        for list in by_site {
            revocations.learn(list.clone());
        }
        credentials.verify(authority, &revocations, node, self.credential_time(wall))
    }
}

#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
