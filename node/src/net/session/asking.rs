//! Our asks: spread over at most [`DATA_STREAMS_MAX`] streams that we open, pipelined on each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::io::{ReadHalf, WriteHalf};
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::swarm::Stream;
use samara_protocol::limits::{DATA_STREAMS_MAX, REQUESTS_PER_PEER_MAX};
use samara_protocol::wire::data::{AskFrame, ReplyHeader};
use samara_protocol::wire::frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{Session, SessionError};
use crate::net::protocol::Protocol;
use crate::net::reply::ReplyFrame;
use crate::net::shared::AskOrder;

/// Asks open on a stream before another stream is opened.
const ASKS_PER_STREAM: usize = REQUESTS_PER_PEER_MAX / DATA_STREAMS_MAX;

/// One of our streams, as the manager sees it.
struct Lane {
    orders: mpsc::Sender<Placed>,
    open_asks: Arc<AtomicUsize>,
}

/// An order and its place among those that are open: kept until the peer has ended its reply, also where it was taken back.
type Placed = (AskOrder, OwnedSemaphorePermit);

/// Gives orders to streams until the session ends. A stream that breaks takes its own asks with it and no others;
/// one that breaks the protocol ends the session.
pub(super) async fn manage(session: Arc<Session>, mut orders: mpsc::Receiver<AskOrder>) -> Result<(), SessionError> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut tasks = JoinSet::new();
    let places = Arc::new(Semaphore::new(REQUESTS_PER_PEER_MAX));
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            Some(ended) = tasks.join_next() => match ended {
                Ok(Err(error @ (SessionError::Protocol(_) | SessionError::Decode(_)))) => return Err(error),
                _ => continue,
            },
        };
        let Some(order) = order else { return Ok(()) };
        // Files are asked for beside what the scheduler counts, and what it took back is open until its end has come.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = order.cancelled.cancelled() => continue,
        };
        let Ok(place) = place else { return Ok(()) };
        lanes.retain(|lane| !lane.orders.is_closed());
        let least = lanes.iter().map(|lane| lane.open_asks.load(Ordering::Relaxed)).min();
        if least.is_none_or(|least| least >= ASKS_PER_STREAM) && lanes.len() < DATA_STREAMS_MAX {
            let (sender, receiver) = mpsc::channel(REQUESTS_PER_PEER_MAX);
            let open_asks = Arc::new(AtomicUsize::new(0));
            let session = Arc::clone(&session);
            tasks.spawn(run(session, receiver, Arc::clone(&open_asks)));
            lanes.push(Lane {
                orders: sender,
                open_asks,
            });
        }
        let lane = lanes.iter().min_by_key(|lane| lane.open_asks.load(Ordering::Relaxed));
        if let Some(lane) = lane {
            lane.open_asks.fetch_add(1, Ordering::Relaxed);
            // Full or closed drops the order, and its source is broken: the scheduler asks again elsewhere.
            if lane.orders.try_send((order, place)).is_err() {
                lane.open_asks.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// The asks that are open on one stream.
#[derive(Default)]
struct Table(Mutex<HashMap<u32, Open>>);

/// Where the frames of one ask's reply go, and whether a group of it has come.
struct Open {
    frames: mpsc::Sender<ReplyFrame>,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Table {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<u32, Open>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn run(
    session: Arc<Session>,
    orders: mpsc::Receiver<Placed>,
    open_asks: Arc<AtomicUsize>,
) -> Result<(), SessionError> {
    let (reader, writer) = session.open(Protocol::Data).await?.split();
    let table = Table::default();
    tokio::select! {
        result = write(&session, &table, writer, orders) => result,
        result = read(&session, &table, reader, &open_asks) => result,
    }
}

async fn write(
    session: &Session,
    table: &Table,
    mut stream: WriteHalf<Stream>,
    mut orders: mpsc::Receiver<Placed>,
) -> Result<(), SessionError> {
    let mut cancels: FuturesUnordered<BoxFuture<'static, u32>> = FuturesUnordered::new();
    let mut next_id = 0_u32;
    loop {
        let frame = tokio::select! {
            order = orders.recv() => {
                let Some((AskOrder { ask, frames, cancelled }, place)) = order else { return Ok(()) };
                let id = next_id;
                next_id = next_id.wrapping_add(1);
                let open = Open {
                    frames,
                    begun: false,
                    _place: place,
                };
                table.with(|table| table.insert(id, open));
                cancels.push(async move { cancelled.cancelled_owned().map(|()| id).await }.boxed());
                AskFrame::Ask { id, ask }
            }
            Some(id) = cancels.next() => {
                if !table.with(|table| table.contains_key(&id)) {
                    continue;
                }
                AskFrame::Cancel { id }
            }
        };
        stream.write_all(&frame::encode(&frame.encode())).await?;
        stream.flush().await?;
        session.live.touch();
    }
}

async fn read(
    session: &Session,
    table: &Table,
    mut stream: ReadHalf<Stream>,
    open_asks: &AtomicUsize,
) -> Result<(), SessionError> {
    let mut header = [0; ReplyHeader::BYTES];
    loop {
        stream.read_exact(&mut header).await?;
        session.live.touch();
        let header = ReplyHeader::decode(&header)?;
        let id = header.id();
        let Some(frames) = table.with(|table| table.get(&id).map(|open| open.frames.clone())) else {
            return Err(SessionError::Protocol("a reply to what was not asked"));
        };
        let len = header.body_len();
        if matches!(header, ReplyHeader::Group(_)) && table.with(|table| begins(table, id)) {
            // Over a narrow link the rest of the group takes a while.
            let _ = frames.send(ReplyFrame::Begun).await;
        }
        let frame = match header {
            ReplyHeader::End(end) => {
                table.with(|table| table.remove(&id));
                open_asks.fetch_sub(1, Ordering::Relaxed);
                ReplyFrame::End(end.status)
            }
            ReplyHeader::Group(header) => ReplyFrame::Group {
                header,
                body: session.receive(&mut stream, len).await?,
            },
            ReplyHeader::File(header) => ReplyFrame::File {
                total: header.total,
                chunk: session.receive(&mut stream, len).await?,
            },
        };
        // Fails when the source was dropped: the rest until the end is read and dropped.
        let _ = frames.send(frame).await;
    }
}

/// Whether this is the first of a reply's groups.
fn begins(table: &mut HashMap<u32, Open>, id: u32) -> bool {
    let open = table.get_mut(&id);
    open.is_some_and(|open| !std::mem::replace(&mut open.begun, true))
}

impl Session {
    async fn receive(
        &self,
        stream: &mut ReadHalf<Stream>,
        len: usize,
    ) -> Result<crate::net::pool::Buffer, SessionError> {
        let body = self.shared.pool.receive(stream, len).await?;
        self.live.touch();
        Ok(body)
    }
}
