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

/// One data request of ours: peer > transfer > request.
#[must_use]
pub fn asking(of: NodeId, layout: LayoutId, request: RequestId) -> Span {
    peer(of)
        .in_scope(|| transfer(layout).in_scope(|| tracing::info_span!(target: TARGET, "request", request = request.0)))
}

/// One data request of a peer's: peer > transfer > serve.
#[must_use]
pub fn answering(to: NodeId, layout: LayoutId, serve: ServeId) -> Span {
    peer(to).in_scope(|| transfer(layout).in_scope(|| tracing::info_span!(target: TARGET, "serve", serve = serve.0)))
}

/// Work on one layout.
fn transfer(layout: LayoutId) -> Span {
    let part = match layout.part {
        Part::Entries => "entries",
        Part::Payload => "payload",
    };
    tracing::info_span!(target: TARGET, "transfer", manifest = %layout.manifest.short(), part)
}
