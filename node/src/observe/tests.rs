use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use samara_protocol::id::{LayoutId, ManifestId, NodeId, Part, ProductId, RequestId};
use samara_protocol::limits::EVENT_FEED_MAX;
use samara_protocol::swarm::event::{Event as SwarmEvent, Help, Sources};
use samara_protocol::swarm::io::{DisconnectReason, Distance};
use samara_protocol::tree::ranges::RangeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};

use super::lines::Lines;
use super::metrics::endpoint::{Endpoint, EndpointError};
use super::{Event, Observer, describe, span};
use crate::admin::{Reply, Response};
use crate::config::settings::LogFormat;

const PEER: NodeId = NodeId([7; 32]);
const LAYOUT: LayoutId = LayoutId {
    manifest: ManifestId([1; 32]),
    part: Part::Payload,
};

fn groups() -> RangeSet {
    let mut groups = RangeSet::new();
    groups.insert(2..5);
    groups
}

/// One of each.
#[expect(clippy::too_many_lines, reason = "a list")]
fn every_event() -> Vec<Event> {
    let (product, version, manifest) = (ProductId([2; 32]), semver::Version::new(1, 2, 3), LAYOUT.manifest);
    let (text, reason) = ("because".to_owned(), DisconnectReason::Stalled);
    let quarantine = Duration::from_secs(60);
    vec![
        Event::NodeStarted {
            peer: PEER,
            role: "site",
        },
        Event::NodeStopping,
        Event::Listening {
            address: "0.0.0.0:7170".to_owned(),
        },
        Event::MetricsServed {
            address: SocketAddr::from(([127, 0, 0, 1], 9170)),
        },
        Event::VerbCalled {
            uid: 0,
            request: "status",
        },
        Event::PeerUp {
            peer: PEER,
            address: "10.0.0.1:7170".to_owned(),
            distance: Distance::Tenant,
        },
        Event::PeerDown { peer: PEER },
        Event::PeerDropped {
            peer: PEER,
            reason,
            quarantine,
        },
        Event::DialFailed {
            peer: PEER,
            error: text.clone(),
        },
        Event::ProtocolBroken {
            peer: PEER,
            what: text.clone(),
        },
        Event::BytesReceived {
            distance: Distance::Origin,
            bytes: 100,
        },
        Event::BytesSent {
            distance: Distance::Other,
            bytes: 70,
        },
        Event::GroupRejected {
            peer: PEER,
            what: text.clone(),
        },
        Event::MetadataTaken { product },
        Event::RevocationsTaken {
            peer: PEER,
            product,
            revoked: 2,
        },
        Event::MetadataRefused {
            peer: Some(PEER),
            product,
            why: text.clone(),
        },
        Event::MetadataRefused {
            peer: None,
            product,
            why: text.clone(),
        },
        Event::ReleasePublished {
            product,
            version: version.clone(),
            manifest,
        },
        Event::ReleaseStaged {
            product,
            version: version.clone(),
            manifest,
        },
        Event::ReleaseBlocked {
            product,
            version,
            manifest,
            why: text.clone(),
        },
        Event::ReleasesLeftOut {
            product,
            served: 256,
            left_out: 3,
        },
        Event::FileLate {
            peer: PEER,
            file: "metadata".to_owned(),
            waited: Duration::from_secs(10),
        },
        Event::HeadRefused {
            peer: PEER,
            manifest,
            why: text.clone(),
        },
        Event::GroupsLost {
            layout: LAYOUT,
            groups: groups(),
        },
        Event::DiskFailed { what: text },
        Event::Checkpointed {
            elapsed: Duration::from_millis(20),
        },
        Event::StoreMeasured { used: 11, free: 22 },
        Event::StoreOpened {
            rebuilt: true,
            releases: 3,
        },
        Event::GarbageCollected {
            freed: 1 << 30,
            releases: 1,
        },
        Event::Swarm(SwarmEvent::PeerQuarantined {
            peer: PEER,
            reason,
            quarantine,
        }),
        Event::Swarm(SwarmEvent::PeerStalled {
            peer: PEER,
            silent: Duration::from_secs(3),
        }),
        Event::Swarm(SwarmEvent::GroupsRejected {
            peer: PEER,
            layout: LAYOUT,
            groups: groups(),
            blame: 1,
        }),
        Event::Swarm(SwarmEvent::HaveWasFalse {
            peer: PEER,
            layout: LAYOUT,
            groups: groups(),
        }),
        Event::Swarm(SwarmEvent::SpanStolen {
            layout: LAYOUT,
            from: PEER,
            to: NodeId([8; 32]),
            groups: groups(),
        }),
        Event::Swarm(SwarmEvent::TransferProgress {
            layout: LAYOUT,
            have: 1,
            wanted: 2,
            rate: 3,
        }),
        Event::Swarm(SwarmEvent::TransferComplete {
            layout: LAYOUT,
            sources: Sources::default(),
            elapsed: Duration::from_secs(2),
        }),
        Event::Swarm(SwarmEvent::TransferDurable { layout: LAYOUT }),
        Event::Swarm(SwarmEvent::BlockSentAgain {
            layout: LAYOUT,
            block: 4,
        }),
        Event::Swarm(SwarmEvent::HelpChanged {
            layout: LAYOUT,
            help: Help::Earns,
            alone: 3 << 20,
            sent: 6 << 20,
        }),
    ]
}

/// Every event in words.
pub(crate) fn every_fact() -> Vec<super::fact::Fact> {
    every_event().iter().filter_map(describe::describe).collect()
}

/// Every metric's name as Prometheus sees it.
pub(crate) fn every_metric() -> Vec<String> {
    let observer = Observer::new();
    every_event().into_iter().for_each(|event| observer.emit(event));
    let text = observer.metrics().text();
    let mut names: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(|name| {
            name.trim_end_matches("_bucket")
                .trim_end_matches("_sum")
                .trim_end_matches("_count")
                .to_owned()
        })
        .collect();
    names.dedup();
    names
}

#[test]
fn every_event_has_a_name_of_its_own_and_words_unless_it_is_only_counted() {
    let mut names = Vec::new();
    for event in every_event() {
        let only_counted = matches!(
            event,
            Event::BytesReceived { .. } | Event::BytesSent { .. } | Event::StoreMeasured { .. }
        );
        let fact = describe::describe(&event);
        assert_eq!(fact.is_none(), only_counted, "{event:?}");
        if let Some(fact) = fact {
            assert!(
                !fact.message.is_empty() && !fact.message.ends_with('.'),
                "{}",
                fact.message
            );
            names.push(fact.name);
        }
    }
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(
        names.len(),
        all - 1,
        "metadata_refused stands there twice, nothing else"
    );
}

#[test]
fn every_counter_has_its_unit_and_the_projects_prefix() {
    let observer = Observer::new();
    every_event().into_iter().for_each(|event| observer.emit(event));
    let text = observer.metrics().text();
    for line in [
        "samara_net_payload_received_bytes_total{distance=\"origin\"} 100",
        "samara_net_payload_sent_bytes_total{distance=\"other\"} 70",
        "samara_net_peers 0",
        "samara_net_peers_admitted_total 1",
        "samara_net_peers_dropped_total{reason=\"stalled\"} 1",
        "samara_swarm_peers_quarantined_total{reason=\"stalled\"} 1",
        "samara_swarm_transfer_seconds_sum 2.0",
        "samara_store_groups_lost_total 3",
        "samara_store_used_bytes 11",
        "samara_store_freed_bytes_total 1073741824",
        "samara_admin_requests_total{request=\"status\"} 1",
        "samara_release_staged_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    let named = text.lines().filter(|line| !line.starts_with('#'));
    assert!(
        named.clone().count() > 20 && named.clone().all(|line| line.starts_with("samara_")),
        "{text}"
    );
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged while `run` runs.
fn logged(format: LogFormat, run: impl FnOnce()) -> String {
    let shared = Shared::default();
    let writer = {
        let shared = shared.clone();
        move || shared.clone()
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(writer)
        .with_ansi(false);
    match format {
        LogFormat::Human => {
            let lines = builder
                .fmt_fields(DefaultFields::new())
                .event_format(Lines(format))
                .finish();
            tracing::subscriber::with_default(lines, run);
        }
        LogFormat::Json => {
            let lines = builder
                .fmt_fields(JsonFields::new())
                .event_format(Lines(format))
                .finish();
            tracing::subscriber::with_default(lines, run);
        }
    }
    let bytes = shared.0.lock().expect("no panic while held").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_json_line_is_an_object_with_the_events_fields_and_its_spans() {
    let text = logged(LogFormat::Json, || {
        let _node = span::node(PEER).entered();
        let _request = span::asking(&span::transfer(PEER, LAYOUT), RequestId(7)).entered();
        Observer::new().emit(Event::GroupsLost {
            layout: LAYOUT,
            groups: groups(),
        });
        tracing::info!(attempts = 3, text = ?"two\nlines", "a free line");
        tracing::debug!("not at this level");
    });
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["schema"], 1);
    assert_eq!(
        (&lines[0]["event"], &lines[0]["level"]),
        (&"groups_lost".into(), &"warn".into())
    );
    assert_eq!(lines[0]["fields"]["groups"], 3);
    assert_eq!(lines[0]["fields"]["manifest"], LAYOUT.manifest.to_string());
    let names: Vec<_> = (0..4).map(|at| lines[0]["spans"][at]["name"].clone()).collect();
    assert_eq!(names, ["node", "peer", "transfer", "request"]);
    assert_eq!(lines[0]["spans"][3]["request"], 7);
    assert_eq!(lines[0]["spans"][1]["peer"], PEER.to_string());
    assert!(lines[1]["event"].is_null());
    assert_eq!(
        (&lines[1]["message"], &lines[1]["fields"]["attempts"]),
        (&"a free line".into(), &3.into())
    );
}

#[test]
fn a_human_line_is_one_line_whatever_a_peer_says() {
    let text = logged(LogFormat::Human, || {
        let why = "bad\n2026 ERROR forged line \x1b[31m".to_owned();
        Observer::new().emit(Event::MetadataRefused {
            peer: Some(PEER),
            product: ProductId([2; 32]),
            why,
        });
        tracing::info!(detail = 1, "free");
    });
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains("WARN  metadata of 02020202 from peer") && !text.contains('\x1b'),
        "{text}"
    );
    assert!(
        text.lines()
            .nth(1)
            .is_some_and(|line| line.ends_with("INFO  free detail=1")),
        "{text}"
    );
}

#[tokio::test]
async fn a_watcher_gets_what_happens_from_now_on_and_is_told_what_it_missed() {
    let observer = Observer::new();
    observer.emit(Event::NodeStopping);
    let (reply, mut answers, _end) = Reply::pair();
    observer.subscribe(reply);
    observer.emit(Event::NodeStopping);
    observer.emit(Event::VerbCalled {
        uid: 0,
        request: "status",
    });
    let Some(Response::Event(record)) = answers.recv().await else {
        panic!("an event is due")
    };
    assert_eq!(record.event, "node_stopping");
    let Some(Response::Event(record)) = answers.recv().await else {
        panic!("an event is due")
    };
    assert_eq!(record.event, "verb_called");
    for _ in 0..=2 * EVENT_FEED_MAX {
        observer.emit(Event::NodeStopping);
    }
    let Some(Response::Event(record)) = answers.recv().await else {
        panic!("an event is due")
    };
    assert_eq!(record.event, "events_missed");
    assert!(record.fields["events"].as_u64() >= Some(EVENT_FEED_MAX as u64));
    drop(answers);
    // The task notices that nobody reads any more, and the feed has no reader left.
    while observer.feed.receiver_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn prometheus_is_answered_on_loopback_and_other_addresses_are_refused() {
    let wide = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Endpoint::bind(wide).await, Err(EndpointError::NotLoopback(_))));
    let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("bound");
    let (address, stop) = (endpoint.address(), CancellationToken::new());
    assert!(
        matches!(Endpoint::bind(address).await, Err(EndpointError::Bind { .. })),
        "taken"
    );
    let observer = Observer::new();
    observer.emit(Event::BytesSent {
        distance: Distance::Site,
        bytes: 5,
    });
    let serving = tokio::spawn(endpoint.serve(observer.metrics(), stop.clone()));
    let good = ask(address, "/metrics", "localhost").await;
    assert!(
        good.starts_with("HTTP/1.1 200") && good.contains("sent_bytes_total{distance=\"site\"} 5"),
        "{good}"
    );
    assert!(
        ask(address, "/metrics", "evil.example")
            .await
            .starts_with("HTTP/1.1 421")
    );
    assert!(
        ask(address, "/../etc/passwd", "localhost")
            .await
            .starts_with("HTTP/1.1 404")
    );
    stop.cancel();
    serving.await.expect("no panic");
}

async fn ask(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}
