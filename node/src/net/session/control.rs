//! The control stream: frames in, frames out, pings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::Stream;
use samara_protocol::limits::{CONTROL_BYTES_MAX, CONTROL_NOISE_MAX};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::frame::{self, Decoder};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{Session, SessionError};
use crate::net::event::NetEvent;

/// Frames written at once.
const BATCH_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// Reads until the stream ends, which ends the session.
pub(super) async fn read(session: Arc<Session>, mut stream: ReadHalf<Stream>) -> Result<(), SessionError> {
    let mut decoder = Decoder::new(CONTROL_BYTES_MAX);
    let mut bytes = vec![0; READ_BYTES];
    let mut noise = Noise::default();
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(SessionError::Gone);
        }
        session.live.touch();
        decoder.push(&bytes[..count]);
        while let Some(frame) = decoder.next_frame()? {
            match ControlMessage::decode(&frame)? {
                None => noise.add(Instant::now())?,
                Some(ControlMessage::Ping(number)) => {
                    noise.add(Instant::now())?;
                    session.link.send(&ControlMessage::Pong(number));
                }
                Some(ControlMessage::Pong(_)) => noise.add(Instant::now())?,
                Some(ControlMessage::Goodbye(reason)) => return Err(SessionError::Goodbye(reason)),
                Some(message) => {
                    let peer = session.peer;
                    session.tell(NetEvent::Control { peer, message }).await;
                }
            }
        }
    }
}

/// Counts what the daemon never hears of; everything else it counts itself.
#[derive(Default)]
struct Noise {
    since: Option<Instant>,
    count: u32,
}

impl Noise {
    fn add(&mut self, now: Instant) -> Result<(), SessionError> {
        let begun = *self.since.get_or_insert(now);
        if now.duration_since(begun) >= Duration::from_secs(1) {
            (self.since, self.count) = (Some(now), 0);
        }
        self.count += 1;
        if self.count > CONTROL_NOISE_MAX {
            return Err(SessionError::Protocol(
                "more pings and unknown messages than the limits allow",
            ));
        }
        Ok(())
    }
}

/// Writes what is queued, pings, and ends the session when the path is silent for too long.
pub(super) async fn write(
    session: Arc<Session>,
    mut stream: WriteHalf<Stream>,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> Result<(), SessionError> {
    let silence_max = session.shared.silence_max;
    // Three chances, so that one lost ping closes nothing.
    let mut pings = tokio::time::interval(silence_max / 3);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once: it is what opens the stream for the other end.
    let mut number = 0;
    let mut frames = Vec::with_capacity(BATCH_MAX);
    loop {
        frames.clear();
        let mut ping = Vec::new();
        tokio::select! {
            count = queue.recv_many(&mut frames, BATCH_MAX) => if count == 0 { return Ok(()) },
            _ = pings.tick() => {
                if session.live.silence() > silence_max {
                    return Err(SessionError::Silent(silence_max));
                }
                number += 1;
                ping = frame::encode(&ControlMessage::Ping(number).encode());
            }
        }
        let queued = frames.concat();
        let bytes = if ping.is_empty() { &queued } else { &ping };
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        tokio::time::timeout(silence_max, written)
            .await
            .map_err(|_| SessionError::Silent(silence_max))??;
        session.link.sent(queued.len());
    }
}
