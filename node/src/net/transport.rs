//! The transports: TCP with our TLS and muxer, direct or through a proxy, and stock QUIC.

use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, OrTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, quic, tcp};
use samara_protocol::limits::{STRANGER_BYTES_MAX, SUBSTREAMS_MAX, YAMUX_WINDOW_MIN};

use super::config::{NetConfig, NetError};
use super::io::{ReadAhead, ReadBuffers};
use super::muxer::Yamux;
use super::proxy::{Proxy, ProxyTransport};
use super::tls::Tls;

/// How long it may take until a connection is secure.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that may wait for us to accept them.
const BACKLOG: u32 = 128;

/// All transports as one.
pub(super) fn build(config: &NetConfig, identity: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let tls = Tls::new(identity)?;
    let yamux = Yamux::new(config.window_growth);
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true).listen_backlog(BACKLOG));
    let dns_failed = |error: std::io::Error| NetError::Dns(error.to_string());
    let buffers = ReadBuffers::default();
    let secure = move |tcp: Boxed<tcp::tokio::TcpStream>| {
        let tcp = tcp.map(move |stream, _| ReadAhead::new(stream, buffers.clone()));
        let upgraded = tcp
            .upgrade(Version::V1Lazy)
            .authenticate(tls.clone())
            .multiplex(yamux.clone());
        TransportTimeout::new(upgraded, HANDSHAKE_TIMEOUT)
    };
    if let Some(proxy) = &config.proxy {
        let proxy = ProxyTransport::new(Proxy::parse(proxy)?);
        let tcp = OrTransport::new(proxy, tcp())
            .map(|stream, _| stream.into_inner())
            .boxed();
        return Ok(secure(tcp)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed());
    }
    let tcp = secure(tcp().boxed());
    if !config.quic {
        let tcp = dns::tokio::Transport::system(tcp).map_err(dns_failed)?;
        return Ok(tcp.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed());
    }
    let quic = quic::tokio::Transport::new(quic_config(config, identity));
    let both = dns::tokio::Transport::system(OrTransport::new(tcp, quic)).map_err(dns_failed)?;
    let boxed = both.map(|either, _| match either {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    Ok(boxed.boxed())
}

fn quic_config(config: &NetConfig, identity: &Keypair) -> quic::Config {
    let mut quic = quic::Config::new(identity);
    let window = (YAMUX_WINDOW_MIN + config.window_growth as u64).min(STRANGER_BYTES_MAX);
    let window = u32::try_from(window).expect("a window is small");
    quic.handshake_timeout = HANDSHAKE_TIMEOUT;
    quic.max_idle_timeout = 15_000;
    quic.keep_alive_interval = Duration::from_secs(5);
    quic.max_concurrent_stream_limit = u32::try_from(SUBSTREAMS_MAX).unwrap_or(u32::MAX);
    // One window for strangers and for admitted peers: QUIC cannot be told later.
    quic.max_stream_data = window;
    quic.max_connection_data = window;
    quic
}
