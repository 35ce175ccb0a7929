//! Contacts: where a node can be dialled, in its own words.
//!
//! Signed by the node's key, so whoever passes it on can neither alter nor invent it. The newest sequence counts.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ProductId};
use crate::limits::{CONTACT_ADDRESSES_MAX, CONTACT_TEXT_BYTES_MAX};
use crate::time::WallTime;
use crate::trust::canonical::wall_time;
use crate::trust::dsse::{Envelope, EnvelopeError, Statement};
use crate::trust::enrolment::MemberKind;
use crate::trust::grant::check_schema;

/// To whom a contact may be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// To members of the same site.
    Site,
    /// To sites of the same tenant.
    Tenant,
    /// To every site whose grant covers the product.
    All,
}

/// A node's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The format: 0.
    pub schema: u32,
    /// For which product it is said: peers take it for that one and pass it on for no other. None in a request file, whose
    /// maker does not know yet; such a contact travels by hand alone.
    pub product: Option<ProductId>,
    /// Whose.
    pub node: NodeId,
    /// A node's or an origin's; hosts have none.
    pub kind: MemberKind,
    /// Multiaddr texts, e.g. `/ip4/192.0.2.1/tcp/4040`, best first.
    pub addresses: Vec<String>,
    /// Where it is, if it says so; equal words are near each other.
    pub region: Option<String>,
    /// To whom it may be passed on.
    pub audience: Audience,
    /// Counts up with every change.
    pub sequence: u64,
    /// Not to be dialled after.
    #[serde(with = "wall_time")]
    pub not_after: WallTime,
}

impl Statement for Contact {
    const KIND: &'static str = "contact";

    fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        if self.kind == MemberKind::Host {
            return Err("a host is not dialled".to_owned());
        }
        if self.addresses.len() > CONTACT_ADDRESSES_MAX {
            return Err(format!("it has more than {CONTACT_ADDRESSES_MAX} addresses"));
        }
        let texts = self.addresses.iter().chain(&self.region);
        for text in texts {
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
            if text.is_empty() || text.len() > CONTACT_TEXT_BYTES_MAX || !plain {
                return Err(format!("`{}` is not an address or region", text.escape_debug()));
            }
        }
        match self.addresses.iter().find(|address| !address.starts_with('/')) {
            Some(address) => Err(format!("`{address}` is not an address like /ip4/192.0.2.1/tcp/4040")),
            None => Ok(()),
        }
    }
}

impl Contact {
    /// Whether people may hand it over for a product.
    #[must_use]
    pub fn may_be_carried_for(&self, product: ProductId) -> bool {
        self.product.is_none_or(|of| of == product)
    }

    /// Opens a contact that is signed by the node it names. Whether it is still to be dialled is the caller's question.
    ///
    /// # Errors
    /// When it is not one, or not so signed.
    pub fn open(envelope: &Envelope) -> Result<Self, EnvelopeError> {
        envelope.open_self_signed(|contact: &Self| contact.node.into())
    }
}
