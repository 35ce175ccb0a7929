//! Statements: DSSE envelopes around a canonical JSON payload.
//!
//! The signature covers the payload type, so a grant is never read as an enrolment. Decoding is strict: canonical
//! envelope, canonical payload, canonical base64, bounded sizes. An envelope proves nothing until it is asked for the
//! payload with the keys that may sign it; there is no other way to the payload of a statement that is to be believed.

use data_encoding::BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::StatementId;
use crate::limits::{ENVELOPE_BYTES_MAX, STATEMENT_SIGNATURES_MAX};
use crate::trust::canonical::{self, CanonicalError};
use crate::trust::key::{PublicKey, SignError, Signer};

/// What a statement of some kind is.
pub trait Statement: Serialize + DeserializeOwned {
    /// The word in `application/vnd.samara.<kind>+json`.
    const KIND: &'static str;

    /// Checks what the fields' types do not.
    ///
    /// # Errors
    /// With what is wrong with which field.
    fn check(&self) -> Result<(), String>;
}

/// Why an envelope is not a statement of the expected kind by the expected signer.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The envelope or its payload is not canonical.
    #[error("{kind}: {source}")]
    Canonical {
        /// The kind that was expected.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: CanonicalError,
    },
    /// Another kind of statement.
    #[error("this is a `{found}`, and a `{expected}` is needed")]
    OtherKind {
        /// Its payload type.
        found: String,
        /// The payload type that is needed.
        expected: String,
    },
    /// Base64 or the number of signatures.
    #[error("the envelope of the {kind} is damaged: {field}")]
    Damaged {
        /// The kind that was expected.
        kind: &'static str,
        /// Which field.
        field: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("the {kind} is not usable: {reason}")]
    Unusable {
        /// The kind.
        kind: &'static str,
        /// Which field, and why.
        reason: String,
    },
    /// Too few of the keys that may sign have signed.
    #[error("the {kind} has {found} of the {threshold} signatures that it needs from {signer}")]
    NotSigned {
        /// The kind.
        kind: &'static str,
        /// Valid signatures of distinct keys.
        found: usize,
        /// How many are needed.
        threshold: usize,
        /// Who should have signed.
        signer: &'static str,
    },
}

/// A statement as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    keyid: String,
    sig: String,
}

impl Envelope {
    /// Signs `statement` with every signer.
    ///
    /// # Errors
    /// When the statement is not valid or a signer fails.
    pub fn sign<T: Statement>(statement: &T, signers: &[&dyn Signer]) -> Result<Self, SignStatementError> {
        statement
            .check()
            .map_err(|reason| SignStatementError::Statement(EnvelopeError::Unusable { kind: T::KIND, reason }))?;
        let payload = canonical::encode(statement)
            .map_err(|source| SignStatementError::Statement(EnvelopeError::Canonical { kind: T::KIND, source }))?;
        let payload_type = payload_type::<T>();
        let message = pae(&payload_type, &payload);
        let mut signatures = Vec::with_capacity(signers.len());
        for signer in signers {
            signatures.push(EnvelopeSignature {
                keyid: signer.public().key_id(),
                sig: BASE64.encode(&signer.sign(&message)?),
            });
        }
        signatures.sort();
        let envelope = Self {
            payload: BASE64.encode(&payload),
            payload_type,
            signatures,
        };
        Ok(envelope)
    }

    /// What whoever holds `key` can sign: any payload at all.
    #[cfg(test)]
    pub(in crate::trust) fn sign_any<T: Statement>(payload: &[u8], key: &dyn Signer) -> Self {
        let payload_type = payload_type::<T>();
        let signature = key.sign(&pae(&payload_type, payload)).expect("a key in memory");
        Self {
            payload: BASE64.encode(payload),
            payload_type,
            signatures: vec![EnvelopeSignature {
                keyid: key.public().key_id(),
                sig: BASE64.encode(&signature),
            }],
        }
    }

    /// The canonical bytes.
    ///
    /// # Panics
    /// Never: an envelope holds only base64, hexadecimal and a checked type.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self).expect("an envelope's strings are plain ASCII")
    }

    /// Reads canonical bytes, at most [`ENVELOPE_BYTES_MAX`]. Nothing is verified yet.
    ///
    /// # Errors
    /// When they are not one envelope in its canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let kind = "statement";
        let envelope: Self =
            canonical::decode(bytes, ENVELOPE_BYTES_MAX).map_err(|source| EnvelopeError::Canonical { kind, source })?;
        if !envelope.payload_type.starts_with(TYPE_PREFIX) || !envelope.payload_type.is_ascii() {
            return Err(EnvelopeError::Damaged {
                kind,
                field: "payloadType",
            });
        }
        if !(1..=STATEMENT_SIGNATURES_MAX).contains(&envelope.signatures.len())
            || !envelope.signatures.windows(2).all(|pair| pair[0].keyid < pair[1].keyid)
        {
            return Err(EnvelopeError::Damaged {
                kind,
                field: "signatures",
            });
        }
        Ok(envelope)
    }

    /// The kind of statement it says it is: the word between `vnd.samara.` and `+json`.
    #[must_use]
    pub fn kind(&self) -> &str {
        let rest = self.payload_type.strip_prefix(TYPE_PREFIX).unwrap_or_default();
        rest.strip_suffix("+json").unwrap_or(rest)
    }

    /// The statement, when at least `threshold` different ones of `keys` have signed it. `signer` names them in errors.
    ///
    /// # Errors
    /// When it is another kind, damaged, unusable, or not signed so.
    pub fn open<T: Statement>(
        &self,
        keys: &[PublicKey],
        threshold: usize,
        signer: &'static str,
    ) -> Result<(T, StatementId), EnvelopeError> {
        let payload = self.payload::<T>()?;
        let message = pae(&self.payload_type, &payload);
        let mut found = 0;
        for key in keys {
            // A signature that names a key which may sign, and is not that key's, condemns the envelope: nobody honest
            // makes one. Signatures by unknown keys may be those before or after a rotation.
            match self.signed_by(key, &message) {
                None => {}
                Some(true) => found += 1,
                Some(false) => {
                    return Err(EnvelopeError::Damaged {
                        kind: T::KIND,
                        field: "signatures",
                    });
                }
            }
        }
        if threshold == 0 || found < threshold {
            return Err(EnvelopeError::NotSigned {
                kind: T::KIND,
                found,
                threshold,
                signer,
            });
        }
        let statement = self.statement::<T>(&payload)?;
        Ok((statement, StatementId(*blake3::hash(&payload).as_bytes())))
    }

    /// The statement of a kind that is signed by a key named inside it (`key` finds it there): requests and contacts.
    ///
    /// # Errors
    /// As [`Envelope::open`].
    pub fn open_self_signed<T: Statement>(&self, key: impl Fn(&T) -> PublicKey) -> Result<T, EnvelopeError> {
        let payload = self.payload::<T>()?;
        let statement = self.statement::<T>(&payload)?;
        self.open::<T>(&[key(&statement)], 1, "the key that it names")
            .map(|(statement, _)| statement)
    }

    fn payload<T: Statement>(&self) -> Result<Vec<u8>, EnvelopeError> {
        let expected = payload_type::<T>();
        if self.payload_type != expected {
            return Err(EnvelopeError::OtherKind {
                found: self.payload_type.clone(),
                expected,
            });
        }
        BASE64
            .decode(self.payload.as_bytes())
            .map_err(|_| EnvelopeError::Damaged {
                kind: T::KIND,
                field: "payload",
            })
    }

    fn statement<T: Statement>(&self, payload: &[u8]) -> Result<T, EnvelopeError> {
        let statement: T = canonical::decode(payload, ENVELOPE_BYTES_MAX)
            .map_err(|source| EnvelopeError::Canonical { kind: T::KIND, source })?;
        statement
            .check()
            .map_err(|reason| EnvelopeError::Unusable { kind: T::KIND, reason })?;
        Ok(statement)
    }

    /// Whether the signature under this key's id is the key's; `None` when there is no such signature.
    fn signed_by(&self, key: &PublicKey, message: &[u8]) -> Option<bool> {
        let id = key.key_id();
        let signature = self.signatures.iter().find(|signature| signature.keyid == id)?;
        let bytes = BASE64.decode(signature.sig.as_bytes()).ok()?;
        let signature = <[u8; 64]>::try_from(bytes).ok();
        Some(signature.is_some_and(|signature| key.verifies(message, &signature)))
    }
}

/// A statement could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignStatementError {
    /// It is not valid.
    #[error(transparent)]
    Statement(EnvelopeError),
    /// A signer failed.
    #[error(transparent)]
    Signer(#[from] SignError),
}

const TYPE_PREFIX: &str = "application/vnd.samara.";

fn payload_type<T: Statement>() -> String {
    format!("{TYPE_PREFIX}{}+json", T::KIND)
}

/// DSSE's pre-authentication encoding: what is signed.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_is_the_one_of_the_dsse_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
