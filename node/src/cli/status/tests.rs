use samara_protocol::id::{ManifestId, NodeId, ProductId};
use tokio_util::sync::CancellationToken;

use super::show::Shown;
use super::*;
use crate::admin::Server;
use crate::admin::api::Stage;
use crate::admin::status::*;
use crate::cli::printer::Format;
use crate::cli::printer::memory::Memory;

fn status() -> Status {
    let version = semver::Version::new(1, 2, 3);
    Status {
        node: NodeStatus {
            peer: NodeId([7; 32]),
            role: "site".to_owned(),
            version: "0.1.0".to_owned(),
            uptime_seconds: 61,
            listening: vec!["0.0.0.0:7170".to_owned()],
            external: Vec::new(),
            dialable: Dialable::Unknown,
        },
        limits: LimitStatus {
            up_bytes_per_second: Some(6_250_000),
            down_bytes_per_second: None,
            upload: "all".to_owned(),
            sending_bytes_per_second: 125_000,
            receiving_bytes_per_second: 0,
            sent_bytes: 2048,
            received_bytes: 5 << 20,
        },
        store: StoreStatus {
            used_bytes: 1 << 30,
            reserved_bytes: 0,
            free_bytes: 2 << 30,
            quota_bytes: None,
        },
        products: vec![ProductStatus {
            name: "acme/app".to_owned(),
            id: ProductId([2; 32]),
            metadata_at: Some("2026-11-21T11:30:00Z".to_owned()),
            metadata_expires: None,
            credentials: "ends_soon".to_owned(),
            credentials_until: Some("2026-12-01T00:00:00Z".to_owned()),
            stale: true,
            channels: vec![ChannelStatus {
                name: "stable".to_owned(),
                version: Some(version.clone()),
                stage: Some(Stage::Fetching),
            }],
        }],
        transfers: vec![TransferStatus {
            product: "acme/app".to_owned(),
            version,
            manifest: ManifestId([1; 32]),
            part: PartName::Payload,
            stage: Stage::Fetching,
            have_bytes: 1 << 20,
            durable_bytes: 1 << 19,
            wanted_bytes: 4 << 20,
            bytes_per_second: 1 << 20,
            eta_seconds: Some(3),
            sources: vec![
                SourceBytes {
                    source: SourceClass::Origin,
                    bytes: 1 << 19,
                },
                SourceBytes {
                    source: SourceClass::Other,
                    bytes: 1 << 19,
                },
                SourceBytes {
                    source: SourceClass::Reused,
                    bytes: 0,
                },
            ],
            sent_bytes: 0,
            waiting_for: None,
        }],
        peers: Vec::new(),
    }
}

/// One with every field, as JSON.
pub(crate) fn sample() -> serde_json::Value {
    let mut full = status();
    full.peers.push(PeerStatus {
        peer: NodeId([8; 32]),
        address: "10.0.0.2:7170".to_owned(),
        distance: SourceClass::Tenant,
        dialled: true,
        connected_seconds: 5,
        received_bytes: 1,
        sent_bytes: 2,
    });
    serde_json::to_value(full).expect("serialises")
}

#[test]
fn people_see_limits_rates_sources_and_what_is_stale() {
    let text = Shown(status()).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "samara 0.1.0, running for 1 min 01 s");
    assert_eq!(lines[2], "listening on 0.0.0.0:7170; nobody has dialled it yet");
    assert_eq!(
        lines[3],
        "up 1.0 Mbit/s (limit 50.0 Mbit/s, upload to all), down 0.0 kbit/s (no limit); sent 2.0 KiB, received 5.0 MiB"
    );
    assert_eq!(lines[4], "store 1.00 GiB used, 2.00 GiB free, no quota");
    assert!(
        lines[7].starts_with("acme/app  stable   1.2.3    fetching  of 2026-11-21T11:30:00Z, STALE"),
        "{text}"
    );
    assert!(lines[10].ends_with("origin 512.0 KiB, other 512.0 KiB"), "{text}");
    assert_eq!(lines.last(), Some(&"no peers"));
}

#[tokio::test]
async fn status_prints_what_a_running_node_says_field_by_field() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = Context::at(dir.path().to_owned());
    let stop = CancellationToken::new();
    let (mut calls, serving) = Server::bind(context.socket())
        .expect("bound")
        .start(stop.clone())
        .expect("started");
    let served = tokio::spawn(serving);
    let asking = tokio::task::spawn_blocking(move || {
        let (mut printer, memory) = Memory::printer(Format::Json);
        (run(&Args {}, &context, &mut printer), memory.out())
    });
    let call = calls.recv().await.expect("a call");
    call.reply.finish(Response::Status(Box::new(status())));
    let (result, out) = asking.await.expect("no panic");
    assert_eq!(result, Ok(ExitStatus::Success));
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(out.starts_with("{\"schema\":1,\"node\":{\"peer\":\"12D3Koo"), "{out}");
    assert_eq!(
        json["transfers"][0]["sources"][0],
        serde_json::json!({"source": "origin", "bytes": 524_288})
    );
    assert_eq!(json["limits"]["down_bytes_per_second"], serde_json::Value::Null);
    stop.cancel();
    served.await.expect("no panic");
}

#[test]
fn without_a_node_status_says_so_and_how_to_start_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = Context::at(dir.path().to_owned());
    let (mut printer, memory) = Memory::printer(Format::Human);
    let error = run(&Args {}, &context, &mut printer).expect_err("no node");
    assert_eq!(error.status(), ExitStatus::Unreachable);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("samara node run")),
        "{error}"
    );
    assert_eq!(memory.out(), "");
}
