//! How transfers go, and what an origin does for them.

use samara_protocol::swarm::event::{Help, Sources};
use samara_protocol::swarm::io::Distance;
use samara_protocol::units::show_bytes;
use serde_json::{Map, Value};

use super::{Fact, SwarmEvent};
use crate::admin::status::SourceClass;
use crate::config::settings::LogLevel::{Debug, Info};

pub(super) fn transfer(event: &SwarmEvent) -> Option<Fact> {
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
