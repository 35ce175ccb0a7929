use std::fs;
use std::io::{Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use samara_protocol::id::{ArtifactId, ManifestId};
use samara_protocol::limits::{ADMIN_ANSWERS_MAX, ADMIN_FILES_MAX, ADMIN_LINE_BYTES_MAX};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::{Artifact, Progress, Refusal, RefusalKind, Request, Response};
use super::{AdminError, Call, Client, Server, files};

const WAIT: Duration = Duration::from_secs(10);

struct Node {
    _dir: tempfile::TempDir,
    path: PathBuf,
    stop: CancellationToken,
    calls: mpsc::Receiver<Call>,
    served: JoinHandle<()>,
}

fn node() -> Node {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.sock");
    let stop = CancellationToken::new();
    let server = Server::bind(&path).expect("bound");
    let (calls, serving) = server.start(stop.clone()).expect("started");
    Node {
        _dir: dir,
        path,
        stop,
        calls,
        served: tokio::spawn(serving),
    }
}

/// Runs a verb, which blocks, beside the test's runtime.
fn verb<T: Send + 'static>(node: &Node, run: impl FnOnce(Client) -> T + Send + 'static) -> JoinHandle<T> {
    let path = node.path.clone();
    tokio::task::spawn_blocking(move || run(Client::connect(&path).expect("connected")))
}

fn progress(have_bytes: u64) -> Response {
    Response::Progress(Progress {
        phase: "fetching".to_owned(),
        have_bytes,
        wanted_bytes: 9,
        bytes_per_second: 0,
        sources: Vec::new(),
    })
}

#[tokio::test]
async fn a_request_reaches_the_daemon_with_its_caller_and_the_answer_comes_back() {
    let mut node = node();
    let asking = verb(&node, |mut client| {
        (
            client.ask(&Request::Reload, &[], WAIT),
            client.ask(&Request::Shutdown, &[], WAIT),
        )
    });
    let call = node.calls.recv().await.expect("a call");
    assert_eq!(call.request, Request::Reload);
    assert_eq!(call.caller.uid, rustix::process::geteuid().as_raw());
    assert_eq!(call.caller.pid, i32::try_from(std::process::id()).ok());
    let first = call.connection;
    call.reply.finish(Response::Done);
    let call = node.calls.recv().await.expect("a second call");
    assert_eq!((call.request, call.connection), (Request::Shutdown, first));
    let refusal = Refusal::new(RefusalKind::Denied, "shutdown", "not now").way_out("wait");
    call.reply.refuse(refusal.clone());
    let (reload, shutdown) = asking.await.expect("no panic");
    assert_eq!(reload.expect("done"), Response::Done);
    assert!(matches!(shutdown, Err(AdminError::Refused(given)) if given == refusal));
}

#[tokio::test]
async fn files_arrive_open_and_in_order() {
    let mut node = node();
    let asking = verb(&node, |mut client| {
        let mut passed: Vec<OwnedFd> = Vec::new();
        let artifacts = (0..ADMIN_FILES_MAX)
            .map(|n| {
                let text = format!("content {n}");
                passed.push(files::in_memory("content", text.as_bytes()).expect("a file"));
                Artifact {
                    root: ArtifactId([0; 32]),
                    size: text.len() as u64,
                }
            })
            .collect();
        let first = client.ask(&Request::PublishArtifacts { artifacts }, &passed, WAIT);
        let head = fs::File::from(files::in_memory("head", b"head").expect("a file"));
        let list = fs::File::from(files::in_memory("list", b"list").expect("a file"));
        let commit = Request::PublishCommit {
            manifest: ManifestId([1; 32]),
            signed: Vec::new(),
        };
        (first, client.ask(&commit, &[head.into(), list.into()], WAIT))
    });
    let call = node.calls.recv().await.expect("a call");
    assert_eq!(call.files.len(), ADMIN_FILES_MAX);
    for (n, file) in call.files.iter().enumerate() {
        assert_eq!(
            files::read(file, 100).expect("readable"),
            format!("content {n}").as_bytes()
        );
    }
    call.reply.finish(Response::Done);
    let call = node.calls.recv().await.expect("a call");
    let read: Vec<_> = call
        .files
        .iter()
        .map(|file| files::read(file, 4).expect("readable"))
        .collect();
    assert_eq!(read, [b"head", b"list"]);
    call.reply.finish(Response::Published {
        manifest: ManifestId([1; 32]),
        again: false,
    });
    let (first, second) = asking.await.expect("no panic");
    assert_eq!(first.expect("imported"), Response::Done);
    assert!(matches!(
        second.expect("published"),
        Response::Published { again: false, .. }
    ));
}

#[tokio::test]
async fn a_request_with_too_few_files_is_refused_by_name() {
    let mut node = node();
    let asking = verb(&node, |mut client| {
        let commit = Request::PublishCommit {
            manifest: ManifestId([1; 32]),
            signed: Vec::new(),
        };
        client.ask(&commit, &[], WAIT)
    });
    let error = asking
        .await
        .expect("no panic")
        .expect_err("two files are missing")
        .to_string();
    assert!(
        error.contains("2 files are named and 0 passed") || error.contains("2 files are named and 0 "),
        "{error}"
    );
    assert!(node.calls.try_recv().is_err());
}

#[tokio::test]
async fn progress_streams_before_the_last_answer_and_a_slow_verb_costs_bounded_memory() {
    let mut node = node();
    let asking = verb(&node, |mut client| {
        let mut seen = Vec::new();
        let last = client.follow(&Request::Events, &[], |answer| {
            seen.extend(answer);
            ControlFlow::Continue(())
        });
        (seen, last)
    });
    let call = node.calls.recv().await.expect("a call");
    // Without a turn of the runtime nobody takes these: what does not fit is dropped, the last answer never.
    for have in 0..2 * ADMIN_ANSWERS_MAX as u64 {
        assert!(call.reply.progress(progress(have)));
    }
    call.reply.finish(Response::Done);
    let (seen, last) = asking.await.expect("no panic");
    assert_eq!(last.expect("done"), Response::Done);
    assert_eq!(seen, (0..ADMIN_ANSWERS_MAX as u64).map(progress).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_daemon_learns_that_a_verb_is_gone() {
    let mut node = node();
    let asking = verb(&node, |mut client| {
        client.follow(&Request::Events, &[], |_| ControlFlow::Break(()))
    });
    let call = node.calls.recv().await.expect("a call");
    assert!(matches!(
        asking.await.expect("no panic"),
        Err(AdminError::Stopped { .. })
    ));
    tokio::time::timeout(WAIT, call.closed.cancelled())
        .await
        .expect("told in time");
    assert!(call.reply.is_closed());
    assert!(!call.reply.progress(progress(1)));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_given_up() {
    let mut node = node();
    let asking = verb(&node, |mut client| {
        client.ask(&Request::Status, &[], Duration::from_millis(300))
    });
    let call = node.calls.recv().await.expect("a call");
    assert!(matches!(
        asking.await.expect("no panic"),
        Err(AdminError::TimedOut { .. })
    ));
    drop(call);
}

#[tokio::test]
async fn a_dropped_reply_says_that_the_node_is_stopping() {
    let mut node = node();
    let asking = verb(&node, |mut client| client.ask(&Request::Status, &[], WAIT));
    drop(node.calls.recv().await.expect("a call"));
    let error = asking.await.expect("no panic").expect_err("refused");
    assert!(
        matches!(
            error,
            AdminError::Refused(Refusal {
                reason: RefusalKind::Interrupted,
                ..
            })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_goes_with_the_node() {
    let node = node();
    let mode = fs::metadata(&node.path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(Server::bind(&node.path), Err(AdminError::InUse { .. })));
    node.stop.cancel();
    node.served.await.expect("no panic");
    assert!(!node.path.exists());
    assert!(matches!(
        Client::connect(&node.path),
        Err(AdminError::NotRunning { .. })
    ));
}

#[test]
fn a_dead_nodes_socket_is_replaced_and_anything_else_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(matches!(Client::connect(&path), Err(AdminError::NotRunning { .. })));
    drop(Server::bind(&path).expect("replaced"));
    fs::write(&path, "precious").expect("written");
    assert!(matches!(Server::bind(&path), Err(AdminError::InTheWay { .. })));
    assert_eq!(fs::read(&path).expect("still there"), b"precious");
    let deep = dir.path().join("x".repeat(120));
    assert!(matches!(Server::bind(&deep), Err(AdminError::Io { .. })));
}

/// Sends raw bytes and returns all that comes back.
fn raw(node: &Node, bytes: Vec<u8>) -> JoinHandle<String> {
    let path = node.path.clone();
    tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).expect("connected");
        stream.set_read_timeout(Some(WAIT)).expect("set");
        // The node may close before all of it is taken.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    })
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_node_lives_on() {
    let mut node = node();
    for (bytes, says) in [
        (b"{}\n".to_vec(), "schema"),
        (b"\xff\xfe\n".to_vec(), "cannot be read"),
        (b"{\"schema\":2,\"body\":{}}\n".to_vec(), "version 2"),
        (b"{\"schema\":1,\"body\":{\"kind\":\"destroy\"}}\n".to_vec(), "destroy"),
        (
            b"{\"schema\":1,\"files\":9,\"body\":{\"kind\":\"status\"}}\n".to_vec(),
            "9 files",
        ),
        (b"{\"schema\":1".to_vec(), "middle of a message"),
        (vec![b'['; 2 * ADMIN_LINE_BYTES_MAX], "bytes"),
        ([vec![b'['; 100_000], b"\n".to_vec()].concat(), "cannot be read"),
    ] {
        let answer = raw(&node, bytes).await.expect("no panic");
        // A flood may be cut off by the closing itself.
        assert!(
            answer.contains(says) || (says == "bytes" && answer.is_empty()),
            "{says}: {answer}"
        );
    }
    assert!(node.calls.try_recv().is_err(), "nothing of it reached the daemon");
    let asking = verb(&node, |mut client| client.ask(&Request::Reload, &[], WAIT));
    node.calls.recv().await.expect("a call").reply.finish(Response::Done);
    assert_eq!(asking.await.expect("no panic").expect("done"), Response::Done);
}

#[test]
fn the_cursor_of_a_passed_file_stays_its_owners() {
    let mut file = fs::File::from(files::in_memory("content", b"0123456789").expect("a file"));
    file.seek(std::io::SeekFrom::Start(5)).expect("seeks");
    let passed: OwnedFd = file.try_clone().expect("cloned").into();
    assert_eq!(files::read(&passed, 10).expect("readable"), b"0123456789");
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("readable");
    assert_eq!(rest, "56789");
}
