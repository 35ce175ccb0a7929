//! Request files: "here is my public key", signed by that key and free of names.
//!
//! Made by `samara request` and `samara site init`, read by `grant` and `site enrol`. The signature shows that the
//! sender holds the key and that the file arrived whole; who the sender is, the receiver knows from how it came.

use serde::{Deserialize, Serialize};

use crate::trust::dsse::{Envelope, EnvelopeError, Statement};
use crate::trust::grant::check_schema;
use crate::trust::key::PublicKey;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// A grant for a site key.
    Site,
    /// An enrolment as a node.
    Node,
    /// An enrolment as a host.
    Host,
    /// A grant as an origin.
    Origin,
}

impl RequestKind {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Node => "node",
            Self::Host => "host",
            Self::Origin => "origin",
        }
    }
}

/// A key that asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The format: 0.
    pub schema: u32,
    /// As what.
    pub kind: RequestKind,
    /// The key.
    pub key: PublicKey,
}

impl Statement for Request {
    const KIND: &'static str = "request";

    fn check(&self) -> Result<(), String> {
        check_schema(self.schema)
    }
}

impl Request {
    /// Opens a request that is signed by the key it names.
    ///
    /// # Errors
    /// When it is not one, or not so signed.
    pub fn open(envelope: &Envelope) -> Result<Self, EnvelopeError> {
        envelope.open_self_signed(|request: &Self| request.key)
    }
}
