//! Length-prefixed frames: a `u32` (little-endian) number of payload bytes, then the payload.
//!
//! The decoder takes bytes as they come and never allocates more than what has arrived, whatever a length claims.

/// A frame claims more bytes than its stream allows; the stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame claims {claimed} bytes, more than the {max} allowed")]
pub struct FrameError {
    /// What its length says.
    pub claimed: u32,
    /// The bound.
    pub max: usize,
}

/// Bytes of the length.
pub const PREFIX_BYTES: usize = 4;

/// A frame around `payload`.
///
/// # Panics
/// Above 4 GiB; senders keep the bounds of `limits`.
#[must_use]
pub fn encode(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + payload.len());
    out.extend_from_slice(
        &u32::try_from(payload.len())
            .expect("bounded by the sender")
            .to_le_bytes(),
    );
    out.extend_from_slice(payload);
    out
}

/// Takes frames apart.
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    held: Vec<u8>,
    /// Bytes at the front of `held` that are done with.
    done: usize,
}

impl Decoder {
    /// A decoder for frames of at most `max` payload bytes.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            held: Vec::new(),
            done: 0,
        }
    }

    /// Adds what has arrived. Take out the whole frames with [`Self::next_frame`] before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.done);
        self.done = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame's payload, or `None` until more arrives.
    ///
    /// # Errors
    /// When a frame claims more than the bound.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let rest = &self.held[self.done..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let claimed = u32::from_le_bytes(*prefix);
        let len = usize::try_from(claimed).ok().filter(|len| *len <= self.max);
        let len = len.ok_or(FrameError { claimed, max: self.max })?;
        let Some(payload) = rest.get(..len) else {
            return Ok(None);
        };
        self.done += PREFIX_BYTES + len;
        Ok(Some(payload.to_vec()))
    }

    /// Whether the bytes so far end between two frames.
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        self.held.len() == self.done
    }
}
