//! Everything that any scheduler put out, in order, as one hash: equal for equal runs.

use samara_protocol::swarm::io::Output;
use samara_protocol::time::Timestamp;

/// So many bytes are hashed at a time: much at once costs a fraction of many small pieces.
const GATHERED: usize = 64 << 10;

/// What was put out so far.
#[derive(Debug)]
pub(super) struct Trace {
    hash: blake3::Hasher,
    /// What is not hashed yet.
    gathered: Vec<u8>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            hash: blake3::Hasher::new(),
            gathered: Vec::with_capacity(GATHERED),
        }
    }

    /// A node's scheduler wants something done.
    pub(super) fn note(&mut self, now: Timestamp, node: usize, output: &Output) {
        let (tag, number): (u8, u64) = match output {
            Output::Send { message, .. } => (1, message.encoded_len() as u64),
            Output::Fetch { request, groups, .. } => (2, request.0 ^ groups.count() << 32),
            Output::CancelFetch { request } => (3, request.0),
            Output::Serve { serve, groups, .. } => (4, serve.0 ^ groups.count() << 32),
            Output::Refuse { serve, .. } => (5, serve.0),
            Output::Recheck { groups, .. } => (6, groups.count()),
            Output::Disconnect { .. } => (7, 0),
            Output::Event(_) => (8, 0),
        };
        self.gathered.extend_from_slice(&now.0.to_le_bytes());
        self.gathered.extend_from_slice(&(node as u64).to_le_bytes());
        self.gathered.push(tag);
        self.gathered.extend_from_slice(&number.to_le_bytes());
        if self.gathered.len() >= GATHERED {
            self.hash.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// The hash so far.
    pub(super) fn hash(&self) -> String {
        let mut hash = self.hash.clone();
        hash.update(&self.gathered);
        hash.finalize().to_hex().to_string()
    }
}
