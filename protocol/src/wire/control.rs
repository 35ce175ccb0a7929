//! Control messages between admitted peers: one message a frame, a type byte first.
//!
//! Type `0x10` carries a message of the scheduler's, which has types of its own ([`SwarmMessage`]). An unknown type of
//! either kind is skipped whole; bytes behind the known fields are ignored.

use crate::id::{ManifestId, ProductId};
use crate::limits::{
    CONTACT_BYTES_MAX, CONTACTS_PER_MESSAGE_MAX, CONTROL_BYTES_MAX, SITE_REVOCATIONS_BYTES_MAX, SUMMARY_BYTES_MAX,
};
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::message::SwarmMessage;

const PING: u8 = 0x01;
const PONG: u8 = 0x02;
const GOODBYE: u8 = 0x03;
const METADATA: u8 = 0x08;
const CONTACTS: u8 = 0x09;
const SITE_REVOCATIONS: u8 = 0x0a;
const ROOM: u8 = 0x0b;
const SWARM: u8 = 0x10;

/// Why a peer closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goodbye {
    /// It shuts down.
    Shutdown,
    /// Another connection between the two stays.
    Duplicate,
    /// It has no further use for the connection.
    Unneeded,
    /// Something else, of a later version.
    Other(u8),
}

/// A message on the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlMessage {
    /// Asks for a [`ControlMessage::Pong`] with the same number. Answered by `net`.
    Ping(u32),
    /// The answer.
    Pong(u32),
    /// The sender closes.
    Goodbye(Goodbye),
    /// The metadata versions that the sender holds of a product; encoded by trust.
    Metadata {
        /// Which product.
        product: ProductId,
        /// The versions.
        summary: Vec<u8>,
    },
    /// Signed contacts of a product; each an envelope that proves itself.
    Contacts {
        /// Which product.
        product: ProductId,
        /// The envelopes.
        envelopes: Vec<Vec<u8>>,
    },
    /// A site's newest list of revoked nodes; an envelope that proves itself.
    SiteRevocations {
        /// The product that both have open.
        product: ProductId,
        /// The envelope.
        envelope: Vec<u8>,
    },
    /// Whether the sender has room for a release; said to its own site alone, when it runs out of it and when there is
    /// some again.
    Room {
        /// Of which product.
        product: ProductId,
        /// Which release.
        manifest: ManifestId,
        /// Its disk or quota is full: it cannot take the release, and tries again by itself.
        full: bool,
    },
    /// The scheduler's.
    Swarm(SwarmMessage),
}

impl ControlMessage {
    /// The payload of one frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Ping(number) => out.u8(PING).u32(*number),
            Self::Pong(number) => out.u8(PONG).u32(*number),
            Self::Goodbye(reason) => out.u8(GOODBYE).u8(reason.to_byte()),
            Self::Metadata { product, summary } => out.u8(METADATA).raw(&product.0).bytes(summary),
            Self::Contacts { product, envelopes } => {
                out.u8(CONTACTS).raw(&product.0);
                out.u32(u32::try_from(envelopes.len()).expect("bounded by the sender"));
                for envelope in envelopes {
                    out.bytes(envelope);
                }
                &mut out
            }
            Self::SiteRevocations { product, envelope } => out.u8(SITE_REVOCATIONS).raw(&product.0).bytes(envelope),
            Self::Room {
                product,
                manifest,
                full,
            } => out.u8(ROOM).raw(&product.0).raw(&manifest.0).u8(u8::from(*full)),
            Self::Swarm(message) => out.u8(SWARM).raw(&message.encode()),
        };
        out.finish()
    }

    /// Signed contacts of a product, in as many messages as it takes; one that is larger than a contact may be is left
    /// out, since it would end the connection.
    #[must_use]
    pub fn contacts(product: ProductId, envelopes: Vec<Vec<u8>>) -> Vec<Self> {
        let fits = |envelope: &Vec<u8>| envelope.len() <= CONTACT_BYTES_MAX;
        let envelopes: Vec<_> = envelopes.into_iter().filter(fits).collect();
        let message = |envelopes: &[Vec<u8>]| Self::Contacts {
            product,
            envelopes: envelopes.to_vec(),
        };
        envelopes.chunks(CONTACTS_PER_MESSAGE_MAX).map(message).collect()
    }

    /// Whether it keeps the bounds that the receiver checks.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        match self {
            Self::Ping(_) | Self::Pong(_) | Self::Goodbye(_) | Self::Room { .. } | Self::Swarm(_) => true,
            Self::Metadata { summary, .. } => summary.len() <= SUMMARY_BYTES_MAX,
            Self::SiteRevocations { envelope, .. } => envelope.len() <= SITE_REVOCATIONS_BYTES_MAX,
            Self::Contacts { envelopes, .. } => {
                envelopes.len() <= CONTACTS_PER_MESSAGE_MAX
                    && envelopes.iter().all(|envelope| envelope.len() <= CONTACT_BYTES_MAX)
            }
        }
    }

    /// Reads the payload of one frame; `None` for a type that this version does not know.
    ///
    /// # Errors
    /// When the bytes cannot be the message that the type byte says.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut input = Reader::new(bytes);
        let message = match input.u8("type")? {
            PING => Self::Ping(input.u32("number")?),
            PONG => Self::Pong(input.u32("number")?),
            GOODBYE => Self::Goodbye(Goodbye::from_byte(input.u8("reason")?)),
            METADATA => {
                let product = ProductId(input.array("product")?);
                let summary = input.bytes(SUMMARY_BYTES_MAX, "summary")?.to_vec();
                Self::Metadata { product, summary }
            }
            CONTACTS => {
                let product = ProductId(input.array("product")?);
                let count = input.count(CONTACTS_PER_MESSAGE_MAX, "contacts")?;
                let envelopes = (0..count).map(|_| input.bytes(CONTACT_BYTES_MAX, "contact").map(<[u8]>::to_vec));
                let envelopes = envelopes.collect::<Result<_, _>>()?;
                Self::Contacts { product, envelopes }
            }
            SITE_REVOCATIONS => {
                let product = ProductId(input.array("product")?);
                let envelope = input.bytes(SITE_REVOCATIONS_BYTES_MAX, "site revocations")?.to_vec();
                Self::SiteRevocations { product, envelope }
            }
            ROOM => Self::Room {
                product: ProductId(input.array("product")?),
                manifest: ManifestId(input.array("manifest")?),
                full: match input.u8("full")? {
                    0 => false,
                    1 => true,
                    _ => return Err(DecodeError::Value("full")),
                },
            },
            SWARM => return Ok(SwarmMessage::decode(input.rest())?.map(Self::Swarm)),
            _ => return Ok(None),
        };
        Ok(Some(message))
    }
}

impl Goodbye {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Shutdown => 0,
            Self::Duplicate => 1,
            Self::Unneeded => 2,
            Self::Other(byte) => byte,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Shutdown,
            1 => Self::Duplicate,
            2 => Self::Unneeded,
            other => Self::Other(other),
        }
    }
}

const _: () = assert!(
    CONTACTS_PER_MESSAGE_MAX * (CONTACT_BYTES_MAX + 4) + 64 <= CONTROL_BYTES_MAX,
    "a full contacts message fits a frame"
);
