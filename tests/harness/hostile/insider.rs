//! A legitimate identity, read from the home that the public verbs made.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libp2p::identity::Keypair;
use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::trust::credentials::Credentials;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::{Enrolment, MemberKind};
use samara_protocol::trust::key::SigningKey;
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
        let mut products = fs::read_dir(home.join("products"))?;
        let folder = products.next().context("a product was joined")??.path();
        ensure!(products.next().is_none(), "one product was joined");
        Self::in_product(home, &folder)
    }

    /// The same for one of the products that the home has joined: that which lies in `folder`.
    ///
    /// # Errors
    /// When the home holds no such thing.
    pub fn in_product(home: &Path, folder: &Path) -> Result<Self> {
        let seed = seed_in(&home.join("identity.key"))?;
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

    /// A node of the same site whose name comes before nearly every other: what goes by names goes to it first.
    ///
    /// # Errors
    /// As [`Insider::beside`].
    pub fn lowest_beside(&self, keeper: &Path) -> Result<Self> {
        let mut seeds = (0_u32..).map(|number| {
            let mut seed = self.node.0;
            seed[..4].copy_from_slice(&number.to_le_bytes());
            seed
        });
        let is_low = |seed: &[u8; 32]| SigningKey::from_seed(*seed).node_id().0[0] == 0;
        let seed = seeds.find(is_low).context("one in 256 is low")?;
        self.beside(keeper, seed, MemberKind::Node)
    }

    /// Another of the same site: a key that its keeper, whose home this is, enrols beside the node.
    ///
    /// # Errors
    /// When the home has no site key, or it is another site's.
    pub fn beside(&self, keeper: &Path, seed: [u8; 32], kind: MemberKind) -> Result<Self> {
        let site_key = SigningKey::from_seed(seed_in(&keeper.join("site/site.key"))?);
        let mut credentials = Credentials::decode(&self.credentials)?;
        let signer = &[site_key.public()];
        let own = credentials.enrolments.pop().context("an enrolled node")?;
        let (own, _) = own.open::<Enrolment>(signer, 1, "the site's key")?;
        let other = Enrolment {
            node: SigningKey::from_seed(seed).node_id(),
            kind,
            enrol: false,
            ..own
        };
        credentials.enrolments.push(Envelope::sign(&other, &[&site_key])?);
        Self::new(seed, self.product, credentials.encode()?)
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

/// The seed in a key file.
///
/// # Errors
/// When it is none.
pub fn seed_in(file: &Path) -> Result<[u8; 32]> {
    let line = fs::read_to_string(file)?;
    let digits = line.trim_end().strip_prefix("samara-ed25519-seed ");
    from_hex(digits.context("a key file")?).context("a seed of 32 bytes")
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.iter().map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok()
}
