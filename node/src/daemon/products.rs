//! The products that this node takes part in: their trust, this node's credentials, the contacts it knows.
//!
//! Invariant: what the gate answers with is replaced in the same call that changes what it is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::limits::{CONTACTS_ACROSS_TENANTS_MAX, CONTACTS_MAX};
use samara_protocol::manifest::platform::Platform;
use samara_protocol::trust::contact::{Audience, Contact};
use samara_protocol::trust::credentials::Covered;
use samara_protocol::trust::document::Promotion;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::{MemberKind, SiteRevocations};
use samara_protocol::trust::files::{FilesError, MetadataFiles};
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::key::PublicKey;
use samara_protocol::trust::product::{Changed, ProductTrust, TrustError};
use samara_protocol::trust::role::Role;
use tokio::task::JoinHandle;

use super::clock::wall_time;
use super::gate::{Door, Doors};
use crate::access::{AccessError, ProductHome};

/// All products of this node.
pub(super) struct Products {
    node: NodeId,
    doors: Doors,
    all: BTreeMap<ProductId, Product>,
}

/// One product.
pub(super) struct Product {
    /// What this node's owner calls it.
    pub(super) name: String,
    /// The verified metadata.
    pub(super) trust: ProductTrust,
    /// This node's credentials, encoded; none on a machine that only the vendor's own verbs use.
    pub(super) credentials: Vec<u8>,
    /// What they cover, by the current metadata.
    pub(super) own: Option<Covered>,
    /// Channels whose releases this node takes; an origin takes all.
    pub(super) follow: Follow,
    /// How many releases of a channel are kept.
    pub(super) keep: usize,
    /// The machines that this site has; all when empty.
    pub(super) platforms: Vec<Platform>,
    /// Scheduling priority of its releases.
    pub(super) priority: u8,
    /// Where others can be dialled, in their own signed words.
    pub(super) contacts: BTreeMap<NodeId, (Contact, Envelope)>,
    /// Whether there are some that the home does not have, and who writes them there.
    contacts_changed: bool,
    keeping: Option<JoinHandle<()>>,
    /// Whether a neighbour has been heard of whose metadata is not newer: "latest" can be answered.
    pub(super) is_current: bool,
    /// Whether the neighbour that answered last said that this node's credentials have ended.
    pub(super) told_ended: bool,
    /// The nodes and hosts that sites have revoked, in the words that each site signed.
    pub(super) revoked_by_sites: Vec<(SiteRevocations, Envelope)>,
    /// Where the keys are that seal, on the one origin that does.
    pub(super) signer: Option<PathBuf>,
    /// The host's own enrolment of this fetch's key.
    pub(super) session: Option<Envelope>,
    home: ProductHome,
}

/// What the owner decides about a product.
#[derive(Debug)]
pub(super) struct ProductPolicy {
    pub(super) follow: Follow,
    pub(super) keep: usize,
    pub(super) platforms: Vec<Platform>,
    pub(super) priority: u8,
    pub(super) signer: Option<PathBuf>,
    pub(super) session: Option<Envelope>,
}

/// Which releases a node takes without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Follow {
    /// Whatever any channel lists: an origin.
    Everything,
    /// The newest of these channels.
    Channels(Vec<ChannelName>),
}

/// Why offered metadata was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    /// It is no set of files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It does not verify.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It cannot be kept.
    #[error(transparent)]
    Disk(#[from] AccessError),
}

impl Products {
    pub(super) fn new(node: NodeId, doors: Doors) -> Self {
        Self {
            node,
            doors,
            all: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, product: Product) {
        let id = product.trust.product();
        self.all.insert(id, product);
        self.refresh(id);
    }

    pub(super) fn get(&self, id: ProductId) -> Option<&Product> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ProductId) -> Option<&mut Product> {
        self.all.get_mut(&id)
    }

    pub(super) fn named(&self, name: &str) -> Option<(ProductId, &Product)> {
        self.all
            .iter()
            .find(|(_, product)| product.name == name)
            .map(|(id, product)| (*id, product))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ProductId, &Product)> {
        self.all.iter().map(|(id, product)| (*id, product))
    }

    pub(super) fn ids(&self) -> Vec<ProductId> {
        self.all.keys().copied().collect()
    }

    /// Verifies and keeps metadata from whatever carrier.
    pub(super) fn install(&mut self, id: ProductId, files: &MetadataFiles) -> Result<Option<Changed>, InstallError> {
        let Some(product) = self.all.get_mut(&id) else {
            return Ok(None);
        };
        let wall = wall_time();
        let mut next = product.trust.clone();
        let changed = next.update(files, wall)?;
        if changed.any() {
            product.home.save_metadata(next.files(), wall)?;
            product.trust = next;
            self.refresh(id);
        }
        Ok(Some(changed))
    }

    /// Takes signed contacts; says whose are new or newer.
    pub(super) fn learn_contacts(&mut self, id: ProductId, envelopes: &[Vec<u8>]) -> BTreeSet<NodeId> {
        let mut fresh = BTreeSet::new();
        let (own, wall) = (self.node, wall_time());
        let Some(product) = self.all.get_mut(&id) else {
            return fresh;
        };
        for bytes in envelopes {
            let Ok(envelope) = Envelope::from_bytes(bytes) else {
                continue;
            };
            let Ok(contact) = Contact::open(&envelope) else {
                continue;
            };
            let known = product
                .contacts
                .get(&contact.node)
                .is_some_and(|(known, _)| known.sequence >= contact.sequence);
            let room = product.contacts.len() < CONTACTS_MAX || product.contacts.contains_key(&contact.node);
            if contact.node != own && !known && room && contact.not_after > wall {
                fresh.insert(contact.node);
                product.contacts.insert(contact.node, (contact, envelope));
            }
        }
        product.contacts_changed |= !fresh.is_empty();
        fresh
    }

    /// Has the contacts that are new written down, as far as no worker is at it already.
    pub(super) fn keep_contacts(&mut self) {
        for product in self.all.values_mut() {
            product.keep_contacts();
        }
    }

    /// Writes down the last of them.
    pub(super) async fn keep_last_contacts(&mut self) {
        for product in self.all.values_mut() {
            product.contacts_kept().await;
            product.keep_contacts();
            product.contacts_kept().await;
        }
    }

    /// Takes a site's list of revoked nodes if it is newer than the one held; says whether it was. Whether the site has
    /// a grant is for the caller to know.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(super) fn learn_revocations(
        &mut self,
        id: ProductId,
        list: SiteRevocations,
        envelope: Envelope,
    ) -> Result<bool, AccessError> {
        let Some(product) = self.all.get_mut(&id) else {
            return Ok(false);
        };
        let held = product.revocations_of(list.site_key);
        if held.is_some_and(|(held, _)| held.sequence >= list.sequence) {
            return Ok(false);
        }
        product.home.learn_revocations(&envelope)?;
        product
            .revoked_by_sites
            .retain(|(held, _)| held.site_key != list.site_key);
        product.revoked_by_sites.push((list, envelope));
        self.refresh(id);
        Ok(true)
    }

    /// Reads again what verbs have written into a product's home; says whether this node's own credentials are others.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn reload(&mut self, id: ProductId) -> Result<bool, AccessError> {
        let Some(product) = self.all.get_mut(&id) else {
            return Ok(false);
        };
        let (home, shown) = (product.home.clone(), product.credentials.clone());
        product.read_again(&home)?;
        let are_others = product.credentials != shown;
        product.told_ended &= !are_others;
        self.refresh(id);
        Ok(are_others)
    }

    /// What the gate and this node's own view follow from.
    fn refresh(&mut self, id: ProductId) {
        let Some(product) = self.all.get_mut(&id) else { return };
        let trust = &product.trust;
        let window = trust.signed_at().zip(trust.expiries().get(&Role::Timestamp).copied());
        let mut revocations = trust.revocations();
        for (list, _) in &product.revoked_by_sites {
            revocations.learn(list.clone());
        }
        let door = Door {
            credentials: product.credentials.clone(),
            summary: trust.summary().encode(),
            authority: trust.grant_authority().cloned(),
            revocations,
            window,
        };
        product.own = door.judge(self.node, &product.credentials).ok();
        self.doors.set(id, door);
    }
}

impl Product {
    /// A product as its home has it.
    ///
    /// # Errors
    /// When the home cannot be read.
    pub(super) fn open(
        trust: ProductTrust,
        home: &ProductHome,
        name: String,
        settings: ProductPolicy,
    ) -> Result<Self, AccessError> {
        let ProductPolicy {
            follow,
            keep,
            platforms,
            priority,
            signer,
            session,
        } = settings;
        let mut product = Self {
            name,
            trust,
            credentials: Vec::new(),
            own: None,
            follow,
            keep,
            platforms,
            priority,
            signer,
            session,
            contacts: BTreeMap::new(),
            contacts_changed: false,
            keeping: None,
            is_current: false,
            told_ended: false,
            revoked_by_sites: Vec::new(),
            home: home.clone(),
        };
        product.read_again(home)?;
        Ok(product)
    }

    /// The newest list of revoked nodes that a site has signed.
    pub(super) fn revocations_of(&self, site_key: PublicKey) -> Option<&(SiteRevocations, Envelope)> {
        self.revoked_by_sites.iter().find(|(list, _)| list.site_key == site_key)
    }

    /// Replaces the contacts; those that do not open are left out.
    pub(super) fn set_contacts(&mut self, contacts: Vec<Envelope>) {
        let opened = contacts.into_iter().filter_map(|envelope| {
            let contact = Contact::open(&envelope).ok()?;
            Some((contact.node, (contact, envelope)))
        });
        self.contacts.extend(opened);
    }

    /// Has a worker write down contacts that are new, one write at a time. They are learned anew from any neighbour: not
    /// being able to keep them costs a dial, nothing else.
    fn keep_contacts(&mut self) {
        let is_keeping = self.keeping.as_ref().is_some_and(|task| !task.is_finished());
        if is_keeping || !std::mem::take(&mut self.contacts_changed) {
            return;
        }
        let envelopes: Vec<Envelope> = self.contacts.values().map(|(_, envelope)| envelope.clone()).collect();
        let home = self.home.clone();
        self.keeping = Some(tokio::task::spawn_blocking(move || {
            let _ = home.save_contacts(&envelopes);
        }));
    }

    async fn contacts_kept(&mut self) {
        if let Some(keeping) = self.keeping.take() {
            keeping.await.expect("writing does not panic and is not aborted");
        }
    }

    /// The releases that this node should have, newest first.
    pub(super) fn wanted(&self) -> Vec<Promotion> {
        let documents = self.trust.documents();
        let channels: Vec<_> = match &self.follow {
            Follow::Everything => documents.channels.keys().cloned().collect(),
            Follow::Channels(channels) => channels.clone(),
        };
        let keep = if self.follow == Follow::Everything {
            usize::MAX
        } else {
            self.keep
        };
        let mut seen = BTreeSet::new();
        let mut wanted: Vec<(usize, Promotion)> = Vec::new();
        for channel in channels.iter().filter_map(|name| documents.channels.get(name)) {
            let offered = channel.releases.iter().rev();
            let offered = offered.filter(|release| !release.held && !documents.recalls.contains_key(&release.manifest));
            for (age, release) in offered.take(keep).enumerate() {
                if seen.insert(release.manifest) {
                    wanted.push((age, release.clone()));
                }
            }
        }
        wanted.sort_by_key(|(age, _)| *age);
        wanted.into_iter().map(|(_, promotion)| promotion).collect()
    }

    /// Whether a peer with these credentials may know of a release.
    pub(super) fn offers(&self, manifest: ManifestId, to: &Covered) -> bool {
        self.trust.documents().offered(manifest, &to.channels)
    }

    /// The contacts that `to` may be told, nearest first: its own site's, its tenant's, others as far as both reseed to
    /// all, at most sixteen across tenants. A host is told of its own site's nodes and of origins alone.
    pub(super) fn contacts_for(&self, to: &Covered, member_of: impl Fn(NodeId) -> Option<Covered>) -> Vec<Vec<u8>> {
        let mut across = 0;
        let told = self.contacts.values().filter(|(contact, _)| {
            let member = member_of(contact.node);
            let own_site = member.as_ref().is_some_and(|member| member.site == to.site);
            if to.kind == MemberKind::Host && contact.kind == MemberKind::Node && !own_site {
                return false;
            }
            match (contact.audience, member) {
                (_, Some(member)) if member.site == to.site => true,
                (Audience::Tenant | Audience::All, Some(member)) if member.tenant == to.tenant => true,
                (Audience::All, _) => {
                    across += 1;
                    across <= CONTACTS_ACROSS_TENANTS_MAX
                }
                _ => false,
            }
        });
        told.filter(|(contact, _)| contact.node != to.node)
            .map(|(_, envelope)| envelope.to_bytes())
            .collect()
    }
}
