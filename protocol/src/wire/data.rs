//! Frames on a data stream: asks one way, replies the other.
//!
//! Every frame is a type byte, the ask's id and fields of fixed size, then the bytes whose lengths these fields name.
//! Several asks are outstanding on one stream and their replies may interleave by frame. End of stream is never success:
//! only [`End`] with [`EndStatus::Done`] is.

use crate::id::{LayoutId, ManifestId, Part, ProductId};
use crate::limits::{FILE_CHUNK_BYTES_MAX, FILE_NAME_BYTES_MAX, GROUP_BYTES, PROOF_BYTES_MAX, REQUEST_RANGES_MAX};
use crate::tree::ranges::RangeSet;
use crate::wire::codec::{DecodeError, Reader, Writer};

/// Type byte of an ask for groups.
const ASK: u8 = 0x01;
/// Type byte of an ask for a named file.
const ASK_FILE: u8 = 0x02;
/// Type byte of a cancel.
const CANCEL: u8 = 0x03;
/// Type byte of a group frame.
const GROUP: u8 = 0x81;
/// Type byte of a file frame.
const FILE: u8 = 0x82;
/// Type byte of a reply's end.
const END: u8 = 0x83;

/// The bytes travel as they are.
pub const ENCODING_RAW: u8 = 0;

/// What one side asks of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Groups of a layout, answered by [`GroupHeader`] frames in ascending order.
    Groups {
        /// Which layout.
        layout: LayoutId,
        /// Which of its groups; not empty.
        groups: RangeSet,
    },
    /// A named metadata file or statement, answered by [`FileHeader`] frames.
    File {
        /// Of which product.
        product: ProductId,
        /// Its name: printable ASCII without spaces, 1 to [`FILE_NAME_BYTES_MAX`] bytes.
        name: String,
        /// Bytes to skip at its front.
        offset: u64,
    },
}

/// A frame from the requester.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskFrame {
    /// Asks.
    Ask {
        /// Names the ask on this stream; not in use at the moment.
        id: u32,
        /// For what.
        ask: Ask,
    },
    /// Takes an ask back; the reply still ends with an [`End`], at the next group.
    Cancel {
        /// Which.
        id: u32,
    },
}

/// The fixed part of a group frame; `proof_len` bytes of proof and `data_len` bytes of data follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// The ask that this answers.
    pub id: u32,
    /// The group's number in the layout.
    pub group: u32,
    /// How the data is encoded; [`ENCODING_RAW`] alone is known.
    pub encoding: u8,
    /// Bytes of proof, a multiple of 64.
    pub proof_len: u16,
    /// Bytes of data as they travel.
    pub data_len: u32,
}

/// The fixed part of a file frame; `chunk_len` bytes follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// The ask that this answers.
    pub id: u32,
    /// Size of the whole file.
    pub total: u64,
    /// Bytes of this chunk.
    pub chunk_len: u32,
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndStatus {
    /// All that was asked for was sent.
    Done,
    /// Nothing (more) now; ask again after so many milliseconds.
    Busy {
        /// The wait.
        millis: u32,
    },
    /// Not held, or not shown to this peer: one answer for both.
    Absent,
    /// The requester took the ask back.
    Cancelled,
    /// The responder cannot read what it has.
    Failed,
}

/// The last frame of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The ask that this answers.
    pub id: u32,
    /// How it ended.
    pub status: EndStatus,
}

/// The fixed part of a frame from the responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyHeader {
    /// A group; proof and data follow.
    Group(GroupHeader),
    /// A piece of a file; its bytes follow.
    File(FileHeader),
    /// The reply's end; nothing follows.
    End(End),
}

impl Ask {
    /// Whether the bounds of `limits` hold; what a decoder accepts and a sender may send.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        match self {
            Self::Groups { groups, .. } => !groups.is_empty() && groups.ranges().len() <= REQUEST_RANGES_MAX,
            Self::File { name, .. } => is_file_name(name.as_bytes()),
        }
    }
}

fn is_file_name(name: &[u8]) -> bool {
    (1..=FILE_NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

impl AskFrame {
    /// The payload of one length-prefixed frame (see [`super::frame`]).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Ask {
                id,
                ask: Ask::Groups { layout, groups },
            } => {
                out.u8(ASK)
                    .u32(*id)
                    .raw(&layout.manifest.0)
                    .u8(layout.part as u8)
                    .ranges(groups);
            }
            Self::Ask {
                id,
                ask: Ask::File { product, name, offset },
            } => {
                out.u8(ASK_FILE)
                    .u32(*id)
                    .raw(&product.0)
                    .u64(*offset)
                    .bytes(name.as_bytes());
            }
            Self::Cancel { id } => {
                out.u8(CANCEL).u32(*id);
            }
        }
        out.finish()
    }

    /// Reads the payload of one frame; `None` for a type that this version does not know.
    ///
    /// # Errors
    /// When the bytes cannot be an ask.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut input = Reader::new(bytes);
        let frame = match input.u8("type")? {
            ASK => {
                let id = input.u32("id")?;
                let manifest = ManifestId(input.array("manifest")?);
                let part = match input.u8("part")? {
                    0 => Part::Entries,
                    1 => Part::Payload,
                    _ => return Err(DecodeError::Value("part")),
                };
                let groups = input.ranges(REQUEST_RANGES_MAX, "groups")?;
                if groups.is_empty() {
                    return Err(DecodeError::Value("groups"));
                }
                let layout = LayoutId { manifest, part };
                Self::Ask {
                    id,
                    ask: Ask::Groups { layout, groups },
                }
            }
            ASK_FILE => {
                let id = input.u32("id")?;
                let product = ProductId(input.array("product")?);
                let offset = input.u64("offset")?;
                let name = input.bytes(FILE_NAME_BYTES_MAX, "name")?;
                let name = Some(name)
                    .filter(|name| is_file_name(name))
                    .and_then(|name| str::from_utf8(name).ok());
                let name = name.ok_or(DecodeError::Value("name"))?.to_owned();
                Self::Ask {
                    id,
                    ask: Ask::File { product, name, offset },
                }
            }
            CANCEL => Self::Cancel { id: input.u32("id")? },
            _ => return Ok(None),
        };
        Ok(Some(frame))
    }
}

impl GroupHeader {
    /// Bytes of the header.
    pub const BYTES: usize = ReplyHeader::BYTES;

    /// The header's bytes; proof and data go behind them.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = GROUP;
        out[1] = self.encoding;
        out[2..4].copy_from_slice(&self.proof_len.to_le_bytes());
        out[4..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..12].copy_from_slice(&self.group.to_le_bytes());
        out[12..16].copy_from_slice(&self.data_len.to_le_bytes());
        out
    }

    /// Bytes behind the header.
    #[must_use]
    pub const fn body_len(&self) -> usize {
        self.proof_len as usize + self.data_len as usize
    }
}

impl FileHeader {
    /// The header's bytes; the chunk goes behind them.
    ///
    /// # Panics
    /// When the file is 2^48 bytes or more; metadata files end at [`crate::limits::METADATA_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> [u8; ReplyHeader::BYTES] {
        assert!(self.total < 1 << 48, "files on data streams are metadata");
        let mut out = [0; ReplyHeader::BYTES];
        out[0] = FILE;
        out[4..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..12].copy_from_slice(&self.chunk_len.to_le_bytes());
        let total = self.total.to_le_bytes();
        out[12..16].copy_from_slice(&total[..4]);
        out[2..4].copy_from_slice(&total[4..6]);
        out
    }
}

impl End {
    /// The frame's bytes; nothing follows.
    #[must_use]
    pub fn encode(&self) -> [u8; ReplyHeader::BYTES] {
        let (status, millis) = match self.status {
            EndStatus::Done => (0, 0),
            EndStatus::Busy { millis } => (1, millis),
            EndStatus::Absent => (2, 0),
            EndStatus::Cancelled => (3, 0),
            EndStatus::Failed => (4, 0),
        };
        let mut out = [0; ReplyHeader::BYTES];
        out[0] = END;
        out[1] = status;
        out[4..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..12].copy_from_slice(&millis.to_le_bytes());
        out
    }
}

impl ReplyHeader {
    /// Bytes of every reply header.
    pub const BYTES: usize = 16;

    /// Reads a header; what follows it is [`body_len`](Self::body_len) bytes.
    ///
    /// # Errors
    /// When the type, encoding or status is unknown or a length is above its bound: the stream cannot go on.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, DecodeError> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let id = u32_at(4);
        match bytes[0] {
            GROUP => {
                let proof_len = u16::from_le_bytes([bytes[2], bytes[3]]);
                let header = GroupHeader {
                    id,
                    group: u32_at(8),
                    encoding: bytes[1],
                    proof_len,
                    data_len: u32_at(12),
                };
                bound("proof", u64::from(proof_len), PROOF_BYTES_MAX as u64)?;
                bound("data", u64::from(header.data_len), GROUP_BYTES)?;
                if header.encoding != ENCODING_RAW {
                    return Err(DecodeError::Value("encoding"));
                }
                Ok(Self::Group(header))
            }
            FILE => {
                let chunk_len = u32_at(8);
                bound("chunk", u64::from(chunk_len), FILE_CHUNK_BYTES_MAX as u64)?;
                let high = u64::from(u16::from_le_bytes([bytes[2], bytes[3]]));
                let total = u64::from(u32_at(12)) | high << 32;
                Ok(Self::File(FileHeader { id, total, chunk_len }))
            }
            END => {
                let status = match bytes[1] {
                    0 => EndStatus::Done,
                    1 => EndStatus::Busy { millis: u32_at(8) },
                    2 => EndStatus::Absent,
                    3 => EndStatus::Cancelled,
                    4 => EndStatus::Failed,
                    _ => return Err(DecodeError::Value("status")),
                };
                Ok(Self::End(End { id, status }))
            }
            _ => Err(DecodeError::Value("type")),
        }
    }

    /// The ask that the frame answers.
    #[must_use]
    pub const fn id(&self) -> u32 {
        match self {
            Self::Group(header) => header.id,
            Self::File(header) => header.id,
            Self::End(end) => end.id,
        }
    }

    /// Bytes that follow the header.
    #[must_use]
    pub const fn body_len(&self) -> usize {
        match self {
            Self::Group(header) => header.body_len(),
            Self::File(header) => header.chunk_len as usize,
            Self::End(_) => 0,
        }
    }
}

/// Bytes of the largest body behind a reply header.
#[expect(clippy::cast_possible_truncation, reason = "a group is 64 KiB")]
pub const REPLY_BODY_BYTES_MAX: usize = PROOF_BYTES_MAX + GROUP_BYTES as usize;

const _: () = assert!(
    FILE_CHUNK_BYTES_MAX <= REPLY_BODY_BYTES_MAX,
    "one buffer size holds every body"
);
const _: () = assert!(PROOF_BYTES_MAX <= u16::MAX as usize, "a proof's length fits its field");

const fn bound(field: &'static str, count: u64, max: u64) -> Result<(), DecodeError> {
    if count > max {
        Err(DecodeError::Bound { field, count, max })
    } else {
        Ok(())
    }
}
