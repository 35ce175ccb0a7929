//! Asks and replies.

use futures::{AsyncReadExt, AsyncWriteExt};
use samara_protocol::limits::{ASK_BYTES_MAX, DATA_STREAMS_MAX, GROUP_BYTES, REQUESTS_PER_PEER_MAX};
use samara_protocol::wire::data::{AskFrame, ENCODING_RAW, End, EndStatus, FileHeader, GroupHeader, ReplyHeader};
use samara_protocol::wire::frame;

use super::stranger::Stranger;
use super::*;
use crate::net::{ReplyBroken, ReplyFrame, ReplySink, ReplySource};

fn group_frame(reply: &ReplySink, group: u32, proof: &[u8], data: &[u8]) -> Vec<u8> {
    let header = GroupHeader {
        id: reply.wire_id(),
        group,
        encoding: ENCODING_RAW,
        proof_len: u16::try_from(proof.len()).expect("short"),
        data_len: u32::try_from(data.len()).expect("short"),
    };
    [&header.encode()[..], proof, data].concat()
}

async fn expect_ask(node: &mut Node) -> (Ask, ReplySink) {
    node.expect("ask", |event| match event {
        NetEvent::Asked { ask, reply, .. } => Some((ask, reply)),
        NetEvent::Down { .. } => panic!("the connection stays"),
        _ => None,
    })
    .await
}

async fn next(source: &mut ReplySource) -> ReplyFrame {
    in_time("a reply frame", source.next())
        .await
        .expect("the reply goes on")
}

async fn expect_end(source: &mut ReplySource) -> EndStatus {
    loop {
        if let ReplyFrame::End(status) = next(source).await {
            return status;
        }
    }
}

#[tokio::test]
async fn groups_asked_for_arrive_with_their_proofs_and_an_end() {
    let (asker, mut server) = pair().await;
    let mut source = asker.net.ask(server.id, ask(3..5));
    let (asked, reply) = expect_ask(&mut server).await;
    assert_eq!(asked, ask(3..5));
    let data = vec![5; usize::try_from(GROUP_BYTES).expect("small")];
    let frames = [
        group_frame(&reply, 3, &[1; 128], &data),
        group_frame(&reply, 4, &[], b"last"),
    ]
    .concat();
    let written = reply.send(frames.clone()).await.expect("takes it");
    assert_eq!(
        in_time("written", written).await.expect("written"),
        frames,
        "the buffer comes back"
    );
    reply.end(EndStatus::Done).await.expect("ends");
    let ReplyFrame::Group { header, body } = next(&mut source).await else {
        panic!("a group")
    };
    assert_eq!((header.group, header.proof_len, header.data_len), (3, 128, 65_536));
    assert!(body[..128].iter().all(|byte| *byte == 1) && body[128..] == data[..]);
    let ReplyFrame::Group { header, body } = next(&mut source).await else {
        panic!("a group")
    };
    assert_eq!((header.group, &body[..]), (4, &b"last"[..]));
    assert!(matches!(next(&mut source).await, ReplyFrame::End(EndStatus::Done)));
    assert_eq!(source.next().await.expect_err("ended"), ReplyBroken);
}

#[tokio::test]
async fn a_file_is_asked_for_by_name_from_an_offset() {
    let (asker, mut server) = pair().await;
    let wanted = Ask::File {
        product: PRODUCT,
        name: "releases/7.snapshot.json".to_owned(),
        offset: 3,
    };
    let mut source = asker.net.ask(server.id, wanted.clone());
    let (asked, reply) = expect_ask(&mut server).await;
    assert_eq!(asked, wanted);
    let header = FileHeader {
        id: reply.wire_id(),
        total: 8,
        chunk_len: 5,
    };
    reply
        .send([&header.encode()[..], b"world"].concat())
        .await
        .expect("takes it");
    reply.end(EndStatus::Done).await.expect("ends");
    let ReplyFrame::File { total, chunk } = next(&mut source).await else {
        panic!("a file")
    };
    assert_eq!((total, &chunk[..]), (8, &b"world"[..]));
    assert!(matches!(next(&mut source).await, ReplyFrame::End(EndStatus::Done)));
}

#[tokio::test]
async fn every_way_to_end_a_reply_is_told_apart() {
    let (asker, mut server) = pair().await;
    for status in [
        EndStatus::Busy { millis: 1500 },
        EndStatus::Absent,
        EndStatus::Failed,
        EndStatus::Done,
    ] {
        let mut source = asker.net.ask(server.id, ask(0..1));
        expect_ask(&mut server).await.1.end(status).await.expect("ends");
        assert_eq!(expect_end(&mut source).await, status);
    }
    let mut source = asker.net.ask(server.id, ask(0..1));
    drop(expect_ask(&mut server).await);
    assert_eq!(
        expect_end(&mut source).await,
        EndStatus::Failed,
        "a sink that is dropped"
    );
}

#[tokio::test]
async fn many_asks_run_at_once_and_each_gets_its_own_reply() {
    let (asker, mut server) = pair().await;
    let count = u32::try_from(REQUESTS_PER_PEER_MAX).expect("small");
    let mut sources: Vec<_> = (0..count).map(|n| asker.net.ask(server.id, ask(n..n + 1))).collect();
    let mut replies = Vec::new();
    for _ in 0..count {
        replies.push(expect_ask(&mut server).await);
    }
    // Answered in the opposite order, the frames of all interleaved.
    for part in 0..4_u8 {
        for (asked, reply) in replies.iter().rev() {
            let Ask::Groups { groups, .. } = asked else {
                panic!("groups")
            };
            let group = groups.iter().next().expect("one");
            reply
                .send(group_frame(reply, group, &[], &[part; 1000]))
                .await
                .expect("takes it");
        }
    }
    for (_, reply) in replies {
        reply.end(EndStatus::Done).await.expect("ends");
    }
    for (n, source) in (0..count).zip(&mut sources) {
        for part in 0..4_u8 {
            let ReplyFrame::Group { header, body } = next(source).await else {
                panic!("a group")
            };
            assert_eq!((header.group, &body[..]), (n, &[part; 1000][..]));
        }
        assert_eq!(expect_end(source).await, EndStatus::Done);
    }
}

#[tokio::test]
async fn a_reply_says_once_that_it_has_begun_before_its_first_group() {
    let (asker, mut server) = pair().await;
    let mut source = asker.net.ask(server.id, ask(0..2));
    let (_, reply) = expect_ask(&mut server).await;
    for group in 0..2 {
        let frame = group_frame(&reply, group, &[], &[5; 60_000]);
        reply.send(frame).await.expect("takes it");
    }
    reply.end(EndStatus::Done).await.expect("ends");
    let mut frames = Vec::new();
    while !matches!(frames.last(), Some(ReplyFrame::End(_))) {
        let more = in_time("a frame", source.next_many(&mut frames, 16)).await;
        more.expect("the reply goes on");
    }
    let begun = frames.iter().filter(|frame| matches!(frame, ReplyFrame::Begun)).count();
    assert_eq!((frames.len(), begun), (4, 1), "{frames:?}");
    assert!(matches!(frames[0], ReplyFrame::Begun), "{frames:?}");
}

#[tokio::test]
async fn dropping_the_source_stops_the_responder_and_the_stream_goes_on() {
    let (asker, mut server) = pair().await;
    let mut source = asker.net.ask(server.id, ask(0..100_000));
    let (_, reply) = expect_ask(&mut server).await;
    let serve = reply.serve();
    let data = vec![5; 60_000];
    reply
        .send(group_frame(&reply, 0, &[], &data))
        .await
        .expect("takes it")
        .await
        .expect("written");
    assert!(matches!(next(&mut source).await, ReplyFrame::Group { .. }));
    drop(source);
    let cancelled = server.expect("cancel", |event| match event {
        NetEvent::AskCancelled { serve, .. } => Some(serve),
        _ => None,
    });
    assert_eq!(cancelled.await, serve);
    in_time("the sink hears it", reply.cancelled()).await;
    assert!(reply.is_cancelled());
    assert_eq!(
        reply
            .send(group_frame(&reply, 1, &[], &data))
            .await
            .expect_err("cancelled"),
        ReplyBroken
    );
    drop(reply);
    let mut source = asker.net.ask(server.id, ask(7..8));
    expect_ask(&mut server)
        .await
        .1
        .end(EndStatus::Done)
        .await
        .expect("ends");
    assert_eq!(expect_end(&mut source).await, EndStatus::Done);
}

#[tokio::test]
async fn a_cancel_stops_between_two_groups_of_a_buffer_that_is_being_written() {
    let mut node = Node::open(2).await;
    let stranger = Stranger::connect(9, &node).await;
    let _control = stranger.admitted().await;
    let mut data = stranger.negotiate("/samara/data/0").await.expect("data is offered");
    let asking = AskFrame::Ask {
        id: 5,
        ask: ask(0..1000),
    };
    data.write_all(&frame::encode(&asking.encode())).await.expect("asks");
    data.flush().await.expect("asks");
    let (_, reply) = expect_ask(&mut node).await;
    // One buffer of 64 MiB is far more than windows and sockets hold, so it is being written while we cancel.
    let one = group_frame(&reply, 0, &[], &vec![5; 65_536]);
    let groups = 1000;
    let written = reply.send(one.repeat(groups)).await.expect("takes it");
    let mut frame_bytes = vec![0; one.len()];
    data.read_exact(&mut frame_bytes).await.expect("the first group");
    data.write_all(&frame::encode(&AskFrame::Cancel { id: 5 }.encode()))
        .await
        .expect("cancels");
    data.flush().await.expect("cancels");
    in_time("the sink hears it", reply.cancelled()).await;
    drop(reply);
    let mut came = 1;
    loop {
        let mut header = [0; ReplyHeader::BYTES];
        in_time("a frame", data.read_exact(&mut header))
            .await
            .expect("whole frames");
        match ReplyHeader::decode(&header).expect("a header") {
            ReplyHeader::End(end) => {
                assert_eq!(
                    end,
                    End {
                        id: 5,
                        status: EndStatus::Cancelled
                    }
                );
                break;
            }
            header => {
                data.read_exact(&mut frame_bytes[..header.body_len()])
                    .await
                    .expect("whole frames");
                came += 1;
            }
        }
    }
    assert!(came < groups / 2, "{came} of {groups} groups came after all");
    in_time("the buffer comes back", written).await.expect("it does");
}

#[tokio::test]
async fn what_breaks_the_protocol_on_a_data_stream_ends_the_connection() {
    let over = u32::try_from(ASK_BYTES_MAX + 1).expect("small").to_le_bytes().to_vec();
    let twice = frame::encode(&AskFrame::Ask { id: 1, ask: ask(0..1) }.encode()).repeat(2);
    let many: Vec<u8> = (0..=u32::try_from(REQUESTS_PER_PEER_MAX).expect("small"))
        .flat_map(|id| frame::encode(&AskFrame::Ask { id, ask: ask(0..1) }.encode()))
        .collect();
    let cases = [
        ("a length over the bound", over),
        ("an ask that is none", frame::encode(&[1, 2])),
        ("an id in use", twice),
        ("too many asks", many),
    ];
    for (case, bytes) in cases {
        let mut node = Node::open(2).await;
        let stranger = Stranger::connect(9, &node).await;
        let _control = stranger.admitted().await;
        let mut data = stranger.negotiate("/samara/data/0").await.expect("data is offered");
        data.write_all(&bytes).await.expect("takes it");
        data.flush().await.expect("takes it");
        let mut sinks = Vec::new();
        let down = node.expect(case, |event| match event {
            NetEvent::Down { peer } => Some(peer),
            // Held, so that no place becomes free.
            NetEvent::Asked { reply, .. } => {
                sinks.push(reply);
                None
            }
            _ => None,
        });
        assert_eq!(down.await, stranger.id);
        stranger.closed().await;
    }
}

#[tokio::test]
async fn more_data_streams_than_allowed_end_the_connection() {
    let mut node = Node::open(2).await;
    let stranger = Stranger::connect(9, &node).await;
    let _control = stranger.admitted().await;
    let mut held = Vec::new();
    for _ in 0..=DATA_STREAMS_MAX {
        held.push(stranger.negotiate("/samara/data/0").await);
    }
    assert_eq!(node.expect_down().await, stranger.id);
}

#[tokio::test]
async fn a_reader_that_stops_holds_the_writer_back() {
    let (asker, mut server) = pair().await;
    let _source = asker.net.ask(server.id, ask(0..100_000));
    let (_, reply) = expect_ask(&mut server).await;
    let one = group_frame(&reply, 0, &[], &vec![5; 65_536]);
    let mut written = 0;
    // Nobody reads the source: windows, queue and sockets fill, then nothing more is taken.
    while let Ok(sent) = tokio::time::timeout(Duration::from_millis(800), reply.send(one.clone())).await {
        sent.expect("the peer is there");
        written += one.len();
        assert!(
            written < 64 << 20,
            "{written} bytes were taken for a reader that does not read"
        );
    }
    assert!(
        asker.net.listening().len() == 1 && server.pending().is_empty(),
        "the connection stays"
    );
}

#[tokio::test]
async fn a_peer_that_answers_pings_and_reads_no_payload_loses_the_stream_and_not_the_connection() {
    let quick = |config: &mut NetConfig| config.silence_max = Duration::from_millis(300);
    let mut server = Node::start(2, TestGate::new(), quick).await;
    let mut asker = Node::open(1).await;
    asker.dial(&server);
    asker.expect_up().await;
    let source = asker.net.ask(server.id, ask(0..100_000));
    let (_, reply) = expect_ask(&mut server).await;
    let one = group_frame(&reply, 0, &[], &vec![5; 65_536]);
    let stalled = async { while reply.send(one.clone()).await.is_ok() {} };
    in_time("the responder gives the stream up", stalled).await;
    drop(source);
    let mut source = asker.net.ask(server.id, ask(7..8));
    expect_ask(&mut server)
        .await
        .1
        .end(EndStatus::Done)
        .await
        .expect("ends");
    assert_eq!(expect_end(&mut source).await, EndStatus::Done);
}

#[tokio::test]
async fn asking_a_peer_that_is_not_there_breaks_at_once_and_one_that_goes_breaks_the_reply() {
    let (asker, mut server) = pair().await;
    let mut source = asker.net.ask(NodeId([3; 32]), ask(0..1));
    assert_eq!(in_time("broken", source.next()).await.expect_err("nobody"), ReplyBroken);
    let mut source = asker.net.ask(server.id, ask(0..1));
    let (_, reply) = expect_ask(&mut server).await;
    server.net.disconnect(asker.id, Duration::ZERO);
    assert_eq!(in_time("broken", source.next()).await.expect_err("gone"), ReplyBroken);
    in_time("the sink hears it", reply.cancelled()).await;
}
