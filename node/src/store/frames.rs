//! A buffer that frames are put together in, again and again.
//!
//! A group is read right into its place. A `Vec` would have that place zeroed first, each time: at a gigabyte a second that
//! is a noticeable part of a node's work. Here only what is longer than what the buffer held before is zeroed.

/// Bytes that grow at the end, over a buffer that was in use before.
#[derive(Debug, Default)]
pub struct Frames {
    /// What was written before, and beyond `len` what may be written over.
    bytes: Vec<u8>,
    len: usize,
}

impl Frames {
    /// Nothing, in the memory of `spare`, whose bytes are written over.
    #[must_use]
    pub const fn within(spare: Vec<u8>) -> Self {
        Self { bytes: spare, len: 0 }
    }

    /// Makes room for so many more bytes in one step.
    pub fn reserve(&mut self, more: usize) {
        let beyond = (self.len + more).saturating_sub(self.bytes.len());
        self.bytes.reserve_exact(beyond);
    }

    /// Bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What there is.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Puts `more` at the end.
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        self.room(more.len()).copy_from_slice(more);
    }

    /// So many bytes at the end, to be written over: what they are now is of no meaning.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.len;
        self.len += len;
        if self.bytes.len() < self.len {
            // No more than is needed: the buffer is kept.
            self.reserve(0);
            self.bytes.resize(self.len, 0);
        }
        &mut self.bytes[start..self.len]
    }

    /// Drops what is behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// What there is, to be handed on.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lay_in_the_buffer_before_is_not_part_of_what_it_holds() {
        let mut frames = Frames::within(vec![7; 100]);
        assert!(frames.is_empty());
        frames.extend_from_slice(b"abc");
        frames.room(2).copy_from_slice(b"de");
        assert_eq!((frames.as_slice(), frames.len()), (&b"abcde"[..], 5));
        frames.truncate(4);
        frames.truncate(50);
        frames.extend_from_slice(b"f");
        assert_eq!(frames.into_vec(), b"abcdf");
    }

    #[test]
    fn it_grows_beyond_what_it_was_given() {
        let mut frames = Frames::within(vec![7; 2]);
        frames.reserve(6);
        frames.extend_from_slice(b"abcd");
        frames.room(2).copy_from_slice(b"ef");
        assert_eq!(frames.into_vec(), b"abcdef");
    }
}
