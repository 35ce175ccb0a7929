//! The primitives of Samara's own encoding: little-endian integers, bounded byte strings, nothing self-describing.
//!
//! Evolution: a message is framed with its length and starts with a type byte. An unknown type is skipped whole; bytes
//! behind the last known field are ignored, so a later version may add fields at the end. Everything else is an error.

use crate::bits::Bits;
use crate::limits::BLOCKS_MAX;
use crate::tree::ranges::RangeSet;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the message ends inside field `{0}`")]
    Short(&'static str),
    /// A length or count is above its bound.
    #[error("field `{field}` has {count}, more than the {max} allowed")]
    Bound {
        /// Which field.
        field: &'static str,
        /// What it says.
        count: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A value that the field cannot have.
    #[error("field `{0}` has a value that it cannot have")]
    Value(&'static str),
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Bytes whose number both sides know.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A `u32` length and the bytes.
    ///
    /// # Panics
    /// Above 4 GiB; senders keep the bounds of `limits`.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("bounded by the sender"))
            .raw(bytes)
    }

    /// A `u32` count and each range as start and end.
    ///
    /// # Panics
    /// Above 2^32 ranges; senders keep the bounds of `limits`.
    pub fn ranges(&mut self, set: &RangeSet) -> &mut Self {
        self.u32(u32::try_from(set.ranges().len()).expect("bounded by the sender"));
        for range in set.ranges() {
            self.u32(range.start).u32(range.end);
        }
        self
    }

    /// A `u32` number of bits and the bitmap, least significant bit first.
    pub fn bits(&mut self, bits: &Bits) -> &mut Self {
        self.u32(bits.len()).raw(&bits.to_bytes())
    }
}

/// Takes fields off the front of a buffer; every length is checked against the bound that the caller names.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`], as for all fields.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Short(field))?;
        self.0 = rest;
        Ok(*head)
    }

    /// `count` bytes.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short(field))?;
        self.0 = rest;
        Ok(head)
    }

    /// A length of at most `max`, then that many bytes.
    ///
    /// # Errors
    /// When the length is above `max` or the bytes end.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let count = self.count(max, field)?;
        self.take(count, field)
    }

    /// A count of at most `max`.
    ///
    /// # Errors
    /// When it is above.
    pub fn count(&mut self, max: usize, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.u32(field)?;
        let bound = DecodeError::Bound {
            field,
            count: u64::from(count),
            max: max as u64,
        };
        usize::try_from(count).ok().filter(|count| *count <= max).ok_or(bound)
    }

    /// At most `max` ranges: ascending, not empty, not touching, so that one set has one encoding.
    ///
    /// # Errors
    /// When the bound or the order does not hold.
    pub fn ranges(&mut self, max: usize, field: &'static str) -> Result<RangeSet, DecodeError> {
        let (mut set, mut floor) = (RangeSet::new(), None);
        for _ in 0..self.count(max, field)? {
            let (start, end) = (self.u32(field)?, self.u32(field)?);
            if start >= end || floor.is_some_and(|floor| start <= floor) {
                return Err(DecodeError::Value(field));
            }
            floor = Some(end);
            set.insert(start..end);
        }
        Ok(set)
    }

    /// A bitmap of at most `BLOCKS_MAX` bits, spare bits clear.
    ///
    /// # Errors
    /// When the bound does not hold or spare bits are set.
    pub fn bits(&mut self, field: &'static str) -> Result<Bits, DecodeError> {
        let len = self.count(BLOCKS_MAX as usize, field)?;
        let bytes = self.take(len.div_ceil(8), field)?;
        Bits::from_bytes(u32::try_from(len).expect("bounded"), bytes).ok_or(DecodeError::Value(field))
    }
}
