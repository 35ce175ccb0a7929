//! Enrolments: a site key's statement that a key is its node or host, and the site's list of those that no longer are.
//!
//! A node that was enrolled with the right `enrol` may sign enrolments of hosts, so the site key can stay offline. The
//! list of revoked nodes is cumulative and numbered: the highest number a reader has seen counts.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::limits::SITE_REVOKED_MAX;
use crate::time::WallTime;
use crate::trust::canonical::wall_time;
use crate::trust::dsse::{Envelope, EnvelopeError, Statement};
use crate::trust::grant::check_schema;
use crate::trust::key::PublicKey;

/// What an enrolled key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberKind {
    /// A daemon that fetches and serves.
    Node,
    /// A machine that only fetches.
    Host,
    /// A vendor's node. Never enrolled: its grant names its own key.
    Origin,
}

/// The site's statement about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The format: 0.
    pub schema: u32,
    /// The site key under which it stands, whoever signs it.
    pub site_key: PublicKey,
    /// Who is enrolled.
    pub node: NodeId,
    /// As what.
    pub kind: MemberKind,
    /// Whether it may enrol hosts.
    pub enrol: bool,
    /// Numbers the signer's enrolments.
    pub serial: u64,
    /// Not valid after.
    #[serde(with = "wall_time")]
    pub not_after: WallTime,
}

impl Statement for Enrolment {
    const KIND: &'static str = "enrolment";

    fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        if self.kind == MemberKind::Origin {
            return Err("an origin is not enrolled; the vendor grants it".to_owned());
        }
        if self.enrol && self.kind != MemberKind::Node {
            return Err("only a node may have the right to enrol".to_owned());
        }
        Ok(())
    }
}

/// Everybody whose enrolment a site has withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteRevocations {
    /// The format: 0.
    pub schema: u32,
    /// The site key, which signs it.
    pub site_key: PublicKey,
    /// Counts up with every change.
    pub sequence: u64,
    /// Who is out, sorted by key.
    pub nodes: Vec<NodeId>,
}

impl Statement for SiteRevocations {
    const KIND: &'static str = "site-revocations";

    fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        if self.nodes.len() > SITE_REVOKED_MAX {
            return Err(format!(
                "it lists more than {SITE_REVOKED_MAX} nodes; take a new site key instead"
            ));
        }
        if !self.nodes.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err("its nodes are not in sorted order, each once".to_owned());
        }
        Ok(())
    }
}

impl SiteRevocations {
    /// Opens a list that is signed by the site key it names. Whose key that is, a grant says.
    ///
    /// # Errors
    /// When it is not one, or not so signed.
    pub fn open(envelope: &Envelope) -> Result<Self, EnvelopeError> {
        envelope.open_self_signed(|list: &Self| list.site_key)
    }
}
