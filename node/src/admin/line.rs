//! Messages on the socket: one JSON object a line, open files beside the bytes (`SCM_RIGHTS`). No waiting here: the
//! server reads when tokio says so, the client blocks.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use samara_protocol::limits::{ADMIN_FILES_MAX, ADMIN_LINE_BYTES_MAX};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::api::SCHEMA;
use super::error::LineError;

/// Bytes asked for at a time.
const READ_BYTES: usize = 64 << 10;
/// Room for the control data of that many files.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(ADMIN_FILES_MAX));

/// A message with what every message has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope<T> {
    /// [`SCHEMA`].
    pub(super) schema: u32,
    /// How many files came along.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) files: usize,
    /// No further message answers the same request.
    #[serde(default = "yes")]
    pub(super) last: bool,
    /// What is said.
    pub(super) body: T,
}

/// The line for a message.
pub(super) fn encode<T: Serialize>(body: &T, files: usize, last: bool) -> Result<Vec<u8>, LineError> {
    let mut line = serde_json::to_vec(&Envelope {
        schema: SCHEMA,
        files,
        last,
        body,
    })?;
    line.push(b'\n');
    if line.len() > ADMIN_LINE_BYTES_MAX {
        Err(LineError::TooLong)
    } else {
        Ok(line)
    }
}

/// Sends the start of a line with all files; the caller writes what is left of it.
pub(super) fn send_files(socket: impl AsFd, line: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "more files than a message may carry",
        ));
    }
    Ok(sendmsg(
        socket,
        &[IoSlice::new(line)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

/// Bytes and files that came and have not been taken as messages.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// No newline before this.
    searched: usize,
    files: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Receives once; false when the other end has closed.
    ///
    /// # Errors
    /// Of the kind `WouldBlock` when nothing is there.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> io::Result<Receipt> {
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let start = self.bytes.len();
        self.bytes.resize(start + READ_BYTES, 0);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let result = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut self.bytes[start..])],
            &mut control,
            flags,
        );
        self.bytes
            .truncate(start + result.as_ref().map_or(0, |received| received.bytes));
        let received = result?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.files.len() > ADMIN_FILES_MAX {
            return Ok(Receipt::FilesLost);
        }
        Ok(if received.bytes == 0 {
            Receipt::Closed
        } else {
            Receipt::Some
        })
    }

    /// The next whole message, if it is here.
    pub(super) fn take<T: DeserializeOwned>(&mut self) -> Result<Option<Taken<T>>, LineError> {
        let Some(found) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return if self.bytes.len() > ADMIN_LINE_BYTES_MAX {
                Err(LineError::TooLong)
            } else {
                Ok(None)
            };
        };
        let end = self.searched + found;
        if end >= ADMIN_LINE_BYTES_MAX {
            return Err(LineError::TooLong);
        }
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        self.searched = 0;
        let version: Version = serde_json::from_slice(&line)?;
        if version.schema != SCHEMA {
            return Err(LineError::Version(version.schema));
        }
        let envelope: Envelope<T> = serde_json::from_slice(&line)?;
        if envelope.files > self.files.len() {
            return Err(LineError::Files {
                named: envelope.files,
                passed: self.files.len(),
            });
        }
        let files = self.files.drain(..envelope.files).collect();
        Ok(Some((envelope, files)))
    }

    /// Whether a message has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What receiving gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    /// Bytes.
    Some,
    /// The other end has closed.
    Closed,
    /// The kernel dropped files, or more came than allowed.
    FilesLost,
}

/// A message and the files that came along.
pub(super) type Taken<T> = (Envelope<T>, Vec<OwnedFd>);

/// What every version of the socket's messages has.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use samara_protocol::id::ManifestId;
    use serde_json::Value;

    use super::super::api::{ReleaseName, Request, Response, Select, SignedFile};
    use super::*;

    fn good() -> Vec<Vec<u8>> {
        let requests = [
            Request::Status,
            Request::Want {
                release: ReleaseName {
                    product: "acme/app".to_owned(),
                    select: Select::Channel("stable".to_owned()),
                },
                platforms: Some(vec!["linux/amd64".to_owned()]),
                entry: None,
            },
            Request::PublishCommit {
                manifest: ManifestId([7; 32]),
                signed: vec![SignedFile {
                    name: "1.root.json".to_owned(),
                }],
            },
        ];
        let line = |request: &Request| encode(request, 0, true).expect("short");
        requests.iter().map(line).collect()
    }

    /// Takes all messages of either kind out of these bytes; how many there were.
    fn take_all(bytes: &[u8]) -> usize {
        let mut taken = 0;
        for as_request in [true, false] {
            let mut inbox = Inbox {
                bytes: bytes.to_vec(),
                ..Inbox::default()
            };
            loop {
                let next = if as_request {
                    inbox.take::<Request>().map(|taken| taken.is_some())
                } else {
                    inbox.take::<Response>().map(|taken| taken.is_some())
                };
                match next {
                    Ok(true) => taken += 1,
                    Ok(false) => {
                        assert!(!inbox.bytes.contains(&b'\n'), "a whole line is taken or refused");
                        break;
                    }
                    // The connection is closed then.
                    Err(_) => break,
                }
            }
        }
        taken
    }

    #[test]
    fn good_lines_are_taken_and_what_never_ends_is_refused() {
        assert_eq!(take_all(&good().concat()), 3);
        let mut inbox = Inbox {
            bytes: vec![b' '; ADMIN_LINE_BYTES_MAX + 1],
            ..Inbox::default()
        };
        assert!(matches!(inbox.take::<Request>(), Err(LineError::TooLong)));
        let nested = [vec![b'['; 100_000], b"\n".to_vec()].concat();
        assert_eq!(take_all(&nested), 0, "depth costs no stack");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            take_all(&bytes);
        }

        #[test]
        fn mutated_lines_never_panic_and_are_requests_or_refused(
            which in 0_usize..3, at in any::<prop::sample::Index>(), with in ".{0,12}", len in 0_usize..12
        ) {
            let mut line = good().swap_remove(which);
            let start = at.index(line.len());
            let end = (start + len).min(line.len());
            line.splice(start..end, with.into_bytes());
            if take_all(&line) > 0 {
                let first = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
                prop_assert!(serde_json::from_slice::<Value>(first).is_ok());
            }
        }
    }
}
