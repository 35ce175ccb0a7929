//! The spans that log lines stand in: node > peer > transfer > request. Whoever works for one of these enters its span,
//! so that its lines, and those of libraries below, name the peer and the release.

use samara_protocol::id::{LayoutId, NodeId, Part, RequestId};
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

/// Work on one layout.
#[must_use]
pub fn transfer(layout: LayoutId) -> Span {
    let part = match layout.part {
        Part::Entries => "entries",
        Part::Payload => "payload",
    };
    tracing::info_span!(target: TARGET, "transfer", manifest = %layout.manifest.short(), part)
}

/// One data request, ours or a peer's.
#[must_use]
pub fn request(request: RequestId) -> Span {
    tracing::debug_span!(target: TARGET, "request", request = request.0)
}
