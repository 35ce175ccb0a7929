//! The verb's end: blocking, one request at a time.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::api::{Request, Response};
use super::error::{AdminError, LineError};
use super::line::{Envelope, Inbox, Receipt, encode, send_files};

/// How often a waiting verb may look for a signal.
const TICK: Duration = Duration::from_millis(200);
/// How long a node may take for a plain answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the node on this machine.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    inbox: Inbox,
    path: PathBuf,
}

impl Client {
    /// Connects to a running node.
    ///
    /// # Errors
    /// [`AdminError::NotRunning`] when there is none.
    pub fn connect(path: &Path) -> Result<Self, AdminError> {
        let opened = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(TICK))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => Ok(Self {
                stream,
                inbox: Inbox::default(),
                path: path.to_owned(),
            }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Err(AdminError::NotRunning { path: path.to_owned() })
            }
            Err(source) => Err(AdminError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Asks and waits for the one answer, at most `wait`.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when the answer is no; otherwise what is wrong with the connection.
    pub fn ask(&mut self, request: &Request, files: &[OwnedFd], wait: Duration) -> Result<Response, AdminError> {
        let end = Instant::now() + wait;
        let path = self.path.clone();
        let outcome = self.follow(request, files, |_| {
            if Instant::now() < end {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match outcome {
            Err(AdminError::Stopped { .. }) => Err(AdminError::TimedOut { path, waited: wait }),
            other => other,
        }
    }

    /// Asks and hands every answer but the last to `each`, which is also called with `None` a few times a second so
    /// that it can look at the clock and for signals; it ends the wait with `Break`. Returns the last answer.
    ///
    /// # Errors
    /// As [`Client::ask`]; [`AdminError::Stopped`] when `each` broke off, after which the connection is of no more use.
    pub fn follow(
        &mut self,
        request: &Request,
        files: &[OwnedFd],
        mut each: impl FnMut(Option<Response>) -> ControlFlow<()>,
    ) -> Result<Response, AdminError> {
        self.send(request, files).map_err(|error| error.at(&self.path))?;
        loop {
            let answer = self.receive().map_err(|error| error.at(&self.path))?;
            let flow = match answer {
                Some(Envelope {
                    last: true,
                    body: Response::Refused(refusal),
                    ..
                }) => {
                    return Err(AdminError::Refused(refusal));
                }
                Some(Envelope { last: true, body, .. }) => return Ok(body),
                Some(Envelope { body, .. }) => each(Some(body)),
                None => each(None),
            };
            if flow.is_break() {
                return Err(AdminError::Stopped {
                    path: self.path.clone(),
                });
            }
        }
    }

    fn send(&mut self, request: &Request, files: &[OwnedFd]) -> Result<(), LineError> {
        let line = encode(request, files.len(), true)?;
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let sent = send_files(&self.stream, &line, &borrowed)?;
        Ok(self.stream.write_all(&line[sent..])?)
    }

    /// The next answer, or `None` after a tick without one.
    fn receive(&mut self) -> Result<Option<Envelope<Response>>, LineError> {
        loop {
            if let Some((envelope, _)) = self.inbox.take()? {
                return Ok(Some(envelope));
            }
            match self.inbox.receive(&self.stream) {
                Ok(Receipt::Some) => {}
                Ok(Receipt::Closed) => return Err(LineError::Cut),
                Ok(Receipt::FilesLost) => return Err(LineError::FilesLost),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
