//! Asks of the peer's on one stream that it opened, and our replies.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::Stream;
use samara_protocol::id::ServeId;
use samara_protocol::limits::{ASK_BYTES_MAX, REQUESTS_PER_PEER_MAX};
use samara_protocol::wire::data::{Ask, AskFrame, End, EndStatus, ReplyHeader};
use samara_protocol::wire::frame::Decoder;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Session, SessionError};
use crate::net::event::NetEvent;
use crate::net::muxer::SPLIT_BYTES;
use crate::net::reply::{Outgoing, ReplySink};

/// Buffers of frames that may wait for the stream's writer.
const OUTGOING_QUEUE_MAX: usize = 2;
/// Whole frames written between two looks at whether they are still wanted, in bytes: one of the muxer's frames.
const RUN_BYTES: usize = SPLIT_BYTES;

/// A stream that takes nothing for so many times the silence that ends a connection is given up.
const STALL_SILENCES: u32 = 4;

/// One ask that is being answered.
struct Open {
    serve: ServeId,
    cancelled: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// The asks that are open on one stream.
#[derive(Default)]
struct Table(Mutex<HashMap<u32, Open>>);

impl Table {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<u32, Open>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Table {
    /// The stream is gone: whoever still reads from a store for it may stop.
    fn drop(&mut self) {
        self.with(|table| table.values().for_each(|open| open.cancelled.cancel()));
    }
}

/// Serves one stream until it ends. A broken stream ends its own replies only.
pub(super) async fn serve(
    session: Arc<Session>,
    stream: Stream,
    _place: OwnedSemaphorePermit,
) -> Result<(), SessionError> {
    let (reader, writer) = stream.split();
    let (out, outgoing) = mpsc::channel(OUTGOING_QUEUE_MAX);
    let (abandoned, abandons) = mpsc::channel(REQUESTS_PER_PEER_MAX);
    let table = Table::default();
    let result = tokio::select! {
        result = read(&session, &table, reader, out, abandoned) => result,
        result = write(&session, &table, writer, outgoing, abandons) => result,
    };
    match result {
        Err(SessionError::Stream(_) | SessionError::Gone) => Ok(()),
        other => other,
    }
}

async fn read(
    session: &Session,
    table: &Table,
    mut stream: ReadHalf<Stream>,
    out: mpsc::Sender<Outgoing>,
    abandoned: mpsc::Sender<u32>,
) -> Result<(), SessionError> {
    let mut decoder = Decoder::new(ASK_BYTES_MAX);
    let mut bytes = vec![0; 4 << 10];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(SessionError::Gone);
        }
        session.live.touch();
        decoder.push(&bytes[..count]);
        while let Some(frame) = decoder.next_frame()? {
            match AskFrame::decode(&frame)? {
                None => {}
                Some(AskFrame::Cancel { id }) => {
                    let serve = table.with(|table| {
                        table.get(&id).map(|open| {
                            open.cancelled.cancel();
                            open.serve
                        })
                    });
                    if let Some(serve) = serve {
                        session
                            .tell(NetEvent::AskCancelled {
                                peer: session.peer,
                                serve,
                            })
                            .await;
                    }
                }
                Some(AskFrame::Ask { id, ask }) => {
                    let reply = accept(session, table, id, &out, &abandoned)?;
                    asked(session, ask, reply).await;
                }
            }
        }
    }
}

async fn asked(session: &Session, ask: Ask, reply: ReplySink) {
    session
        .tell(NetEvent::Asked {
            peer: session.peer,
            ask,
            reply,
        })
        .await;
}

fn accept(
    session: &Session,
    table: &Table,
    id: u32,
    out: &mpsc::Sender<Outgoing>,
    abandoned: &mpsc::Sender<u32>,
) -> Result<ReplySink, SessionError> {
    let place = Arc::clone(&session.serves).try_acquire_owned();
    let place = place.map_err(|_| SessionError::Protocol("more asks than the limits allow"))?;
    let serve = ServeId(session.shared.next_serve.fetch_add(1, Ordering::Relaxed));
    let cancelled = CancellationToken::new();
    let open = Open {
        serve,
        cancelled: cancelled.clone(),
        _place: place,
    };
    if table.with(|table| table.insert(id, open)).is_some() {
        return Err(SessionError::Protocol("an ask's id is in use"));
    }
    Ok(ReplySink {
        serve,
        wire_id: id,
        out: out.clone(),
        abandoned: abandoned.clone(),
        cancelled,
        ended: false,
    })
}

async fn write(
    session: &Session,
    table: &Table,
    mut stream: WriteHalf<Stream>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    mut abandons: mpsc::Receiver<u32>,
) -> Result<(), SessionError> {
    loop {
        tokio::select! {
            biased;
            Some(next) = outgoing.recv() => {
                write_one(session, table, &mut stream, next).await?;
            }
            Some(id) = abandons.recv() => {
                // What its sink sent before it was dropped is in the queue already.
                while let Ok(next) = outgoing.try_recv() {
                    write_one(session, table, &mut stream, next).await?;
                }
                let is_cancelled = |open: &Open| open.cancelled.is_cancelled();
                let status = match table.with(|table| table.get(&id).map(is_cancelled)) {
                    Some(true) => EndStatus::Cancelled,
                    Some(false) => EndStatus::Failed,
                    None => continue,
                };
                let bytes = End { id, status }.encode().to_vec();
                write_one(session, table, &mut stream, Outgoing { bytes, written: None, ends: Some(id) }).await?;
            }
            else => return Ok(()),
        }
    }
}

/// Writes whole frames, and stops between two of them once the ask was taken back.
async fn write_one(
    session: &Session,
    table: &Table,
    stream: &mut WriteHalf<Stream>,
    outgoing: Outgoing,
) -> Result<(), SessionError> {
    let Outgoing { bytes, written, ends } = outgoing;
    let cut = ends.map(|id| {
        let status = EndStatus::Cancelled;
        End { id, status }.encode()
    });
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (mut run, id) = next_run(rest).ok_or(SessionError::Own("the daemon sent what is no frame"))?;
        let is_cancelled = table.with(|table| table.get(&id).is_some_and(|open| open.cancelled.is_cancelled()));
        if is_cancelled && run > ReplyHeader::BYTES {
            let Some(cut) = &cut else { break };
            (rest, run) = (cut, cut.len());
        }
        if let Some(id) = ends.filter(|_| run == rest.len()) {
            // Before the peer can have read it: with the end in hand it may ask again at once, under the same id.
            table.with(|table| table.remove(&id));
        }
        let taken = tokio::time::timeout(
            session.shared.silence_max * STALL_SILENCES,
            stream.write_all(&rest[..run]),
        );
        // A peer that reads its control stream and not this one would hold the buffer and a place for ever.
        taken.await.map_err(|_| SessionError::Gone)??;
        session.live.touch();
        rest = &rest[run..];
    }
    stream.flush().await?;
    if let Some(written) = written {
        // Nobody may be waiting.
        let _ = written.send(bytes);
    }
    Ok(())
}

/// How many bytes of whole frames of one ask to write at once, and that ask's id.
fn next_run(bytes: &[u8]) -> Option<(usize, u32)> {
    let (mut end, mut first) = (0, None);
    while let Some(header) = bytes.get(end..).and_then(|rest| rest.first_chunk()) {
        let header = ReplyHeader::decode(header).ok()?;
        let next = end + ReplyHeader::BYTES + header.body_len();
        let id = *first.get_or_insert(header.id());
        if header.id() != id || next > bytes.len() || (end > 0 && next > RUN_BYTES) {
            break;
        }
        end = next;
    }
    first.filter(|_| end > 0).map(|id| (end, id))
}
