//! Request files: "here is my public key", signed by that key and free of names.
//!
//! Made by `samara request` and `samara site init`, read by `grant` and `site enrol`. The signature shows that the
//! sender holds the key and that the file arrived whole; who the sender is, the receiver knows from how it came.

use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_FILE_BYTES_MAX;
use crate::trust::contact::Contact;
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

/// A request as it travels: the key's, and where it can be dialled when it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFile {
    /// The request.
    pub request: Envelope,
    /// The node's contact.
    pub contact: Option<Envelope>,
}

/// Why a file is not a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not a request file.
    #[error("this is not a request file: {0}; `samara request` and `samara site init` make them")]
    Shape(#[from] serde_json::Error),
    /// Too long.
    #[error("this is not a request file: it has more than {REQUEST_FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// A statement in it is refused.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The contact is another node's.
    #[error("the contact in the request is another node's; ask for a new request file")]
    OtherContact,
}

impl RequestFile {
    /// The file.
    ///
    /// # Panics
    /// Never: every field can be written as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a file and checks the signatures in it against the key that it names.
    ///
    /// # Errors
    /// When it is not one, or not signed by that key.
    pub fn open(bytes: &[u8]) -> Result<(Request, Option<(Contact, Envelope)>), RequestError> {
        if bytes.len() > REQUEST_FILE_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let file: Self = serde_json::from_slice(bytes)?;
        let request = Request::open(&file.request)?;
        let Some(envelope) = file.contact else {
            return Ok((request, None));
        };
        let contact = Contact::open(&envelope)?;
        if PublicKey::from(contact.node) != request.key {
            return Err(RequestError::OtherContact);
        }
        Ok((request, Some((contact, envelope))))
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
