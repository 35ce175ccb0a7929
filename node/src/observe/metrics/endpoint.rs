//! `GET /metrics` for Prometheus, on loopback only, with a bound on connections and on the time of each.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use samara_protocol::limits::METRICS_CONNECTIONS_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::{Event, Metrics, Observer};

/// How long a connection may stay, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address can be reached from elsewhere.
    #[error("`{0}`: metrics are plain HTTP and stay on this machine; write 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The system refuses.
    #[error("`{address}`: cannot serve metrics: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Serves an observer's metrics from a task of its own until `stop`, and says where.
///
/// # Errors
/// As [`Endpoint::bind`].
///
/// # Panics
/// Outside a tokio runtime.
pub async fn serve(address: SocketAddr, observer: Observer, stop: CancellationToken) -> Result<(), EndpointError> {
    let endpoint = Endpoint::bind(address).await?;
    observer.emit(Event::MetricsServed {
        address: endpoint.address(),
    });
    tokio::spawn(endpoint.serve(observer.metrics(), stop));
    Ok(())
}

/// A bound endpoint.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Binds the address; port 0 lets the system choose.
    ///
    /// # Errors
    /// When it is not loopback, or taken.
    pub async fn bind(address: SocketAddr) -> Result<Self, EndpointError> {
        if !address.ip().is_loopback() {
            return Err(EndpointError::NotLoopback(address));
        }
        let failed = |source| EndpointError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn serve(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let router = Router::new().route("/metrics", get(answer)).with_state(metrics);
        let few = Few {
            listener: self.listener,
            places: Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX)),
        };
        let served = axum::serve(few, router);
        tokio::select! {
            result = async { served.await } => if let Err(error) = result {
                tracing::warn!(%error, "metrics are no longer served");
            },
            () = stop.cancelled() => {}
        }
    }
}

/// A page in a browser on this machine must not read metrics through a name that it points at loopback.
async fn answer(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    if !is_own_name(host) {
        return (
            StatusCode::MISDIRECTED_REQUEST,
            "ask for localhost, 127.0.0.1 or [::1]\n",
        )
            .into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
}

fn is_own_name(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Accepts while there are places.
struct Few {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Few {
    type Io = Brief;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Brief, SocketAddr) {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        let end = Box::pin(tokio::time::sleep(CONNECTION_TIME));
        (
            Brief {
                stream,
                end,
                _place: place,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends after a while.
struct Brief {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Brief {
    fn over(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.as_mut().poll(context).is_ready() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Brief {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.over(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Brief {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.over(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for own in [
            "localhost",
            "localhost:9170",
            "127.0.0.1:9170",
            "127.0.0.1",
            "[::1]:9170",
            "[::1]",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:9170",
            "10.0.0.1:9170",
            "",
            "127.0.0.1.evil.example",
            "[::2]:1",
        ] {
            assert!(!is_own_name(other), "{other}");
        }
    }
}
