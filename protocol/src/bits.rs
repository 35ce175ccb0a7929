//! A bitmap of fixed length: which blocks of a layout somebody has or wants.

/// A bitmap of fixed length; at most `limits::BLOCKS_MAX` bits where it comes from the wire.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Bits {
    len: u32,
    words: Words,
}

/// Words of a bitmap that take no memory of their own.
const IN_PLACE: usize = 4;

/// A scheduler has half a dozen bitmaps for each neighbour and layout: those of small layouts lie beside what else is known.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
enum Words {
    /// As many as the length needs; the others are clear.
    Few([u64; IN_PLACE]),
    Many(Vec<u64>),
}

impl Bits {
    /// `len` bits, all clear.
    #[must_use]
    pub fn none(len: u32) -> Self {
        Self::filled(len, 0)
    }

    /// `len` bits, all set.
    #[must_use]
    pub fn all(len: u32) -> Self {
        let mut bits = Self::filled(len, u64::MAX);
        bits.clear_tail();
        bits
    }

    fn filled(len: u32, word: u64) -> Self {
        let count = len.div_ceil(64) as usize;
        let words = if count <= IN_PLACE {
            let mut few = [0; IN_PLACE];
            few[..count].fill(word);
            Words::Few(few)
        } else {
            Words::Many(vec![word; count])
        };
        Self { len, words }
    }

    /// Reads `len` bits, least significant first, from `bytes`; `None` unless it is exactly as many bytes as needed
    /// and the spare bits are clear.
    #[must_use]
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let mut bits = Self::none(len);
        for (to, chunk) in bits.words_mut().iter_mut().zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            *to = u64::from_le_bytes(word);
        }
        let before = bits.words.clone();
        bits.clear_tail();
        (bits.words == before).then_some(bits)
    }

    /// The bits, least significant first, in `len / 8` bytes rounded up.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
    }

    /// How many bits there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bits at all (not: none set).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bits are set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }

    /// Whether every bit is set.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// Whether bit `i` is set; false beyond the end.
    #[must_use]
    pub fn get(&self, i: u32) -> bool {
        i < self.len && self.words()[(i / 64) as usize] >> (i % 64) & 1 == 1
    }

    /// Sets bit `i` to `on` and says whether that changed it.
    ///
    /// # Panics
    /// When `i` is not below the length: the caller counted wrongly.
    pub fn set(&mut self, i: u32, on: bool) -> bool {
        assert!(i < self.len, "bit {i} of {}", self.len);
        let (word, mask) = (&mut self.words_mut()[(i / 64) as usize], 1 << (i % 64));
        let was = *word & mask != 0;
        if on {
            *word |= mask;
        } else {
            *word &= !mask;
        }
        was != on
    }

    /// The set bits, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words().iter().enumerate().flat_map(|(at, &word)| {
            let base = u32::try_from(at).expect("a bitmap has at most 2^32 bits") * 64;
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                (left != 0).then(|| {
                    left &= left - 1;
                    base + bit
                })
            })
        })
    }

    /// How many bits are set both here and in `other`.
    #[must_use]
    pub fn count_common(&self, other: &Self) -> u32 {
        self.words()
            .iter()
            .zip(other.words())
            .map(|(a, b)| (a & b).count_ones())
            .sum()
    }

    /// The raw 64-bit words, least significant bit first; spare bits are clear.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &[u64] {
        match &self.words {
            Words::Few(words) => &words[..self.len.div_ceil(64) as usize],
            Words::Many(words) => words,
        }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        match &mut self.words {
            Words::Few(words) => &mut words[..self.len.div_ceil(64) as usize],
            Words::Many(words) => words,
        }
    }

    fn clear_tail(&mut self) {
        // The spare bits of the last word: 0 when the length fills it.
        let spare = (64 - self.len % 64) % 64;
        if let Some(last) = self.words_mut().last_mut() {
            *last &= u64::MAX >> spare;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_round_trip_and_spare_bits_are_refused(len in 0u32..400, seed in any::<u64>()) {
            let mut rng = crate::rng::Rng::new(seed);
            let mut bits = Bits::none(len);
            for i in 0..len { bits.set(i, rng.one_in(2)); }
            let bytes = bits.to_bytes();
            prop_assert_eq!(Bits::from_bytes(len, &bytes), Some(bits.clone()));
            prop_assert_eq!(bits.iter().count() as u32, bits.count());
            if !len.is_multiple_of(8) {
                let mut bad = bytes;
                *bad.last_mut().expect("not empty") |= 0x80;
                prop_assert_eq!(Bits::from_bytes(len, &bad), None);
            }
            prop_assert!(Bits::all(len).is_full());
        }
    }
}
