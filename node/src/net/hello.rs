//! The hello exchange, from both ends: see `samara_protocol::wire::hello` for its bytes.
//!
//! The listener answers a peer that the gate admits, if only that there is no place, and nobody else: whatever the cause, no
//! byte goes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::{HELLO_BYTES_MAX, HELLO_TIMEOUT};
use samara_protocol::wire::codec::DecodeError;
use samara_protocol::wire::frame;
use samara_protocol::wire::hello::{Hello, HelloReply, Standing, WIRE_VERSION};

use super::gate::{Seat, Verdict};
use super::shared::Shared;

/// A hello exchange that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) product: ProductId,
    pub(super) credentials: Vec<u8>,
    pub(super) summary: Vec<u8>,
    /// Whether this node spoke first.
    pub(super) spoke_first: bool,
    /// The other says that our credentials are past their end.
    pub(super) expired: bool,
    /// Whose places the other takes one of.
    pub(super) seat: Seat,
}

/// Why a hello exchange failed. For this node's log; the other end never learns it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error("the connection ended before an answer: not admitted, or not a node of this network")]
    Stream(#[from] std::io::Error),
    #[error("no answer within {} s", HELLO_TIMEOUT.as_secs())]
    Timeout,
    #[error("a hello claims {0} bytes, more than the {HELLO_BYTES_MAX} allowed")]
    Large(u32),
    #[error("the hello cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("no wire version in common: the other speaks {0:?}, this program {WIRE_VERSION}")]
    Version(Vec<u16>),
    #[error("its credentials do not open the product")]
    Judged,
    #[error("nothing to say to it about the product")]
    Silent,
    #[error("all places for peers like it are taken")]
    Full,
    #[error("busy: the node there has no place left for this one; it is dialled again later")]
    Busy,
    #[error("another connection with it stays")]
    Duplicate,
}

/// Speaks first about `product`.
pub(super) async fn speak(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Shared,
    peer: NodeId,
    product: ProductId,
) -> Result<Admission, HelloError> {
    let exchange = async {
        let own = shared.gate.hello(peer, product).ok_or(HelloError::Silent)?;
        let hello = Hello {
            versions: vec![WIRE_VERSION],
            product,
            credentials: own.credentials,
            summary: own.summary,
        };
        write(&mut stream, &hello.encode()).await?;
        let reply = HelloReply::decode(&read(&mut stream).await?)?;
        if reply.version != WIRE_VERSION {
            return Err(HelloError::Version(vec![reply.version]));
        }
        if reply.standing == Standing::Busy {
            return Err(HelloError::Busy);
        }
        match shared.gate.judge(peer, product, &reply.credentials, true) {
            Verdict::Admit { seat, .. } => Ok(Admission {
                product,
                credentials: reply.credentials,
                summary: reply.summary,
                spoke_first: true,
                expired: reply.standing == Standing::Expired,
                seat,
            }),
            Verdict::Refuse => Err(HelloError::Judged),
        }
    };
    tokio::time::timeout(HELLO_TIMEOUT, exchange)
        .await
        .map_err(|_| HelloError::Timeout)?
}

/// Listens to a hello and answers it, or does not. `open` is set just before the answer goes out, so that whatever the
/// other does next finds the door open; `may_join` says whether there is a place for this connection.
pub(super) async fn listen(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Shared,
    peer: NodeId,
    may_join: impl FnOnce(Seat) -> Result<(), HelloError> + Send,
    open: Arc<AtomicBool>,
) -> Result<Admission, HelloError> {
    let exchange = async {
        let hello = Hello::decode(&read(&mut stream).await?)?;
        if !hello.versions.contains(&WIRE_VERSION) {
            return Err(HelloError::Version(hello.versions));
        }
        let Verdict::Admit { expired, seat } = shared.gate.judge(peer, hello.product, &hello.credentials, false) else {
            return Err(HelloError::Judged);
        };
        let own = shared.gate.hello(peer, hello.product).ok_or(HelloError::Silent)?;
        if let Err(error) = may_join(seat) {
            if matches!(error, HelloError::Full) {
                write(&mut stream, &busy().encode()).await?;
                // The other closes when it has read: a connection that ends beside its answer may take that along.
                let _ = stream.read(&mut [0]).await;
            }
            return Err(error);
        }
        let reply = HelloReply {
            version: WIRE_VERSION,
            standing: if expired { Standing::Expired } else { Standing::Admitted },
            credentials: own.credentials,
            summary: own.summary,
        };
        open.store(true, Ordering::Release);
        write(&mut stream, &reply.encode()).await?;
        Ok(Admission {
            product: hello.product,
            credentials: hello.credentials,
            summary: hello.summary,
            spoke_first: false,
            expired: false,
            seat,
        })
    };
    tokio::time::timeout(HELLO_TIMEOUT, exchange)
        .await
        .map_err(|_| HelloError::Timeout)?
}

/// Who may know the product learns that there is no place, and nothing else.
const fn busy() -> HelloReply {
    HelloReply {
        version: WIRE_VERSION,
        standing: Standing::Busy,
        credentials: Vec::new(),
        summary: Vec::new(),
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), payload: &[u8]) -> Result<(), std::io::Error> {
    stream.write_all(&frame::encode(payload)).await?;
    stream.flush().await
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, HelloError> {
    let mut prefix = [0; frame::PREFIX_BYTES];
    stream.read_exact(&mut prefix).await?;
    let claimed = u32::from_le_bytes(prefix);
    let len = usize::try_from(claimed)
        .ok()
        .filter(|len| len + frame::PREFIX_BYTES <= HELLO_BYTES_MAX);
    let mut payload = vec![0; len.ok_or(HelloError::Large(claimed))?];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}
