//! The products that this node takes part in: their trust, this node's credentials, the contacts it knows.
//!
//! Invariant: what the gate answers with is replaced in the same call that changes what it is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::manifest::platform::Platform;
use samara_protocol::trust::credentials::{Covered, Refusal};
use samara_protocol::trust::document::Promotion;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::SiteRevocations;
use samara_protocol::trust::files::{FilesError, MetadataFiles};
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::key::PublicKey;
use samara_protocol::trust::product::{Changed, ProductTrust, TrustError};
use samara_protocol::trust::role::Role;
use tokio::task::JoinHandle;

use super::clock::wall_time;
use super::contacts::{Contacts, Learned};
use super::freshness::Heard;
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
    pub(super) contacts: Contacts,
    /// Who writes them into the home.
    keeping: Option<JoinHandle<()>>,
    /// Whether neighbours have been heard of whose metadata is not newer.
    pub(super) heard: Heard,
    /// Whether the neighbour that answered last said that this node's credentials have ended.
    pub(super) told_ended: bool,
    /// The nodes and hosts that sites have revoked, in the words that each site signed.
    pub(super) revoked_by_sites: Vec<(SiteRevocations, Envelope)>,
    /// Where the keys are that seal, on the one origin that does.
    pub(super) signer: Option<PathBuf>,
    /// The host's own enrolment of this fetch's key.
    pub(super) session: Option<Envelope>,
    /// The metadata as neighbours are sent it, made when the first asks.
    metadata: Option<Arc<[u8]>>,
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

impl InstallError {
    /// Whether no honest peer offers such a thing. Two origins that sign for one product make honest peers contradict
    /// each other.
    pub(super) const fn is_the_peers_doing(&self) -> bool {
        match self {
            Self::Files(_) => true,
            Self::Trust(error) => !matches!(
                error,
                TrustError::Rollback { .. } | TrustError::Rebound { .. } | TrustError::RootGap { .. }
            ),
            Self::Disk(_) => false,
        }
    }
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

    /// Takes contacts that a peer tells whose credentials cover `teller`.
    pub(super) fn learn_contacts(&mut self, id: ProductId, envelopes: &[Vec<u8>], teller: &Covered) -> Learned {
        let now = self.doors.time(id);
        let Some(product) = self.all.get_mut(&id) else {
            return Learned::default();
        };
        product.contacts.learn(envelopes, teller, product.own.as_ref(), now)
    }

    /// Forgets contacts that have ended of nodes that are not there; says whose nobody knows any more.
    pub(super) fn prune_contacts(&mut self, id: ProductId, is_there: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let now = self.doors.time(id);
        let product = self.all.get_mut(&id);
        product.map_or_else(Vec::new, |product| product.contacts.prune(now, is_there))
    }

    /// Whether any product has a contact of a node.
    pub(super) fn know_contact(&self, node: NodeId) -> bool {
        self.all.values().any(|product| product.contacts.get(node).is_some())
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
        product.metadata = None;
        let trust = &product.trust;
        let window = trust.signed_at().zip(trust.expiries().get(&Role::Timestamp).copied());
        let mut revocations = trust.revocations();
        for (list, _) in &product.revoked_by_sites {
            revocations.learn(list.clone());
        }
        let mut door = Door {
            credentials: product.credentials.clone(),
            summary: trust.summary().encode(),
            authority: trust.grant_authority().cloned(),
            revocations,
            own_site: None,
            window,
        };
        let judged = door.judge(self.node, &product.credentials);
        door.own_site = match &judged {
            Ok(own) => Some(own.site),
            Err(Refusal::Expired { covered }) => Some(covered.site),
            Err(_) => None,
        };
        product.own = judged.ok();
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
        let contacts = Contacts::new(trust.product());
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
            contacts,
            keeping: None,
            heard: Heard::default(),
            told_ended: false,
            revoked_by_sites: Vec::new(),
            metadata: None,
            home: home.clone(),
        };
        product.read_again(home)?;
        Ok(product)
    }

    /// The metadata as neighbours are sent it: one copy for all of them.
    pub(super) fn metadata(&mut self) -> Arc<[u8]> {
        let trust = &self.trust;
        let encoded = self.metadata.get_or_insert_with(|| trust.files().encode().into());
        Arc::clone(encoded)
    }

    /// The newest list of revoked nodes that a site has signed.
    pub(super) fn revocations_of(&self, site_key: PublicKey) -> Option<&(SiteRevocations, Envelope)> {
        self.revoked_by_sites.iter().find(|(list, _)| list.site_key == site_key)
    }

    /// Has a worker write down contacts that are new, one write at a time. They are learned anew from any neighbour: not
    /// being able to keep them costs a dial, nothing else.
    fn keep_contacts(&mut self) {
        let is_keeping = self.keeping.as_ref().is_some_and(|task| !task.is_finished());
        let Some(unkept) = (!is_keeping).then(|| self.contacts.take_unkept()).flatten() else {
            return;
        };
        let home = self.home.clone();
        self.keeping = Some(tokio::task::spawn_blocking(move || {
            let _ = home.save_contacts(&unkept.contacts, &unkept.forgotten);
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
        self.trust.documents().offered_to(manifest, to)
    }
}
