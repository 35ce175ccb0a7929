//! Dials through an HTTP proxy (`CONNECT`), for sites with no other way out. Names go to the proxy unresolved.
//!
//! Every dial goes to the proxy first. When that fails for an address of a private network or of this machine, it is
//! dialled directly: a site's own nodes are rarely reachable from its proxy.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Transport, tcp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::address;
use super::config::NetError;

/// Bytes of the proxy's answer that are read.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// Where the proxy is and what it wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    address: String,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port[/]`.
    pub(super) fn parse(text: &str) -> Result<Self, NetError> {
        // The text may hold a password, so an error shows what stands behind it.
        let shown = || NetError::Proxy(text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(shown)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(user, address)| (Some(user), address));
        address::parse(address).map_err(|_| shown())?;
        let encode = |user: &str| format!("Basic {}", data_encoding::BASE64.encode(user.as_bytes()));
        Ok(Self {
            address: address.to_owned(),
            authorization: user.map(encode),
        })
    }

    async fn connect(&self, target: &str) -> Result<TcpStream, Error> {
        let mut stream = TcpStream::connect(&self.address)
            .await
            .map_err(|error| self.failed(&error.to_string()))?;
        stream.set_nodelay(true)?;
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map_or(String::new(), |value| format!("Proxy-Authorization: {value}\r\n"));
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == ANSWER_BYTES_MAX {
                return Err(self.failed("its answer does not end"));
            }
            // Byte by byte: what follows the answer is the peer's.
            answer.push(
                stream
                    .read_u8()
                    .await
                    .map_err(|_| self.failed("it closed without an answer"))?,
            );
        }
        match opened(&answer) {
            Ok(()) => Ok(stream),
            Err(line) => Err(self.failed(&format!("it answered `{line}`"))),
        }
    }

    fn failed(&self, reason: &str) -> Error {
        Error::new(
            ErrorKind::ConnectionRefused,
            format!("proxy {}: {reason}", self.address),
        )
    }
}

/// Whether an answer says that the way is open; else its first line, harmless on a terminal.
fn opened(answer: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default());
    let is_http = line.starts_with("HTTP/1.");
    match line.split(' ').nth(1) {
        Some("200") if is_http => Ok(()),
        _ => Err(line.escape_debug().to_string()),
    }
}

/// See the module. Listens on nothing.
#[derive(Debug, Clone)]
pub(super) struct ProxyTransport(Arc<Proxy>);

impl ProxyTransport {
    pub(super) fn new(proxy: Proxy) -> Self {
        Self(Arc::new(proxy))
    }
}

impl Transport for ProxyTransport {
    type Output = tcp::tokio::TcpStream;
    type Error = Error;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Error>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let is_tcp = address
            .iter()
            .nth(1)
            .is_some_and(|part| matches!(part, Protocol::Tcp(_)));
        let Some(target) = address::host_and_port(&address).filter(|_| is_tcp) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let proxy = Arc::clone(&self.0);
        Ok(async move {
            let stream = match (proxy.connect(&target).await, private(&target)) {
                (Ok(stream), _) => stream,
                (Err(_), Some(socket)) => {
                    let stream = TcpStream::connect(socket).await?;
                    stream.set_nodelay(true)?;
                    stream
                }
                (Err(error), None) => return Err(error),
            };
            Ok(tcp::tokio::TcpStream(stream))
        }
        .boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        Poll::Pending
    }
}

/// The address, if it is one of a private network or of this machine.
fn private(target: &str) -> Option<SocketAddr> {
    let socket = target.parse::<SocketAddr>().ok()?;
    let is_private = match socket.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    is_private.then_some(socket)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_answer_of_any_bytes_is_judged_and_shown_without_control_characters(
            answer in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "HTTP/1\\.[01] [0-9]{3}( [ -~\\x1b\\x07]*)?\r\n.{0,20}".prop_map(String::into_bytes),
            ],
        ) {
            match opened(&answer) {
                Ok(()) => prop_assert!(answer.starts_with(b"HTTP/1.") && answer.windows(5).any(|part| part.starts_with(b" 200"))),
                Err(line) => prop_assert!(!line.chars().any(char::is_control), "{line:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_whose_answer_does_not_end_is_given_up() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("listens");
        let talker = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            // Until the client has enough of it.
            while stream.write_all(&[b'x'; 1 << 10]).await.is_ok() {}
        });
        let proxy = Proxy::parse(&format!("http://{address}")).expect("reads");
        let error = proxy.connect("example.org:1").await.expect_err("no end").to_string();
        assert!(error.contains("does not end"), "{error}");
        talker.await.expect("the client has closed");
    }

    #[test]
    fn a_proxy_is_read_and_its_password_never_shown() {
        let proxy = Proxy::parse("http://user:secret@proxy.example:3128/").expect("reads");
        assert_eq!(proxy.address, "proxy.example:3128");
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNlcjpzZWNyZXQ="));
        for text in [
            "https://proxy:1",
            "proxy:3128",
            "http://proxy",
            "socks5://proxy:1",
            "http://user:secret@proxy",
        ] {
            let error = Proxy::parse(text).expect_err(text).to_string();
            assert!(
                !error.contains("secret") && error.contains("http://host:port"),
                "{error}"
            );
        }
    }
}
