use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::tls as stock;
use rustls::CipherSuite;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;

type Ends = (tokio::io::DuplexStream, tokio::io::DuplexStream);

fn key(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).expect("a seed")
}

fn ends() -> Ends {
    tokio::io::duplex(64 << 10)
}

/// Runs a handshake, checks that each end learns the other's key, moves bytes, and gives the suite that was chosen.
async fn handshake<D, L, E, F>(dialler: D, listener: L) -> CipherSuite
where
    D: OutboundConnectionUpgrade<Wire, Output = (PeerId, TlsStream<Wire>), Error = E, Info = &'static str>,
    L: InboundConnectionUpgrade<Wire, Output = (PeerId, TlsStream<Wire>), Error = F, Info = &'static str>,
    E: std::fmt::Debug,
    F: std::fmt::Debug,
{
    let (left, right) = ends();
    let (left, right) = tokio::join!(
        dialler.upgrade_outbound(left.compat(), "/tls/1.0.0"),
        listener.upgrade_inbound(right.compat(), "/tls/1.0.0"),
    );
    let ((listener_id, mut left), (dialler_id, mut right)) = (left.expect("dials"), right.expect("listens"));
    assert_eq!(
        (dialler_id, listener_id),
        (key(1).public().to_peer_id(), key(2).public().to_peer_id())
    );
    let sent: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let mut received = vec![0; sent.len()];
    let write = async {
        left.write_all(&sent).await.expect("writes");
        left.flush().await.expect("flushes");
    };
    tokio::join!(write, async { right.read_exact(&mut received).await.expect("reads") });
    assert_eq!(sent, received);
    let connection = left.get_ref().1;
    assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(connection.alpn_protocol(), Some(ALPN));
    connection.negotiated_cipher_suite().expect("chosen").suite()
}

type Wire = tokio_util::compat::Compat<tokio::io::DuplexStream>;

fn ours(seed: u8) -> Tls {
    Tls::new(&key(seed)).expect("a certificate")
}

fn stock(seed: u8) -> stock::Config {
    stock::Config::new(&key(seed)).expect("a certificate")
}

fn preferred() -> CipherSuite {
    if cpu_has_aes() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
    } else {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    }
}

#[tokio::test]
async fn two_of_ours_choose_aes_where_the_cpu_has_it() {
    assert_eq!(handshake(ours(1), ours(2)).await, preferred());
}

#[tokio::test]
async fn a_stock_listener_takes_our_choice() {
    assert_eq!(handshake(ours(1), stock(2)).await, preferred());
}

#[tokio::test]
async fn a_stock_dialler_gets_its_own() {
    assert_eq!(
        handshake(stock(1), ours(2)).await,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    );
}

#[tokio::test]
async fn a_cpu_without_aes_still_meets_one_with_it() {
    let chacha_first = vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256];
    let slow = Tls::with_suites(&key(1), chacha_first).expect("a certificate");
    assert_eq!(
        handshake(slow, ours(2)).await,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    );
}

#[test]
fn session_keys_are_logged_nowhere() {
    let tls = ours(1);
    for log in [&tls.client.key_log, &tls.server.key_log] {
        assert!(!log.will_log("CLIENT_TRAFFIC_SECRET_0"));
    }
}

#[tokio::test]
async fn a_certificate_without_the_libp2p_extension_is_refused() {
    let parameters = certificate::generate(&key(1)).expect("a certificate");
    // The right bytes with one bit of the proof turned: neither self-signature nor extension hold.
    let mut der = parameters.0.as_ref().to_vec();
    let middle = der.len() / 2;
    der[middle] ^= 1;
    let forged = OneCertificate::new(der.into(), &parameters.1).expect("a key");
    let mut dialler = ours(1);
    let client = Arc::make_mut(&mut dialler.client);
    client.client_auth_cert_resolver = Arc::new(forged);
    let (left, right) = ends();
    let (_, listened) = tokio::join!(
        dialler.upgrade_outbound(left.compat(), "/tls/1.0.0"),
        ours(2).upgrade_inbound(right.compat(), "/tls/1.0.0"),
    );
    assert!(matches!(listened, Err(TlsError::Handshake(_))), "{listened:?}");
}
