//! The contacts that are known of a product: who is believed about whom, what is kept, whom they are told.
//!
//! A contact proves that its node said it, and not that the node is anybody. Members vouch for that: each for itself by
//! the credentials that it shows, origins and the own site and tenant for others. Whoever vouches for more keeps its
//! contacts when there are too many.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::{CONTACTS_ACROSS_TENANTS_MAX, CONTACTS_MAX, CONTACTS_PER_TELLER_MAX, NEIGHBOURS_MAX};
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::{Audience, Contact};
use samara_protocol::trust::credentials::Covered;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::{Reseed, SiteId};

/// All contacts of a product.
#[derive(Debug)]
pub(super) struct Contacts {
    product: ProductId,
    all: BTreeMap<NodeId, Known>,
    /// Whether there are some that the home does not have.
    changed: bool,
    /// The sequences of those that the home has, as far as this node knows: a verb may have stored others since.
    kept: BTreeMap<NodeId, u64>,
    /// Counts what is told.
    heard: u64,
    /// Makes the choice among many another one at each node: nobody gets in front by picking its name.
    choice: RandomState,
}

#[derive(Debug)]
struct Known {
    contact: Contact,
    envelope: Envelope,
    vouched: Vouched,
    /// Who told it of another.
    teller: Option<NodeId>,
    /// When it was told last.
    heard: u64,
}

/// Who says that the node is a member. What counts for more comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Vouched {
    /// The node itself, of another customer's: it is forgotten with the process.
    Itself,
    /// A node of the own tenant.
    Tenant,
    /// The home: a join file, or an earlier run of this node.
    Home,
    /// An origin, or a node of the own site.
    Trusted,
}

/// Other customers' nodes that one peer was told of, and of which site they are.
pub(super) type Across = BTreeMap<NodeId, Option<SiteId>>;

/// What came of contacts that were told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// Whether any is new or newer.
    pub(super) any: bool,
    /// Whether the teller's own one was among them, new or not.
    pub(super) of_teller: bool,
    /// Whose contacts made room for them.
    pub(super) gone: Vec<NodeId>,
}

/// What the home is to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unkept {
    pub(super) contacts: Vec<Envelope>,
    /// The sequences of those that it had and that are to go.
    pub(super) forgotten: BTreeMap<NodeId, u64>,
}

impl Contacts {
    pub(super) fn new(product: ProductId) -> Self {
        Self {
            product,
            all: BTreeMap::new(),
            changed: false,
            kept: BTreeMap::new(),
            heard: 0,
            choice: RandomState::new(),
        }
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Contact> {
        self.all.get(&node).map(|known| &known.contact)
    }

    /// Adds what the home holds; what does not open or is for another product is left out.
    pub(super) fn restore(&mut self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let Ok(contact) = Contact::open(&envelope) else {
                continue;
            };
            self.kept.insert(contact.node, contact.sequence);
            let known = self.all.get(&contact.node);
            let newer = known.is_none_or(|known| known.contact.sequence < contact.sequence);
            if newer && contact.may_be_carried_for(self.product) {
                let vouched = known.map_or(Vouched::Home, |known| known.vouched.max(Vouched::Home));
                self.put(contact, envelope, vouched, None);
            }
        }
    }

    /// Takes what the peer `teller` tells, as far as it may speak for those nodes. `own` is what this node is itself.
    pub(super) fn learn(
        &mut self,
        envelopes: &[Vec<u8>],
        teller: &Covered,
        own: Option<&Covered>,
        now: WallTime,
    ) -> Learned {
        let mut learned = Learned::default();
        for bytes in envelopes {
            let opened = Envelope::from_bytes(bytes).and_then(|envelope| Ok((Contact::open(&envelope)?, envelope)));
            let Ok((contact, envelope)) = opened else { continue };
            let vouched = vouched(&contact, teller, own);
            let Some(vouched) = vouched.filter(|_| contact.product == Some(self.product) && contact.not_after > now)
            else {
                continue;
            };
            let of_teller = contact.node == teller.node;
            self.take(contact, envelope, vouched, teller.node, &mut learned);
            learned.of_teller |= of_teller && self.all.contains_key(&teller.node);
        }
        learned
    }

    fn take(&mut self, contact: Contact, envelope: Envelope, vouched: Vouched, teller: NodeId, learned: &mut Learned) {
        let (heard, node) = (self.heard, contact.node);
        if let Some(known) = self.all.get_mut(&node) {
            known.heard = heard;
            self.changed |= known.vouched < Vouched::Tenant && vouched >= Vouched::Tenant;
            let vouched = known.vouched.max(vouched);
            known.vouched = vouched;
            if known.contact.sequence < contact.sequence {
                let teller = known.teller;
                self.put(contact, envelope, vouched, teller);
                learned.any = true;
            }
            return;
        }
        let of_others = teller != node;
        let told = |known: &&Known| of_others && known.teller == Some(teller);
        if self.all.values().filter(told).count() >= CONTACTS_PER_TELLER_MAX || !self.make_room(vouched, learned) {
            return;
        }
        self.put(contact, envelope, vouched, of_others.then_some(teller));
        learned.any = true;
    }

    /// Whether one more has a place: of those that count for less the one goes of which was heard longest ago.
    fn make_room(&mut self, vouched: Vouched, learned: &mut Learned) -> bool {
        if self.all.len() < CONTACTS_MAX {
            return true;
        }
        let least = self.all.iter().min_by_key(|(_, known)| (known.vouched, known.heard));
        let least = least.map(|(node, known)| (*node, known.vouched));
        match least.filter(|(_, least)| *least < vouched || *least == Vouched::Itself) {
            Some((node, _)) => {
                self.all.remove(&node);
                learned.gone.push(node);
                true
            }
            None => false,
        }
    }

    fn put(&mut self, contact: Contact, envelope: Envelope, vouched: Vouched, teller: Option<NodeId>) {
        self.heard += 1;
        self.changed |= vouched >= Vouched::Tenant;
        let known = Known {
            envelope,
            vouched,
            teller,
            heard: self.heard,
            contact,
        };
        self.all.insert(known.contact.node, known);
    }

    /// Forgets contacts that have ended of nodes that are not there; says whose.
    pub(super) fn prune(&mut self, now: WallTime, is_there: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let ended =
            |(node, known): (&NodeId, &Known)| (known.contact.not_after <= now && !is_there(*node)).then_some(*node);
        let gone: Vec<NodeId> = self.all.iter().filter_map(ended).collect();
        for node in &gone {
            self.all.remove(node);
        }
        self.changed |= !gone.is_empty();
        gone
    }

    /// What is to be written down, if that has changed: what somebody vouches for, those first that count for most.
    pub(super) fn take_unkept(&mut self) -> Option<Unkept> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut vouched: Vec<&Known> = self.all.values().collect();
        vouched.retain(|known| known.vouched >= Vouched::Tenant);
        vouched.sort_by_key(|known| Reverse(known.vouched));
        let sequence = |known: &&Known| (known.contact.node, known.contact.sequence);
        let kept = vouched.iter().map(sequence).collect();
        let mut forgotten = std::mem::replace(&mut self.kept, kept);
        forgotten.retain(|node, _| !self.kept.contains_key(node));
        Some(Unkept {
            contacts: vouched.into_iter().map(|known| known.envelope.clone()).collect(),
            forgotten,
        })
    }

    /// Whom to be connected with, as many as there may be neighbours. A leaf goes to its site's nodes; to an origin only
    /// where it knows no other.
    pub(super) fn to_dial(&self, is_leaf: bool, knows_others: bool) -> Vec<(NodeId, Vec<String>)> {
        let is_node = |known: &Known| known.contact.kind == MemberKind::Node;
        let skips_origins = is_leaf && (knows_others || self.all.values().any(is_node));
        let mut dialled: Vec<&Known> = self.all.values().collect();
        dialled.retain(|known| !skips_origins || is_node(known));
        dialled.sort_by_cached_key(|known| (Reverse(known.vouched), self.choice.hash_one(known.contact.node)));
        let dialled = dialled.into_iter().take(NEIGHBOURS_MAX);
        dialled
            .map(|known| (known.contact.node, known.contact.addresses.clone()))
            .collect()
    }

    /// The contacts that `to` is told, and which of them are other customers' nodes. `member_of` gives what nodes that are
    /// there have shown.
    pub(super) fn to_tell(
        &self,
        own: &Covered,
        to: &Covered,
        member_of: impl Fn(NodeId) -> Option<Covered>,
    ) -> (Vec<Vec<u8>>, Across) {
        let (mut told, mut across) = (Vec::new(), Vec::new());
        let others = self.all.values().filter(|known| known.contact.node != to.node);
        for known in others.filter(|known| known.contact.product == Some(self.product)) {
            let member = member_of(known.contact.node);
            match reach(&known.contact, member.as_ref(), own, to) {
                Some(Reach::Near) => told.push(known),
                Some(Reach::Across) => across.push((member.map(|member| member.site), known)),
                None => {}
            }
        }
        let across = self.choose(across, to.site);
        told.extend(across.iter().map(|(_, known)| known));
        let named = across.iter().map(|(site, known)| (known.contact.node, *site));
        let told = told.into_iter().map(|known| known.envelope.to_bytes());
        (told.collect(), named.collect())
    }

    /// The contact of a `newcomer`, for `to`, who came before it. Of another customer only while there is a place among those
    /// that it was `named`, and one of a site: the next time that it is told everything, they are chosen anew.
    pub(super) fn introduction(
        &self,
        newcomer: &Covered,
        own: &Covered,
        to: &Covered,
        named: &mut Across,
    ) -> Option<Vec<u8>> {
        let known = self.all.get(&newcomer.node)?;
        if known.contact.product != Some(self.product) {
            return None;
        }
        if reach(&known.contact, Some(newcomer), own, to)? == Reach::Across && !named.contains_key(&newcomer.node) {
            let site = Some(newcomer.site);
            if named.len() >= CONTACTS_ACROSS_TENANTS_MAX || named.values().any(|other| *other == site) {
                return None;
            }
            named.insert(newcomer.node, site);
        }
        Some(known.envelope.to_bytes())
    }

    /// At most sixteen of other customers' nodes, the same ones for all of a site: one of each site, then a second of each.
    fn choose<'a>(&self, mut across: Vec<(Option<SiteId>, &'a Known)>, to: SiteId) -> Vec<(Option<SiteId>, &'a Known)> {
        across.sort_by_cached_key(|(_, known)| self.choice.hash_one((to, known.contact.node)));
        let mut counts: BTreeMap<SiteId, usize> = BTreeMap::new();
        let nth = |(site, known): (Option<SiteId>, &'a Known)| {
            let count = site.map_or(0, |site| {
                let count = counts.entry(site).or_default();
                *count += 1;
                *count
            });
            (count, (site, known))
        };
        let mut chosen: Vec<_> = across.into_iter().map(nth).collect();
        chosen.sort_by_key(|(count, _)| *count);
        chosen.truncate(CONTACTS_ACROSS_TENANTS_MAX);
        chosen.into_iter().map(|(_, chosen)| chosen).collect()
    }
}

/// What a peer's word for a contact counts; nothing where it may not speak for that node.
fn vouched(contact: &Contact, teller: &Covered, own: Option<&Covered>) -> Option<Vouched> {
    let is_origin = teller.kind == MemberKind::Origin;
    let own_site = own.is_some_and(|own| own.site == teller.site);
    let own_tenant = own.is_some_and(|own| own.tenant == teller.tenant);
    let takes_of_others = own.is_none_or(|own| own.kind != MemberKind::Origin);
    if contact.node == teller.node {
        let vouched = match (is_origin || own_site, own_tenant) {
            (true, _) => Vouched::Trusted,
            (false, true) => Vouched::Tenant,
            (false, false) => Vouched::Itself,
        };
        return (contact.kind == teller.kind).then_some(vouched);
    }
    if is_origin || (takes_of_others && own_site && teller.kind == MemberKind::Node) {
        return Some(Vouched::Trusted);
    }
    let may = takes_of_others && own_tenant && teller.kind == MemberKind::Node && contact.kind == MemberKind::Node;
    may.then_some(Vouched::Tenant)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Near,
    Across,
}

/// Whether `to` is told of a contact: its own site's, its tenant's, others' as far as both reseed to all, and origins'.
/// An origin tells of members that are there, whoever has asked; a site's node tells its own site and tenant. A host is
/// told of its own site's nodes and of origins.
fn reach(contact: &Contact, member: Option<&Covered>, own: &Covered, to: &Covered) -> Option<Reach> {
    let kind = member.map_or(contact.kind, |member| member.kind);
    let speaks = if own.kind == MemberKind::Origin {
        member.is_some()
    } else {
        own.site == to.site || own.tenant == to.tenant
    };
    if !speaks {
        return None;
    }
    if kind == MemberKind::Origin || member.is_some_and(|member| member.site == to.site) {
        return Some(Reach::Near);
    }
    if to.kind == MemberKind::Host {
        return None;
    }
    if contact.audience >= Audience::Tenant && member.is_some_and(|member| member.tenant == to.tenant) {
        return Some(Reach::Near);
    }
    // Of one that is not there only somebody who knew has told, and has told this site because it reseeds to all.
    let theirs = member.map_or(own.rights.reseed, |member| member.rights.reseed);
    let both = theirs == Reseed::All && to.rights.reseed == Reseed::All;
    (both && contact.audience == Audience::All).then_some(Reach::Across)
}

#[cfg(test)]
mod tests;
