//! A vendor's home: a key for every role, its products, and whom it has granted what.
//!
//! ```text
//! keys/<role>.key                         one key for each of the eight roles
//! products/<product id>/metadata          as in a machine's home
//!                      /register.json     the product's name, its tenants and sites by name, the origins' contacts
//! ```
//! Names live here and in no signed document. The two online keys may be copied to the one sealing origin, whose
//! configuration names that directory ([`SealingKeys`]); root and targets keys are best moved off the machine once a
//! product exists: nothing here opens them but [`Vendor::create_product`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use samara_protocol::id::{ProductId, StatementId};
use samara_protocol::time::WallTime;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::grant::{ChannelName, Rights, SiteId, TenantId};
use samara_protocol::trust::key::{PublicKey, Signer, SigningKey};
use samara_protocol::trust::product::ProductTrust;
use samara_protocol::trust::role::Role;
use samara_protocol::trust::writer::changes::Hand;
use samara_protocol::trust::writer::{self, Change, Lifetimes, RoleKeys, Sealing, Signers, WriteError};
use serde::{Deserialize, Serialize};

use super::disk::{self, Readers};
use super::product::ProductHome;
use super::{AccessError, entropy, key_file};

const KEYS: &str = "keys";
const PRODUCTS: &str = "products";
const REGISTER: &str = "register.json";
/// Longer than any register.
const REGISTER_BYTES_MAX: u64 = 256 << 20;

/// A vendor's home.
#[derive(Debug, Clone)]
pub struct Vendor {
    dir: PathBuf,
}

/// Everything that a vendor knows of a product beside its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The format: 0.
    pub schema: u32,
    /// What the vendor calls it, `vendor/product`.
    pub name: String,
    /// Its customers by name.
    pub tenants: BTreeMap<String, RegisteredTenant>,
    /// Its origins' contacts, given to whoever joins.
    pub origins: Vec<Envelope>,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredTenant {
    /// Its random id in this product.
    pub id: TenantId,
    /// Its installations by name.
    pub sites: BTreeMap<String, RegisteredSite>,
}

/// A customer's installation, or an origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredSite {
    /// Its random id in this product.
    pub id: SiteId,
    /// Its key.
    pub key: PublicKey,
    /// Channels of the newest grant.
    pub channels: Vec<ChannelName>,
    /// Rights of the newest grant.
    pub rights: Rights,
    /// Until when, as text.
    pub not_after: String,
    /// Every grant it was given.
    pub grants: Vec<StatementId>,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// One product of a vendor.
#[derive(Debug)]
pub struct VendorProduct {
    /// Where it lies.
    pub home: ProductHome,
    /// Whom it was granted to.
    pub register: Register,
    /// Its verified metadata.
    pub trust: ProductTrust,
}

impl Vendor {
    /// The home in `dir`; it need not be there yet.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a key for every role that has none; says which. Run again after an interruption, it makes the rest.
    ///
    /// # Errors
    /// [`AccessError::Exists`] when all are there.
    pub fn init(&self) -> Result<Vec<(Role, PublicKey)>, AccessError> {
        let keys = self.dir.join(KEYS);
        disk::make_dir(&keys)?;
        let mut made = Vec::new();
        for role in Role::ALL {
            match key_file::create(&self.key_path(role)) {
                Ok(key) => made.push((role, key.public())),
                Err(AccessError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if made.is_empty() {
            return Err(AccessError::Exists {
                path: keys,
                way_out: "this vendor has its keys; give --dir for another",
            });
        }
        Ok(made)
    }

    /// Where a role's key lies.
    #[must_use]
    pub fn key_path(&self, role: Role) -> PathBuf {
        self.dir.join(KEYS).join(format!("{role}.key"))
    }

    /// A role's key.
    ///
    /// # Errors
    /// When it is not here, or others can read it.
    pub fn key(&self, role: Role) -> Result<SigningKey, AccessError> {
        key_file::require(
            &self.key_path(role),
            "run `samara vendor init`, or bring the key of this role to this machine",
        )
    }

    /// Makes a product: its first root and empty metadata, signed by every role.
    ///
    /// # Errors
    /// When there is one of that name, or a key is missing.
    pub fn create_product(&self, name: &str, wall: WallTime) -> Result<VendorProduct, VendorError> {
        let there = self.products()?;
        if let Some(product) = there.iter().find(|product| product.register.name == name) {
            let path = product.home.dir().to_owned();
            let way_out = "a product is made once; `samara publish` adds releases to it";
            return Err(AccessError::Exists { path, way_out }.into());
        }
        let mut keys = BTreeMap::new();
        for role in Role::ALL {
            keys.insert(role, self.key(role)?);
        }
        let public: RoleKeys = keys
            .iter()
            .map(|(role, key)| (*role, (vec![key.public()], 1)))
            .collect();
        let signers: Signers<'_> = keys
            .iter()
            .map(|(role, key)| (*role, vec![key as &dyn Signer]))
            .collect();
        let trust = writer::create(&public, &signers, entropy::random_id(), wall, &Lifetimes::default())?;
        let home = ProductHome::at(&self.dir.join(PRODUCTS), trust.product());
        home.update(trust.files(), wall)?;
        let register = Register {
            schema: 0,
            name: name.to_owned(),
            tenants: BTreeMap::new(),
            origins: Vec::new(),
        };
        let product = VendorProduct { home, register, trust };
        product.save_register()?;
        Ok(product)
    }

    /// Every product.
    ///
    /// # Errors
    /// When one cannot be read or does not verify.
    pub fn products(&self) -> Result<Vec<VendorProduct>, AccessError> {
        let mut products = Vec::new();
        for home in ProductHome::all(&self.dir.join(PRODUCTS))? {
            let register: Option<Register> = disk::read_json(&home.dir().join(REGISTER), REGISTER_BYTES_MAX)?;
            if let (Some(register), Some(trust)) = (register, home.load()?) {
                products.push(VendorProduct { home, register, trust });
            }
        }
        Ok(products)
    }

    /// The product of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn product(&self, name: &str) -> Result<VendorProduct, AccessError> {
        let mut products = self.products()?;
        let Some(at) = products.iter().position(|product| product.register.name == name) else {
            let known: Vec<_> = products.iter().map(|product| product.register.name.as_str()).collect();
            let way_out = if known.is_empty() {
                format!("`samara vendor product {name}` makes it in {}", self.dir.display())
            } else {
                format!(
                    "this vendor has {}; `samara vendor product {name}` makes it",
                    known.join(", ")
                )
            };
            return Err(AccessError::NoProduct {
                name: name.to_owned(),
                way_out,
            });
        };
        Ok(products.swap_remove(at))
    }

    /// The keys that seal, when both are in this home.
    ///
    /// # Errors
    /// When they are not, or others can read them.
    pub fn sealing_keys(&self) -> Result<SealingKeys, AccessError> {
        SealingKeys::open(&self.dir.join(KEYS))
    }

    /// One change by the holder of `role`'s key.
    ///
    /// # Errors
    /// When the key is not here, or the change is not one.
    pub fn change(
        &self,
        role: Role,
        wall: WallTime,
        write: impl FnOnce(&Hand<'_>) -> Result<Change, WriteError>,
    ) -> Result<Change, VendorError> {
        let key = self.key(role)?;
        let signers: [&dyn Signer; 1] = [&key];
        let hand = Hand {
            signers: &signers,
            now: wall,
            lifetimes: Lifetimes::default(),
        };
        Ok(write(&hand)?)
    }
}

impl VendorProduct {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ProductId {
        self.trust.product()
    }

    /// Seals `changes` and stores the result; what is trusted from then on is in `self.trust`.
    ///
    /// # Errors
    /// When the consumer's check refuses it, or it cannot be stored.
    pub fn commit(&mut self, keys: &SealingKeys, changes: Vec<Change>, wall: WallTime) -> Result<(), VendorError> {
        let sealed = keys.seal(&self.trust, changes, wall)?;
        let (trust, _) = self
            .home
            .update(&sealed.files_newer_than(&self.trust.summary()), wall)?;
        self.trust = trust;
        Ok(())
    }

    /// Stores the register.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save_register(&self) -> Result<(), AccessError> {
        disk::write_json(&self.home.dir().join(REGISTER), &self.register, Readers::Owner)
    }
}

/// A timestamp is renewed when it lasts no longer than this.
const RENEW_SECONDS: i64 = 7 * 24 * 3600 / 2;

/// The two online keys, where the one sealing origin has them.
#[derive(Debug)]
pub struct SealingKeys {
    snapshot: SigningKey,
    timestamp: SigningKey,
}

impl SealingKeys {
    /// The keys `snapshot.key` and `timestamp.key` in `dir`.
    ///
    /// # Errors
    /// When one is missing, or others can read it.
    pub fn open(dir: &Path) -> Result<Self, AccessError> {
        let key = |role: Role| {
            let way_out = "the one origin that seals needs snapshot.key and timestamp.key from the vendor's keys";
            key_file::require(&dir.join(format!("{role}.key")), way_out)
        };
        Ok(Self {
            snapshot: key(Role::Snapshot)?,
            timestamp: key(Role::Timestamp)?,
        })
    }

    /// Whether the product names these keys for the two roles.
    #[must_use]
    pub fn seal_for(&self, trust: &ProductTrust) -> bool {
        let names = |role, key: &SigningKey| trust.role_keys(role).0.contains(&key.public());
        names(Role::Snapshot, &self.snapshot) && names(Role::Timestamp, &self.timestamp)
    }

    /// Whether it is time to sign a new timestamp: the old one lasts less than half of its seven days, or has ended.
    #[must_use]
    pub fn are_due(trust: &ProductTrust, wall: WallTime) -> bool {
        let expires = trust.expiries().get(&Role::Timestamp);
        expires.is_some_and(|expires| expires.0.saturating_sub(wall.0) < RENEW_SECONDS)
    }

    /// Signs the next snapshot and timestamp over `trust` and `changes`; without changes it is a refresh.
    ///
    /// # Errors
    /// When the consumer's check refuses a change or these keys.
    pub fn seal(&self, trust: &ProductTrust, changes: Vec<Change>, wall: WallTime) -> Result<ProductTrust, WriteError> {
        let snapshot: [&dyn Signer; 1] = [&self.snapshot];
        let timestamp: [&dyn Signer; 1] = [&self.timestamp];
        let sealing = Sealing {
            snapshot: &snapshot,
            timestamp: &timestamp,
            now: wall,
            lifetimes: Lifetimes::default(),
        };
        writer::seal(trust, changes, &sealing)
    }
}

/// Why a vendor's verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    /// The home.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What was to be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A statement could not be signed.
    #[error(transparent)]
    Statement(#[from] samara_protocol::trust::dsse::SignStatementError),
}
