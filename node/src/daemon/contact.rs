//! This node's own contact: where it can be dialled, signed by itself.

use samara_protocol::id::ProductId;
use samara_protocol::swarm::io::UploadAudience;
use samara_protocol::time::WallTime;
use samara_protocol::trust::contact::{Audience, Contact};
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::Reseed;

use super::clock::wall_time;
use super::driver::Driver;
use crate::config::address::Address;

/// How long others may keep it: thirty days, renewed at every meeting.
const LIFETIME_SECONDS: i64 = 30 * 24 * 3600;

impl Driver {
    /// The contact for a product, encoded; nothing when this node cannot be dialled or serves nobody.
    pub(super) fn own_contact(&self, product: ProductId) -> Option<Vec<u8>> {
        let own = self.products.get(product)?.own.as_ref()?;
        let audience = match (self.config.limits.upload, own.rights.reseed) {
            (UploadAudience::Off, _) => return None,
            _ if own.kind == MemberKind::Origin => Audience::All,
            (UploadAudience::Site, _) | (_, Reseed::None) => Audience::Site,
            (UploadAudience::Tenant, _) | (_, Reseed::Own) => Audience::Tenant,
            (UploadAudience::All, Reseed::All) => Audience::All,
        };
        let addresses = self.addresses();
        if own.kind == MemberKind::Host || addresses.is_empty() {
            return None;
        }
        let now = wall_time();
        let contact = Contact {
            schema: 0,
            node: self.shell.net.local(),
            kind: own.kind,
            addresses,
            region: self.config.region.clone(),
            audience,
            sequence: u64::try_from(now.0).unwrap_or(0),
            not_after: WallTime(now.0.saturating_add(LIFETIME_SECONDS)),
        };
        Envelope::sign(&contact, &[&self.config.identity])
            .ok()
            .map(|envelope| envelope.to_bytes())
    }

    /// What is configured as external, else what is listened on.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = self.shell.net.external();
        if addresses.is_empty() {
            let listening = self.shell.net.listening();
            let parsed = listening
                .iter()
                .filter_map(|address| Address::parse_external(address).ok());
            addresses = parsed.flat_map(|address| address.multiaddrs()).collect();
        }
        addresses.truncate(samara_protocol::limits::CONTACT_ADDRESSES_MAX);
        addresses
    }
}
