//! One product in a machine's home: its verified metadata, this machine's credentials, and what it knows of others.
//!
//! ```text
//! products/<product id>/metadata          the time of acceptance, then every verified file
//!                      /membership.json   name, grant, enrolments
//!                      /contacts          signed contacts, one a line
//!                      /site-revocations  signed lists of sites' revoked nodes, one a line
//!                      /lock              held while any of them is written
//! ```
//! Opening replays the stored metadata at the time it was accepted, which restores the rollback floors. Any number of
//! processes may read; a writer holds the lock, looks at what is on disk first, and never puts older metadata over newer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::{
    CONTACT_BYTES_MAX, CONTACTS_MAX, ENVELOPE_BYTES_MAX, METADATA_SET_BYTES_MAX, SITES_REMEMBERED_MAX,
};
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::Contact;
use samara_protocol::trust::credentials::Credentials;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::SiteRevocations;
use samara_protocol::trust::files::MetadataFiles;
use samara_protocol::trust::join::Joined;
use samara_protocol::trust::key::PublicKey;
use samara_protocol::trust::product::{Changed, ProductTrust};
use serde::{Deserialize, Serialize};

use super::AccessError;
use super::disk::{self, Readers};

const METADATA: &str = "metadata";
const MEMBERSHIP: &str = "membership.json";
const CONTACTS: &str = "contacts";
const SITE_REVOCATIONS: &str = "site-revocations";
const LOCK: &str = "lock";
/// Held from reading the metadata to handing over what was signed on top of it.
const TURN: &str = "turn";
/// The first word of a metadata file.
const ACCEPTED: &str = "accepted ";
/// Longer than any membership.
const MEMBERSHIP_BYTES_MAX: u64 = 256 << 10;

/// The right to sign for a product, or to change what the vendor knows of it, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Turn(#[expect(dead_code, reason = "held for its lock")] fs::File);

/// Where one product lies.
#[derive(Debug, Clone)]
pub struct ProductHome {
    dir: PathBuf,
}

/// What this machine is in a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The format: 0.
    pub schema: u32,
    /// What its owner calls the product.
    pub name: String,
    /// Which product it is.
    pub product: ProductId,
    /// The grant.
    pub grant: Envelope,
    /// The enrolments under it.
    pub enrolments: Vec<Envelope>,
}

impl Membership {
    /// What is shown to peers.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials {
            grant: self.grant.clone(),
            enrolments: self.enrolments.clone(),
        }
    }
}

impl ProductHome {
    /// The home of a product in the directory `products`; it need not be there yet.
    #[must_use]
    pub fn at(products: &Path, product: ProductId) -> Self {
        Self {
            dir: products.join(product.to_string()),
        }
    }

    /// Every product in the directory `products`.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn all(products: &Path) -> Result<Vec<Self>, AccessError> {
        let listing = match fs::read_dir(products) {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(AccessError::io(products)(error)),
        };
        let mut found = Vec::new();
        for entry in listing {
            let entry = entry.map_err(AccessError::io(products))?;
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<ProductId>().ok());
            found.extend(id.map(|id| Self::at(products, id)));
        }
        found.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(found)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The stored metadata, verified anew; nothing when there is none.
    ///
    /// # Errors
    /// When it cannot be read or does not verify, which means that somebody altered it.
    pub fn load(&self) -> Result<Option<ProductTrust>, AccessError> {
        let path = self.dir.join(METADATA);
        let Some(bytes) = disk::read(&path, METADATA_SET_BYTES_MAX + 64)? else {
            return Ok(None);
        };
        let damaged = |reason: String| {
            let way_out = "join again, or restore it from a backup";
            AccessError::damaged(&path, format!("{reason}; {way_out}"))
        };
        let (accepted, files) = parse(&bytes).map_err(damaged)?;
        let first = files.roots.get(&1).map(Vec::as_slice).unwrap_or_default();
        let mut trust = ProductTrust::new(first).map_err(|error| damaged(error.to_string()))?;
        trust
            .update(&files, accepted)
            .map_err(|error| damaged(error.to_string()))?;
        if self.dir.file_name().and_then(|name| name.to_str()) != Some(&trust.product().to_string()) {
            return Err(damaged("it is another product's metadata".to_owned()));
        }
        Ok(Some(trust))
    }

    /// Stores verified files, accepted at `wall`, unless what is stored is newer.
    ///
    /// # Errors
    /// When the system refuses, or what is stored and `files` contradict each other.
    pub fn save_metadata(&self, files: &MetadataFiles, wall: WallTime) -> Result<(), AccessError> {
        disk::make_dir(&self.dir)?;
        let _lock = disk::lock(&self.dir.join(LOCK))?;
        if let Some(stored) = self.load()? {
            let first = files.roots.get(&1).map(Vec::as_slice).unwrap_or_default();
            let refused = |source| self.refused(source);
            let mut offered = ProductTrust::new(first).map_err(refused)?;
            offered.update(files, wall).map_err(refused)?;
            if !offered.summary().is_ahead_of(&stored.summary()) {
                return Ok(());
            }
        }
        self.write_metadata(files, wall)
    }

    /// Waits until nobody else signs for the product from this home, and keeps others waiting until the turn is dropped: two who
    /// sign on top of the same metadata contradict each other.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn turn(&self) -> Result<Turn, AccessError> {
        disk::make_dir(&self.dir)?;
        disk::lock(&self.dir.join(TURN)).map(Turn)
    }

    /// Takes files from any carrier into what is stored: verifies, stores, and gives what is trusted now.
    ///
    /// # Errors
    /// When they are refused or cannot be stored. What is stored stays as it was.
    pub fn update(&self, offered: &MetadataFiles, wall: WallTime) -> Result<(ProductTrust, Changed), AccessError> {
        disk::make_dir(&self.dir)?;
        let _lock = disk::lock(&self.dir.join(LOCK))?;
        let refused = |source| self.refused(source);
        let mut trust = match self.load()? {
            Some(stored) => stored,
            None => {
                let first = offered.roots.get(&1).map(Vec::as_slice).unwrap_or_default();
                ProductTrust::new(first).map_err(refused)?
            }
        };
        let changed = trust.update(offered, wall).map_err(refused)?;
        if changed.any() || !self.dir.join(METADATA).exists() {
            self.write_metadata(trust.files(), wall)?;
        }
        Ok((trust, changed))
    }

    /// Takes one product of a join file that was verified: its metadata unless what is stored is newer, then what the
    /// key is in it.
    ///
    /// # Errors
    /// When the two histories contradict each other, or the system refuses.
    pub fn install(&self, joined: &Joined, contacts: &[Envelope], wall: WallTime) -> Result<(), AccessError> {
        let behind = match self.load()? {
            Some(stored) => !joined.trust.summary().is_ahead_of(&stored.summary()),
            None => false,
        };
        if !behind {
            self.update(joined.trust.files(), wall)?;
        }
        self.save_membership(&Membership {
            schema: 0,
            name: joined.name.clone(),
            product: joined.trust.product(),
            grant: joined.credentials.grant.clone(),
            enrolments: joined.credentials.enrolments.clone(),
        })?;
        self.save_contacts(contacts, &BTreeMap::new())
    }

    /// What this machine is in the product; nothing when it has not joined.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn membership(&self) -> Result<Option<Membership>, AccessError> {
        disk::read_json(&self.dir.join(MEMBERSHIP), MEMBERSHIP_BYTES_MAX)
    }

    /// Stores what this machine is in the product.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save_membership(&self, membership: &Membership) -> Result<(), AccessError> {
        disk::make_dir(&self.dir)?;
        let _lock = disk::lock(&self.dir.join(LOCK))?;
        disk::write_json(&self.dir.join(MEMBERSHIP), membership, Readers::Owner)
    }

    /// The contacts that are known, those that no longer open left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn contacts(&self) -> Result<Vec<Envelope>, AccessError> {
        let envelopes = self.lines(CONTACTS, CONTACTS_MAX * (CONTACT_BYTES_MAX + 1))?;
        Ok(envelopes
            .into_iter()
            .filter(|envelope| Contact::open(envelope).is_ok())
            .collect())
    }

    /// Stores contacts beside those that somebody else has stored: of one node the newest stays. What is in `forgotten`, with
    /// the sequence that it had, the caller knew and has no use for; it goes, unless somebody has stored a newer one.
    ///
    /// # Errors
    /// When the system refuses, or what is stored cannot be read.
    pub fn save_contacts<'a>(
        &self,
        contacts: impl IntoIterator<Item = &'a Envelope>,
        forgotten: &BTreeMap<NodeId, u64>,
    ) -> Result<(), AccessError> {
        disk::make_dir(&self.dir)?;
        let _lock = disk::lock(&self.dir.join(LOCK))?;
        let mut stored = self.contacts()?;
        stored.retain(|envelope| {
            let is_gone = |contact: Contact| {
                forgotten
                    .get(&contact.node)
                    .is_some_and(|known| contact.sequence <= *known)
            };
            Contact::open(envelope).is_ok_and(|contact| !is_gone(contact))
        });
        let offered: Vec<&Envelope> = contacts.into_iter().collect();
        let newest = newest(offered.into_iter().chain(&stored));
        self.save_lines(CONTACTS, newest.into_iter().take(CONTACTS_MAX))
    }

    /// The newest list of revoked nodes of each site that has one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn site_revocations(&self) -> Result<Vec<(SiteRevocations, Envelope)>, AccessError> {
        let envelopes = self.lines(SITE_REVOCATIONS, (SITES_REMEMBERED_MAX + 1) * (ENVELOPE_BYTES_MAX + 1))?;
        let opened = envelopes.into_iter().filter_map(|envelope| {
            let list = SiteRevocations::open(&envelope).ok()?;
            Some((list, envelope))
        });
        Ok(opened.collect())
    }

    /// Takes a site's list when it is newer than the stored one; says whether it was. Whether the site has a grant is
    /// for the caller to know: at most [`SITES_REMEMBERED_MAX`] sites are remembered. This machine's own site always is.
    ///
    /// # Errors
    /// When it is not signed by the key it names, or cannot be stored.
    pub fn learn_revocations(&self, envelope: &Envelope) -> Result<bool, AccessError> {
        let path = self.dir.join(SITE_REVOCATIONS);
        let list = SiteRevocations::open(envelope).map_err(|error| AccessError::damaged(&path, error))?;
        disk::make_dir(&self.dir)?;
        let _lock = disk::lock(&self.dir.join(LOCK))?;
        let mut stored = self.site_revocations()?;
        if stored
            .iter()
            .any(|(known, _)| known.site_key == list.site_key && known.sequence >= list.sequence)
        {
            return Ok(false);
        }
        let before = stored.len();
        stored.retain(|(known, _)| known.site_key != list.site_key);
        let is_full = stored.len() == before && before >= SITES_REMEMBERED_MAX;
        if is_full && !self.is_own_site(list.site_key)? {
            return Err(AccessError::damaged(
                &path,
                "it holds the lists of as many sites as it may",
            ));
        }
        stored.push((list, envelope.clone()));
        self.save_lines(SITE_REVOCATIONS, stored.iter().map(|(_, envelope)| envelope))?;
        Ok(true)
    }

    /// Whether a site is the one that this machine's grant is for.
    fn is_own_site(&self, site_key: PublicKey) -> Result<bool, AccessError> {
        let Some((membership, trust)) = self.membership()?.zip(self.load()?) else {
            return Ok(false);
        };
        let granted = trust
            .grant_authority()
            .and_then(|authority| authority.open(&membership.grant).ok());
        Ok(granted.is_some_and(|(grant, _)| grant.site_key == site_key))
    }

    fn write_metadata(&self, files: &MetadataFiles, wall: WallTime) -> Result<(), AccessError> {
        let mut bytes = format!("{ACCEPTED}{}\n", wall.to_rfc3339()).into_bytes();
        bytes.extend_from_slice(&files.encode());
        disk::write(&self.dir.join(METADATA), &bytes, Readers::Owner)
    }

    fn refused(&self, source: samara_protocol::trust::product::TrustError) -> AccessError {
        let name = self.membership().ok().flatten().map(|membership| membership.name);
        AccessError::Trust {
            name: name.unwrap_or_else(|| self.dir.display().to_string()),
            source,
        }
    }

    fn lines(&self, name: &str, max: usize) -> Result<Vec<Envelope>, AccessError> {
        let bytes = disk::read(&self.dir.join(name), max as u64)?.unwrap_or_default();
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.filter_map(|line| Envelope::from_bytes(line).ok()).collect())
    }

    fn save_lines<'a>(&self, name: &str, envelopes: impl Iterator<Item = &'a Envelope>) -> Result<(), AccessError> {
        disk::make_dir(&self.dir)?;
        let mut bytes = Vec::new();
        for envelope in envelopes {
            bytes.extend_from_slice(&envelope.to_bytes());
            bytes.push(b'\n');
        }
        disk::write(&self.dir.join(name), &bytes, Readers::Owner)
    }
}

/// Of each node the newest contact, in the place of its first one; what does not open is left out.
fn newest<'a>(contacts: impl IntoIterator<Item = &'a Envelope>) -> Vec<&'a Envelope> {
    let (mut places, mut newest): (BTreeMap<NodeId, usize>, Vec<(u64, &Envelope)>) = Default::default();
    for envelope in contacts {
        let Ok(contact) = Contact::open(envelope) else {
            continue;
        };
        let place = *places.entry(contact.node).or_insert(newest.len());
        match newest.get_mut(place) {
            Some(known) if known.0 < contact.sequence => *known = (contact.sequence, envelope),
            Some(_) => {}
            None => newest.push((contact.sequence, envelope)),
        }
    }
    newest.into_iter().map(|(_, envelope)| envelope).collect()
}

/// The time of acceptance and the files.
fn parse(bytes: &[u8]) -> Result<(WallTime, MetadataFiles), String> {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    let accepted = std::str::from_utf8(line)
        .ok()
        .and_then(|line| WallTime::from_rfc3339(line.strip_prefix(ACCEPTED)?))
        .ok_or("it does not begin with the time of acceptance")?;
    let files = MetadataFiles::decode(rest.get(1..).unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok((accepted, files))
}

#[cfg(test)]
mod tests;
