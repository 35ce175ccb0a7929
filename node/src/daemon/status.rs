//! How the node is, in the words of the admin protocol.

use samara_protocol::id::{LayoutId, ManifestId, Part};
use samara_protocol::swarm::event::Sources;
use samara_protocol::swarm::stats::TransferStats;

use super::clock::wall_time;
use super::driver::Driver;
use super::freshness;
use super::own_credentials::credentials_check;
use super::releases::{Phase, Release};
use crate::admin::api::{Check, ReleaseState, Response, Stage, Verdict};
use crate::admin::server::Reply;
use crate::admin::status::{
    ChannelStatus, Dialable, LimitStatus, NodeStatus, PeerStatus, ProductStatus, SourceBytes, SourceClass, Status,
    StoreStatus, TransferStatus, audience,
};

impl Driver {
    /// How much the store takes is to be read from its disk: a worker does that.
    pub(super) fn answer_status(&self, reply: Reply) {
        let (mut status, store) = (self.status(), self.store.clone());
        tokio::task::spawn_blocking(move || {
            // Shown as zero where the disk cannot be asked.
            let usage = store.usage().unwrap_or_default();
            status.store = StoreStatus {
                used_bytes: usage.used,
                reserved_bytes: usage.reserved,
                free_bytes: usage.free,
                ..status.store
            };
            reply.finish(Response::Status(Box::new(status)));
        });
    }

    /// All but what the store takes.
    fn status(&self) -> Status {
        let stats = self.swarm.stats();
        Status {
            node: self.node_status(),
            limits: self.limit_status(),
            store: StoreStatus {
                used_bytes: 0,
                reserved_bytes: 0,
                free_bytes: 0,
                quota_bytes: self.config.quota,
            },
            products: self
                .products
                .iter()
                .map(|(_, product)| self.product_status(product))
                .collect(),
            transfers: stats
                .transfers
                .iter()
                .filter_map(|transfer| self.transfer_status(transfer))
                .collect(),
            peers: stats
                .peers
                .iter()
                .filter_map(|peer| {
                    let known = self.peers.get(peer.peer)?;
                    Some(PeerStatus {
                        peer: peer.peer,
                        address: known.address.clone(),
                        distance: peer.distance.into(),
                        dialled: known.dialled,
                        connected_seconds: self.clock.now().since(known.since).as_secs(),
                        received_bytes: peer.received,
                        sent_bytes: peer.sent,
                    })
                })
                .collect(),
        }
    }

    fn node_status(&self) -> NodeStatus {
        let listening = self.shell.net.listening();
        let external = self.shell.net.external_shown();
        let beyond = listening
            .iter()
            .chain(&external)
            .any(|address| !address.starts_with("127.") && !address.starts_with("[::1]"));
        NodeStatus {
            peer: self.shell.net.local(),
            role: self.config.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.clock.now().0.saturating_sub(1_000_000) / 1_000_000,
            external,
            dialable: match (self.shell.net.was_dialled(), beyond) {
                (true, _) => Dialable::Yes,
                (false, true) => Dialable::Unknown,
                (false, false) => Dialable::No,
            },
            listening,
        }
    }

    fn limit_status(&self) -> LimitStatus {
        let limits = &self.config.limits;
        LimitStatus {
            up_bytes_per_second: limits.up.map(|rate| rate.0),
            down_bytes_per_second: limits.down.map(|rate| rate.0),
            upload: audience(limits.upload),
            sending_bytes_per_second: self.sent.rate(self.clock.now()),
            receiving_bytes_per_second: self.received.rate(self.clock.now()),
            sent_bytes: self.sent.total(),
            received_bytes: self.received.total(),
        }
    }

    fn product_status(&self, product: &super::products::Product) -> ProductStatus {
        let trust = &product.trust;
        let standing = self.standing(product);
        let expires = freshness::good_until(trust);
        let documents = trust.documents();
        let channels = match &product.follow {
            super::products::Follow::Everything => documents.channels.keys().cloned().collect(),
            super::products::Follow::Channels(channels) => channels.clone(),
        };
        let channels = channels.iter().map(|name| {
            let latest = documents.latest(name);
            let stage = latest.map(|latest| {
                self.releases
                    .get(latest.manifest)
                    .map_or(Stage::Offered, Release::stage)
            });
            ChannelStatus {
                name: name.to_string(),
                version: latest.map(|latest| latest.version.clone()),
                stage,
            }
        });
        ProductStatus {
            name: product.name.clone(),
            id: trust.product(),
            metadata_at: trust.signed_at().map(samara_protocol::time::WallTime::to_rfc3339),
            metadata_expires: expires.map(samara_protocol::time::WallTime::to_rfc3339),
            credentials: standing.name().to_owned(),
            credentials_until: standing.until().map(samara_protocol::time::WallTime::to_rfc3339),
            stale: freshness::is_stale(trust, wall_time()),
            channels: channels.collect(),
        }
    }

    fn transfer_status(&self, transfer: &TransferStats) -> Option<TransferStatus> {
        let LayoutId { manifest, part } = transfer.layout;
        let release = self.releases.get(manifest)?;
        let waiting = transfer.have < transfer.wanted && transfer.rate == 0;
        let waiting_for = waiting.then(|| match transfer.source_peers {
            0 => "a neighbour that has what is missing".to_owned(),
            _ => "an answer from a neighbour".to_owned(),
        });
        Some(TransferStatus {
            product: self.name_of(release.product),
            version: release.version.clone(),
            manifest,
            part: part.into(),
            stage: if release.phase == Phase::Staged || part == Part::Entries && transfer.durable == transfer.wanted {
                Stage::Staged
            } else {
                release.stage()
            },
            have_bytes: transfer.have,
            durable_bytes: transfer.durable,
            wanted_bytes: transfer.wanted,
            bytes_per_second: transfer.rate,
            eta_seconds: transfer
                .eta
                .filter(|_| transfer.have < transfer.wanted)
                .map(|eta| eta.as_secs()),
            sources: self.all_sources(release, part, &transfer.sources),
            sent_bytes: transfer.sent,
            waiting_for,
        })
    }

    /// What a verb is told of a release.
    pub(super) fn release_state(&self, manifest: ManifestId, release: &Release) -> ReleaseState {
        let transfer = self.transfer(manifest);
        ReleaseState {
            product: self.name_of(release.product),
            product_id: release.product,
            version: release.version.clone(),
            manifest,
            stage: release.stage(),
            have_bytes: transfer.as_ref().map_or(0, |transfer| transfer.have),
            wanted_bytes: transfer.as_ref().map_or(0, |transfer| transfer.wanted),
            sources: transfer.map_or(Vec::new(), |transfer| {
                self.all_sources(release, Part::Payload, &transfer.sources)
            }),
        }
    }

    /// The payload's transfer.
    pub(super) fn transfer(&self, manifest: ManifestId) -> Option<TransferStats> {
        let layout = LayoutId {
            manifest,
            part: Part::Payload,
        };
        self.swarm
            .stats()
            .transfers
            .into_iter()
            .find(|transfer| transfer.layout == layout)
    }

    fn all_sources(&self, release: &Release, part: Part, moved: &Sources) -> Vec<SourceBytes> {
        let mut all = sources(moved);
        if let (Part::Payload, Some(found)) = (part, release.found) {
            let found = [
                (SourceClass::Resumed, found.resumed),
                (SourceClass::Reused, found.reused),
            ];
            all.extend(
                found
                    .into_iter()
                    .filter(|(_, bytes)| *bytes > 0)
                    .map(|(source, bytes)| SourceBytes { source, bytes }),
            );
        }
        all.sort_by_key(|source| source.source);
        all
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let check = |name: &str, verdict, what: String, way_out: Option<&str>| Check {
            name: name.to_owned(),
            verdict,
            what,
            way_out: way_out.map(str::to_owned),
        };
        let mut checks = Vec::new();
        let status = self.status();
        checks.push(match status.node.dialable {
            Dialable::Yes => check(
                "dialable",
                Verdict::Ok,
                "others have dialled this node".to_owned(),
                None,
            ),
            Dialable::Unknown => check(
                "dialable",
                Verdict::Skipped,
                "it listens, and nobody has dialled it yet".to_owned(),
                None,
            ),
            Dialable::No => check(
                "dialable",
                Verdict::Warning,
                "it does not listen beyond this machine".to_owned(),
                Some("set [node] listen, unless it shall only dial out"),
            ),
        });
        checks.push(peers_check(&status));
        for (_, product) in self.products.iter() {
            checks.push(credentials_check(&product.name, &self.standing(product)));
        }
        for product in &status.products {
            checks.push(if product.stale {
                check(
                    "metadata",
                    Verdict::Warning,
                    format!("the metadata of {} has expired", product.name),
                    Some("one connection to the vendor's origin renews it; check the clock"),
                )
            } else {
                check(
                    "metadata",
                    Verdict::Ok,
                    format!("the metadata of {} is current", product.name),
                    None,
                )
            });
        }
        for (_, release) in self.releases.iter() {
            if let Phase::Blocked(blockage) = &release.phase {
                checks.push(check(
                    "release",
                    Verdict::Failed,
                    format!(
                        "{} {} cannot go on: {}",
                        self.name_of(release.product),
                        release.version,
                        blockage.why
                    ),
                    Some("mend the cause; it is tried again by itself"),
                ));
            }
        }
        checks
    }
}

impl Release {
    /// In the words of the admin protocol.
    pub(super) const fn stage(&self) -> Stage {
        match self.phase {
            Phase::Looking | Phase::Head { .. } | Phase::Blocked(_) => Stage::Offered,
            Phase::Opening(_) | Phase::Room(_) | Phase::Moving(_) => Stage::Fetching,
            Phase::Staged => Stage::Staged,
        }
    }
}

fn peers_check(status: &Status) -> Check {
    let check = |verdict, what: String, way_out: Option<&str>| Check {
        name: "peers".to_owned(),
        verdict,
        what,
        way_out: way_out.map(str::to_owned),
    };
    let count = status.peers.len();
    let is_origin = |peer: &PeerStatus| peer.distance == SourceClass::Origin;
    if count == 0 {
        let way_out = "look at its log for why dialling fails; a firewall must let TCP out to the contacts";
        check(Verdict::Failed, "it is connected to nobody".to_owned(), Some(way_out))
    } else if status.node.role == "origin" || status.peers.iter().any(is_origin) {
        check(Verdict::Ok, format!("connected to {count}"), None)
    } else {
        // Who is revoked is let in nowhere from then on, and so is not told.
        let what = format!("connected to {count}, of which none is an origin");
        let way_out =
            "unless no way leads to one from here: if none lets it in, ask the vendor whether the grant is revoked";
        check(Verdict::Warning, what, Some(way_out))
    }
}

/// By class, cheapest first.
pub(super) fn sources(moved: &Sources) -> Vec<SourceBytes> {
    moved
        .by_distance
        .iter()
        .map(|(distance, bytes)| SourceBytes {
            source: (*distance).into(),
            bytes: *bytes,
        })
        .collect()
}
