//! One verb's connection: a request, its answers, the next request.

use std::io;

use rustix::net::RecvFlags;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::api::{Refusal, RefusalKind, Request, Response};
use super::super::error::LineError;
use super::super::line::{Inbox, Receipt, encode};
use super::{Call, Caller, Reply, WRITE_TIMEOUT, stopping};

pub(super) async fn serve(mut stream: UnixStream, connection: u64, calls: mpsc::Sender<Call>, stop: CancellationToken) {
    let Some(caller) = admitted(&stream) else { return };
    let closed = CancellationToken::new();
    let _closes = closed.clone().drop_guard();
    let mut inbox = Inbox::default();
    loop {
        let taken = tokio::select! {
            taken = next(&stream, &mut inbox) => taken,
            () = stop.cancelled() => return,
        };
        let (request, files) = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(error) => {
                // What cannot be read leaves no place to go on from.
                let refusal = Refusal::new(RefusalKind::Usage, "request", error.to_string());
                let _ = write(&mut stream, &Response::Refused(refusal), true).await;
                return;
            }
        };
        tracing::debug!(connection, caller = caller.uid, request = request.name(), "a verb asks");
        let (reply, answers, end) = Reply::pair();
        let call = Call {
            caller,
            request,
            files,
            closed: closed.clone(),
            connection,
            reply,
        };
        if calls.send(call).await.is_err() {
            let _ = write(&mut stream, &stopping(), true).await;
            return;
        }
        if pump(&mut stream, answers, end).await.is_err() {
            return;
        }
    }
}

/// The node's own user and root, whatever the file system thinks of mode 0600.
fn admitted(stream: &UnixStream) -> Option<Caller> {
    let credentials = stream.peer_cred().ok()?;
    let own = rustix::process::geteuid().as_raw();
    let (uid, gid) = (credentials.uid(), credentials.gid());
    if uid != own && uid != 0 {
        tracing::warn!(uid, "another user on the admin socket is turned away");
        return None;
    }
    Some(Caller {
        uid,
        gid,
        pid: credentials.pid(),
    })
}

/// The next request, or `None` when the verb has closed.
async fn next(
    stream: &UnixStream,
    inbox: &mut Inbox,
) -> Result<Option<(Request, Vec<std::os::fd::OwnedFd>)>, LineError> {
    loop {
        if let Some((envelope, files)) = inbox.take::<Request>()? {
            let named = envelope.body.files();
            if named != files.len() {
                return Err(LineError::Files {
                    named,
                    passed: files.len(),
                });
            }
            return Ok(Some((envelope.body, files)));
        }
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || inbox.receive(stream)) {
            Ok(Receipt::Some) => {}
            Ok(Receipt::FilesLost) => return Err(LineError::FilesLost),
            Ok(Receipt::Closed) if inbox.is_empty() => return Ok(None),
            Ok(Receipt::Closed) => return Err(LineError::Cut),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Hands answers on until the last one, or until the verb is gone.
async fn pump(
    stream: &mut UnixStream,
    mut answers: mpsc::Receiver<Response>,
    mut end: oneshot::Receiver<Response>,
) -> io::Result<()> {
    let mut open = true;
    let last = loop {
        tokio::select! {
            biased;
            answer = answers.recv(), if open => match answer {
                Some(answer) => write(stream, &answer, false).await?,
                None => open = false,
            },
            last = &mut end => break last.unwrap_or_else(|_| stopping()),
            gone = hung_up(stream) => return Err(gone),
        }
    };
    // Sent before the last one, and perhaps not taken yet.
    while let Ok(answer) = answers.try_recv() {
        write(stream, &answer, false).await?;
    }
    write(stream, &last, true).await
}

/// Ends when the verb closes. Never when it merely sends: then it is waited for after the answer.
async fn hung_up(stream: &UnixStream) -> io::Error {
    loop {
        if let Err(error) = stream.readable().await {
            return error;
        }
        let peeked = stream.try_io(Interest::READABLE, || {
            let mut byte = [0; 1];
            Ok(rustix::net::recv(stream, &mut byte, RecvFlags::PEEK)?.0)
        });
        match peeked {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            // The next request: closing is found out by writing.
            Ok(_) => return std::future::pending().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error,
        }
    }
}

async fn write(stream: &mut UnixStream, response: &Response, last: bool) -> io::Result<()> {
    let line = encode(response, 0, last).or_else(|error| {
        tracing::error!(%error, "an answer does not fit the admin socket");
        let refusal = Refusal::new(RefusalKind::Failure, "node", format!("its answer is {error}"));
        encode(&Response::Refused(refusal), 0, last).map_err(io::Error::other)
    })?;
    let written = tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(&line)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
