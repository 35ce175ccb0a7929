//! What the network tells the daemon.

use samara_protocol::id::{NodeId, ProductId, ServeId};
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::Ask;

use super::reply::ReplySink;

/// A hello exchange that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerUp {
    /// Who.
    pub peer: NodeId,
    /// For which product.
    pub product: ProductId,
    /// What it showed; the gate has judged it.
    pub credentials: Vec<u8>,
    /// Its metadata versions.
    pub summary: Vec<u8>,
    /// Whether this node dialled (or, for a further product, spoke first).
    pub dialled: bool,
    /// The peer says that our credentials are past their end: it gives metadata alone.
    pub expired: bool,
    /// Its end of the connection, `host:port`.
    pub remote_address: String,
}

/// Something happened. For one peer: `Up`, then the others, then `Down`; nothing before, nothing after.
#[derive(Debug)]
pub enum NetEvent {
    /// This node listens.
    Listening {
        /// Where, `host:port`; a port 0 and wildcards are resolved.
        address: String,
    },
    /// A peer was admitted.
    Up(PeerUp),
    /// A further product was opened with an admitted peer.
    Covers(PeerUp),
    /// A further product that we asked for was not opened.
    CoverRefused {
        /// Who.
        peer: NodeId,
        /// For which product.
        product: ProductId,
    },
    /// A peer sent what cannot be a message, or more than the limits allow; `Down` follows.
    Broke {
        /// Who.
        peer: NodeId,
        /// For people.
        what: String,
    },
    /// An admitted peer is gone; its sources and sinks are closed.
    Down {
        /// Who.
        peer: NodeId,
    },
    /// A dial came to nothing: unreachable, refused, or closed without an answer. Redials go on for wanted peers.
    DialFailed {
        /// Who.
        peer: NodeId,
        /// For people.
        error: String,
        /// Whether the peer was reached, and did not let this node in or was not let in.
        answered: bool,
    },
    /// A control message.
    Control {
        /// From whom.
        peer: NodeId,
        /// What. Never `Ping` or `Pong`.
        message: ControlMessage,
    },
    /// A peer asks for something.
    Asked {
        /// Who.
        peer: NodeId,
        /// For what.
        ask: Ask,
        /// Where the answer goes; dropped without an end, the peer is told `Failed`.
        reply: ReplySink,
    },
    /// The peer took an ask back; its sink says so too.
    AskCancelled {
        /// Who.
        peer: NodeId,
        /// Which: [`ReplySink::serve`].
        serve: ServeId,
    },
}
