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
