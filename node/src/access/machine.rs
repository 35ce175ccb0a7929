//! A machine's home: the identity of a node, host or origin, and the products it takes part in.
//!
//! Nodes and hosts have the same home. The identity is made once and never leaves it; `request` shows its public half,
//! `join` brings the credentials.

use std::path::{Path, PathBuf};

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::{Audience, Contact};
use samara_protocol::trust::credentials::{Covered, Refusal};
use samara_protocol::trust::dsse::{Envelope, SignStatementError};
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::join::{JoinFile, Joined};
use samara_protocol::trust::key::SigningKey;
use samara_protocol::trust::product::ProductTrust;
use samara_protocol::trust::request::{Request, RequestFile, RequestKind};

use super::product::{Membership, ProductHome};
use super::{AccessError, disk, key_file};

const IDENTITY: &str = "identity.key";
const PRODUCTS: &str = "products";
/// How long the contact in a request file is good: a year. A running node renews its own.
const CONTACT_SECONDS: i64 = 365 * 86_400;

/// A machine's home.
#[derive(Debug, Clone)]
pub struct Machine {
    dir: PathBuf,
}

/// A product that this machine has joined.
#[derive(Debug, Clone)]
pub struct JoinedProduct {
    /// Where it lies.
    pub home: ProductHome,
    /// What this machine is in it.
    pub membership: Membership,
    /// Its verified metadata.
    pub trust: ProductTrust,
}

impl JoinedProduct {
    /// The channels of the grant; nothing when it is not one of this product's vendor.
    #[must_use]
    pub fn channels(&self) -> Option<Vec<ChannelName>> {
        let (grant, _) = self.trust.grant_authority()?.open(&self.membership.grant).ok()?;
        Some(grant.channels)
    }

    /// What the credentials give the machine's key `node`, or gave it until they ended; nothing when they do not lead to
    /// it, or are revoked.
    ///
    /// # Errors
    /// When the sites' lists of revoked nodes cannot be read.
    pub fn covered(&self, node: NodeId, wall: WallTime) -> Result<Option<Covered>, AccessError> {
        let lists = self.home.site_revocations()?;
        let by_site = lists.iter().map(|(list, _)| list);
        let verdict = self.trust.admit(&self.membership.credentials(), node, by_site, wall);
        Ok(match verdict {
            Ok(covered) => Some(covered),
            Err(Refusal::Expired { covered }) => Some(*covered),
            Err(_) => None,
        })
    }
}

impl Machine {
    /// The home in `dir`; it need not be there yet.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The machine's key, made at the first call.
    ///
    /// # Errors
    /// When it cannot be read or made, or others can read it.
    pub fn identity(&self) -> Result<SigningKey, AccessError> {
        disk::make_dir(&self.dir)?;
        key_file::open_or_create(&self.dir.join(IDENTITY))
    }

    /// The machine's key; nothing when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read, or others can read it.
    pub fn existing_identity(&self) -> Result<Option<SigningKey>, AccessError> {
        key_file::open(&self.dir.join(IDENTITY))
    }

    /// The machine's request to be let in as `kind`.
    ///
    /// # Errors
    /// When its key cannot be read or made.
    pub fn request(&self, kind: RequestKind) -> Result<Envelope, AccessError> {
        signed_request(&self.identity()?, kind).map_err(|error| AccessError::damaged(&self.dir, error))
    }

    /// The machine's request file, with its contact when it can be dialled.
    ///
    /// # Errors
    /// When its key cannot be read or made, or an address is not one.
    pub fn request_file(
        &self,
        kind: RequestKind,
        addresses: &[String],
        region: Option<&str>,
        wall: WallTime,
    ) -> Result<RequestFile, AccessError> {
        let request = self.request(kind)?;
        if addresses.is_empty() {
            return Ok(RequestFile { request, contact: None });
        }
        let origin = kind == RequestKind::Origin;
        let key = self.identity()?;
        let contact = Contact {
            schema: 0,
            // Whoever grants or enrols decides of which products it is.
            product: None,
            node: key.node_id(),
            kind: if origin { MemberKind::Origin } else { MemberKind::Node },
            addresses: addresses.to_vec(),
            region: region.map(str::to_owned),
            audience: if origin { Audience::All } else { Audience::Site },
            // A running node's own contacts are numbered by the clock too, so they follow this one.
            sequence: u64::try_from(wall.0).unwrap_or(0),
            not_after: wall.plus_seconds(CONTACT_SECONDS),
        };
        let contact = Envelope::sign(&contact, &[&key]).map_err(|error| AccessError::damaged(&self.dir, error))?;
        Ok(RequestFile {
            request,
            contact: Some(contact),
        })
    }

    /// Where a product lies.
    #[must_use]
    pub fn product(&self, product: ProductId) -> ProductHome {
        ProductHome::at(&self.dir.join(PRODUCTS), product)
    }

    /// Every product that was joined.
    ///
    /// # Errors
    /// When one cannot be read or its metadata does not verify.
    pub fn products(&self) -> Result<Vec<JoinedProduct>, AccessError> {
        let mut products = Vec::new();
        for home in ProductHome::all(&self.dir.join(PRODUCTS))? {
            if let (Some(membership), Some(trust)) = (home.membership()?, home.load()?) {
                products.push(JoinedProduct {
                    home,
                    membership,
                    trust,
                });
            }
        }
        Ok(products)
    }

    /// The product that its owner calls `name`.
    ///
    /// # Errors
    /// When none is called so.
    pub fn product_named(&self, name: &str) -> Result<JoinedProduct, AccessError> {
        let mut products = self.products()?;
        let Some(at) = products.iter().position(|product| product.membership.name == name) else {
            let known: Vec<_> = products
                .iter()
                .map(|product| product.membership.name.as_str())
                .collect();
            let way_out = if known.is_empty() {
                "run `samara join FILE` with the file that you were given".to_owned()
            } else {
                format!("this machine knows {}", known.join(", "))
            };
            return Err(AccessError::NoProduct {
                name: name.to_owned(),
                way_out,
            });
        };
        Ok(products.swap_remove(at))
    }

    /// Verifies a join file for this machine, and takes nothing in.
    ///
    /// # Errors
    /// When anything in it is wrong, or this machine has no key yet.
    pub fn verify(&self, file: &JoinFile, wall: WallTime) -> Result<Vec<Joined>, AccessError> {
        let way_out = "the file is for the machine that asked; `samara request` there is what it answers";
        let key = key_file::require(&self.dir.join(IDENTITY), way_out)?;
        Ok(file.verify(key.public(), wall)?)
    }

    /// Verifies a join file for this machine and takes it in. Joining again renews grant and enrolments and never takes
    /// metadata back.
    ///
    /// # Errors
    /// When anything in it is wrong; nothing is taken then.
    pub fn join(&self, file: &JoinFile, wall: WallTime) -> Result<Vec<Joined>, AccessError> {
        let joined = self.verify(file, wall)?;
        for (one, offered) in joined.iter().zip(&file.products) {
            let home = self.product(one.trust.product());
            home.install(one, &offered.contacts, wall)?;
            if let Some(list) = &file.site_revocations {
                home.learn_revocations(list)?;
            }
        }
        Ok(joined)
    }
}

/// A request by any key.
///
/// # Errors
/// Never, for a key in memory.
pub fn signed_request(key: &SigningKey, kind: RequestKind) -> Result<Envelope, SignStatementError> {
    let request = Request {
        schema: 0,
        kind,
        key: key.public(),
    };
    Envelope::sign(&request, &[key])
}
