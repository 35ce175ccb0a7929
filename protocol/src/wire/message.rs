//! Control messages between admitted peers. One message a frame; docs/wire.md has the bytes.

use crate::bits::Bits;
use crate::id::LayoutId;

/// What the schedulers of two neighbours tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwarmMessage {
    /// All that the sender has and wants of a layout; replaces what it said before. The first message on a layout.
    Status {
        /// Which layout.
        layout: LayoutId,
        /// Blocks it has verified.
        have: Bits,
        /// Of those, the durable ones.
        durable: Bits,
        /// Blocks it wants in all, had or not.
        want: Bits,
    },
}
