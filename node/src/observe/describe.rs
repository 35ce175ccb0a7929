//! Events in words: the match over all has no wildcard, so that a new event cannot be forgotten here.

use samara_protocol::limits::RELEASES_MAX;
use samara_protocol::swarm::event::{Event as SwarmEvent, Help, Sources};
use samara_protocol::swarm::io::{DisconnectReason, Distance};
use samara_protocol::units::show_bytes;
use serde_json::{Map, Value};

use super::Event;
use super::fact::Fact;
use crate::admin::status::SourceClass;
use crate::config::settings::LogLevel::{Debug, Error, Info, Warn};

/// The event in words; `None` for what is only counted.
pub(super) fn describe(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::BytesReceived { .. } | Event::BytesSent { .. } | Event::StoreMeasured { .. } => return None,
        Event::Swarm(event) => match event {
            SwarmEvent::PeerQuarantined { .. }
            | SwarmEvent::GroupsRejected { .. }
            | SwarmEvent::HaveWasFalse { .. }
            | SwarmEvent::PeerStalled { .. }
            | SwarmEvent::SpanStolen { .. } => swarm_peer(event)?,
            SwarmEvent::TransferProgress { .. }
            | SwarmEvent::TransferComplete { .. }
            | SwarmEvent::TransferDurable { .. }
            | SwarmEvent::BlockSentAgain { .. }
            | SwarmEvent::HelpChanged { .. } => swarm_transfer(event)?,
        },
        Event::NodeStarted { .. }
        | Event::NodeStopping
        | Event::Listening { .. }
        | Event::MetricsServed { .. }
        | Event::VerbCalled { .. } => node(event)?,
        Event::PeerUp { .. }
        | Event::PeerDown { .. }
        | Event::PeerDropped { .. }
        | Event::DialFailed { .. }
        | Event::ProtocolBroken { .. }
        | Event::GroupRejected { .. }
        | Event::FileLate { .. }
        | Event::HeadRefused { .. } => peer(event)?,
        Event::MetadataTaken { .. } | Event::MetadataRefused { .. } | Event::RevocationsTaken { .. } => product(event)?,
        Event::ReleasePublished { .. }
        | Event::ReleaseStaged { .. }
        | Event::ReleasesLeftOut { .. }
        | Event::ReleaseBlocked { .. } => release(event)?,
        Event::GroupsLost { .. }
        | Event::DiskFailed { .. }
        | Event::Checkpointed { .. }
        | Event::StoreOpened { .. }
        | Event::GarbageCollected { .. } => store(event)?,
    })
}

fn node(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::NodeStarted { peer, role } => Fact::new(Info, "node_started", format!("started as {role} {peer}"))
            .show("peer", peer)
            .with("role", *role),
        Event::NodeStopping => Fact::new(Info, "node_stopping", "stopping: what is written is made durable"),
        Event::Listening { address } => {
            Fact::new(Info, "listening", format!("listening on {address}")).with("address", address.as_str())
        }
        Event::MetricsServed { address } => {
            Fact::new(Info, "metrics_served", format!("metrics on http://{address}/metrics")).show("address", address)
        }
        Event::VerbCalled { uid, request } => {
            let message = format!("user {uid} asks for {request}");
            Fact::new(Debug, "verb_called", message)
                .with("uid", *uid)
                .with("request", *request)
        }
        _ => return None,
    })
}

fn peer(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::PeerUp {
            peer,
            address,
            distance,
        } => {
            let source = SourceClass::from(*distance).name();
            Fact::new(
                Info,
                "peer_up",
                format!("peer {} admitted from {address} ({source})", peer.short()),
            )
            .by(*peer)
            .with("address", address.as_str())
            .with("distance", source)
        }
        Event::PeerDown { peer } => Fact::new(Info, "peer_down", format!("peer {} is gone", peer.short())).by(*peer),
        Event::PeerDropped {
            peer,
            reason,
            quarantine,
        } => {
            let message = format!("peer {} disconnected: {}", peer.short(), reason_in_words(*reason));
            Fact::new(Info, "peer_dropped", message)
                .by(*peer)
                .with("reason", reason_name(*reason))
                .with("quarantine_seconds", quarantine.as_secs())
        }
        Event::DialFailed { peer, error } => {
            let message = format!("peer {} cannot be reached: {}", peer.short(), super::fact::shown(error));
            Fact::new(Debug, "dial_failed", message)
                .by(*peer)
                .foreign("error", error)
        }
        Event::ProtocolBroken { peer, what } => {
            let message = format!("peer {} broke the protocol: {}", peer.short(), super::fact::shown(what));
            Fact::new(Warn, "protocol_broken", message)
                .by(*peer)
                .foreign("what", what)
        }
        Event::GroupRejected { peer, what } => {
            let message = format!(
                "peer {} sent what does not verify: {}",
                peer.short(),
                super::fact::shown(what)
            );
            Fact::new(Warn, "group_rejected", message)
                .by(*peer)
                .foreign("what", what)
        }
        Event::FileLate { peer, file, waited } => {
            let seconds = waited.as_secs();
            let message = format!("peer {} sent nothing of {file} for {seconds} s", peer.short());
            Fact::new(Warn, "file_late", message)
                .by(*peer)
                .with("file", file.as_str())
                .with("waited_seconds", seconds)
        }
        Event::HeadRefused { peer, manifest, why } => {
            let why_shown = super::fact::shown(why);
            let message = format!(
                "peer {} gave a false head of {}: {why_shown}",
                peer.short(),
                manifest.short()
            );
            Fact::new(Warn, "head_refused", message)
                .by(*peer)
                .show("manifest", manifest)
                .foreign("why", why)
        }
        _ => return None,
    })
}

fn product(event: &Event) -> Option<Fact> {
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
            let message = format!(
                "metadata of {} from {from} refused: {}",
                product.short(),
                super::fact::shown(why)
            );
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

fn release(event: &Event) -> Option<Fact> {
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

fn store(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::GroupsLost { layout, groups } => {
            let message = format!(
                "{} groups of {} are lost and fetched again",
                groups.count(),
                layout.manifest.short()
            );
            Fact::new(Warn, "groups_lost", message)
                .layout(*layout)
                .with("groups", groups.count())
        }
        Event::DiskFailed { what } => {
            Fact::new(Error, "disk_failed", format!("the disk failed: {what}")).with("what", what.as_str())
        }
        Event::Checkpointed { elapsed } => {
            let message = format!("a checkpoint took {:.3} s", elapsed.as_secs_f64());
            Fact::new(Debug, "checkpointed", message).with("seconds", elapsed.as_secs_f64())
        }
        Event::StoreOpened { rebuilt, releases } => {
            let (level, how) = if *rebuilt {
                (Warn, ", its index is rebuilt from what lies there")
            } else {
                (Info, "")
            };
            Fact::new(level, "store_opened", format!("releases in the store: {releases}{how}"))
                .with("rebuilt", *rebuilt)
                .with("releases", *releases)
        }
        Event::GarbageCollected { freed, releases } => Fact::new(
            Info,
            "garbage_collected",
            format!(
                "{releases} release{} removed, {} freed",
                if *releases == 1 { "" } else { "s" },
                show_bytes(*freed)
            ),
        )
        .with("freed_bytes", *freed)
        .with("releases", *releases),
        _ => return None,
    })
}

fn swarm_peer(event: &SwarmEvent) -> Option<Fact> {
    Some(match event {
        SwarmEvent::PeerQuarantined {
            peer,
            reason,
            quarantine,
        } => {
            let (seconds, why) = (quarantine.as_secs(), reason_in_words(*reason));
            Fact::new(
                Warn,
                "peer_quarantined",
                format!("peer {} is avoided for {seconds} s: {why}", peer.short()),
            )
            .by(*peer)
            .with("reason", reason_name(*reason))
            .with("quarantine_seconds", seconds)
        }
        SwarmEvent::GroupsRejected {
            peer,
            layout,
            groups,
            blame,
        } => Fact::new(
            Warn,
            "groups_rejected",
            format!("what peer {} sent does not verify", peer.short()),
        )
        .by(*peer)
        .layout(*layout)
        .with("groups", groups.count())
        .with("blame", *blame),
        SwarmEvent::HaveWasFalse { peer, layout, groups } => Fact::new(
            Warn,
            "have_was_false",
            format!("peer {} does not have what it announced", peer.short()),
        )
        .by(*peer)
        .layout(*layout)
        .with("groups", groups.count()),
        SwarmEvent::PeerStalled { peer, silent } => {
            let message = format!(
                "peer {} has brought nothing for {} s: others are asked",
                peer.short(),
                silent.as_secs()
            );
            Fact::new(Info, "peer_stalled", message)
                .by(*peer)
                .with("silent_seconds", silent.as_secs_f64())
        }
        SwarmEvent::SpanStolen {
            layout,
            from,
            to,
            groups,
        } => {
            let message = format!("peer {} is slow: the rest is asked of {}", from.short(), to.short());
            Fact::new(Debug, "span_stolen", message)
                .by(*from)
                .layout(*layout)
                .show("to", to)
                .with("groups", groups.count())
        }
        _ => return None,
    })
}

fn swarm_transfer(event: &SwarmEvent) -> Option<Fact> {
    Some(match event {
        SwarmEvent::TransferProgress {
            layout,
            have,
            wanted,
            rate,
        } => {
            let message = format!(
                "{}: {} of {}",
                layout.manifest.short(),
                show_bytes(*have),
                show_bytes(*wanted)
            );
            Fact::new(Debug, "transfer_progressed", message)
                .layout(*layout)
                .with("have_bytes", *have)
                .with("wanted_bytes", *wanted)
                .with("bytes_per_second", *rate)
        }
        SwarmEvent::TransferComplete {
            layout,
            sources,
            elapsed,
        } => {
            let (total, seconds) = (show_bytes(sources.total()), elapsed.as_secs_f64());
            let message = format!(
                "{}: all verified, {total} fetched in {seconds:.1} s",
                layout.manifest.short()
            );
            Fact::new(Info, "transfer_completed", message)
                .layout(*layout)
                .with("seconds", seconds)
                .with("sources", by_class(sources))
        }
        SwarmEvent::TransferDurable { layout } => Fact::new(
            Debug,
            "transfer_durable",
            format!("{}: all durable", layout.manifest.short()),
        )
        .layout(*layout),
        SwarmEvent::BlockSentAgain { layout, block } => {
            let message = format!(
                "{}: block {block} is sent again, its only holder is silent",
                layout.manifest.short()
            );
            Fact::new(Info, "block_sent_again", message)
                .layout(*layout)
                .with("block", *block)
        }
        SwarmEvent::HelpChanged {
            layout,
            help,
            alone,
            sent,
        } => {
            let message = format!(
                "{}: {}; from each other sites got {} a second, from here {}",
                layout.manifest.short(),
                help_words(*help),
                show_bytes(*alone),
                show_bytes(*sent)
            );
            Fact::new(Info, "help_changed", message)
                .layout(*layout)
                .with("help", help_name(*help))
                .with("alone_bytes_per_second", *alone)
                .with("sent_bytes_per_second", *sent)
        }
        _ => return None,
    })
}

const fn help_words(help: Help) -> &'static str {
    match help {
        Help::Tried => {
            "sites have been sent all of it and are slow by themselves, more of it is sent to see whether that helps"
        }
        Help::Earns => "sites are faster for what they are sent again, which goes on",
        Help::EarnsNothing => "sites are no faster for what they are sent again, which rests",
    }
}

/// The word for it in logs.
const fn help_name(help: Help) -> &'static str {
    match help {
        Help::Tried => "tried",
        Help::Earns => "earns",
        Help::EarnsNothing => "earns_nothing",
    }
}

fn by_class(sources: &Sources) -> Map<String, Value> {
    let named =
        |(distance, bytes): (&Distance, &u64)| (SourceClass::from(*distance).name().to_owned(), (*bytes).into());
    sources.by_distance.iter().map(named).collect()
}

/// The word for it in logs and metrics.
pub(super) const fn reason_name(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::ServedGarbage => "served_garbage",
        DisconnectReason::LiedAboutHaves => "lied_about_haves",
        DisconnectReason::Misbehaved => "misbehaved",
        DisconnectReason::Stalled => "stalled",
    }
}

const fn reason_in_words(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::ServedGarbage => "it served what does not verify",
        DisconnectReason::LiedAboutHaves => "it does not have what it announced, again and again",
        DisconnectReason::Misbehaved => "it broke the protocol or flooded",
        DisconnectReason::Stalled => "it took nothing of what it asked for",
    }
}
