//! The node's end: lines in, typed [`Call`]s out, through a bounded queue; answers back.
//!
//! A caller is whoever may open the socket (mode 0600) and is the node's own user or root. One call of a connection is
//! answered before its next is read.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use samara_protocol::limits::{ADMIN_ANSWERS_MAX, ADMIN_CALLS_MAX, ADMIN_CONNECTIONS_MAX};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{Refusal, RefusalKind, Request, Response};
use super::error::AdminError;

mod connection;

/// How long a connection may take to read what it asked for, and the goodbye may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A verb asks something.
#[derive(Debug)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// What.
    pub request: Request,
    /// The files that came along: as many as [`Request::files`] says.
    pub files: Vec<OwnedFd>,
    /// Cancelled when the connection ends: a publish on it is then abandoned. Equal connections have equal tokens.
    pub closed: CancellationToken,
    /// Counts connections: calls with equal numbers come from one.
    pub connection: u64,
    /// Where the answer goes; dropped, the verb is told that the node is stopping.
    pub reply: Reply,
}

/// Who asks, by the kernel's word: for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process, where the system tells.
    pub pid: Option<i32>,
}

impl Caller {
    /// This process itself: a verb that runs the engine in itself.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = i32::try_from(std::process::id()).ok();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            pid,
        }
    }
}

/// Answers one call. No method waits, so the daemon's loop may call them.
#[derive(Debug)]
pub struct Reply {
    answers: mpsc::Sender<Response>,
    end: oneshot::Sender<Response>,
}

impl Reply {
    /// A reply and what it will be given, the last answer apart: for tests of the daemon.
    #[must_use]
    pub fn pair() -> (Self, mpsc::Receiver<Response>, oneshot::Receiver<Response>) {
        let (answers, receiver) = mpsc::channel(ADMIN_ANSWERS_MAX);
        let (end, ended) = oneshot::channel();
        (Self { answers, end }, receiver, ended)
    }

    /// An answer with more to follow. Dropped when the verb does not read fast enough; false once it is gone.
    #[must_use]
    pub fn progress(&self, response: Response) -> bool {
        !matches!(
            self.answers.try_send(response),
            Err(mpsc::error::TrySendError::Closed(_))
        )
    }

    /// An answer with more to follow, waiting for the verb to read. For tasks that do nothing else; false once it is gone.
    pub async fn send(&self, response: Response) -> bool {
        self.answers.send(response).await.is_ok()
    }

    /// Returns when nobody waits for the answer any more.
    pub async fn closed(&self) {
        self.answers.closed().await;
    }

    /// The last answer.
    pub fn finish(self, response: Response) {
        // The verb may be gone, which is its business.
        let _ = self.end.send(response);
    }

    /// The last answer, and it is no.
    pub fn refuse(self, refusal: Refusal) {
        self.finish(Response::Refused(refusal));
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.is_closed()
    }
}

/// A bound socket. The file goes away with it.
#[derive(Debug)]
pub struct Server {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket, mode 0600, in place of one that a dead node left.
    ///
    /// # Errors
    /// When another node listens there, something else lies there, or the system refuses (path longer than 107 bytes, no
    /// such directory, no permission).
    pub fn bind(path: &Path) -> Result<Self, AdminError> {
        clear(path)?;
        let listener = listen(path).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { path: path.to_owned() },
            _ => AdminError::Io {
                path: path.to_owned(),
                source,
            },
        })?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Accepts verbs until `stop`, on the current tokio runtime. The future ends when all calls are answered or their
    /// daemon is gone; until then the socket's file is there.
    ///
    /// # Errors
    /// When the socket cannot be given to the runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        self,
        stop: CancellationToken,
    ) -> Result<(mpsc::Receiver<Call>, impl Future<Output = ()> + Send + 'static), AdminError> {
        let failed = |source| AdminError::Io {
            path: self.path.clone(),
            source,
        };
        let listener = self.listener.try_clone().map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        let (calls, receiver) = mpsc::channel(ADMIN_CALLS_MAX);
        Ok((receiver, accept(self, listener, calls, stop)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is left behind is cleared by the next node.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(server: Server, listener: UnixListener, calls: mpsc::Sender<Call>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut count = 0;
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin socket accepts nobody for a moment");
                    // Out of files, most likely: give others the time to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        if tasks.len() >= ADMIN_CONNECTIONS_MAX {
            // Closing says enough; answering would take a task more.
            continue;
        }
        count += 1;
        tasks.spawn(connection::serve(stream, count, calls.clone(), stop.clone()));
    }
    drop(calls);
    tasks.close();
    tasks.wait().await;
    drop(server);
}

/// Removes a socket that nobody listens on.
fn clear(path: &Path) -> Result<(), AdminError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(AdminError::InTheWay { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| AdminError::Io {
                path: path.to_owned(),
                source,
            })
        }
        Ok(_) => Err(AdminError::InUse { path: path.to_owned() }),
        Err(source) => Err(AdminError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The mode is set before the name exists, so there is no moment in which others could connect.
fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let only_owner = Mode::RUSR | Mode::WUSR;
    rustix::fs::fchmod(&socket, only_owner)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket.into())
}

/// The answer when nobody answers.
fn stopping() -> Response {
    let refusal = Refusal::new(RefusalKind::Interrupted, "node", "is stopping");
    Response::Refused(refusal.way_out("ask again once it runs"))
}
