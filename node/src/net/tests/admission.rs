//! Who comes in, and what the others learn.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::SubstreamBox;
use samara_protocol::limits::{
    CREDENTIALS_BYTES_MAX, EARLY_STREAMS_MAX, EARLY_STREAMS_PER_CONNECTION_MAX, HELLO_BYTES_MAX, NODES_PER_SITE_MAX,
    SUBSTREAMS_MAX, UNADMITTED_PER_ADDRESS_MAX,
};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::frame;
use samara_protocol::wire::hello::{Hello, HelloReply};
use tokio::net::TcpStream;

use super::stranger::{Stranger, good_hello};
use super::*;

#[tokio::test]
async fn both_ends_of_an_admission_learn_who_the_other_is_and_what_it_showed() {
    let (mut dialler, mut listener) = (Node::open(1).await, Node::open(2).await);
    dialler.dial(&listener);
    let up = dialler.expect_up().await;
    assert_eq!((up.peer, up.product, up.dialled), (listener.id, PRODUCT, true));
    assert_eq!(
        (up.credentials.as_slice(), up.summary.as_slice()),
        (GOOD, &PRODUCT.0[..4])
    );
    assert_eq!(up.remote_address, listener.address());
    let up = listener.expect_up().await;
    assert_eq!((up.peer, up.product, up.dialled), (dialler.id, PRODUCT, false));
    assert_eq!(
        (up.credentials.as_slice(), up.summary.as_slice()),
        (GOOD, &PRODUCT.0[..4])
    );
    assert!(listener.net.was_dialled() && !dialler.net.was_dialled());
}

#[tokio::test]
async fn a_node_whose_credentials_open_nothing_is_turned_away_without_a_word() {
    let mut stranger = Node::start(1, TestGate::showing(b"bad"), |_| {}).await;
    let mut listener = Node::open(2).await;
    stranger.dial(&listener);
    let error = stranger.expect_dial_failed().await;
    assert!(error.contains("ended before an answer"), "{error}");
    assert!(
        listener
            .pending()
            .iter()
            .all(|event| matches!(event, NetEvent::Listening { .. }))
    );
}

#[tokio::test]
async fn a_listener_that_cannot_show_good_credentials_is_not_believed() {
    let mut dialler = Node::open(1).await;
    let mut impostor = Node::start(2, TestGate::showing(b"bad"), |_| {}).await;
    dialler.dial(&impostor);
    let error = dialler.expect_dial_failed().await;
    assert!(error.contains("do not open the product"), "{error}");
    assert!(
        impostor
            .pending()
            .iter()
            .all(|event| matches!(event, NetEvent::Listening { .. }))
    );
}

#[tokio::test]
async fn who_finds_no_place_is_told_that_it_is_busy_and_others_still_find_one() {
    let gate = TestGate {
        seat: Seat::Node([1; 16]),
        ..TestGate::new()
    };
    let mut node = Node::start(2, gate, |_| {}).await;
    let mut held = Vec::new();
    for seed in 0..u8::try_from(NODES_PER_SITE_MAX).expect("few") {
        let mut one = Node::open(100 + seed).await;
        one.dial(&node);
        one.expect_up().await;
        node.expect_up().await;
        held.push(one);
    }
    let mut late = Node::open(99).await;
    late.dial(&node);
    let failed = late.expect("failed dial", |event| match event {
        NetEvent::DialFailed { error, answered, .. } => Some((error, answered)),
        _ => None,
    });
    let (error, answered) = failed.await;
    assert!(error.contains("busy"), "{error}");
    assert!(!answered, "it was not turned away");
    // One that goes makes place; and whom the node dials itself has its own.
    node.dial(&late);
    assert_eq!(node.expect_up().await.peer, late.id);
    let gone = held.pop().expect("held");
    gone.net.shutdown().await;
    assert_eq!(node.expect_down().await, gone.id);
    let mut last = Node::open(98).await;
    last.dial(&node);
    last.expect_up().await;
}

#[tokio::test]
async fn a_stranger_is_offered_hello_and_nothing_else() {
    let node = Node::open(2).await;
    for protocol in [
        "/samara/control/0",
        "/samara/data/0",
        "/ipfs/ping/1.0.0",
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/samara/hello/1",
        "ls",
    ] {
        let stranger = Stranger::connect(9, &node).await;
        assert!(stranger.negotiate(protocol).await.is_none(), "{protocol} was offered");
        stranger.freeze();
    }
    let stranger = Stranger::connect(9, &node).await;
    let admitted = stranger.say(&frame::encode(&good_hello().encode())).await;
    let reply = HelloReply::decode(&admitted[frame::PREFIX_BYTES..]).expect("a reply");
    assert_eq!(reply.credentials, GOOD);
    assert!(
        stranger.negotiate("/samara/control/0").await.is_some(),
        "the same stranger, admitted"
    );
    assert!(stranger.negotiate("/ipfs/ping/1.0.0").await.is_none());
}

#[tokio::test]
async fn every_refusal_looks_the_same() {
    let mut node = Node::open(2).await;
    let hello = |edit: &dyn Fn(&mut Hello)| {
        let mut hello = good_hello();
        edit(&mut hello);
        frame::encode(&hello.encode())
    };
    let cases: [(&str, Vec<u8>); 7] = [
        ("wrong credentials", hello(&|hello| hello.credentials = b"bad".to_vec())),
        (
            "a product that is not held",
            hello(&|hello| hello.product = OTHER_PRODUCT),
        ),
        ("no version in common", hello(&|hello| hello.versions = vec![7])),
        ("bytes that are no hello", frame::encode(&[0xff; 40])),
        ("an empty hello", frame::encode(&[])),
        (
            "credentials over the bound",
            hello(&|hello| hello.credentials = vec![0; CREDENTIALS_BYTES_MAX + 1]),
        ),
        (
            "a length over the bound",
            u32::try_from(HELLO_BYTES_MAX).expect("small").to_le_bytes().to_vec(),
        ),
    ];
    for (case, bytes) in cases {
        let stranger = Stranger::connect(9, &node).await;
        assert_eq!(
            stranger.say(&bytes).await,
            Vec::<u8>::new(),
            "{case}: not one byte comes back"
        );
        stranger.closed().await;
    }
    assert!(
        node.pending()
            .iter()
            .all(|event| matches!(event, NetEvent::Listening { .. })),
        "the daemon heard nothing"
    );
}

#[tokio::test]
async fn a_second_hello_before_admission_closes_the_connection() {
    let node = Node::open(2).await;
    let stranger = Stranger::connect(9, &node).await;
    let _first = stranger.negotiate("/samara/hello/0").await.expect("hello is offered");
    let _second = stranger.negotiate("/samara/hello/0").await;
    stranger.closed().await;
}

#[tokio::test]
async fn a_flood_of_strangers_is_bounded_and_an_honest_peer_comes_in_after_it() {
    let mut node = Node::open(2).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(TcpStream::connect(node.address()).await.expect("the port is open"));
    }
    // A connection that is refused ends at once; one that is held stays silent, since the dialler speaks first.
    let (mut open, mut silent) = (Vec::new(), 0);
    for mut stream in held {
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
        match tokio::time::timeout(Duration::from_millis(500), read).await {
            Err(_) => {
                silent += 1;
                open.push(stream);
            }
            Ok(Ok(0) | Err(_)) => {}
            Ok(Ok(_)) => panic!("a node speaks to nobody first"),
        }
    }
    assert!(
        (1..=UNADMITTED_PER_ADDRESS_MAX).contains(&silent),
        "{silent} connections of strangers are held"
    );
    drop(open);
    let mut honest = Node::start(3, TestGate::new(), |config| config.listen.clear()).await;
    honest
        .net
        .want(node.id, &[node.address()], PRODUCT)
        .expect("an address");
    assert_eq!(honest.expect_up().await.peer, node.id);
    assert_eq!(node.expect_up().await.peer, honest.id);
}

#[tokio::test]
async fn a_further_product_opens_on_the_same_connection_or_is_refused_without_harm() {
    let both = || TestGate::opening(&[PRODUCT, OTHER_PRODUCT]);
    let mut dialler = Node::start(1, both(), |_| {}).await;
    let mut listener = Node::start(2, both(), |_| {}).await;
    dialler.dial(&listener);
    dialler.expect_up().await;
    listener.expect_up().await;
    // The listener may speak first about it.
    listener.net.hello(dialler.id, OTHER_PRODUCT);
    for node in [&mut dialler, &mut listener] {
        let product = node.expect("cover", |event| match event {
            NetEvent::Covers(up) => Some(up.product),
            _ => None,
        });
        assert_eq!(product.await, OTHER_PRODUCT);
    }
    let third = ProductId([9; 32]);
    dialler.net.hello(listener.id, third);
    let refused = dialler.expect("refusal", |event| match event {
        NetEvent::CoverRefused { product, .. } => Some(product),
        NetEvent::Down { .. } => panic!("the connection stays"),
        _ => None,
    });
    assert_eq!(refused.await, third);
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_at_once_keep_one_connection() {
    for round in 0..5_u8 {
        let (mut left, mut right) = (Node::open(10 + round).await, Node::open(20 + round).await);
        left.net
            .want(right.id, &[right.address()], PRODUCT)
            .expect("an address");
        right.net.want(left.id, &[left.address()], PRODUCT).expect("an address");
        left.expect_up().await;
        right.expect_up().await;
        // Whatever was replaced: messages arrive, each way.
        let senders = [(&left, &right), (&right, &left)].map(|(from, to)| {
            let (net, to) = (from.net.clone(), to.id);
            tokio::spawn(async move {
                loop {
                    net.send(
                        to,
                        ControlMessage::Metadata {
                            product: PRODUCT,
                            summary: vec![1],
                        },
                    );
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        });
        for node in [&mut left, &mut right] {
            node.expect("message", |event| {
                matches!(event, NetEvent::Control { .. }).then_some(())
            })
            .await;
        }
        senders.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_banned_peer_is_disconnected_and_not_let_in_until_the_ban_ends() {
    let (mut dialler, mut listener) = pair().await;
    listener.net.disconnect(dialler.id, Duration::from_secs(3600));
    assert_eq!(listener.expect_down().await, dialler.id);
    assert_eq!(dialler.expect_down().await, listener.id);
    dialler.dial(&listener);
    dialler.expect_dial_failed().await;
    assert!(listener.pending().is_empty());
}

#[tokio::test]
async fn a_peer_that_the_gate_bars_is_refused_before_it_can_say_hello() {
    let gate = TestGate::new();
    let barred = Node::open(9).await;
    gate.barred.lock().expect("not poisoned").insert(barred.id);
    let mut node = Node::start(2, gate, |_| {}).await;
    let mut barred = barred;
    barred.dial(&node);
    barred.expect_dial_failed().await;
    assert!(
        node.pending()
            .iter()
            .all(|event| matches!(event, NetEvent::Listening { .. }))
    );
}

#[tokio::test]
async fn another_nodes_key_at_an_address_is_named() {
    let (mut dialler, listener) = (Node::open(1).await, Node::open(2).await);
    let elsewhere = Node::open(3).await;
    dialler
        .net
        .dial(elsewhere.id, &[listener.address()], PRODUCT)
        .expect("an address");
    let error = dialler.expect_dial_failed().await;
    assert!(
        error.contains(&listener.address()) && error.contains(&listener.id.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn streams_that_overtake_the_control_stream_wait_for_it() {
    let mut node = Node::start(2, TestGate::opening(&[PRODUCT, OTHER_PRODUCT]), |_| {}).await;
    let stranger = Stranger::connect(9, &node).await;
    let answer = stranger.say(&frame::encode(&good_hello().encode())).await;
    assert!(!answer.is_empty());
    let mut data = stranger
        .negotiate("/samara/data/0")
        .await
        .expect("offered when answered");
    let mut hello = stranger
        .negotiate("/samara/hello/0")
        .await
        .expect("offered when answered");
    let mut further = good_hello();
    further.product = OTHER_PRODUCT;
    hello
        .write_all(&frame::encode(&further.encode()))
        .await
        .expect("a hello");
    hello.flush().await.expect("a hello");
    data.write_all(&20_u32.to_le_bytes()).await.expect("half of an ask");
    data.flush().await.expect("half of an ask");
    let is_quiet = |event: &NetEvent| matches!(event, NetEvent::Listening { .. });
    assert!(node.pending().iter().all(is_quiet), "nothing comes of them yet");

    let _control = stranger.negotiate("/samara/control/0").await.expect("control");
    assert_eq!(node.expect_up().await.peer, stranger.id);
    let covers = node.expect("cover", |event| match event {
        NetEvent::Covers(up) => Some(up.product),
        NetEvent::Down { .. } => panic!("the connection stays"),
        _ => None,
    });
    assert_eq!(covers.await, OTHER_PRODUCT);
    let mut prefix = [0; frame::PREFIX_BYTES];
    in_time("an answer", hello.read_exact(&mut prefix))
        .await
        .expect("the hello that waited is answered");
}

/// Says a good hello and opens data streams until `count` are open or the node closes.
async fn hold_streams(seed: u8, node: &Node, count: usize) -> (Stranger, Vec<SubstreamBox>) {
    let stranger = Stranger::connect(seed, node).await;
    let answer = stranger.say(&frame::encode(&good_hello().encode())).await;
    assert!(!answer.is_empty());
    let mut held = Vec::new();
    while held.len() < count {
        let Some(stream) = stranger.negotiate("/samara/data/0").await else {
            break;
        };
        held.push(stream);
    }
    (stranger, held)
}

#[tokio::test]
async fn streams_without_a_control_stream_are_bounded_and_nothing_comes_of_them() {
    let mut node = Node::open(2).await;
    let (stranger, held) = hold_streams(9, &node, SUBSTREAMS_MAX).await;
    stranger.closed().await;
    // The last one may have been agreed to before the connection was closed for it.
    let most = EARLY_STREAMS_PER_CONNECTION_MAX + 1;
    assert!(!held.is_empty() && held.len() <= most, "{} were taken", held.len());
    let is_quiet = |event: &NetEvent| matches!(event, NetEvent::Listening { .. });
    assert!(node.pending().iter().all(is_quiet), "it was never up");
}

#[tokio::test]
async fn streams_without_a_control_stream_are_bounded_over_all_connections() {
    let mut node = Node::open(2).await;
    let each = EARLY_STREAMS_PER_CONNECTION_MAX;
    let mut kept = Vec::new();
    for seed in (20..).take(EARLY_STREAMS_MAX / each) {
        kept.push(hold_streams(seed, &node, each).await);
    }
    let (last, _held) = hold_streams(40, &node, each).await;
    last.closed().await;
    for (stranger, _held) in &kept {
        let _control = stranger.negotiate("/samara/control/0").await.expect("control");
        assert_eq!(node.expect_up().await.peer, stranger.id);
    }
    // Their places are free again.
    let (next, held) = hold_streams(41, &node, each).await;
    assert_eq!(held.len(), each);
    let _control = next.negotiate("/samara/control/0").await.expect("control");
    let up = node.expect("the next", |event| match event {
        NetEvent::Up(up) if up.peer == next.id => Some(()),
        _ => None,
    });
    up.await;
}
