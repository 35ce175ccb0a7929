//! Pairs of an outboard, read a page at a time: the pairs of neighbouring groups lie side by side, and one read for each
//! would be most of the system calls of a serving node.
//!
//! A page lives for one read of the store, so that what another thread writes meanwhile is seen by the next.

use std::io;

use samara_protocol::tree::geometry::{Node, Pair};

use super::disk::read_up_to;
use super::files::Files;

/// Bytes read at once: the pairs of 64 groups.
const PAGE_BYTES: usize = 4 << 10;
const PAIR_BYTES: usize = 64;

/// The page of one body's outboard that was read last.
#[derive(Default)]
pub(super) struct PairPage {
    start: u64,
    bytes: Vec<u8>,
}

impl PairPage {
    /// The pair of a node; an error when the outboard is not there or was never written at this place.
    pub(super) fn read(&mut self, files: &Files, node: Node) -> io::Result<Pair> {
        let offset = node.offset();
        let pair = match self.held(offset) {
            Some(pair) => pair,
            None => {
                self.turn_to(files, offset)?;
                self.held(offset).ok_or(io::ErrorKind::UnexpectedEof)?
            }
        };
        if pair == [0; PAIR_BYTES] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(pair)
    }

    fn held(&self, offset: u64) -> Option<Pair> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..)?.first_chunk().copied()
    }

    /// Reads the page that holds `offset`, as far as the outboard reaches.
    fn turn_to(&mut self, files: &Files, offset: u64) -> io::Result<()> {
        let outboard = files.outboard.as_ref().ok_or(io::ErrorKind::NotFound)?;
        self.start = offset - offset % PAGE_BYTES as u64;
        self.bytes.resize(PAGE_BYTES, 0);
        let outcome = read_up_to(&**outboard, &mut self.bytes, self.start);
        self.bytes.truncate(*outcome.as_ref().unwrap_or(&0));
        outcome.map(|_| ())
    }
}
