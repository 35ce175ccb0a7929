//! A legitimate identity, read from the home that the public verbs made.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libp2p::identity::Keypair;
use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::trust::credentials::Credentials;
use samara_protocol::wire::hello::{Hello, WIRE_VERSION};

/// Who a peer is and what it shows.
#[derive(Debug, Clone)]
pub struct Insider {
    node: NodeId,
    keypair: Keypair,
    product: ProductId,
    credentials: Vec<u8>,
}

impl Insider {
    /// The node whose home this is: its key, and its credentials for the one product that it has joined.
    ///
    /// # Errors
    /// When the home holds something else.
    pub fn of(home: &Path) -> Result<Self> {
        let line = fs::read_to_string(home.join("identity.key"))?;
        let digits = line.trim_end().strip_prefix("samara-ed25519-seed ");
        let seed = from_hex(digits.context("identity.key is a key file")?).context("a seed of 32 bytes")?;
        let mut products = fs::read_dir(home.join("products"))?;
        let folder = products.next().context("a product was joined")??.path();
        ensure!(products.next().is_none(), "one product was joined");
        let membership: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("membership.json"))?)?;
        let credentials = Credentials {
            grant: serde_json::from_value(membership["grant"].clone())?,
            enrolments: serde_json::from_value(membership["enrolments"].clone())?,
        };
        let product: ProductId = serde_json::from_value(membership["product"].clone())?;
        Self::new(seed, product, credentials.encode()?)
    }

    /// Somebody with a key of its own who shows these bytes.
    ///
    /// # Errors
    /// When the seed is none.
    pub fn new(seed: [u8; 32], product: ProductId, credentials: Vec<u8>) -> Result<Self> {
        let keypair = Keypair::ed25519_from_bytes(seed)?;
        let node = NodeId::from_peer_id_bytes(&keypair.public().to_peer_id().to_bytes());
        Ok(Self {
            node: node.context("an Ed25519 key")?,
            keypair,
            product,
            credentials,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The product that it has joined.
    #[must_use]
    pub const fn product(&self) -> ProductId {
        self.product
    }

    /// What it shows.
    #[must_use]
    pub fn credentials(&self) -> &[u8] {
        &self.credentials
    }

    /// What it says first.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            versions: vec![WIRE_VERSION],
            product: self.product,
            credentials: self.credentials.clone(),
            summary: Vec::new(),
        }
    }

    pub(super) const fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.iter().map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok()
}
