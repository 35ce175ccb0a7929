//! Who may come in: asked by the network, answered by the daemon.

use samara_protocol::id::{NodeId, ProductId};

/// What this node says of itself to one peer about one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Encoded credentials, at most `CREDENTIALS_BYTES_MAX`.
    pub credentials: Vec<u8>,
    /// Encoded metadata versions, at most `SUMMARY_BYTES_MAX`.
    pub summary: Vec<u8>,
}

/// Among whom a peer is counted; how many of each are let in, `places` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// An origin or a member of the own site; or whoever was dialled and cannot be judged yet.
    Own,
    /// A node of another site, which the number stands for.
    Node([u8; 16]),
    /// A host of another site.
    Host([u8; 16]),
}

/// What is made of a peer's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may know the product.
    Admit {
        /// Its credentials are past their end; it is told so and the daemon gives it metadata alone.
        expired: bool,
        /// Whose places it takes one of.
        seat: Seat,
    },
    /// It learns nothing, not even why.
    Refuse,
}

/// Judges peers. Calls come from network tasks and must be quick: no disk, no waiting.
pub trait Gate: Send + Sync + 'static {
    /// What to say to `to` about `product`; `None` when it is not to hear of it from us.
    fn hello(&self, to: NodeId, product: ProductId) -> Option<Introduction>;

    /// Whether what `from` says about `product` opens it. `dialled_by_us` tells an origin's answer from a request.
    fn judge(&self, from: NodeId, product: ProductId, credentials: &[u8], dialled_by_us: bool) -> Verdict;

    /// Whether connections with `peer` are refused before any byte is exchanged (revoked, quarantined).
    fn is_banned(&self, peer: NodeId) -> bool;
}
