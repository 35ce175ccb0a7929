//! The only types that go into the index, and their bytes. Each value ends with a check over its table, key and bytes:
//! an index that was damaged forgets, it never claims.

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId, Part};
use samara_protocol::limits::GROUPS_MAX;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::codec::{Reader, Writer};

use super::disk::Stamp;

/// What a large artifact's file, or a pack, holds durably.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BodyRecord {
    /// Bytes of the file.
    pub(super) len: u64,
    /// The number that locations name a pack by; 0 for a large artifact.
    pub(super) number: u32,
    /// Durable groups, counted in the file.
    pub(super) durable: RangeSet,
    /// The file as it was when `durable` was written.
    pub(super) stamp: Stamp,
    /// When all of it was last hashed or written, seconds since 1970.
    pub(super) checked_at: i64,
}

/// Where a small artifact lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The pack's number.
    pub(super) pack: u32,
    /// Where its bytes start in the pack.
    pub(super) offset: u64,
    /// How many.
    pub(super) len: u32,
}

const CHECK_BYTES: usize = 8;

/// The tables' tags in the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Artifacts = 1,
    Packs = 2,
    Locations = 3,
}

fn check(table: Table, key: &[u8], body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[table as u8]).update(key).update(body);
    let mut out = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut out);
    out
}

fn seal(table: Table, key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let check = check(table, key, &body);
    body.extend_from_slice(&check);
    body
}

fn unseal<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (body, found) = value.split_last_chunk::<CHECK_BYTES>()?;
    (check(table, key, body) == *found).then_some(body)
}

impl BodyRecord {
    pub(super) fn encode(&self, table: Table, key: &[u8]) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64(self.len).u32(self.number);
        for value in [self.stamp.len, self.stamp.inode, self.stamp.links] {
            out.u64(value);
        }
        for value in [self.stamp.modified, self.stamp.changed, self.checked_at] {
            out.raw(&value.to_le_bytes());
        }
        out.ranges(&self.durable);
        seal(table, key, out.finish())
    }

    /// `None` when the bytes are not what was written for this key.
    pub(super) fn decode(table: Table, key: &[u8], value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(unseal(table, key, value)?);
        let (len, number) = (input.u64("len").ok()?, input.u32("number").ok()?);
        let stamp_len = input.u64("stamp len").ok()?;
        let (inode, links) = (input.u64("inode").ok()?, input.u64("links").ok()?);
        let mut signed = || input.array("time").ok().map(i64::from_le_bytes);
        let (modified, changed, checked_at) = (signed()?, signed()?, signed()?);
        let durable = input.ranges(GROUPS_MAX as usize, "durable").ok()?;
        let stamp = Stamp {
            len: stamp_len,
            modified,
            changed,
            inode,
            links,
        };
        Some(Self {
            len,
            number,
            durable,
            stamp,
            checked_at,
        })
    }
}

impl Location {
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut out = Writer::new();
        out.u32(self.pack).u64(self.offset).u32(self.len);
        seal(Table::Locations, key, out.finish())
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(unseal(Table::Locations, key, value)?);
        Some(Self {
            pack: input.u32("pack").ok()?,
            offset: input.u64("offset").ok()?,
            len: input.u32("len").ok()?,
        })
    }
}

/// A layout's key: the manifest's id and the part.
pub(super) fn layout_key(id: LayoutId) -> [u8; 33] {
    let mut key = [id.part as u8; 33];
    key[..32].copy_from_slice(&id.manifest.0);
    key
}

pub(super) fn layout_of_key(key: &[u8]) -> Option<LayoutId> {
    let (manifest, part) = key.split_first_chunk::<32>()?;
    let part = match part {
        [0] => Part::Entries,
        [1] => Part::Payload,
        _ => return None,
    };
    let manifest = ManifestId(*manifest);
    Some(LayoutId { manifest, part })
}

pub(super) fn artifact_of_key(key: &[u8]) -> Option<ArtifactId> {
    key.try_into().ok().map(ArtifactId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BodyRecord {
        BodyRecord {
            len: 5 << 16,
            number: 3,
            durable: [0..2, 4..5].into_iter().collect(),
            stamp: Stamp {
                len: 5 << 16,
                modified: -1,
                changed: 7,
                inode: 9,
                links: 1,
            },
            checked_at: 1_800_000_000,
        }
    }

    #[test]
    fn records_round_trip_and_any_flipped_bit_or_other_key_is_seen() {
        let key = layout_key(LayoutId {
            manifest: ManifestId([7; 32]),
            part: Part::Payload,
        });
        let bytes = record().encode(Table::Packs, &key);
        assert_eq!(BodyRecord::decode(Table::Packs, &key, &bytes), Some(record()));
        assert_eq!(BodyRecord::decode(Table::Artifacts, &key, &bytes), None);
        assert_eq!(BodyRecord::decode(Table::Packs, &[0; 33], &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BodyRecord::decode(Table::Packs, &key, &bad), None, "bit {bit}");
        }
        let location = Location {
            pack: 1,
            offset: 2,
            len: 3,
        };
        assert_eq!(Location::decode(&key, &location.encode(&key)), Some(location));
        assert_eq!(layout_of_key(&key).map(layout_key), Some(key));
    }

    /// Pins the bytes so that a change of the format is seen (AI-4).
    #[test]
    fn the_bytes_of_a_record_are_these() {
        let bytes = record().encode(Table::Packs, &[1; 33]);
        assert_eq!(
            data_encoding::HEXLOWER.encode(blake3::hash(&bytes).as_bytes())[..16],
            *"368b3dea46d3179c"
        );
    }
}
