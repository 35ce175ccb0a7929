//! What went out to one neighbour of one layout: what it may complain of, and how much of it it really needs.

use crate::bits::Bits;
use crate::manifest::blocks::BlockTable;

/// What a neighbour was given of a layout since it came. It costs a bit for each block, from the first byte on.
#[derive(Debug)]
pub(super) struct Given {
    /// Blocks of which something was given to the shell for it.
    blocks: Bits,
    /// Bytes of these blocks.
    distinct: u64,
    /// Payload bytes that its socket took, those that it had got before too.
    sent: u64,
}

impl Given {
    pub(super) fn nothing() -> Self {
        Self {
            blocks: Bits::none(0),
            distinct: 0,
            sent: 0,
        }
    }

    /// Something of these blocks is on its way.
    pub(super) fn note(&mut self, table: &BlockTable, blocks: &[u32]) {
        if self.blocks.is_empty() {
            self.blocks = Bits::none(table.len());
        }
        for block in blocks {
            if self.blocks.set(*block, true) {
                self.distinct += table.get(*block).bytes;
            }
        }
    }

    /// So many bytes left.
    pub(super) const fn left(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Whether anything of a block was given.
    pub(super) fn has(&self, block: u32) -> bool {
        self.blocks.get(block)
    }

    /// Payload bytes that left.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether it takes again what it got before: it was sent more than there is in all that it ever asked for, and an
    /// eighth, which is what requests that are taken back and disks that fail may cost an honest one.
    pub(super) const fn is_again(&self) -> bool {
        self.sent > self.distinct + self.distinct / 8
    }

    /// What it may still need, in millionths of the `wanted` bytes: what is left of them after what it was sent.
    pub(super) fn need_left(&self, wanted: u64) -> u32 {
        let left = wanted.saturating_sub(self.sent);
        let millionths = u128::from(left) * 1_000_000 / u128::from(wanted.max(1));
        u32::try_from(millionths).expect("at most a million")
    }
}
