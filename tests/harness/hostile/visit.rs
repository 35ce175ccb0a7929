//! A peer that is let in, asks and listens: what a node says to it, byte for byte.

use anyhow::{Context, Result, ensure};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::SubstreamBox;
use samara_protocol::limits::CONTROL_BYTES_MAX;
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::{Ask, AskFrame, EndStatus, ReplyHeader};
use samara_protocol::wire::frame;

use super::link::{CONTROL, DATA};
use super::{Insider, Link};

/// An admitted connection; closes on drop.
#[derive(Debug)]
pub struct Visit {
    /// What it goes over.
    pub link: Link,
    control: SubstreamBox,
    data: SubstreamBox,
}

impl Visit {
    /// Dials the node at `address`, and is let in.
    ///
    /// # Errors
    /// When it is not.
    pub async fn to(who: &Insider, address: &str) -> Result<Self> {
        let link = Link::dial(who, address).await?;
        let reply = link.hello(&who.hello().encode()).await?;
        reply.with_context(|| format!("{address} lets an insider in"))?;
        let control = link.open(CONTROL).await?.context("a control stream")?;
        let data = link.open(DATA).await?.context("a data stream")?;
        Ok(Self { link, control, data })
    }

    /// Says something.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn say(&mut self, message: &ControlMessage) -> Result<()> {
        self.control.write_all(&frame::encode(&message.encode())).await?;
        Ok(self.control.flush().await?)
    }

    /// The payload of the next control message, whatever it is but a ping, which is answered.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn hear(&mut self) -> Result<Vec<u8>> {
        loop {
            let mut prefix = [0; frame::PREFIX_BYTES];
            self.control.read_exact(&mut prefix).await?;
            let claimed = u32::from_le_bytes(prefix) as usize;
            ensure!(claimed <= CONTROL_BYTES_MAX, "a message of {claimed} bytes");
            let mut payload = vec![0; claimed];
            self.control.read_exact(&mut payload).await?;
            match ControlMessage::decode(&payload)? {
                Some(ControlMessage::Ping(number)) => self.say(&ControlMessage::Pong(number)).await?,
                _ => return Ok(payload),
            }
        }
    }

    /// Asks, and gives all data of the reply (without proofs) and how it ended.
    ///
    /// # Errors
    /// When the connection is over before the reply.
    pub async fn ask(&mut self, ask: Ask) -> Result<(Vec<u8>, EndStatus)> {
        let data = &mut self.data;
        data.write_all(&frame::encode(&AskFrame::Ask { id: 0, ask }.encode()))
            .await?;
        data.flush().await?;
        let mut all = Vec::new();
        loop {
            let mut header = [0; ReplyHeader::BYTES];
            data.read_exact(&mut header).await?;
            let header = ReplyHeader::decode(&header)?;
            let mut body = vec![0; header.body_len()];
            data.read_exact(&mut body).await?;
            match header {
                ReplyHeader::Group(group) => all.extend_from_slice(&body[usize::from(group.proof_len)..]),
                ReplyHeader::File(_) => all.extend_from_slice(&body),
                ReplyHeader::End(end) => return Ok((all, end.status)),
            }
        }
    }
}
