//! One connection with a victim, from hello to hang-up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::SubstreamBox;
use samara_protocol::limits::{ASK_BYTES_MAX, CONTROL_BYTES_MAX, GROUP_BYTES};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::{Ask, AskFrame, ENCODING_RAW, End, EndStatus, FileHeader, GroupHeader};
use samara_protocol::wire::frame::{self, Decoder};
use samara_protocol::wire::message::SwarmMessage;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::link::CONTROL;
use super::{Conduct, Insider, Link, Seen, Wares, floods, takers};

/// Frames that may wait for the control stream.
const OUTGOING_MAX: usize = 64;
/// Bytes of a drip, and how long one and the next lie apart.
const DRIP: usize = 1 << 10;
const DRIP_PAUSE: Duration = Duration::from_millis(50);

/// Whole frames on their way to the control stream.
pub(super) type Out = mpsc::Sender<Vec<u8>>;

/// Connects, is let in or not, and behaves as it does until the victim hangs up.
pub(super) async fn run(
    insider: &Insider,
    wares: &Wares,
    conduct: Conduct,
    victim: &str,
    seen: &Arc<Seen>,
    lure: SocketAddr,
) -> Result<()> {
    let mut link = Link::dial(insider, victim).await?;
    if link.hello(&insider.hello().encode()).await?.is_none() {
        seen.refused.fetch_add(1, Ordering::SeqCst);
        return Ok(());
    }
    let control = link.open(CONTROL).await?.context("control is not offered")?;
    seen.admitted.fetch_add(1, Ordering::SeqCst);
    if conduct == Conduct::ReconnectStorm {
        return Ok(());
    }
    let (reader, writer) = control.split();
    let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
    let (shows, shown) = watch::channel(RangeSet::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(write(writer, outgoing));
    if conduct.takes() {
        // Who has all of a release speaks of it when it is asked.
        out.send(message(&ControlMessage::Swarm(wares.wish(true)))).await?;
        tasks.spawn(takers::run(
            conduct,
            takers::streams(&link).await?,
            wares.clone(),
            shown,
            Arc::clone(seen),
        ));
    }
    tasks.spawn(listen(reader, conduct, out.clone(), wares.clone(), shows));
    if let Some(flood) = floods::of(conduct, &link, insider.product(), out.clone(), lure).await? {
        tasks.spawn(flood);
    }
    loop {
        tokio::select! {
            ended = tasks.join_next() => return ended.context("a task runs")?.context("no panic")?,
            stream = link.accept() => {
                let Some((_, stream)) = stream else { return Ok(()) };
                let (wares, out, seen) = (wares.clone(), out.clone(), Arc::clone(seen));
                tokio::spawn(async move {
                    // The victim may close a stream whenever it likes.
                    let _ = serve(stream, conduct, &wares, &out, &seen).await;
                });
            }
        }
    }
}

pub(super) fn message(message: &ControlMessage) -> Vec<u8> {
    frame::encode(&message.encode())
}

async fn write(mut stream: WriteHalf<SubstreamBox>, mut outgoing: mpsc::Receiver<Vec<u8>>) -> Result<()> {
    while let Some(bytes) = outgoing.recv().await {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// Answers pings, claims everything (or, if it takes, nothing) as soon as the victim speaks of the release, and tells what
/// blocks the victim gives.
async fn listen(
    mut stream: ReadHalf<SubstreamBox>,
    conduct: Conduct,
    out: Out,
    wares: Wares,
    shows: watch::Sender<RangeSet>,
) -> Result<()> {
    let mut release = None;
    let mut decoder = Decoder::new(CONTROL_BYTES_MAX);
    let mut bytes = vec![0; 16 << 10];
    loop {
        let count = stream.read(&mut bytes).await?;
        anyhow::ensure!(count > 0, "the victim hangs up");
        decoder.push(&bytes[..count]);
        while let Some(frame) = decoder.next_frame()? {
            match ControlMessage::decode(&frame)? {
                Some(ControlMessage::Ping(number)) => out.send(message(&ControlMessage::Pong(number))).await?,
                Some(ControlMessage::Swarm(SwarmMessage::Status {
                    number, layout, have, ..
                })) if layout == wares.id() => {
                    release = Some(number);
                    let status = if conduct.takes() {
                        wares.wish(false)
                    } else {
                        wares.claim()
                    };
                    out.send(message(&ControlMessage::Swarm(status))).await?;
                    shows.send_modify(|shown| have.iter().for_each(|block| shown.insert(block..block + 1)));
                }
                Some(ControlMessage::Swarm(SwarmMessage::Have { number, blocks })) if release == Some(number) => {
                    shows.send_modify(|shown| shown.union_with(&blocks));
                }
                _ => {}
            }
        }
    }
}

/// Answers asks on one stream of the victim's.
async fn serve(mut stream: SubstreamBox, conduct: Conduct, wares: &Wares, out: &Out, seen: &Seen) -> Result<()> {
    let mut decoder = Decoder::new(ASK_BYTES_MAX);
    let mut bytes = vec![0; 4 << 10];
    loop {
        let count = stream.read(&mut bytes).await?;
        anyhow::ensure!(count > 0, "the victim closes the stream");
        decoder.push(&bytes[..count]);
        while let Some(frame) = decoder.next_frame()? {
            match AskFrame::decode(&frame)? {
                Some(AskFrame::Ask {
                    id,
                    ask: Ask::Groups { layout, groups },
                }) if layout == wares.id() => {
                    seen.asks.fetch_add(1, Ordering::SeqCst);
                    answer(&mut stream, conduct, wares, out, id, &groups).await?;
                }
                Some(AskFrame::Ask {
                    ask: Ask::File { .. }, ..
                }) if conduct == Conduct::StallFiles => drop(seen.files.fetch_add(1, Ordering::SeqCst)),
                Some(AskFrame::Ask {
                    id,
                    ask: Ask::File { .. },
                }) if conduct == Conduct::ClaimMetadata => {
                    seen.files.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(&noise(id)).await?;
                    end(&mut stream, id, EndStatus::Done).await?;
                }
                Some(AskFrame::Ask { id, .. }) => end(&mut stream, id, EndStatus::Absent).await?,
                Some(AskFrame::Cancel { .. }) | None => {}
            }
        }
    }
}

async fn answer(
    stream: &mut SubstreamBox,
    conduct: Conduct,
    wares: &Wares,
    out: &Out,
    id: u32,
    groups: &RangeSet,
) -> Result<()> {
    match conduct {
        Conduct::Stall => return Ok(()),
        Conduct::Lie => {
            end(stream, id, EndStatus::Absent).await?;
            let (number, blocks) = (0, wares.blocks());
            let again = ControlMessage::Swarm(SwarmMessage::Have { number, blocks });
            return Ok(out.send(message(&again)).await?);
        }
        Conduct::UnknownReply => {
            stream.write_all(&[0x99; 16]).await?;
            return Ok(stream.flush().await?);
        }
        _ => {}
    }
    let mut proofs = wares.proofs();
    for group in groups.iter() {
        let (mut proof, mut data) = proofs.group(group)?;
        match conduct {
            Conduct::WrongData => data[0] ^= 1,
            Conduct::WrongProof => proof.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            _ => {}
        }
        let mut header = GroupHeader {
            id,
            group,
            encoding: ENCODING_RAW,
            proof_len: u16::try_from(proof.len())?,
            data_len: u32::try_from(data.len())?,
        };
        if conduct == Conduct::OversizedReply {
            header.data_len = u32::try_from(GROUP_BYTES)? + 1;
        }
        let frame = [header.encode().as_slice(), &proof, &data].concat();
        match conduct {
            Conduct::HalfFrame => {
                stream.write_all(&frame[..frame.len() / 2]).await?;
                stream.flush().await?;
                return std::future::pending().await;
            }
            Conduct::Drip => {
                for drop in frame.chunks(DRIP) {
                    stream.write_all(drop).await?;
                    stream.flush().await?;
                    tokio::time::sleep(DRIP_PAUSE).await;
                }
            }
            _ => stream.write_all(&frame).await?,
        }
    }
    end(stream, id, EndStatus::Done).await
}

/// A file that is none of those that are asked for.
fn noise(id: u32) -> Vec<u8> {
    let noise = [0x5a; 300];
    let header = FileHeader {
        id,
        total: noise.len() as u64,
        chunk_len: 300,
    };
    [header.encode().as_slice(), &noise].concat()
}

async fn end(stream: &mut SubstreamBox, id: u32, status: EndStatus) -> Result<()> {
    stream.write_all(&End { id, status }.encode()).await?;
    Ok(stream.flush().await?)
}
