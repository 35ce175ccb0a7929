//! One connection, made of stock libp2p: its TLS, its yamux, and streams whose every byte is written here.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::{Multiaddr, Transport, tcp, tls};
use samara_protocol::limits::HELLO_BYTES_MAX;
use samara_protocol::wire::frame;
use samara_protocol::wire::hello::HelloReply;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Insider;

/// The stream of the one exchange that a stranger may have.
pub(super) const HELLO: &str = "/samara/hello/0";
/// The stream of an admitted peer's messages.
pub const CONTROL: &str = "/samara/control/0";
/// A stream of asks.
pub const DATA: &str = "/samara/data/0";
/// What every negotiation begins with.
const MULTISTREAM: &str = "/multistream/1.0.0";
/// How long the other end may take for anything that it is expected to do at once.
const ANSWER: Duration = Duration::from_secs(20);
/// Streams of the other end that may wait here.
const INBOUND_MAX: usize = 64;

/// A connection up to the muxer; closes on drop.
#[derive(Debug)]
pub struct Link {
    opens: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
    inbound: mpsc::Receiver<SubstreamBox>,
    driver: JoinHandle<()>,
}

impl Link {
    /// Connects to `address` (`ip:port`) as `who`.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn dial(who: &Insider, address: &str) -> Result<Self> {
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
            .upgrade(Version::V1)
            .authenticate(tls::Config::new(who.keypair())?)
            .multiplex(libp2p_yamux::Config::default())
            .boxed();
        let (ip, port) = address.rsplit_once(':').context("an address has a port")?;
        let address: Multiaddr = format!("/ip4/{ip}/tcp/{port}").parse()?;
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dialled = tokio::time::timeout(ANSWER, transport.dial(address, options)?).await;
        let (_, muxer) = dialled.context("the handshake takes too long")??;
        let (opens, wanted) = mpsc::channel(1);
        let (arrived, inbound) = mpsc::channel(INBOUND_MAX);
        Ok(Self {
            opens,
            inbound,
            driver: tokio::spawn(drive(muxer, wanted, arrived)),
        })
    }

    /// Opens a stream for `protocol`; nothing when the other end says no or hangs up.
    ///
    /// # Errors
    /// When it does neither in time.
    pub async fn open(&self, protocol: &str) -> Result<Option<SubstreamBox>> {
        let opened = tokio::time::timeout(ANSWER, self.propose(protocol)).await;
        opened.with_context(|| format!("no answer to {protocol}"))
    }

    async fn propose(&self, protocol: &str) -> Option<SubstreamBox> {
        let (opened, stream) = oneshot::channel();
        self.opens.send(opened).await.ok()?;
        let mut stream = stream.await.ok()?;
        stream
            .write_all(&[line(MULTISTREAM), line(protocol)].concat())
            .await
            .ok()?;
        stream.flush().await.ok()?;
        let first = read_line(&mut stream).await.ok()?;
        let second = read_line(&mut stream).await.ok()?;
        (first == MULTISTREAM && second == protocol).then_some(stream)
    }

    /// Says hello with the payload `hello`; nothing when the other end hangs up without a byte.
    ///
    /// # Errors
    /// When it does neither in time, or sends bytes that are no answer.
    pub async fn hello(&self, hello: &[u8]) -> Result<Option<HelloReply>> {
        match self.raw_hello(&frame::encode(hello)).await?.as_slice() {
            [] => Ok(None),
            heard => {
                let reply = heard.get(frame::PREFIX_BYTES..).context("a whole frame")?;
                Ok(Some(HelloReply::decode(reply)?))
            }
        }
    }

    /// Sends these very bytes as a hello, and gives all that is heard up to the end of one frame or of the stream.
    ///
    /// # Errors
    /// When neither comes in time.
    pub async fn raw_hello(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let Some(mut stream) = self.open(HELLO).await? else {
            return Ok(Vec::new());
        };
        // Who hangs up before all is read has said as much as who reads it and hangs up.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let mut heard = Vec::new();
        let answer = async {
            let mut piece = [0; 1 << 10];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                heard.extend_from_slice(&piece[..count]);
                let claimed = heard.first_chunk().map(|prefix| u32::from_le_bytes(*prefix) as usize);
                if claimed.is_some_and(|len| heard.len() >= frame::PREFIX_BYTES + len) {
                    break;
                }
                ensure!(heard.len() <= HELLO_BYTES_MAX, "an answer without an end");
            }
            Ok(())
        };
        tokio::time::timeout(ANSWER, answer)
            .await
            .context("neither an answer to the hello nor an end")??;
        Ok(heard)
    }

    /// The next stream that the other end opens, and what for; nothing once the connection is closed.
    pub async fn accept(&mut self) -> Option<(String, SubstreamBox)> {
        loop {
            let mut stream = self.inbound.recv().await?;
            let agreed = async {
                let first = read_line(&mut stream).await?;
                let protocol = read_line(&mut stream).await?;
                ensure!(first == MULTISTREAM, "{first} is not multistream");
                stream.write_all(&[line(MULTISTREAM), line(&protocol)].concat()).await?;
                stream.flush().await?;
                Ok(protocol)
            };
            // One that breaks is the other end's affair.
            if let Ok(protocol) = agreed.await {
                return Some((protocol, stream));
            }
        }
    }

    /// Waits until the other end closes the connection.
    pub async fn closed(&mut self) {
        if !self.driver.is_finished() {
            // It neither panics nor is it aborted before this is dropped.
            let _ = (&mut self.driver).await;
        }
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn line(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len() + 1).expect("the names of protocols are short");
    [&[len], text.as_bytes(), b"\n"].concat()
}

async fn read_line(stream: &mut SubstreamBox) -> Result<String> {
    let mut len = [0; 1];
    stream.read_exact(&mut len).await?;
    if len[0] >= 0x80 {
        bail!("a line of more than 127 bytes");
    }
    let mut text = vec![0; usize::from(len[0])];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8(text)?.trim_end().to_owned())
}

/// Moves the connection until it is closed.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut queue: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    arrived: mpsc::Sender<SubstreamBox>,
) {
    let mut wanted: Option<oneshot::Sender<SubstreamBox>> = None;
    poll_fn(|cx| {
        loop {
            if muxer.poll_unpin(cx).is_ready() {
                return Poll::Ready(());
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    // More than anyone opens, or nobody waits any more: it is dropped.
                    let _ = arrived.try_send(stream);
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if wanted.is_none() {
                match queue.poll_recv(cx) {
                    Poll::Ready(Some(next)) => wanted = Some(next),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
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
