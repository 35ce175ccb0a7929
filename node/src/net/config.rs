//! What the network is started with, and why it may not start.

use std::time::Duration;

use samara_protocol::limits::WINDOW_GROWTH_MAX;

#[expect(clippy::cast_possible_truncation, reason = "8 MiB")]
const WINDOW_GROWTH: usize = WINDOW_GROWTH_MAX as usize;

/// How the network is started.
#[derive(Clone)]
pub struct NetConfig {
    /// The seed of this node's Ed25519 key.
    pub identity_seed: [u8; 32],
    /// Where to listen: `host:port` (TCP, and QUIC on the same port when on), or a multiaddr. Empty: dials only.
    pub listen: Vec<String>,
    /// Addresses under which others reach this node, in the same forms; what the daemon puts into contacts.
    pub external: Vec<String>,
    /// `http://host:port` of a proxy through which TCP dials go (`CONNECT`). QUIC is off then.
    pub proxy: Option<String>,
    /// Whether QUIC is dialled as a fallback and listened on.
    pub quic: bool,
    /// Bytes by which one connection's receive windows may grow, together, above 256 KiB a stream.
    pub window_growth: usize,
    /// After how long without a sign of life a connection is closed; pings go out three times as often.
    pub silence_max: Duration,
    /// Makes the jitter of redials differ between nodes.
    pub jitter_seed: u64,
}

impl NetConfig {
    /// The defaults for an identity: dials only, no proxy, QUIC on.
    #[must_use]
    pub fn new(identity_seed: [u8; 32]) -> Self {
        Self {
            identity_seed,
            listen: Vec::new(),
            external: Vec::new(),
            proxy: None,
            quic: true,
            window_growth: WINDOW_GROWTH,
            silence_max: Duration::from_secs(15),
            jitter_seed: 0,
        }
    }
}

impl std::fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetConfig")
            .field("listen", &self.listen)
            .field("external", &self.external)
            .field("proxy", &self.proxy)
            .field("quic", &self.quic)
            .finish_non_exhaustive()
    }
}

/// Why the network cannot start or cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address is in none of the forms.
    #[error("`{0}` is not an address: write host:port, for example 192.0.2.7:4001 or [::]:4001, or a multiaddr")]
    Address(String),
    /// A proxy is not in the form.
    #[error("`{0}` is not a proxy: write http://host:port")]
    Proxy(String),
    /// Nothing can listen there.
    #[error("cannot listen on `{address}`: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot make the node's TLS certificate: {0}")]
    Certificate(String),
    /// The system's name resolution cannot be used.
    #[error("cannot read the system's name servers (/etc/resolv.conf): {0}")]
    Dns(String),
}
