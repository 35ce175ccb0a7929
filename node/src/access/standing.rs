//! How this machine's own credentials stand, in words that say what to do about it.

use samara_protocol::id::NodeId;
use samara_protocol::time::WallTime;
use samara_protocol::trust::credentials::{Credentials, Refusal};
use samara_protocol::trust::enrolment::{MemberKind, SiteRevocations};
use samara_protocol::trust::product::ProductTrust;

/// Credentials that end sooner than this are spoken of: thirty days.
const SOON_SECONDS: i64 = 30 * 86_400;

/// How a machine's own credentials stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// They open the product.
    Good {
        /// Until when.
        until: WallTime,
        /// Whose signature ends first.
        signer: Signer,
    },
    /// They do, and not for long.
    EndsSoon {
        /// Until when.
        until: WallTime,
        /// Who must sign anew.
        signer: Signer,
    },
    /// They did.
    Ended {
        /// When they ended; none when only a neighbour's word says so.
        at: Option<WallTime>,
        /// Who must sign anew.
        signer: Signer,
    },
    /// The vendor or the site has withdrawn them.
    Revoked {
        /// Which link of them.
        what: String,
    },
    /// They do not open it for another reason, or cannot be judged yet.
    Unusable {
        /// Why.
        why: String,
    },
}

/// Whose signature ends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The grant, which the vendor signs.
    Vendor,
    /// The enrolment of a node, which the site key signs.
    SiteForNode,
    /// The enrolment of a host, which the site key signs, or a node with the right to.
    SiteForHost,
}

impl Standing {
    /// Judges the credentials of `node` as any peer that knows as much would.
    #[must_use]
    pub fn of<'a>(
        trust: &ProductTrust,
        credentials: &Credentials,
        node: NodeId,
        by_site: impl IntoIterator<Item = &'a SiteRevocations>,
        wall: WallTime,
    ) -> Self {
        let covered = match trust.admit(credentials, node, by_site, wall) {
            Ok(covered) => covered,
            Err(Refusal::Expired { covered }) => {
                return Self::Ended {
                    at: Some(covered.not_after),
                    signer: signer(trust, credentials, covered.kind, covered.not_after),
                };
            }
            Err(Refusal::Revoked { what }) => return Self::Revoked { what },
            Err(other) => return Self::Unusable { why: other.to_string() },
        };
        let until = covered.not_after;
        let signer = signer(trust, credentials, covered.kind, until);
        if trust.credential_time(wall).plus_seconds(SOON_SECONDS) > until {
            return Self::EndsSoon { until, signer };
        }
        Self::Good { until, signer }
    }

    /// The same after a neighbour has said that they have ended: it may know better than this machine's clock.
    #[must_use]
    pub fn doubted(self) -> Self {
        match self {
            Self::Good { signer, .. } | Self::EndsSoon { signer, .. } => Self::Ended { at: None, signer },
            worse => worse,
        }
    }

    /// Whether peers give this machine releases.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Good { .. } | Self::EndsSoon { .. })
    }

    /// The word for it in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Good { .. } => "good",
            Self::EndsSoon { .. } => "ends_soon",
            Self::Ended { .. } => "ended",
            Self::Revoked { .. } => "revoked",
            Self::Unusable { .. } => "unusable",
        }
    }

    /// Until when they are good, or were.
    #[must_use]
    pub const fn until(&self) -> Option<WallTime> {
        match self {
            Self::Good { until, .. } | Self::EndsSoon { until, .. } => Some(*until),
            Self::Ended { at, .. } => *at,
            Self::Revoked { .. } | Self::Unusable { .. } => None,
        }
    }

    /// What there is to do.
    #[must_use]
    pub const fn way_out(&self) -> Option<&'static str> {
        match self {
            Self::Good { .. } => None,
            Self::EndsSoon { signer, .. } | Self::Ended { signer, .. } => Some(signer.way_out()),
            Self::Revoked { .. } => Some(
                "ask the site, or the vendor, why; a revoked key stays out, so a new enrolment needs a new identity: \
                 `samara request` with another --home",
            ),
            Self::Unusable { .. } => Some("`samara join` the file that the site or the vendor made for this machine"),
        }
    }
}

impl Signer {
    const fn way_out(self) -> &'static str {
        match self {
            Self::Vendor => {
                "ask the vendor for a new grant: `samara grant` on the same request file, and `samara join` it here"
            }
            Self::SiteForNode => {
                "ask the site for a new enrolment: `samara request node` here, `samara site enrol` where the site key is, \
                 `samara join` here"
            }
            Self::SiteForHost => {
                "ask the site for a new enrolment: `samara request host` here, `samara site enrol` there, `samara join` here"
            }
        }
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good { until, .. } => write!(f, "good until {}", until.to_rfc3339()),
            Self::EndsSoon { until, .. } => write!(f, "good only until {}", until.to_rfc3339()),
            Self::Ended { at: Some(at), .. } => write!(f, "expired on {}", at.to_rfc3339()),
            Self::Ended { at: None, .. } => f.write_str("expired, as a neighbour says; look at the clock here too"),
            Self::Revoked { what } => write!(f, "revoked ({what})"),
            Self::Unusable { why } => f.write_str(why),
        }
    }
}

/// Whose signature in a chain ends first.
fn signer(trust: &ProductTrust, credentials: &Credentials, kind: MemberKind, end: WallTime) -> Signer {
    let grant = trust
        .grant_authority()
        .and_then(|authority| authority.open(&credentials.grant).ok());
    match kind {
        MemberKind::Origin => Signer::Vendor,
        _ if grant.is_some_and(|(grant, _)| grant.not_after <= end) => Signer::Vendor,
        MemberKind::Node => Signer::SiteForNode,
        MemberKind::Host => Signer::SiteForHost,
    }
}
