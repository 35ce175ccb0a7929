//! What is sent or opened without having been asked for: floods, hoards of streams, and frames that claim more than they may.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::SubstreamBox;
use samara_protocol::id::{LayoutId, ManifestId, Part, ProductId};
use samara_protocol::limits::{CONTACTS_MAX, REQUESTS_PER_PEER_MAX};
use samara_protocol::time::WallTime;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::trust::contact::{Audience, Contact};
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::files::Summary;
use samara_protocol::trust::key::SigningKey;
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::{Ask, AskFrame, ReplyHeader};
use samara_protocol::wire::frame;
use samara_protocol::wire::message::SwarmMessage;

use super::link::DATA;
use super::session::{Out, message};
use super::{Conduct, Link};

/// Messages that are handed over at once.
const BATCH: usize = 512;

/// How far one claim and the next lie apart.
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// What runs until the victim hangs up.
type Flood = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What this conduct sends beside its answers, if anything.
pub(super) async fn of(
    conduct: Conduct,
    link: &Link,
    product: ProductId,
    out: Out,
    lure: SocketAddr,
) -> Result<Option<Flood>> {
    Ok(match conduct {
        Conduct::FloodHaves => {
            let (number, blocks) = (0, RangeSet::from(0..1));
            let have = SwarmMessage::Have { number, blocks };
            repeat(out, &message(&ControlMessage::Swarm(have)))
        }
        Conduct::FloodPings => repeat(out, &message(&ControlMessage::Ping(7))),
        Conduct::FloodUnknown => repeat(out, &frame::encode(&[0xee, 1, 2, 3])),
        Conduct::FloodMetadata => {
            let summary = Vec::new();
            repeat(out, &message(&ControlMessage::Metadata { product, summary }))
        }
        Conduct::ClaimMetadata => {
            let summary = Summary([u64::MAX; 8]).encode();
            Some(Box::pin(claim(
                out,
                message(&ControlMessage::Metadata { product, summary }),
            )))
        }
        Conduct::TellContacts => {
            for message_of in ControlMessage::contacts(product, forged(product, lure)?) {
                out.send(message(&message_of)).await?;
            }
            None
        }
        Conduct::FloodAsks => {
            let stream = link.open(DATA).await?.context("data is not offered")?;
            Some(Box::pin(asks(stream)))
        }
        Conduct::HoardStreams => {
            let mut held = Vec::new();
            while let Some(stream) = link.open(DATA).await? {
                held.push(stream);
            }
            Some(Box::pin(keep(held)))
        }
        Conduct::OversizedControl => {
            out.send(vec![0xff; 64]).await?;
            None
        }
        Conduct::OversizedAsk => {
            let mut stream = link.open(DATA).await?.context("data is not offered")?;
            stream.write_all(&frame::encode(&vec![1; 8 << 10])).await?;
            stream.flush().await?;
            Some(Box::pin(hold(stream)))
        }
        _ => None,
    })
}

/// As many as anybody remembers, each signed by the key that it names.
fn forged(product: ProductId, lure: SocketAddr) -> Result<Vec<Vec<u8>>> {
    let address = format!("/ip4/{}/tcp/{}", lure.ip(), lure.port());
    let one = |number: usize| {
        let mut seed = [0x3c; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let key = SigningKey::from_seed(seed);
        let contact = Contact {
            schema: 0,
            product: Some(product),
            node: key.node_id(),
            kind: MemberKind::Origin,
            addresses: vec![address.clone()],
            region: None,
            audience: Audience::All,
            sequence: 1,
            not_after: WallTime(4_000_000_000),
        };
        Ok(Envelope::sign(&contact, &[&key])?.to_bytes())
    };
    (0..CONTACTS_MAX).map(one).collect()
}

fn repeat(out: Out, one: &[u8]) -> Option<Flood> {
    Some(Box::pin(pour(out, one.repeat(BATCH))))
}

/// Now and then: not as often as would be a flood.
async fn claim(out: Out, one: Vec<u8>) -> Result<()> {
    loop {
        out.send(one.clone()).await?;
        tokio::time::sleep(CLAIM_PAUSE).await;
    }
}

async fn pour(out: Out, many: Vec<u8>) -> Result<()> {
    loop {
        out.send(many.clone()).await?;
    }
}

/// Keeps a stream until the victim closes it, and then the connection.
async fn hold(mut stream: SubstreamBox) -> Result<()> {
    stream.read_to_end(&mut Vec::new()).await?;
    std::future::pending().await
}

/// Leaves streams open for as long as there is a connection.
async fn keep(held: Vec<SubstreamBox>) -> Result<()> {
    let _held = held;
    std::future::pending().await
}

/// As many asks as may be open, each answer followed by the next.
async fn asks(mut stream: SubstreamBox) -> Result<()> {
    let layout = LayoutId {
        manifest: ManifestId([0x5a; 32]),
        part: Part::Payload,
    };
    let mut next = 0;
    let mut ask = || {
        let groups = RangeSet::from(0..1);
        let id = next;
        next += 1;
        let ask = Ask::Groups { layout, groups };
        frame::encode(&AskFrame::Ask { id, ask }.encode())
    };
    for _ in 0..REQUESTS_PER_PEER_MAX {
        stream.write_all(&ask()).await?;
    }
    stream.flush().await?;
    let mut header = [0; ReplyHeader::BYTES];
    loop {
        stream.read_exact(&mut header).await?;
        stream.write_all(&ask()).await?;
        stream.flush().await?;
    }
}
