//! What happens on this machine: to the node itself and in its store.

use samara_protocol::units::show_bytes;

use super::{Event, Fact};
use crate::config::settings::LogLevel::{Debug, Error, Info, Warn};

pub(super) fn node(event: &Event) -> Option<Fact> {
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

pub(super) fn store(event: &Event) -> Option<Fact> {
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
