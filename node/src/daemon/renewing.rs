//! What changes beside the running node: files that verbs have written into its home, and metadata that runs out.

use std::time::Duration;

use samara_protocol::id::ProductId;
use samara_protocol::time::{Timestamp, WallTime};

use super::clock::wall_time;
use super::driver::Driver;
use super::products::Product;
use crate::access::vendor::SealingKeys;
use crate::access::{AccessError, ProductHome};
use crate::observe::Event;

/// How often what ends by the clock is looked at: credentials of peers, and the timestamps of the sealing origin.
const LOOK: Duration = Duration::from_secs(60);

impl Driver {
    /// Reads grants, enrolments, contacts, revocations and metadata of every product again.
    pub(super) fn reload(&mut self) -> Result<(), AccessError> {
        for id in self.products.ids() {
            if self.products.reload(id)? {
                self.meet_anew(id);
            }
            self.metadata_changed(id);
            self.tell_revocations(id, None);
            self.dial_contacts(id);
        }
        Ok(())
    }

    /// Lets go of peers whose credentials have ended. On the one origin that has the keys: signs a new timestamp before the
    /// old one runs out.
    pub(super) fn renew_timestamps(&mut self) {
        let now = self.clock.now();
        if now < self.renewal_due {
            return;
        }
        self.renewal_due = now.after(LOOK);
        for id in self.products.ids() {
            self.judge_again(id);
        }
        let wall = wall_time();
        let due = self
            .products
            .iter()
            .filter(|(_, product)| product.is_sealed_here() && SealingKeys::are_due(&product.trust, wall));
        for id in due.map(|(id, _)| id).collect::<Vec<_>>() {
            if let Err(why) = self.renew(id, wall) {
                self.observer.emit(Event::MetadataRefused {
                    peer: None,
                    product: id,
                    why,
                });
            }
        }
    }

    fn renew(&mut self, id: ProductId, wall: WallTime) -> Result<(), String> {
        let Some((product, keys)) = self
            .products
            .get(id)
            .and_then(|product| Some((product, product.signer.clone()?)))
        else {
            return Ok(());
        };
        let keys = SealingKeys::open(&keys).map_err(|error| error.to_string())?;
        let sealed = keys
            .seal(&product.trust, Vec::new(), wall)
            .map_err(|error| error.to_string())?;
        let files = sealed.files_newer_than(&product.trust.summary());
        self.products.install(id, &files).map_err(|error| error.to_string())?;
        self.metadata_changed(id);
        Ok(())
    }
}

/// The first look is at once: the origin may have been off for long.
pub(super) const FIRST_LOOK: Timestamp = Timestamp::ZERO;

impl Product {
    fn is_sealed_here(&self) -> bool {
        self.signer.is_some()
    }

    /// Takes what its home holds now.
    pub(super) fn read_again(&mut self, home: &ProductHome) -> Result<(), AccessError> {
        if let Some(membership) = home.membership()? {
            let mut credentials = membership.credentials();
            credentials.enrolments.extend(self.session.clone());
            // Too long credentials were refused when they were joined.
            self.credentials = credentials.encode().unwrap_or_default();
        }
        if let Some(stored) = home.load()?
            && stored.summary().is_ahead_of(&self.trust.summary())
        {
            self.trust = stored;
        }
        self.contacts.restore(home.contacts()?);
        self.revoked_by_sites = home.site_revocations()?;
        Ok(())
    }
}
