//! A peer made of stock libp2p: its TLS, its yamux, and streams whose every byte the test writes. So every test with it
//! is an interoperability test too.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Transport, tcp, tls};
use samara_protocol::id::NodeId;
use samara_protocol::wire::frame;
use samara_protocol::wire::hello::{Hello, WIRE_VERSION};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{GOOD, Node, PRODUCT, in_time};
use crate::net::address;

/// See the module.
pub(super) struct Stranger {
    pub(super) id: NodeId,
    opens: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
    driver: JoinHandle<()>,
}

impl Stranger {
    /// Connects to `node` as a stock libp2p node would, up to the muxer.
    pub(super) async fn connect(seed: u8, node: &Node) -> Self {
        let identity = Keypair::ed25519_from_bytes([seed; 32]).expect("a seed");
        let id = NodeId::from_peer_id_bytes(&identity.public().to_peer_id().to_bytes()).expect("Ed25519");
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(tls::Config::new(&identity).expect("a certificate"))
            .multiplex(libp2p_yamux::Config::default())
            .boxed();
        let address = address::parse(&node.address()).expect("an address").tcp.expect("TCP");
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dial = transport.dial(address, options).expect("dials");
        let (peer, muxer) = in_time("stock handshake", dial).await.expect("connects");
        assert_eq!(NodeId::from_peer_id_bytes(&peer.to_bytes()), Some(node.id));
        let (opens, queue) = mpsc::channel(1);
        Self {
            id,
            opens,
            driver: tokio::spawn(drive(muxer, queue)),
        }
    }

    /// Stops reading and writing the connection, without closing it.
    pub(super) fn freeze(&self) {
        self.driver.abort();
    }

    /// A new stream; fails when the connection is closed.
    pub(super) async fn open(&self) -> Option<SubstreamBox> {
        let (opened, stream) = oneshot::channel();
        self.opens.send(opened).await.ok()?;
        stream.await.ok()
    }

    /// Proposes `protocol` on a new stream: the stream when the node agrees, `None` when it says no or closes.
    pub(super) async fn negotiate(&self, protocol: &str) -> Option<SubstreamBox> {
        let mut stream = self.open().await?;
        let propose = [line("/multistream/1.0.0"), line(protocol)].concat();
        stream.write_all(&propose).await.ok()?;
        stream.flush().await.ok()?;
        let mut header = vec![0; line("/multistream/1.0.0").len()];
        stream.read_exact(&mut header).await.ok()?;
        assert_eq!(header, line("/multistream/1.0.0"));
        let mut len = [0; 1];
        stream.read_exact(&mut len).await.ok()?;
        let mut answer = vec![0; usize::from(len[0])];
        stream.read_exact(&mut answer).await.ok()?;
        (answer == format!("{protocol}\n").as_bytes()).then_some(stream)
    }

    /// Says hello with these bytes and reads until the node answers or closes: all bytes that it sent back.
    pub(super) async fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.negotiate("/samara/hello/0").await.expect("hello is offered");
        stream.write_all(bytes).await.expect("takes a hello");
        stream.flush().await.expect("takes a hello");
        let mut answer = Vec::new();
        let mut piece = [0; 512];
        loop {
            match tokio::time::timeout(Duration::from_secs(15), stream.read(&mut piece)).await {
                Ok(Ok(0) | Err(_)) => return answer,
                Ok(Ok(count)) => answer.extend_from_slice(&piece[..count]),
                Err(_) => panic!("neither an answer nor an end"),
            }
            if answer.len() >= frame::PREFIX_BYTES {
                let len = u32::from_le_bytes([answer[0], answer[1], answer[2], answer[3]]) as usize;
                if answer.len() >= frame::PREFIX_BYTES + len {
                    return answer;
                }
            }
        }
    }

    /// Becomes a peer: says a good hello and opens the control stream.
    pub(super) async fn admitted(&self) -> SubstreamBox {
        let answer = self.say(&frame::encode(&good_hello().encode())).await;
        assert!(!answer.is_empty(), "the node answers a good hello");
        self.negotiate("/samara/control/0")
            .await
            .expect("control is offered after admission")
    }

    /// Resolves when the node has closed the connection.
    pub(super) async fn closed(self) {
        in_time("the node closes the connection", self.driver)
            .await
            .expect("ends by itself");
    }
}

pub(super) fn good_hello() -> Hello {
    Hello {
        versions: vec![WIRE_VERSION],
        product: PRODUCT,
        credentials: GOOD.to_vec(),
        summary: Vec::new(),
    }
}

fn line(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len() + 1).expect("short");
    assert!(len < 0x80, "one byte of length");
    [&[len], text.as_bytes(), b"\n"].concat()
}

/// Moves the connection until it is closed; streams live on in the test.
async fn drive(mut muxer: StreamMuxerBox, mut queue: mpsc::Receiver<oneshot::Sender<SubstreamBox>>) {
    let mut wanted: Option<oneshot::Sender<SubstreamBox>> = None;
    poll_fn(|cx| {
        loop {
            if muxer.poll_unpin(cx).is_ready() {
                return Poll::Ready(());
            }
            // Streams that the node opens are of no interest here.
            if let Poll::Ready(Err(_)) = muxer.poll_inbound_unpin(cx) {
                return Poll::Ready(());
            }
            if wanted.is_none() {
                match queue.poll_recv(cx) {
                    Poll::Ready(next) => wanted = next,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match (wanted.take(), muxer.poll_outbound_unpin(cx)) {
                (Some(opened), Poll::Ready(Ok(stream))) => {
                    let _ = opened.send(stream);
                }
                (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
                (held, _) => {
                    wanted = held;
                    return Poll::Pending;
                }
            }
        }
    })
    .await;
}
