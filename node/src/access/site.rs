//! A site's home: the site key, the products it was granted, and whom it has enrolled.
//!
//! ```text
//! site.key
//! products/<product id>/...   as in a machine's home, the membership being the grant alone
//! register.json               nodes and hosts by name, the number of the last enrolment, who is revoked
//! ```
//! A node that was enrolled with the right to enrol does the same for hosts from its own home (`Enroller::of_machine`),
//! so the site key can stay offline.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use samara_protocol::id::NodeId;
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::Contact;
use samara_protocol::trust::dsse::{Envelope, SignStatementError};
use samara_protocol::trust::enrolment::{Enrolment, MemberKind, SiteRevocations};
use samara_protocol::trust::join::{JoinFile, JoinProduct, Joined};
use samara_protocol::trust::key::{PublicKey, SigningKey};
use samara_protocol::trust::product::ProductTrust;
use samara_protocol::trust::request::RequestKind;
use serde::{Deserialize, Serialize};

use super::disk::{self, Readers};
use super::machine::Machine;
use super::product::{Membership, ProductHome};
use super::{AccessError, key_file};

const KEY: &str = "site.key";
const PRODUCTS: &str = "products";
const REGISTER: &str = "register.json";
const TURN: &str = "turn";
/// Longer than any register.
const REGISTER_BYTES_MAX: u64 = 64 << 20;

/// A site's home.
#[derive(Debug, Clone)]
pub struct Site {
    dir: PathBuf,
}

/// Whom a site, or a node that enrols for it, has enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteRegister {
    /// The format: 0.
    pub schema: u32,
    /// The number of the last enrolment.
    pub serial: u64,
    /// The number of the last list of revoked nodes.
    pub sequence: u64,
    /// Everybody who was enrolled, by PeerId.
    pub members: BTreeMap<String, Member>,
}

/// Somebody who was enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// What the site calls it.
    pub name: String,
    /// Its key.
    pub node: NodeId,
    /// As what.
    pub kind: MemberKind,
    /// Whether it may enrol hosts.
    pub enrol: bool,
    /// Until when, as text.
    pub not_after: String,
    /// Where it can be dialled, as it said in its request.
    pub contact: Option<Envelope>,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// Why an enrolment was not made.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The home.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The statement.
    #[error(transparent)]
    Statement(#[from] SignStatementError),
    /// This machine may not enrol.
    #[error("{}: this home has no site key, and its node no right to enrol; enrol where the site key is", dir.display())]
    NoRight {
        /// Which home.
        dir: PathBuf,
    },
    /// A node may enrol hosts only.
    #[error("a node with the right to enrol may enrol hosts; a node is enrolled with the site key")]
    HostsOnly,
    /// Nothing was granted yet.
    #[error("{}: this site has no grant yet; send its request file to the vendor and `samara join` the answer", dir.display())]
    NoGrant {
        /// Which home.
        dir: PathBuf,
    },
    /// A revoked key stays revoked.
    #[error("{node} is revoked, for ever; take a new identity on that machine and make a new request")]
    Revoked {
        /// Whose key.
        node: NodeId,
    },
    /// Nobody of that name.
    #[error("`{name}` is not a node or host of this site; `samara site list` names them")]
    NoMember {
        /// The name or PeerId.
        name: String,
    },
}

impl Site {
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

    /// Makes the site key.
    ///
    /// # Errors
    /// When there is one.
    pub fn init(&self) -> Result<SigningKey, AccessError> {
        disk::make_dir(&self.dir)?;
        key_file::create(&self.dir.join(KEY))
    }

    /// The site key; nothing when there is none.
    ///
    /// # Errors
    /// When others can read it.
    pub fn key(&self) -> Result<Option<SigningKey>, AccessError> {
        key_file::open(&self.dir.join(KEY))
    }

    /// Takes the vendor's answer to the site's request.
    ///
    /// # Errors
    /// When it is not for this site, or anything in it is wrong; nothing is taken then.
    pub fn join(&self, file: &JoinFile, wall: WallTime) -> Result<Vec<Joined>, AccessError> {
        let key = key_file::require(
            &self.dir.join(KEY),
            "run `samara site init` where the site key shall live",
        )?;
        let joined = file.verify(key.public(), wall)?;
        for (one, offered) in joined.iter().zip(&file.products) {
            let home = ProductHome::at(&self.dir.join(PRODUCTS), one.trust.product());
            home.install(one, &offered.contacts, wall)?;
        }
        Ok(joined)
    }

    /// Whom it has enrolled.
    ///
    /// # Errors
    /// When the register cannot be read.
    pub fn register(&self) -> Result<SiteRegister, AccessError> {
        Ok(disk::read_json(&self.dir.join(REGISTER), REGISTER_BYTES_MAX)?.unwrap_or_default())
    }

    /// Stores whom it has enrolled.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save_register(&self, register: &SiteRegister) -> Result<(), AccessError> {
        disk::make_dir(&self.dir)?;
        disk::write_json(&self.dir.join(REGISTER), register, Readers::Owner)
    }

    /// The number after one of the register's.
    fn next(&self, number: u64) -> Result<u64, AccessError> {
        let damaged = || AccessError::damaged(&self.dir.join(REGISTER), "it has counted to the end of its numbers");
        number.checked_add(1).ok_or_else(damaged)
    }

    /// Held from reading the register to storing it: another who enrols or revokes at this moment waits.
    fn turn(&self) -> Result<File, AccessError> {
        disk::make_dir(&self.dir)?;
        disk::lock(&self.dir.join(TURN))
    }

    /// The products it was granted.
    ///
    /// # Errors
    /// When one cannot be read or does not verify.
    pub fn products(&self) -> Result<Vec<(ProductHome, Membership, ProductTrust)>, AccessError> {
        let mut products = Vec::new();
        for home in ProductHome::all(&self.dir.join(PRODUCTS))? {
            if let (Some(membership), Some(trust)) = (home.membership()?, home.load()?) {
                products.push((home, membership, trust));
            }
        }
        Ok(products)
    }

    /// Withdraws the enrolment of the member of that name or PeerId: the site's new list of revoked nodes, signed. Every
    /// revoked member stays on it.
    ///
    /// # Errors
    /// When there is no such member, or the site key is not here.
    pub fn revoke(&self, name: &str) -> Result<(Member, Envelope), EnrolError> {
        let key = key_file::require(&self.dir.join(KEY), "revoke where the site key is")?;
        let _turn = self.turn()?;
        let mut register = self.register()?;
        let found = register
            .members
            .iter_mut()
            .find(|(id, member)| *id == name || member.name == name);
        let Some((_, member)) = found else {
            return Err(EnrolError::NoMember { name: name.to_owned() });
        };
        member.revoked = true;
        let member = member.clone();
        register.sequence = self.next(register.sequence)?;
        let list = revocations(&register, key.public());
        let envelope = Envelope::sign(&list, &[&key])?;
        self.save_register(&register)?;
        Ok((member, envelope))
    }

    fn revocation_list(&self, key: &SigningKey, register: &SiteRegister) -> Result<Option<Envelope>, EnrolError> {
        if register.sequence == 0 {
            return Ok(None);
        }
        Ok(Some(Envelope::sign(&revocations(register, key.public()), &[key])?))
    }
}

fn revocations(register: &SiteRegister, site_key: PublicKey) -> SiteRevocations {
    let revoked = register.members.values().filter(|member| member.revoked);
    let mut nodes: Vec<NodeId> = revoked.map(|member| member.node).collect();
    nodes.sort();
    SiteRevocations {
        schema: 0,
        site_key,
        sequence: register.sequence,
        nodes,
    }
}

/// Whoever may enrol: the site key, or a node with the right to enrol hosts.
pub struct Enroller {
    site: Site,
    key: SigningKey,
    site_key: PublicKey,
    above: Vec<Envelope>,
    products: Vec<(ProductHome, Membership, ProductTrust)>,
    revocations: Option<Envelope>,
    /// The latest end that an enrolment may have under this signer.
    until: Option<WallTime>,
}

/// Who is to be enrolled, as what, until when.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What the site calls it.
    pub name: String,
    /// Its key.
    pub node: NodeId,
    /// As what.
    pub kind: MemberKind,
    /// Whether it may enrol hosts.
    pub enrol: bool,
    /// Until when.
    pub not_after: WallTime,
    /// Where it can be dialled.
    pub contact: Option<Envelope>,
}

impl Enroller {
    /// The site key's enroller, when `site` has one; else the node's in `machine`, when it has the right.
    ///
    /// # Errors
    /// When neither may.
    pub fn open(site: &Site, machine: &Machine, wall: WallTime) -> Result<Self, EnrolError> {
        match site.key()? {
            Some(key) => Self::of_site(site, key),
            None => Self::of_machine(site, machine, wall),
        }
    }

    fn of_site(site: &Site, key: SigningKey) -> Result<Self, EnrolError> {
        let products = site.products()?;
        if products.is_empty() {
            return Err(EnrolError::NoGrant { dir: site.dir.clone() });
        }
        let revocations = site.revocation_list(&key, &site.register()?)?;
        Ok(Self {
            site: site.clone(),
            site_key: key.public(),
            key,
            above: Vec::new(),
            products,
            revocations,
            until: None,
        })
    }

    /// A node's: the products in which its own enrolment carries the right.
    fn of_machine(site: &Site, machine: &Machine, wall: WallTime) -> Result<Self, EnrolError> {
        let no_right = || EnrolError::NoRight { dir: site.dir.clone() };
        let key = machine.existing_identity()?.ok_or_else(no_right)?;
        let mut covered = None;
        let mut above = Vec::new();
        let mut products = Vec::new();
        let mut revocations = None;
        for product in machine.products()? {
            let lists = product.home.site_revocations()?;
            let credentials = product.membership.credentials();
            let verdict = product
                .trust
                .admit(&credentials, key.node_id(), lists.iter().map(|(list, _)| list), wall);
            let Some(own) = verdict.ok().filter(|own| own.enrol) else {
                continue;
            };
            let list = lists.into_iter().find(|(list, _)| list.site_key == own.site_key);
            revocations = list.map(|(_, envelope)| envelope).or(revocations);
            // One site per machine: products under another site key would need another join file.
            let same = covered.as_ref().is_none_or(|(site_key, _)| *site_key == own.site_key);
            if same {
                let until = covered.map_or(own.not_after, |(_, until)| own.not_after.max(until));
                covered = Some((own.site_key, until));
                above = product.membership.enrolments.clone();
                products.push((product.home, product.membership, product.trust));
            }
        }
        let (site_key, until) = covered.ok_or_else(no_right)?;
        Ok(Self {
            site: site.clone(),
            key,
            site_key,
            above,
            products,
            revocations,
            until: Some(until),
        })
    }

    /// Enrols: the join file for the machine, and the member as it now stands in the register.
    ///
    /// # Errors
    /// When the signer may not enrol so, or it cannot be stored.
    pub fn enrol(&self, terms: Terms) -> Result<(JoinFile, Member), EnrolError> {
        if !self.above.is_empty() && (terms.kind != MemberKind::Host || terms.enrol) {
            return Err(EnrolError::HostsOnly);
        }
        let _turn = self.site.turn()?;
        let mut register = self.site.register()?;
        let known = register.members.get(&terms.node.to_string());
        if known.is_some_and(|member| member.revoked) {
            return Err(EnrolError::Revoked { node: terms.node });
        }
        register.serial = self.site.next(register.serial)?;
        let not_after = self.until.map_or(terms.not_after, |until| terms.not_after.min(until));
        let enrolment = Enrolment {
            schema: 0,
            site_key: self.site_key,
            node: terms.node,
            kind: terms.kind,
            enrol: terms.enrol,
            serial: register.serial,
            not_after,
        };
        let mut enrolments = self.above.clone();
        enrolments.push(Envelope::sign(&enrolment, &[&self.key])?);
        let nearby: Vec<Envelope> = register
            .members
            .values()
            .filter(|member| !member.revoked && member.node != terms.node)
            .filter_map(|member| member.contact.clone())
            .collect();
        let mut products = Vec::new();
        for (home, membership, trust) in &self.products {
            let mut contacts = nearby.clone();
            // A host has business with its own site's nodes and, without one, with the origin.
            let is_for_it = |envelope: &Envelope| {
                terms.kind == MemberKind::Node
                    || Contact::open(envelope).is_ok_and(|contact| contact.kind == MemberKind::Origin)
            };
            contacts.extend(home.contacts()?.into_iter().filter(is_for_it));
            contacts.truncate(samara_protocol::limits::CONTACTS_PER_MESSAGE_MAX);
            products.push(JoinProduct::new(
                &membership.name,
                trust,
                membership.grant.clone(),
                contacts,
            ));
        }
        let file = JoinFile {
            schema: 0,
            kind: if terms.kind == MemberKind::Host {
                RequestKind::Host
            } else {
                RequestKind::Node
            },
            key: terms.node.into(),
            products,
            enrolments,
            site_revocations: self.revocations.clone(),
        };
        let member = Member {
            name: terms.name,
            node: terms.node,
            kind: terms.kind,
            enrol: terms.enrol,
            not_after: not_after.to_rfc3339(),
            contact: terms.contact,
            revoked: false,
        };
        register.members.insert(terms.node.to_string(), member.clone());
        self.site.save_register(&register)?;
        Ok((file, member))
    }
}
