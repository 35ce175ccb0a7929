//! Control messages: they arrive in order, and a peer that abuses or ignores them is cut.

use futures::{AsyncReadExt, AsyncWriteExt};
use samara_protocol::limits::{CONTROL_BYTES_MAX, CONTROL_QUEUE_BYTES_MAX, SUMMARY_BYTES_MAX};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::frame::{self, Decoder};

use super::stranger::Stranger;
use super::*;

fn numbered(number: u16) -> ControlMessage {
    ControlMessage::Metadata {
        product: PRODUCT,
        summary: number.to_le_bytes().to_vec(),
    }
}

async fn expect_control(node: &mut Node) -> ControlMessage {
    node.expect("control message", |event| match event {
        NetEvent::Control { message, .. } => Some(message),
        NetEvent::Down { .. } => panic!("the connection stays"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn control_messages_arrive_whole_and_in_order_each_way() {
    let (mut left, mut right) = pair().await;
    for number in 0..200 {
        left.net.send(right.id, numbered(number));
        right.net.send(left.id, numbered(1000 + number));
    }
    for number in 0..200 {
        assert_eq!(expect_control(&mut right).await, numbered(number));
        assert_eq!(expect_control(&mut left).await, numbered(1000 + number));
    }
    let full = ControlMessage::Contacts {
        product: PRODUCT,
        envelopes: vec![vec![7; 3 << 10]; 16],
    };
    left.net.send(right.id, full.clone());
    assert_eq!(expect_control(&mut right).await, full);
}

#[tokio::test]
async fn a_message_of_an_unknown_type_is_skipped_and_more_bytes_than_known_are_ignored() {
    let mut node = Node::open(2).await;
    let stranger = Stranger::connect(9, &node).await;
    let mut control = stranger.admitted().await;
    let later = [numbered(2).encode(), vec![0xee; 9]].concat();
    for payload in [vec![0xf7, 1, 2, 3], numbered(1).encode(), vec![0x3f; 30], later] {
        control.write_all(&frame::encode(&payload)).await.expect("takes it");
    }
    control.flush().await.expect("flushes");
    assert_eq!(expect_control(&mut node).await, numbered(1));
    assert_eq!(expect_control(&mut node).await, numbered(2));
}

#[tokio::test]
async fn a_frame_over_the_bound_or_that_is_no_message_ends_the_connection() {
    let over = u32::try_from(CONTROL_BYTES_MAX + 1)
        .expect("small")
        .to_le_bytes()
        .to_vec();
    let too_long = ControlMessage::Metadata {
        product: PRODUCT,
        summary: vec![0; SUMMARY_BYTES_MAX + 1],
    };
    for bytes in [
        over,
        frame::encode(&[]),
        frame::encode(&[1]),
        frame::encode(&too_long.encode()),
    ] {
        let mut node = Node::open(2).await;
        let stranger = Stranger::connect(9, &node).await;
        let mut control = stranger.admitted().await;
        control.write_all(&bytes).await.expect("takes it");
        control.flush().await.expect("flushes");
        assert_eq!(node.expect_down().await, stranger.id);
        stranger.closed().await;
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_is_cut_before_its_messages_fill_memory() {
    let mut node = Node::open(2).await;
    let stranger = Stranger::connect(9, &node).await;
    let _control = stranger.admitted().await;
    node.expect_up().await;
    stranger.freeze();
    let large = ControlMessage::Contacts {
        product: PRODUCT,
        envelopes: vec![vec![7; 3 << 10]; 16],
    };
    let len = large.encode().len();
    let mut sent = 0;
    let down = loop {
        if let Some(down) = node
            .pending()
            .into_iter()
            .find(|event| matches!(event, NetEvent::Down { .. }))
        {
            break down;
        }
        node.net.send(stranger.id, large.clone());
        sent += len;
        // What sockets and windows hold comes on top of the queue, and has bounds of its own.
        assert!(sent < CONTROL_QUEUE_BYTES_MAX + (64 << 20), "still not cut");
        tokio::task::yield_now().await;
    };
    assert!(matches!(down, NetEvent::Down { peer } if peer == stranger.id));
}

#[tokio::test]
async fn pings_are_answered_and_a_peer_that_falls_silent_is_cut() {
    let quick = |config: &mut NetConfig| config.silence_max = Duration::from_millis(900);
    let mut node = Node::start(2, TestGate::new(), quick).await;
    let stranger = Stranger::connect(9, &node).await;
    let mut control = stranger.admitted().await;
    node.expect_up().await;
    control
        .write_all(&frame::encode(&ControlMessage::Ping(77).encode()))
        .await
        .expect("takes it");
    control.flush().await.expect("flushes");
    let (mut decoder, mut bytes, mut pings) = (Decoder::new(CONTROL_BYTES_MAX), [0; 256], 0);
    // Its pings are answered for longer than it would bear silence.
    let mut answered = false;
    while pings < 6 || !answered {
        let count = in_time("a control frame", control.read(&mut bytes))
            .await
            .expect("reads");
        decoder.push(&bytes[..count]);
        while let Some(payload) = decoder.next_frame().expect("frames") {
            match ControlMessage::decode(&payload) {
                Ok(Some(ControlMessage::Ping(number))) => {
                    pings += 1;
                    let pong = frame::encode(&ControlMessage::Pong(number).encode());
                    control.write_all(&pong).await.expect("takes it");
                    control.flush().await.expect("flushes");
                }
                Ok(Some(ControlMessage::Pong(number))) => answered = number == 77,
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    assert!(node.pending().is_empty(), "alive so far");
    assert_eq!(node.expect_down().await, stranger.id, "and cut when it answers no more");
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_the_other_end_hears_it_at_once() {
    let (left, mut right) = pair().await;
    let began = std::time::Instant::now();
    in_time("shutdown", left.net.shutdown()).await;
    assert_eq!(right.expect_down().await, left.id);
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}
