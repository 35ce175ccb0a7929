//! Against the stock muxer, dialling and listening, with more than any window through several streams.

use std::future::poll_fn;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::*;

const BYTES: usize = 2 << 20;

type Wire = Compat<tokio::io::DuplexStream>;

fn wires() -> (Wire, Wire) {
    let (left, right) = tokio::io::duplex(100_000);
    (left.compat(), right.compat())
}

/// Opens `streams` on `opener` and echoes them on `echoer`; checks every byte.
async fn exchange(opener: StreamMuxerBox, echoer: StreamMuxerBox, streams: u8) {
    let (mut opener, mut echoer) = (opener, echoer);
    let echoing = tokio::spawn(async move {
        poll_fn(|cx| -> Poll<()> {
            loop {
                if echoer.poll_unpin(cx).is_ready() {
                    return Poll::Ready(());
                }
                match echoer.poll_inbound_unpin(cx) {
                    Poll::Ready(Ok(stream)) => drop(tokio::spawn(echo(stream))),
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    });
    let (done, mut dones) = mpsc::channel(16);
    let (mut left, mut finished) = (streams, 0);
    poll_fn(|cx| -> Poll<()> {
        while left > 0 {
            let Poll::Ready(stream) = opener.poll_outbound_unpin(cx) else {
                break;
            };
            tokio::spawn(send_and_check(stream.expect("opens"), left, done.clone()));
            left -= 1;
        }
        assert!(opener.poll_unpin(cx).is_pending(), "the connection lives");
        // An inbound stream would be polled here; the other end opens none.
        assert!(opener.poll_inbound_unpin(cx).is_pending());
        while let Poll::Ready(Some(())) = dones.poll_recv(cx) {
            finished += 1;
        }
        if finished == streams {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    echoing.abort();
}

async fn echo(stream: SubstreamBox) {
    let (reader, mut writer) = stream.split();
    futures::io::copy_buf(futures::io::BufReader::with_capacity(70_000, reader), &mut writer)
        .await
        .expect("echoes");
    writer.close().await.expect("closes");
}

async fn send_and_check(stream: SubstreamBox, seed: u8, done: mpsc::Sender<()>) {
    let (mut reader, mut writer) = stream.split();
    let piece: Vec<u8> = (0..1021_u32).map(|i| i.to_le_bytes()[0] ^ seed).collect();
    let sent = piece.repeat(BYTES / piece.len());
    let expected = sent.clone();
    let writing = async move {
        writer.write_all(&sent).await.expect("writes");
        writer.close().await.expect("closes");
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(writing, reader.read_to_end(&mut received));
    read.expect("reads");
    assert!(received == expected, "stream {seed}");
    done.send(()).await.expect("the test waits");
}

fn ours() -> Yamux {
    Yamux::new(1 << 20)
}

fn stock() -> libp2p_yamux::Config {
    libp2p_yamux::Config::default()
}

const NAME: &str = "/yamux/1.0.0";

#[tokio::test]
async fn ours_dials_a_stock_listener() {
    let (left, right) = wires();
    let dialler = ours().upgrade_outbound(left, NAME).await.expect("upgrades");
    let listener = stock().upgrade_inbound(right, NAME).await.expect("upgrades");
    exchange(StreamMuxerBox::new(dialler), StreamMuxerBox::new(listener), 4).await;
}

#[tokio::test]
async fn a_stock_dialler_reaches_ours() {
    let (left, right) = wires();
    let dialler = stock().upgrade_outbound(left, NAME).await.expect("upgrades");
    let listener = ours().upgrade_inbound(right, NAME).await.expect("upgrades");
    exchange(StreamMuxerBox::new(dialler), StreamMuxerBox::new(listener), 4).await;
}

#[tokio::test]
async fn two_of_ours_use_all_the_streams_they_may() {
    let (left, right) = wires();
    let dialler = ours().upgrade_outbound(left, NAME).await.expect("upgrades");
    let listener = ours().upgrade_inbound(right, NAME).await.expect("upgrades");
    let streams = u8::try_from(SUBSTREAMS_MAX).expect("small");
    exchange(StreamMuxerBox::new(dialler), StreamMuxerBox::new(listener), streams).await;
}

#[tokio::test]
async fn a_close_that_the_other_end_does_not_read_ends_all_the_same() {
    let (left, _right) = wires();
    let mut muxer = StreamMuxerBox::new(ours().upgrade_outbound(left, NAME).await.expect("upgrades"));
    // More than the wire takes, so that the close cannot be written.
    let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.expect("opens");
    let filling = async {
        let _ = stream.write_all(&vec![1; 200_000]).await;
        let _ = stream.flush().await;
        std::future::pending::<()>().await;
    };
    let driving = poll_fn(|cx| muxer.poll_unpin(cx).map(drop));
    let _ = tokio::time::timeout(Duration::from_secs(1), async { tokio::join!(filling, driving) }).await;
    let closing = poll_fn(|cx| muxer.poll_close_unpin(cx));
    let closed = tokio::time::timeout(CLOSE_TIMEOUT * 2, closing).await;
    assert!(closed.is_ok(), "it waited for a peer that does not read");
}
