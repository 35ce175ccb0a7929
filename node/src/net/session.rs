//! One admitted peer: its control stream, its data streams, its further hellos, from up to down.
//!
//! A session is a task that owns the tasks of its streams. It ends when the connection, the control stream or the daemon
//! ends it; then all of them are gone before the daemon hears `Down`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::swarm::Stream;
use samara_protocol::id::NodeId;
use samara_protocol::limits::{CONTROL_QUEUE_MAX, DATA_STREAMS_MAX, REQUESTS_PER_PEER_MAX, SUBSTREAMS_MAX};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::event::{NetEvent, PeerUp};
use super::hello::{self, Admission, HelloError};
use super::places::Place;
use super::protocol::Protocol;
use super::shared::{Link, Shared};

mod asking;
mod control;
mod live;
mod serving;

use live::Liveness;

/// Products asked for and not yet answered.
const HELLO_QUEUE_MAX: usize = 16;

/// The connection's end of a session.
pub(super) struct Port {
    /// Streams that the peer opened.
    pub(super) inbound: mpsc::Sender<(Protocol, Stream)>,
    /// Streams to be opened.
    pub(super) opens: mpsc::Receiver<(Protocol, oneshot::Sender<Stream>)>,
    /// Resolves when the connection is to be closed.
    pub(super) closed: BoxFuture<'static, ()>,
}

/// What the tasks of a session share.
struct Session {
    shared: Arc<Shared>,
    peer: NodeId,
    remote: String,
    opens: mpsc::Sender<(Protocol, oneshot::Sender<Stream>)>,
    link: Link,
    live: Liveness,
    /// One permit for each ask of the peer's that may be open.
    serves: Arc<Semaphore>,
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("stream: {0}")]
    Stream(#[from] std::io::Error),
    #[error("frame: {0}")]
    Frame(#[from] samara_protocol::wire::frame::FrameError),
    #[error("message: {0}")]
    Decode(#[from] samara_protocol::wire::codec::DecodeError),
    #[error("protocol: {0}")]
    Protocol(&'static str),
    #[error("this node's own mistake: {0}")]
    Own(&'static str),
    #[error("nothing came and nothing went for {0:?}")]
    Silent(std::time::Duration),
    #[error("it said goodbye: {0:?}")]
    Goodbye(samara_protocol::wire::control::Goodbye),
    #[error("the daemon closed it")]
    Closed,
    #[error("the connection is gone")]
    Gone,
}

impl SessionError {
    /// Whether an honest peer of this version never does that.
    const fn is_the_peers_doing(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Decode(_) | Self::Protocol(_))
    }
}

/// Starts the session of a peer that was just admitted.
///
/// # Errors
/// When another connection with it stays, or all places are taken by now.
pub(super) fn spawn(
    shared: Arc<Shared>,
    peer: NodeId,
    dialled: bool,
    remote: String,
    admission: Admission,
    control: Stream,
) -> Result<Port, HelloError> {
    let (inbound, inbound_streams) = mpsc::channel(SUBSTREAMS_MAX);
    let (opens, opens_wanted) = mpsc::channel(SUBSTREAMS_MAX);
    let (control_queue, control_messages) = mpsc::channel(CONTROL_QUEUE_MAX);
    let (asks, asked) = mpsc::channel(2 * REQUESTS_PER_PEER_MAX);
    let (hellos, hellos_wanted) = mpsc::channel(HELLO_QUEUE_MAX);
    let place = Place {
        seat: admission.seat,
        dialled_by_us: dialled,
    };
    let link = Link::new(peer, control_queue, asks, hellos, place, admission.product);
    let closed = link.close.clone();
    let former = shared.replace_link(peer, link.clone())?;
    let session = Arc::new(Session {
        shared,
        peer,
        remote,
        opens,
        link,
        live: Liveness::new(),
        serves: Arc::new(Semaphore::new(REQUESTS_PER_PEER_MAX)),
    });
    let queues = Queues {
        inbound_streams,
        control_messages,
        asked,
        hellos_wanted,
    };
    tokio::spawn(session.run(former, admission, control, queues));
    let closed = async move { closed.cancelled().await }.boxed();
    Ok(Port {
        inbound,
        opens: opens_wanted,
        closed,
    })
}

struct Queues {
    inbound_streams: mpsc::Receiver<(Protocol, Stream)>,
    control_messages: mpsc::Receiver<Vec<u8>>,
    asked: mpsc::Receiver<super::shared::AskOrder>,
    hellos_wanted: mpsc::Receiver<samara_protocol::id::ProductId>,
}

impl Session {
    async fn run(self: Arc<Self>, former: Option<Link>, admission: Admission, control: Stream, queues: Queues) {
        if let Some(former) = former {
            former.close.cancel();
            former.over.cancelled().await;
        }
        self.tell(NetEvent::Up(self.up(admission))).await;
        let mut tasks = JoinSet::new();
        let error = self.serve_streams(&mut tasks, control, queues).await;
        tracing::debug!(peer = %self.peer, %error, "the session ends");
        tasks.shutdown().await;
        if error.is_the_peers_doing() {
            let (peer, what) = (self.peer, error.to_string());
            self.tell(NetEvent::Broke { peer, what }).await;
        }
        self.shared.remove_link(self.peer, &self.link);
        self.tell(NetEvent::Down { peer: self.peer }).await;
        self.link.over.cancel();
        self.link.close.cancel();
    }

    async fn serve_streams(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<(), SessionError>>,
        mut control: Stream,
        mut queues: Queues,
    ) -> SessionError {
        // What it is negotiated with leaves before any other stream is opened: those wait at the peer for this one, and few may.
        if let Err(error) = control.flush().await {
            return error.into();
        }
        let (reader, writer) = control.split();
        tasks.spawn(control::read(Arc::clone(self), reader));
        tasks.spawn(control::write(Arc::clone(self), writer, queues.control_messages));
        tasks.spawn(asking::manage(Arc::clone(self), queues.asked));
        tasks.spawn(Arc::clone(self).say_hellos(queues.hellos_wanted));
        let data_streams = Arc::new(Semaphore::new(DATA_STREAMS_MAX));
        let hellos = Arc::new(Semaphore::new(1));
        loop {
            let stream = tokio::select! {
                () = self.link.close.cancelled() => return SessionError::Closed,
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return error,
                    Err(_) => return SessionError::Own("a task of the session failed"),
                },
                stream = queues.inbound_streams.recv() => stream,
            };
            let places = match &stream {
                None => return SessionError::Gone,
                Some((Protocol::Data, _)) => &data_streams,
                Some((Protocol::Hello | Protocol::Control, _)) => &hellos,
            };
            let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                return SessionError::Protocol("more streams than the limits allow");
            };
            match stream {
                Some((Protocol::Data, stream)) => tasks.spawn(serving::serve(Arc::clone(self), stream, place)),
                Some((_, stream)) => tasks.spawn(Arc::clone(self).hear_hello(stream, place)),
                None => return SessionError::Gone,
            };
        }
    }

    fn up(&self, admission: Admission) -> PeerUp {
        PeerUp {
            peer: self.peer,
            product: admission.product,
            credentials: admission.credentials,
            summary: admission.summary,
            dialled: admission.spoke_first,
            expired: admission.expired,
            remote_address: self.remote.clone(),
        }
    }

    /// Waits for a place among the daemon's events; at the end of the network nobody may be listening any more.
    async fn tell(&self, event: NetEvent) {
        self.shared.tell(event).await;
    }

    /// Opens a stream; fails when the connection cannot within the time of a hello.
    async fn open(&self, protocol: Protocol) -> Result<Stream, SessionError> {
        let (opened, stream) = oneshot::channel();
        self.opens
            .send((protocol, opened))
            .await
            .map_err(|_| SessionError::Gone)?;
        stream.await.map_err(|_| SessionError::Gone)
    }

    async fn say_hellos(
        self: Arc<Self>,
        mut wanted: mpsc::Receiver<samara_protocol::id::ProductId>,
    ) -> Result<(), SessionError> {
        while let Some(product) = wanted.recv().await {
            if self.link.covers(product) {
                continue;
            }
            let stream = self.open(Protocol::Hello).await?;
            match hello::speak(stream, &self.shared, self.peer, product).await {
                Ok(admission) => self.cover(admission).await,
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %product, %error, "the product was not opened");
                    self.tell(NetEvent::CoverRefused {
                        peer: self.peer,
                        product,
                    })
                    .await;
                }
            }
        }
        Ok(())
    }

    /// A refusal here resets the stream and keeps the connection: other products are open on it.
    async fn hear_hello(
        self: Arc<Self>,
        stream: Stream,
        _place: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<(), SessionError> {
        let open = Arc::new(AtomicBool::new(true));
        match hello::listen(stream, &self.shared, self.peer, |_| Ok(()), open).await {
            Ok(admission) => self.cover(admission).await,
            Err(error) => tracing::debug!(peer = %self.peer, %error, "a further product was refused"),
        }
        Ok(())
    }

    async fn cover(&self, admission: Admission) {
        if self.link.cover(admission.product) {
            self.tell(NetEvent::Covers(self.up(admission))).await;
        }
    }
}
