//! The spans that log lines stand in: node > peer > transfer > request. Whoever works for one of these enters its span,
//! so that its lines, and those of libraries below, name the peer and the release.

use samara_protocol::id::{LayoutId, NodeId, Part, RequestId, ServeId};
use tracing::Span;

use super::fact::TARGET;

/// The whole node: one per process.
#[must_use]
pub fn node(node: NodeId) -> Span {
    tracing::info_span!(target: TARGET, "node", node = %node.short())
}

/// Work for or with one peer.
#[must_use]
pub fn peer(peer: NodeId) -> Span {
    tracing::info_span!(target: TARGET, "peer", peer = %peer)
}

/// Work for or with one peer on one layout: peer > transfer. Its text is made once: requests come by the thousand.
#[must_use]
pub fn transfer(with: NodeId, layout: LayoutId) -> Span {
    let part = match layout.part {
        Part::Entries => "entries",
        Part::Payload => "payload",
    };
    peer(with).in_scope(|| tracing::info_span!(target: TARGET, "transfer", manifest = %layout.manifest.short(), part))
}

/// One data request of ours within a transfer.
#[must_use]
pub fn asking(transfer: &Span, request: RequestId) -> Span {
    tracing::info_span!(target: TARGET, parent: transfer, "request", request = request.0)
}

/// One data request of a peer's within a transfer.
#[must_use]
pub fn answering(transfer: &Span, serve: ServeId) -> Span {
    tracing::info_span!(target: TARGET, parent: transfer, "serve", serve = serve.0)
}
