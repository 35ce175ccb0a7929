//! The TLS 1.3 upgrade: wire-compatible with libp2p's, but it prefers AES-GCM where the CPU has it.
//!
//! The dialler's order of suites decides. libp2p-tls lists ChaCha20 first, which costs half of a connection's CPU on
//! machines with AES instructions, and writes session keys to `SSLKEYLOGFILE`; this one does neither. Certificates are
//! made and parsed by libp2p-tls.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::{Keypair, PeerId};
use libp2p_tls::certificate;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CommonState, SupportedCipherSuite};
use rustls_pki_types::{IpAddr, ServerName};

use super::config::NetError;

mod verifier;

use verifier::{OneCertificate, Verifier};

const ALPN: &[u8] = b"libp2p";
/// Bytes that one connection may hold encrypted and unsent: one of the muxer's frames at a time.
const BUFFER_BYTES_MAX: usize = 96 << 10;

/// The upgrade, for both directions.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

/// Why a connection is not secure.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The handshake failed.
    #[error("TLS handshake: {0}")]
    Handshake(#[from] std::io::Error),
    /// The certificate is not one of a libp2p node.
    #[error("the certificate is not a libp2p one")]
    Certificate,
}

impl Tls {
    /// An upgrade with a fresh certificate for `identity`.
    pub(super) fn new(identity: &Keypair) -> Result<Self, NetError> {
        Self::with_suites(identity, preferred_suites())
    }

    fn with_suites(identity: &Keypair, suites: Vec<SupportedCipherSuite>) -> Result<Self, NetError> {
        let failed = |error: &dyn std::fmt::Display| NetError::Certificate(error.to_string());
        let (certificate, key) = certificate::generate(identity).map_err(|error| failed(&error))?;
        let resolver = Arc::new(OneCertificate::new(certificate, &key).map_err(|error| failed(&error))?);
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites,
            ..aws_lc_rs::default_provider()
        });
        let versions = &[&rustls::version::TLS13];

        let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| failed(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_client_cert_resolver(Arc::clone(&resolver) as _);
        client.alpn_protocols = vec![ALPN.to_vec()];

        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| failed(&error))?
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(resolver);
        server.alpn_protocols = vec![ALPN.to_vec()];
        // No connection is ever resumed: a ticket would be sent for nothing.
        server.send_tls13_tickets = 0;
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

/// AES first where the CPU has instructions for it, else ChaCha20.
fn preferred_suites() -> Vec<SupportedCipherSuite> {
    let aes = [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384];
    let chacha = [TLS13_CHACHA20_POLY1305_SHA256];
    if cpu_has_aes() {
        aes.into_iter().chain(chacha).collect()
    } else {
        chacha.into_iter().chain(aes).collect()
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_aes() -> bool {
    std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn cpu_has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const fn cpu_has_aes() -> bool {
    false
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/tls/1.0.0")
    }
}

impl<C> InboundConnectionUpgrade<C> for Tls
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, TlsStream<C>);
    type Error = TlsError;
    type Future = BoxFuture<'static, Result<Self::Output, TlsError>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            let mut stream = TlsAcceptor::from(self.server).accept(socket).await?;
            stream.get_mut().1.set_buffer_limit(Some(BUFFER_BYTES_MAX));
            let peer = peer_of(stream.get_ref().1)?;
            Ok((peer, stream.into()))
        }
        .boxed()
    }
}

impl<C> OutboundConnectionUpgrade<C> for Tls
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, TlsStream<C>);
    type Error = TlsError;
    type Future = BoxFuture<'static, Result<Self::Output, TlsError>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            // libp2p's specification wants no server name; an unspecified IP sends none.
            let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
            let mut stream = TlsConnector::from(self.client).connect(name, socket).await?;
            stream.get_mut().1.set_buffer_limit(Some(BUFFER_BYTES_MAX));
            let peer = peer_of(stream.get_ref().1)?;
            Ok((peer, stream.into()))
        }
        .boxed()
    }
}

fn peer_of(state: &CommonState) -> Result<PeerId, TlsError> {
    let Some([certificate]) = state.peer_certificates() else {
        return Err(TlsError::Certificate);
    };
    let certificate = certificate::parse(certificate).map_err(|_| TlsError::Certificate)?;
    Ok(certificate.peer_id())
}

#[cfg(test)]
mod tests;
