//! Events in words: the match over all has no wildcard, so that a new event cannot be forgotten here.

use samara_protocol::swarm::event::Event as SwarmEvent;

use super::Event;
use super::fact::Fact;

mod machine;
mod peers;
mod releases;
mod transfers;

pub(super) use peers::reason_name;

/// The event in words; `None` for what is only counted.
pub(super) fn describe(event: &Event) -> Option<Fact> {
    Some(match event {
        Event::BytesReceived { .. } | Event::BytesSent { .. } | Event::StoreMeasured { .. } => return None,
        Event::Swarm(event) => match event {
            SwarmEvent::PeerQuarantined { .. }
            | SwarmEvent::GroupsRejected { .. }
            | SwarmEvent::HaveWasFalse { .. }
            | SwarmEvent::PeerStalled { .. }
            | SwarmEvent::SpanStolen { .. } => peers::of_swarm(event)?,
            SwarmEvent::TransferProgress { .. }
            | SwarmEvent::TransferComplete { .. }
            | SwarmEvent::TransferDurable { .. }
            | SwarmEvent::BlockSentAgain { .. }
            | SwarmEvent::HelpChanged { .. } => transfers::transfer(event)?,
        },
        Event::NodeStarted { .. }
        | Event::NodeStopping
        | Event::Listening { .. }
        | Event::MetricsServed { .. }
        | Event::VerbCalled { .. } => machine::node(event)?,
        Event::PeerUp { .. }
        | Event::PeerDown { .. }
        | Event::PeerDropped { .. }
        | Event::DialFailed { .. }
        | Event::ProtocolBroken { .. }
        | Event::GroupRejected { .. }
        | Event::FileLate { .. }
        | Event::HeadRefused { .. } => peers::peer(event)?,
        Event::MetadataTaken { .. } | Event::MetadataRefused { .. } | Event::RevocationsTaken { .. } => {
            releases::product(event)?
        }
        Event::ReleasePublished { .. }
        | Event::ReleaseStaged { .. }
        | Event::ReleasesLeftOut { .. }
        | Event::ReleaseBlocked { .. } => releases::release(event)?,
        Event::GroupsLost { .. }
        | Event::DiskFailed { .. }
        | Event::Checkpointed { .. }
        | Event::StoreOpened { .. }
        | Event::GarbageCollected { .. } => machine::store(event)?,
    })
}
