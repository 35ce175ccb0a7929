//! Join files: everything that a key needs to take part, in one file that travels by e-mail or stick.
//!
//! Made by `grant` (for a site key or an origin) and by `site enrol` (for a node or host), read by `join`. It carries the
//! products' names, which never travel between nodes; whoever gives out the file is trusted for them, and for the first
//! root, as for a first acquaintance. Everything else in it proves itself ([`JoinFile::verify`]).

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::id::ProductId;
use crate::limits::{CONTACTS_PER_MESSAGE_MAX, ENROLMENTS_MAX, JOIN_BYTES_MAX, JOIN_PRODUCTS_MAX};
use crate::time::WallTime;
use crate::trust::contact::Contact;
use crate::trust::credentials::{Covered, Credentials, Refusal};
use crate::trust::dsse::{Envelope, EnvelopeError};
use crate::trust::enrolment::SiteRevocations;
use crate::trust::files::{FilesError, MetadataFiles};
use crate::trust::grant::{Grant, check_schema};
use crate::trust::key::PublicKey;
use crate::trust::product::{ProductTrust, TrustError};
use crate::trust::request::RequestKind;

/// A join file as read; nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinFile {
    /// The format: 0.
    pub schema: u32,
    /// As what the key takes part.
    pub kind: RequestKind,
    /// Whose file it is.
    pub key: PublicKey,
    /// The products, at most [`JOIN_PRODUCTS_MAX`].
    pub products: Vec<JoinProduct>,
    /// From the site key down to `key`; none for a site or an origin.
    pub enrolments: Vec<Envelope>,
    /// Whom the site has revoked, if anybody.
    pub site_revocations: Option<Envelope>,
}

/// One product of a join file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinProduct {
    /// What the giver calls it, e.g. `acme/app`.
    pub name: String,
    /// Its id.
    pub product: ProductId,
    /// [`MetadataFiles`] in base64, the first root among them.
    pub metadata: String,
    /// The grant.
    pub grant: Envelope,
    /// Whom to dial first.
    pub contacts: Vec<Envelope>,
}

/// One product of a join file, verified.
#[derive(Debug, Clone)]
pub struct Joined {
    /// What the giver calls it.
    pub name: String,
    /// Its metadata.
    pub trust: ProductTrust,
    /// The grant, opened.
    pub terms: Grant,
    /// The grant and enrolments, to be shown to peers.
    pub credentials: Credentials,
    /// What they give the key; nothing for a site key, which is no node.
    pub covered: Option<Covered>,
    /// Whom to dial first, opened.
    pub contacts: Vec<Contact>,
}

/// Why a join file is not taken. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not a join file.
    #[error("this is not a join file: {0}")]
    Shape(#[from] serde_json::Error),
    /// A bound or a field's value.
    #[error("this join file cannot be used: {0}")]
    Unusable(String),
    /// For another key.
    #[error(
        "this join file is for the key {found}, not for {expected}; give the request file of this machine to whoever made it"
    )]
    OtherKey {
        /// Its key.
        found: PublicKey,
        /// This machine's.
        expected: PublicKey,
    },
    /// The metadata is damaged.
    #[error("the metadata of {name}: {source}")]
    Files {
        /// Of which product.
        name: String,
        /// What is wrong.
        #[source]
        source: FilesError,
    },
    /// The metadata is refused.
    #[error("the metadata of {name}: {source}")]
    Trust {
        /// Of which product.
        name: String,
        /// What is wrong.
        #[source]
        source: TrustError,
    },
    /// The grant or enrolment is refused.
    #[error("the grant for {name}: {source}")]
    Refused {
        /// Of which product.
        name: String,
        /// What is wrong.
        #[source]
        source: Refusal,
    },
    /// Another statement is refused.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl JoinProduct {
    /// What a join file says of a product.
    #[must_use]
    pub fn new(name: &str, trust: &ProductTrust, grant: Envelope, contacts: Vec<Envelope>) -> Self {
        Self {
            name: name.to_owned(),
            product: trust.product(),
            metadata: BASE64.encode(&trust.files().encode()),
            grant,
            contacts,
        }
    }
}

impl JoinFile {
    /// The file.
    ///
    /// # Panics
    /// Never: every field can be written as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a file of at most [`JOIN_BYTES_MAX`].
    ///
    /// # Errors
    /// When it is not one, or too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, JoinError> {
        if bytes.len() > JOIN_BYTES_MAX {
            return Err(JoinError::Unusable(format!("it has more than {JOIN_BYTES_MAX} bytes")));
        }
        let file: Self = serde_json::from_slice(bytes)?;
        check_schema(file.schema).map_err(JoinError::Unusable)?;
        let bounds = [
            ("products", file.products.len(), JOIN_PRODUCTS_MAX),
            ("enrolments", file.enrolments.len(), ENROLMENTS_MAX),
        ];
        let contacts = file
            .products
            .iter()
            .map(|one| ("contacts", one.contacts.len(), CONTACTS_PER_MESSAGE_MAX));
        for (what, count, max) in contacts.chain(bounds) {
            if count > max {
                return Err(JoinError::Unusable(format!(
                    "it has {count} {what}; at most {max} are allowed"
                )));
            }
        }
        if file.products.is_empty() {
            return Err(JoinError::Unusable("it names no product".to_owned()));
        }
        Ok(file)
    }

    /// The site's revocations, opened.
    ///
    /// # Errors
    /// When they are not signed by the site key they name.
    pub fn revocations(&self) -> Result<Option<SiteRevocations>, EnvelopeError> {
        self.site_revocations.as_ref().map(SiteRevocations::open).transpose()
    }

    /// Verifies everything for the machine or site whose key is `key`, at `wall`.
    ///
    /// # Errors
    /// With the first thing that is wrong; a file is taken whole or not at all.
    pub fn verify(&self, key: PublicKey, wall: WallTime) -> Result<Vec<Joined>, JoinError> {
        if self.key != key {
            return Err(JoinError::OtherKey {
                found: self.key,
                expected: key,
            });
        }
        let revocations = self.revocations()?;
        self.products
            .iter()
            .map(|one| self.verify_product(one, revocations.as_ref(), wall))
            .collect()
    }

    fn verify_product(
        &self,
        one: &JoinProduct,
        revocations: Option<&SiteRevocations>,
        wall: WallTime,
    ) -> Result<Joined, JoinError> {
        let name = one.name.clone();
        let bytes = BASE64.decode(one.metadata.as_bytes());
        let bytes = bytes.map_err(|_| JoinError::Unusable(format!("the metadata of {name} is not base64")))?;
        let files = MetadataFiles::decode(&bytes).map_err(|source| JoinError::Files {
            name: name.clone(),
            source,
        })?;
        let trusted = |source| JoinError::Trust {
            name: one.name.clone(),
            source,
        };
        let first = files.roots.get(&1).map(Vec::as_slice).unwrap_or_default();
        let mut trust = ProductTrust::new(first).map_err(trusted)?;
        if trust.product() != one.product {
            return Err(JoinError::Unusable(format!(
                "the first root of {name} is another product's"
            )));
        }
        trust.update(&files, wall).map_err(trusted)?;
        let refused = |source| JoinError::Refused {
            name: one.name.clone(),
            source,
        };
        let authority = trust.grant_authority().ok_or(Refusal::NoAuthority).map_err(refused)?;
        let (terms, _) = authority.open(&one.grant).map_err(refused)?;
        let credentials = Credentials {
            grant: one.grant.clone(),
            enrolments: self.enrolments.clone(),
        };
        let covered = if self.kind == RequestKind::Site {
            if terms.site_key != self.key {
                return Err(JoinError::OtherKey {
                    found: terms.site_key,
                    expected: self.key,
                });
            }
            None
        } else {
            Some(
                trust
                    .admit(&credentials, self.key.into(), revocations, wall)
                    .map_err(refused)?,
            )
        };
        let contacts = one.contacts.iter().map(Contact::open).collect::<Result<Vec<_>, _>>()?;
        if let Some(other) = contacts.iter().find(|contact| !contact.may_be_carried_for(one.product)) {
            let node = other.node;
            return Err(JoinError::Unusable(format!(
                "the contact of {node} in it is for another product than {name}"
            )));
        }
        Ok(Joined {
            name,
            trust,
            terms,
            credentials,
            covered,
            contacts,
        })
    }
}
