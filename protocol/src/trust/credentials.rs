//! What a peer shows to be let in: one grant, and the enrolments from its site key down to its own key.
//!
//! `grant (site key) -> [node with the right enrol] -> this key`; an origin's grant names the origin's own key and needs
//! no enrolment. Verifying gives [`Covered`], the only thing admission and serving go by. Who verifies says with which
//! keys, at what time and who is revoked; all of that comes from the product's metadata
//! ([`crate::trust::product::ProductTrust::admit`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{NodeId, ProductId, StatementId};
use crate::limits::{CREDENTIALS_BYTES_MAX, ENROLMENTS_MAX};
use crate::time::WallTime;
use crate::trust::dsse::{Envelope, EnvelopeError};
use crate::trust::enrolment::{Enrolment, MemberKind, SiteRevocations};
use crate::trust::grant::{ChannelName, Grant, Rights, SiteId, TenantId};
use crate::trust::key::PublicKey;

/// A grant and its enrolments, nearest to the grant first. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The vendor's grant.
    pub grant: Envelope,
    /// From the site key down to the node: none for an origin, else one to three.
    pub enrolments: Vec<Envelope>,
}

/// Whose signature makes a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantAuthority {
    /// The product.
    pub product: ProductId,
    /// The keys of its `grants` role.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: usize,
}

impl GrantAuthority {
    /// Opens a grant of this product. Whether it is current and not revoked is another question.
    ///
    /// # Errors
    /// When the product's `grants` role has not signed it, or for another product.
    pub fn open(&self, envelope: &Envelope) -> Result<(Grant, StatementId), Refusal> {
        let (grant, id) = envelope.open::<Grant>(&self.keys, self.threshold, "the product's `grants` role")?;
        if grant.product != self.product {
            return Err(Refusal::OtherProduct {
                found: grant.product,
                expected: self.product,
            });
        }
        Ok((grant, id))
    }
}

/// Everything that is withdrawn, as far as the verifier knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revocations {
    /// Grants, by the vendor.
    pub grants: BTreeSet<StatementId>,
    /// Sites, by the vendor: none of their grants counts.
    pub sites: BTreeSet<SiteId>,
    /// Nodes and hosts, by the vendor.
    pub nodes: BTreeSet<NodeId>,
    /// Nodes and hosts, by their site: the newest list of each site key.
    pub by_site: BTreeMap<PublicKey, SiteRevocations>,
}

impl Revocations {
    /// Takes a site's list when it is newer than the one that is known; says whether it was.
    pub fn learn(&mut self, list: SiteRevocations) -> bool {
        let newer = self
            .by_site
            .get(&list.site_key)
            .is_none_or(|known| known.sequence < list.sequence);
        if newer {
            self.by_site.insert(list.site_key, list);
        }
        newer
    }

    fn node_is_out(&self, site_key: PublicKey, node: NodeId) -> bool {
        let site = self.by_site.get(&site_key);
        self.nodes.contains(&node) || site.is_some_and(|list| list.nodes.binary_search(&node).is_ok())
    }
}

/// What verified credentials give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Whose credentials they are.
    pub node: NodeId,
    /// As what it is in.
    pub kind: MemberKind,
    /// For which product.
    pub product: ProductId,
    /// Which customer.
    pub tenant: TenantId,
    /// Which installation.
    pub site: SiteId,
    /// The site's key, under which its revocations stand.
    pub site_key: PublicKey,
    /// Whether it may enrol hosts.
    pub enrol: bool,
    /// Which channels.
    pub channels: Vec<ChannelName>,
    /// What is allowed.
    pub rights: Rights,
    /// Until when: the earliest end in the chain.
    pub not_after: WallTime,
    /// Which grant.
    pub grant: StatementId,
}

/// Why credentials do not open the door. All but [`Refusal::Expired`] are one answer to the peer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A statement is not one, or not signed as it should be.
    #[error(transparent)]
    Statement(#[from] EnvelopeError),
    /// The grant is for another product.
    #[error("the grant is for product {found}, not {expected}")]
    OtherProduct {
        /// Its product.
        found: ProductId,
        /// The one that was asked for.
        expected: ProductId,
    },
    /// The chain of enrolments does not lead from the grant to the peer.
    #[error("the enrolments do not lead to {node}: {reason}")]
    NotEnrolled {
        /// Who showed them.
        node: NodeId,
        /// Where the chain breaks.
        reason: &'static str,
    },
    /// The vendor or the site has withdrawn a link.
    #[error("{what} is revoked")]
    Revoked {
        /// Which link.
        what: String,
    },
    /// The grant begins later.
    #[error("the grant begins at {}", not_before.to_rfc3339())]
    NotYet {
        /// When.
        not_before: WallTime,
    },
    /// It was good and has ended: the peer may still have metadata, and be told so.
    #[error("the credentials of {} ended at {}", covered.node, covered.not_after.to_rfc3339())]
    Expired {
        /// What they covered.
        covered: Box<Covered>,
    },
    /// The verifier has no metadata that names the product's `grants` keys.
    #[error("there is no verified metadata of the product yet; `samara join` brings it")]
    NoAuthority,
}

impl Credentials {
    /// Verifies the chain for the peer `node`, whose key the connection has proved, at `at` (see [`credential_time`]).
    ///
    /// # Errors
    /// With the first thing that is wrong; expiry is only looked at when everything else is right.
    pub fn verify(
        &self,
        authority: &GrantAuthority,
        revocations: &Revocations,
        node: NodeId,
        at: WallTime,
    ) -> Result<Covered, Refusal> {
        let (grant, id) =
            self.grant
                .open::<Grant>(&authority.keys, authority.threshold, "the product's `grants` role")?;
        if grant.product != authority.product {
            return Err(Refusal::OtherProduct {
                found: grant.product,
                expected: authority.product,
            });
        }
        let member = self.member(&grant, node, revocations)?;
        if revocations.grants.contains(&id) || revocations.sites.contains(&grant.site) {
            return Err(Refusal::Revoked {
                what: format!("the grant of site {}", grant.site),
            });
        }
        if let Some(not_before) = grant.not_before.filter(|&start| at < start) {
            return Err(Refusal::NotYet { not_before });
        }
        let covered = Covered {
            node,
            kind: member.kind,
            product: grant.product,
            tenant: grant.tenant,
            site: grant.site,
            site_key: grant.site_key,
            enrol: member.enrol,
            channels: grant.channels,
            rights: grant.rights,
            not_after: grant.not_after.min(member.not_after),
            grant: id,
        };
        if at > covered.not_after {
            return Err(Refusal::Expired {
                covered: Box::new(covered),
            });
        }
        Ok(covered)
    }

    /// Who the enrolments say `node` is.
    fn member(&self, grant: &Grant, node: NodeId, revocations: &Revocations) -> Result<Member, Refusal> {
        let broken = |reason| Err(Refusal::NotEnrolled { node, reason });
        if self.enrolments.is_empty() {
            return Member::origin(grant, node, revocations);
        }
        if grant.rights.origin {
            return broken("an origin's grant names the origin itself and nobody under it");
        }
        if self.enrolments.len() > ENROLMENTS_MAX {
            return broken("there are more than three of them");
        }
        let mut signer = grant.site_key;
        let mut not_after = grant.not_after;
        let mut last: Option<Enrolment> = None;
        for envelope in &self.enrolments {
            if let Some(above) = &last {
                // A host lends what it may to the keys of its own fetches, so that any number of them run side by side.
                if !above.enrol && above.kind != MemberKind::Host {
                    return broken("the node in the middle does not have the right `enrol`");
                }
                signer = above.node.into();
            }
            let (link, _) = envelope.open::<Enrolment>(&[signer], 1, "the key above it")?;
            if link.site_key != grant.site_key {
                return broken("one of them is for another site");
            }
            if last.is_some() && link.kind != MemberKind::Host {
                return broken("a node may enrol hosts only");
            }
            if revocations.node_is_out(grant.site_key, link.node) {
                return Err(Refusal::Revoked {
                    what: link.node.to_string(),
                });
            }
            not_after = not_after.min(link.not_after);
            last = Some(link);
        }
        match last {
            Some(link) if link.node == node => Ok(Member {
                kind: link.kind,
                enrol: link.enrol,
                not_after,
            }),
            _ => broken("the last one is for another key"),
        }
    }

    /// The bytes that a hello carries, at most [`CREDENTIALS_BYTES_MAX`]: one envelope a line, the grant first. (An
    /// envelope is canonical JSON, which holds no line break.)
    ///
    /// # Errors
    /// When they do not fit.
    pub fn encode(&self) -> Result<Vec<u8>, CredentialsError> {
        let lines: Vec<Vec<u8>> = std::iter::once(&self.grant)
            .chain(&self.enrolments)
            .map(Envelope::to_bytes)
            .collect();
        let bytes = lines.join(&b'\n');
        bounded(bytes.len())?;
        Ok(bytes)
    }

    /// Reads what [`Credentials::encode`] wrote. Nothing is verified yet.
    ///
    /// # Errors
    /// When they are too long, or not a grant and at most three enrolments.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialsError> {
        bounded(bytes.len())?;
        let mut lines = bytes.split(|&byte| byte == b'\n').map(Envelope::from_bytes);
        let grant = lines.next().ok_or(CredentialsError::Links)??;
        let enrolments = lines.by_ref().take(ENROLMENTS_MAX).collect::<Result<_, _>>()?;
        if lines.next().is_some() {
            return Err(CredentialsError::Links);
        }
        Ok(Self { grant, enrolments })
    }
}

/// Why bytes are not credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Too long.
    #[error(
        "the credentials have {0} bytes, more than the {CREDENTIALS_BYTES_MAX} that a hello carries; grant fewer channels"
    )]
    TooLarge(usize),
    /// Not one grant and at most three enrolments.
    #[error("credentials are a grant and at most {ENROLMENTS_MAX} enrolments")]
    Links,
    /// One of them is no envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// The end of a chain.
struct Member {
    kind: MemberKind,
    enrol: bool,
    not_after: WallTime,
}

impl Member {
    fn origin(grant: &Grant, node: NodeId, revocations: &Revocations) -> Result<Self, Refusal> {
        if !grant.rights.origin || NodeId::from(grant.site_key) != node {
            return Err(Refusal::NotEnrolled {
                node,
                reason: "there are none, and the grant is not this key's own as an origin",
            });
        }
        if revocations.nodes.contains(&node) {
            return Err(Refusal::Revoked { what: node.to_string() });
        }
        Ok(Self {
            kind: MemberKind::Origin,
            enrol: false,
            not_after: grant.not_after,
        })
    }
}

const fn bounded(bytes: usize) -> Result<(), CredentialsError> {
    if bytes > CREDENTIALS_BYTES_MAX {
        return Err(CredentialsError::TooLarge(bytes));
    }
    Ok(())
}

/// The time at which credentials are judged: the wall clock held between the newest time that the product's metadata
/// was signed at and that metadata's expiry. A clock at 1970 or 2100 so locks nobody out and lets no expired grant in
/// that ended before the vendor last signed.
#[must_use]
pub fn credential_time(wall: WallTime, signed: WallTime, expires: WallTime) -> WallTime {
    wall.min(expires).max(signed)
}

#[cfg(test)]
mod tests;
