//! What is counted, for Prometheus ([`endpoint`]): `samara_<subsystem>_<noun>_<unit>_total`. One match over all events.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};
use samara_protocol::swarm::event::Event as SwarmEvent;

use super::describe::reason_name;
use super::{Event, Observer};
use crate::admin::status::SourceClass;

pub mod endpoint;

pub use endpoint::serve;

/// Labels are words of ours, never names that a peer could invent: their number is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Distance {
    distance: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    request: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Every counter of a node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    net: Net,
    swarm: Swarm,
    metadata_taken: Counter,
    revocations_taken: Counter,
    metadata_refused: Counter,
    published: Counter,
    staged: Counter,
    blocked: Counter,
    store: Store,
    verbs: Family<Verb, Counter>,
}

#[derive(Debug)]
struct Net {
    received: Family<Distance, Counter>,
    sent: Family<Distance, Counter>,
    peers: Gauge,
    admitted: Counter,
    dials_failed: Counter,
    protocol_broken: Counter,
    files_late: Counter,
    dropped: Family<Reason, Counter>,
}

impl Net {
    fn new(net: &mut Group<'_>) -> Self {
        Self {
            received: net.bytes(
                "payload_received",
                "Payload received and verified, by distance of the sender",
            ),
            sent: net.bytes("payload_sent", "Payload handed to sockets, by distance of the receiver"),
            peers: net.add("peers", "Admitted peers that are connected"),
            admitted: net.add("peers_admitted", "Peers admitted"),
            dials_failed: net.add("dials_failed", "Dials that came to nothing"),
            protocol_broken: net.add("protocol_broken", "Connections whose peer broke the protocol"),
            files_late: net.add(
                "files_late",
                "Files that were asked of a peer and of which nothing came in time",
            ),
            dropped: net.add("peers_dropped", "Peers disconnected on purpose, by reason"),
        }
    }
}

#[derive(Debug)]
struct Swarm {
    quarantined: Family<Reason, Counter>,
    rejections: Counter,
    false_haves: Counter,
    spans_stolen: Counter,
    blocks_again: Counter,
    transfers: Counter,
    transfer_seconds: Histogram,
}

impl Swarm {
    fn new(swarm: &mut Group<'_>) -> Self {
        Self {
            quarantined: swarm.add("peers_quarantined", "Peers avoided for a while, by reason"),
            rejections: swarm.add("rejections", "Replies that did not verify"),
            false_haves: swarm.add("false_haves", "Requests for what a peer had announced and did not have"),
            spans_stolen: swarm.add("spans_stolen", "Rests of slow requests asked of somebody else"),
            blocks_again: swarm.add(
                "blocks_sent_again",
                "Blocks that an origin sent again, a holder being silent",
            ),
            transfers: swarm.add(
                "transfers_completed",
                "Layouts of which all that was wanted is verified",
            ),
            transfer_seconds: swarm.seconds(
                "transfer",
                "Time of transfers, from their start to the last verification",
            ),
        }
    }
}

#[derive(Debug)]
struct Store {
    lost: Counter,
    failures: Counter,
    checkpoint_seconds: Histogram,
    used: Gauge,
    free: Gauge,
    freed: Counter,
}

impl Store {
    fn new(store: &mut Group<'_>) -> Self {
        Self {
            lost: store.add("groups_lost", "Groups that were held and are not any more"),
            failures: store.add("failures", "Writes, reads and syncs that failed"),
            checkpoint_seconds: store.seconds("checkpoint", "Time of checkpoints"),
            used: store.gauge_bytes("used", "Bytes on disk"),
            free: store.gauge_bytes("free", "Bytes that could still be written"),
            freed: store.counter_bytes("freed", "Bytes given back by garbage collection"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut all = Registry::with_prefix("samara");
        let build = Family::<Build, Gauge>::default();
        one(build
            .get_or_create(&Build {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1));
        all.register("node_build", "1; its label is the program's version", build);
        let net = Net::new(&mut Group(&mut all, "net"));
        let swarm = Swarm::new(&mut Group(&mut all, "swarm"));
        let mut trust = Group(&mut all, "trust");
        let revocations_taken = trust.add(
            "revocations_taken",
            "Times that a site's newer list of revoked nodes came into force",
        );
        let metadata_taken = trust.add("metadata_taken", "Times that newer signed metadata came into force");
        let metadata_refused = trust.add("metadata_refused", "Signed metadata that was not what it must be");
        let mut release = Group(&mut all, "release");
        let published = release.add("published", "Releases published here");
        let staged = release.add("staged", "Releases verified, durable and staged");
        let blocked = release.add("blocked", "Times that a release could not go on");
        let store = Store::new(&mut Group(&mut all, "store"));
        let verbs = Group(&mut all, "admin").add("requests", "Requests of verbs, by kind");
        Self {
            registry: all,
            net,
            swarm,
            metadata_taken,
            revocations_taken,
            metadata_refused,
            published,
            staged,
            blocked,
            store,
            verbs,
        }
    }

    /// All of them in the OpenMetrics text format.
    ///
    /// # Panics
    /// Never: writing into a `String` cannot fail.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a String cannot fail");
        text
    }

    pub(super) fn count(&self, event: &Event) {
        match event {
            Event::NodeStarted { .. }
            | Event::NodeStopping
            | Event::Listening { .. }
            | Event::MetricsServed { .. }
            | Event::ReleasesLeftOut { .. }
            | Event::StoreOpened { .. } => {}
            Event::VerbCalled { request, .. } => one(self.verbs.get_or_create(&Verb { request }).inc()),
            Event::PeerUp { .. } => {
                one(self.net.peers.inc());
                one(self.net.admitted.inc());
            }
            Event::PeerDown { .. } => one(self.net.peers.dec()),
            Event::PeerDropped { reason, .. } => {
                one(self
                    .net
                    .dropped
                    .get_or_create(&Reason {
                        reason: reason_name(*reason),
                    })
                    .inc());
            }
            Event::DialFailed { .. } => one(self.net.dials_failed.inc()),
            Event::ProtocolBroken { .. } => one(self.net.protocol_broken.inc()),
            Event::FileLate { .. } => one(self.net.files_late.inc()),
            Event::BytesReceived { distance, bytes } => {
                one(self.net.received.get_or_create(&label(*distance)).inc_by(*bytes));
            }
            Event::BytesSent { distance, bytes } => one(self.net.sent.get_or_create(&label(*distance)).inc_by(*bytes)),
            Event::GroupRejected { .. } | Event::HeadRefused { .. } => one(self.swarm.rejections.inc()),
            Event::Swarm(event) => self.count_swarm(event),
            Event::RevocationsTaken { .. } => one(self.revocations_taken.inc()),
            Event::MetadataTaken { .. } => one(self.metadata_taken.inc()),
            Event::MetadataRefused { .. } => one(self.metadata_refused.inc()),
            Event::ReleasePublished { .. } => one(self.published.inc()),
            Event::ReleaseStaged { .. } => one(self.staged.inc()),
            Event::ReleaseBlocked { .. } => one(self.blocked.inc()),
            Event::GroupsLost { groups, .. } => one(self.store.lost.inc_by(groups.count())),
            Event::DiskFailed { .. } => one(self.store.failures.inc()),
            Event::Checkpointed { elapsed } => self.store.checkpoint_seconds.observe(elapsed.as_secs_f64()),
            Event::StoreMeasured { used, free } => {
                one(self.store.used.set(i64::try_from(*used).unwrap_or(i64::MAX)));
                one(self.store.free.set(i64::try_from(*free).unwrap_or(i64::MAX)));
            }
            Event::GarbageCollected { freed, .. } => one(self.store.freed.inc_by(*freed)),
        }
    }

    fn count_swarm(&self, event: &SwarmEvent) {
        match event {
            SwarmEvent::PeerQuarantined { reason, .. } => {
                one(self
                    .swarm
                    .quarantined
                    .get_or_create(&Reason {
                        reason: reason_name(*reason),
                    })
                    .inc());
            }
            // The reply was counted when its frame was refused.
            SwarmEvent::GroupsRejected { .. }
            | SwarmEvent::PeerStalled { .. }
            | SwarmEvent::TransferProgress { .. }
            | SwarmEvent::TransferDurable { .. }
            | SwarmEvent::HelpChanged { .. } => {}
            SwarmEvent::HaveWasFalse { .. } => one(self.swarm.false_haves.inc()),
            SwarmEvent::SpanStolen { .. } => one(self.swarm.spans_stolen.inc()),
            SwarmEvent::TransferComplete { elapsed, .. } => {
                self.swarm.transfer_seconds.observe(elapsed.as_secs_f64());
                one(self.swarm.transfers.inc());
            }
            SwarmEvent::BlockSentAgain { .. } => one(self.swarm.blocks_again.inc()),
        }
    }
}

/// Counters tell what they held before, which nobody asks.
fn one<T>(_before: T) {}

fn label(distance: samara_protocol::swarm::io::Distance) -> Distance {
    Distance {
        distance: SourceClass::from(distance).name(),
    }
}

/// Registers metrics of one subsystem.
struct Group<'a>(&'a mut Registry, &'static str);

impl Group<'_> {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(format!("{}_{name}", self.1), help, metric.clone());
        metric
    }

    fn with_unit<M: Metric + Clone>(&mut self, name: &str, help: &str, unit: Unit, metric: M) -> M {
        self.0
            .register_with_unit(format!("{}_{name}", self.1), help, unit, metric.clone());
        metric
    }

    fn bytes(&mut self, name: &str, help: &str) -> Family<Distance, Counter> {
        self.with_unit(name, help, Unit::Bytes, Family::default())
    }

    fn counter_bytes(&mut self, name: &str, help: &str) -> Counter {
        self.with_unit(name, help, Unit::Bytes, Counter::default())
    }

    fn gauge_bytes(&mut self, name: &str, help: &str) -> Gauge {
        self.with_unit(name, help, Unit::Bytes, Gauge::default())
    }

    fn seconds(&mut self, name: &str, help: &str) -> Histogram {
        let bounds = [
            0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0,
        ];
        self.with_unit(name, help, Unit::Seconds, Histogram::new(bounds))
    }
}
