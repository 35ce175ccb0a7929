//! What becomes of products and their releases.

use samara_protocol::limits::RELEASES_MAX;

use super::{Event, Fact};
use crate::config::settings::LogLevel::{Info, Warn};
use crate::observe::fact::shown;

pub(super) fn product(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::MetadataTaken { product } => {
            let message = format!("newer metadata of {} is in force", product.short());
            Fact::new(Info, "metadata_taken", message).show("product", product)
        }
        Event::RevocationsTaken { peer, product, revoked } => {
            let message = format!(
                "a site's newer list for {} is in force: {revoked} of its nodes and hosts are out",
                product.short()
            );
            Fact::new(Info, "revocations_taken", message)
                .by(*peer)
                .show("product", product)
                .with("revoked", *revoked)
        }
        Event::MetadataRefused { peer, product, why } => {
            let from = peer.map_or_else(|| "this machine".to_owned(), |peer| format!("peer {}", peer.short()));
            let message = format!("metadata of {} from {from} refused: {}", product.short(), shown(why));
            let fact = Fact::new(Warn, "metadata_refused", message)
                .show("product", product)
                .foreign("why", why);
            match peer {
                Some(peer) => fact.by(*peer),
                None => fact,
            }
        }
        _ => return None,
    })
}

pub(super) fn release(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::ReleasePublished {
            product,
            version,
            manifest,
        } => Fact::new(
            Info,
            "release_published",
            format!("{version} of {} is published", product.short()),
        )
        .show("product", product)
        .show("version", version)
        .show("manifest", manifest),
        Event::ReleaseStaged {
            product,
            version,
            manifest,
        } => Fact::new(
            Info,
            "release_staged",
            format!("{version} of {} is verified and staged", product.short()),
        )
        .show("product", product)
        .show("version", version)
        .show("manifest", manifest),
        Event::ReleaseBlocked {
            product,
            version,
            manifest,
            why,
        } => Fact::new(
            Warn,
            "release_blocked",
            format!("{version} of {} waits: {why}", product.short()),
        )
        .show("product", product)
        .show("version", version)
        .show("manifest", manifest)
        .with("why", why.as_str()),
        Event::ReleasesLeftOut {
            product,
            served,
            left_out,
        } => Fact::new(
            Warn,
            "releases_left_out",
            format!(
                "{left_out} old releases of {} are neither fetched nor served: a node takes part in {RELEASES_MAX} releases",
                product.short()
            ),
        )
        .show("product", product)
        .with("served", *served)
        .with("left_out", *left_out),
        _ => return None,
    })
}
