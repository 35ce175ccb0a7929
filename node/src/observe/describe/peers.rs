//! What peers do, and what is held against them.

use samara_protocol::swarm::io::DisconnectReason;

use super::{Event, Fact, SwarmEvent};
use crate::admin::status::SourceClass;
use crate::config::settings::LogLevel::{Debug, Info, Warn};
use crate::observe::fact::shown;

pub(super) fn peer(event: &Event) -> Option<Fact> {
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
            let message = format!("peer {} cannot be reached: {}", peer.short(), shown(error));
            Fact::new(Debug, "dial_failed", message)
                .by(*peer)
                .foreign("error", error)
        }
        Event::ProtocolBroken { peer, what } => {
            let message = format!("peer {} broke the protocol: {}", peer.short(), shown(what));
            Fact::new(Warn, "protocol_broken", message)
                .by(*peer)
                .foreign("what", what)
        }
        Event::GroupRejected { peer, what } => {
            let message = format!("peer {} sent what does not verify: {}", peer.short(), shown(what));
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
            let why_shown = shown(why);
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

pub(super) fn of_swarm(event: &SwarmEvent) -> Option<Fact> {
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

/// The word for it in logs and metrics.
pub(in crate::observe) const fn reason_name(reason: DisconnectReason) -> &'static str {
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
