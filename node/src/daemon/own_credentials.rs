//! This node's own credentials: how they stand, and what whoever waits is told when they open nothing.

use samara_protocol::trust::credentials::Credentials;

use super::clock::wall_time;
use super::driver::Driver;
use super::products::Product;
use crate::access::Standing;
use crate::admin::api::{Check, Refusal, RefusalKind, Verdict};

/// What a fetch waits for when whoever it reaches closes without an answer.
pub const TURNED_AWAY: &str = "being let in: a node answered and closed the connection, as it does to whoever is not enrolled, is revoked or finds no place";

impl Driver {
    /// How this node's own credentials for a product stand.
    pub(super) fn standing(&self, product: &Product) -> Standing {
        let Ok(credentials) = Credentials::decode(&product.credentials) else {
            let why = "missing on this machine".to_owned();
            return Standing::Unusable { why };
        };
        let by_site = product.revoked_by_sites.iter().map(|(list, _)| list);
        let own = self.shell.net.local();
        let standing = Standing::of(&product.trust, &credentials, own, by_site, wall_time());
        if product.told_ended {
            return standing.doubted();
        }
        standing
    }

    /// Why nothing will come for a product on this machine that only fetches, when its own credentials are the cause.
    pub(super) fn shut_out(&self, name: &str) -> Option<Refusal> {
        let (_, product) = self.products.named(name).filter(|_| self.config.leaf)?;
        let standing = self.standing(product);
        let (Standing::Ended { .. } | Standing::Revoked { .. }) = standing else {
            return None;
        };
        let what = format!("this machine's credentials for it are {standing}");
        let refusal = Refusal::new(RefusalKind::Denied, name, what);
        Some(match standing.way_out() {
            Some(text) => refusal.way_out(text),
            None => refusal,
        })
    }
}

/// The finding about a machine's own credentials for a product.
#[must_use]
pub fn credentials_check(product: &str, standing: &Standing) -> Check {
    Check {
        name: "credentials".to_owned(),
        verdict: match standing {
            Standing::Good { .. } => Verdict::Ok,
            Standing::EndsSoon { .. } => Verdict::Warning,
            Standing::Ended { .. } | Standing::Revoked { .. } | Standing::Unusable { .. } => Verdict::Failed,
        },
        what: format!("those for {product} are {standing}"),
        way_out: standing.way_out().map(str::to_owned),
    }
}
