//! The one exchange that a stranger may have: who I am to you, for which product, and the answer.
//!
//! The dialler sends [`Hello`], the listener [`HelloReply`], each as one length-prefixed frame on a stream of its own.
//! Credentials and summary are opaque here; trust encodes and judges them.

use crate::id::ProductId;
use crate::limits::{CREDENTIALS_BYTES_MAX, HELLO_BYTES_MAX, SUMMARY_BYTES_MAX, WIRE_VERSIONS_MAX};
use crate::wire::codec::{DecodeError, Reader, Writer};

/// The one version of the wire that this program speaks. 0 until the formats are frozen.
pub const WIRE_VERSION: u16 = 0;

/// What the dialler says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The wire versions it speaks, best first.
    pub versions: Vec<u16>,
    /// The product that the exchange is about.
    pub product: ProductId,
    /// Why it may know this product.
    pub credentials: Vec<u8>,
    /// The metadata versions that it holds of the product.
    pub summary: Vec<u8>,
}

/// How a dialler that may know the product stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is let in.
    Admitted,
    /// It is let in; its credentials are past their end: it receives metadata and nothing else.
    Expired,
    /// All places that there are for it are taken: the connection closes, and it may dial again later.
    Busy,
}

/// What the listener answers a dialler whose credentials open the product; anybody else is answered nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloReply {
    /// The wire version that both speak.
    pub version: u16,
    /// Whether it is let in.
    pub standing: Standing,
    /// Why the listener may know this product.
    pub credentials: Vec<u8>,
    /// The metadata versions that it holds of the product.
    pub summary: Vec<u8>,
}

impl Hello {
    /// The payload of the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u32(u32::try_from(self.versions.len()).expect("bounded by the sender"));
        for version in &self.versions {
            out.u16(*version);
        }
        out.raw(&self.product.0).bytes(&self.credentials).bytes(&self.summary);
        out.finish()
    }

    /// Reads the payload of the frame.
    ///
    /// # Errors
    /// When the bytes cannot be a hello.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let count = input.count(WIRE_VERSIONS_MAX, "versions")?;
        let versions = (0..count).map(|_| input.u16("version")).collect::<Result<_, _>>()?;
        let product = ProductId(input.array("product")?);
        let credentials = input.bytes(CREDENTIALS_BYTES_MAX, "credentials")?.to_vec();
        let summary = input.bytes(SUMMARY_BYTES_MAX, "summary")?.to_vec();
        Ok(Self {
            versions,
            product,
            credentials,
            summary,
        })
    }
}

impl HelloReply {
    /// The payload of the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u16(self.version)
            .u8(self.standing as u8)
            .bytes(&self.credentials)
            .bytes(&self.summary);
        out.finish()
    }

    /// Reads the payload of the frame.
    ///
    /// # Errors
    /// When the bytes cannot be a reply.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let version = input.u16("version")?;
        let standing = match input.u8("standing")? {
            0 => Standing::Admitted,
            1 => Standing::Expired,
            2 => Standing::Busy,
            _ => return Err(DecodeError::Value("standing")),
        };
        let credentials = input.bytes(CREDENTIALS_BYTES_MAX, "credentials")?.to_vec();
        let summary = input.bytes(SUMMARY_BYTES_MAX, "summary")?.to_vec();
        Ok(Self {
            version,
            standing,
            credentials,
            summary,
        })
    }
}

const _: () = assert!(
    CREDENTIALS_BYTES_MAX + SUMMARY_BYTES_MAX + 4 + 2 * WIRE_VERSIONS_MAX + 32 + 8 + 4 <= HELLO_BYTES_MAX,
    "a full hello fits its bound, length prefix included"
);
