//! Control messages between admitted peers. One message a frame; docs/wire.md has the bytes.
//!
//! The first message on a layout is a [`SwarmMessage::Status`], which gives it a number for the rest of the connection;
//! the others carry the number, so that telling 32 neighbours of every block costs little. A type that is not known is
//! skipped, bytes behind the last known field are ignored: later versions may add both.

use crate::bits::Bits;
use crate::id::{LayoutId, ManifestId, Part};
use crate::limits::{BLOCKS_MAX, TRANSFERS_MAX};
use crate::tree::ranges::RangeSet;

use super::codec::{DecodeError, Reader, Writer};

/// What the schedulers of two neighbours tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwarmMessage {
    /// All that the sender has and wants of a layout; replaces what it said before.
    Status {
        /// Stands for the layout in the sender's later messages; below `TRANSFERS_MAX`.
        number: u16,
        /// Which layout.
        layout: LayoutId,
        /// Whether the receiver's own status is wanted: the sender has none of it.
        ask: bool,
        /// Blocks it has verified and gives.
        have: Bits,
        /// Of those, the durable ones.
        durable: Bits,
        /// Blocks it wants in all, had or not.
        want: Bits,
    },
    /// More blocks that the sender has verified and gives.
    Have {
        /// Of which layout.
        number: u16,
        /// Which blocks.
        blocks: RangeSet,
    },
    /// Blocks of which the sender's copy would now survive a loss of power; said to origins only.
    Durable {
        /// Of which layout.
        number: u16,
        /// Which blocks.
        blocks: RangeSet,
    },
    /// Blocks that the sender has no longer.
    Lost {
        /// Of which layout.
        number: u16,
        /// Which blocks.
        blocks: RangeSet,
    },
    /// What the sender wants now, in all.
    Want {
        /// Of which layout.
        number: u16,
        /// Which blocks.
        want: Bits,
    },
    /// The sender takes no part in the layout any more; the number is free.
    Close {
        /// Which layout.
        number: u16,
    },
    /// What the receiver of this sent of these blocks did not verify: it should check its disk.
    Rejected {
        /// Which layout, by the number of the sender of this message.
        number: u16,
        /// Which blocks.
        blocks: RangeSet,
    },
}

/// Ranges of blocks in one message: every second block.
const BLOCK_RANGES_MAX: usize = BLOCKS_MAX as usize / 2;

impl SwarmMessage {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        match self {
            Self::Status {
                number,
                layout,
                ask,
                have,
                durable,
                want,
            } => {
                to.u8(1).u16(*number).raw(&layout.manifest.0).u8(layout.part as u8);
                to.u8(u8::from(*ask));
                to.bits(have).bits(durable).bits(want);
            }
            Self::Have { number, blocks } => put_blocks(to.u8(2).u16(*number), blocks),
            Self::Durable { number, blocks } => put_blocks(to.u8(3).u16(*number), blocks),
            Self::Lost { number, blocks } => put_blocks(to.u8(4).u16(*number), blocks),
            Self::Want { number, want } => {
                to.u8(5).u16(*number).bits(want);
            }
            Self::Close { number } => {
                to.u8(6).u16(*number);
            }
            Self::Rejected { number, blocks } => put_blocks(to.u8(7).u16(*number), blocks),
        }
        to.finish()
    }

    /// Reads one message; `None` when its type is of a later version.
    ///
    /// # Errors
    /// When a known message is cut short, crosses a bound or has a value it cannot have.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut from = Reader::new(bytes);
        let message = match from.u8("type")? {
            1 => status(&mut from)?,
            2 => {
                let (number, blocks) = numbered(&mut from)?;
                Self::Have { number, blocks }
            }
            3 => {
                let (number, blocks) = numbered(&mut from)?;
                Self::Durable { number, blocks }
            }
            4 => {
                let (number, blocks) = numbered(&mut from)?;
                Self::Lost { number, blocks }
            }
            5 => Self::Want {
                number: number(&mut from)?,
                want: from.bits("want")?,
            },
            6 => Self::Close {
                number: number(&mut from)?,
            },
            7 => {
                let (number, blocks) = numbered(&mut from)?;
                Self::Rejected { number, blocks }
            }
            _ => return Ok(None),
        };
        Ok(Some(message))
    }

    /// How many bytes [`Self::encode`] gives.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let bits = |bits: &Bits| 4 + bits.len().div_ceil(8) as usize;
        3 + match self {
            Self::Status {
                have, durable, want, ..
            } => 34 + bits(have) + bits(durable) + bits(want),
            Self::Have { blocks, .. }
            | Self::Durable { blocks, .. }
            | Self::Lost { blocks, .. }
            | Self::Rejected { blocks, .. } => 2 + 4 * blocks.ranges().len(),
            Self::Want { want, .. } => bits(want),
            Self::Close { .. } => 0,
        }
    }
}

fn status(from: &mut Reader<'_>) -> Result<SwarmMessage, DecodeError> {
    let number = number(from)?;
    let manifest = ManifestId(from.array("manifest")?);
    let part = match from.u8("part")? {
        0 => Part::Entries,
        1 => Part::Payload,
        _ => return Err(DecodeError::Value("part")),
    };
    let ask = match from.u8("ask")? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Value("ask")),
    };
    let have = from.bits("have")?;
    let durable = from.bits("durable")?;
    let want = from.bits("want")?;
    if durable.len() != have.len() || want.len() != have.len() || durable.count_common(&have) != durable.count() {
        return Err(DecodeError::Value("durable"));
    }
    Ok(SwarmMessage::Status {
        number,
        layout: LayoutId { manifest, part },
        ask,
        have,
        durable,
        want,
    })
}

fn number(from: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let number = from.u16("number")?;
    if usize::from(number) < TRANSFERS_MAX {
        return Ok(number);
    }
    Err(DecodeError::Bound {
        field: "number",
        count: u64::from(number),
        max: TRANSFERS_MAX as u64 - 1,
    })
}

fn numbered(from: &mut Reader<'_>) -> Result<(u16, RangeSet), DecodeError> {
    Ok((number(from)?, blocks(from)?))
}

/// A `u16` count, then for each range its start and its length as `u16`: ascending, not empty, not touching.
fn put_blocks(to: &mut Writer, blocks: &RangeSet) {
    let short = |value: usize| u16::try_from(value).expect("a layout has at most 4,096 blocks");
    to.u16(short(blocks.ranges().len()));
    for range in blocks.ranges() {
        to.u16(short(range.start as usize)).u16(short(range.len()));
    }
}

fn blocks(from: &mut Reader<'_>) -> Result<RangeSet, DecodeError> {
    let count = usize::from(from.u16("blocks")?);
    if count > BLOCK_RANGES_MAX {
        return Err(DecodeError::Bound {
            field: "blocks",
            count: count as u64,
            max: BLOCK_RANGES_MAX as u64,
        });
    }
    let (mut set, mut floor) = (RangeSet::new(), None);
    for _ in 0..count {
        let (start, len) = (u32::from(from.u16("blocks")?), u32::from(from.u16("blocks")?));
        let end = start + len;
        if len == 0 || end > BLOCKS_MAX || floor.is_some_and(|floor| start <= floor) {
            return Err(DecodeError::Value("blocks"));
        }
        floor = Some(end);
        set.insert(start..end);
    }
    Ok(set)
}

#[cfg(test)]
mod tests;
