//! Addresses as people write them (`host:port`) and as libp2p does.

use std::net::{IpAddr, SocketAddr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::config::NetError;

/// The TCP and the QUIC form of one written address; either may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// For TCP.
    pub(super) tcp: Option<Multiaddr>,
    /// For QUIC, on the UDP port of the same number.
    pub(super) quic: Option<Multiaddr>,
}

/// Reads `host:port`, `ip:port`, `[v6]:port` or a multiaddr (a `/p2p/...` at its end is dropped).
pub(super) fn parse(text: &str) -> Result<Address, NetError> {
    if text.starts_with('/') {
        return parse_multiaddr(text).ok_or_else(|| NetError::Address(text.to_owned()));
    }
    let (host, port) = split(text).ok_or_else(|| NetError::Address(text.to_owned()))?;
    let base = Multiaddr::empty().with(host);
    Ok(Address {
        tcp: Some(base.clone().with(Protocol::Tcp(port))),
        quic: Some(base.with(Protocol::Udp(port)).with(Protocol::QuicV1)),
    })
}

fn parse_multiaddr(text: &str) -> Option<Address> {
    let address = text.parse::<Multiaddr>().ok()?;
    let address: Multiaddr = address
        .iter()
        .take_while(|part| !matches!(part, Protocol::P2p(_)))
        .collect();
    host_and_port(&address)?;
    let parts: Vec<_> = address.iter().skip(1).collect();
    match parts.as_slice() {
        [Protocol::Tcp(_)] => Some(Address {
            tcp: Some(address),
            quic: None,
        }),
        [Protocol::Udp(_), Protocol::QuicV1] => Some(Address {
            tcp: None,
            quic: Some(address),
        }),
        _ => None,
    }
}

fn split(text: &str) -> Option<(Protocol<'static>, u16)> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some((ip(socket.ip()), socket.port()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_name) {
        return None;
    }
    Some((Protocol::Dns(host.to_owned().into()), port.parse().ok()?))
}

const fn ip(ip: IpAddr) -> Protocol<'static> {
    match ip {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    }
}

/// The IP in a multiaddr's front.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// The socket address of a TCP multiaddr without a name.
pub(super) fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    match address.iter().nth(1)? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip_of(address)?, port)),
        _ => None,
    }
}

/// Host and port of a multiaddr, as a proxy wants them: the name unresolved.
pub(super) fn host_and_port(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name.into_owned(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(format!("{host}:{port}")),
        _ => None,
    }
}

/// The TCP or UDP port.
pub(super) fn port(address: &Multiaddr) -> Option<u16> {
    match address.iter().nth(1)? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    }
}

/// The same address with another UDP port.
pub(super) fn with_port(address: &Multiaddr, port: u16) -> Multiaddr {
    let parts = address.iter().map(|part| match part {
        Protocol::Udp(_) => Protocol::Udp(port),
        other => other,
    });
    parts.collect()
}

/// For people: `host:port`, else the multiaddr.
pub(super) fn show(address: &Multiaddr) -> String {
    host_and_port(address).unwrap_or_else(|| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_addresses_have_a_tcp_and_a_quic_form() {
        for (text, tcp) in [
            ("192.0.2.7:4001", "/ip4/192.0.2.7/tcp/4001"),
            ("[::1]:4001", "/ip6/::1/tcp/4001"),
            ("origin.example.com:443", "/dns/origin.example.com/tcp/443"),
        ] {
            let address = parse(text).expect(text);
            let multiaddr = address.tcp.expect("tcp");
            assert_eq!(multiaddr.to_string(), tcp);
            assert_eq!(show(&multiaddr), text);
            assert_eq!(show(&address.quic.expect("quic")), text);
        }
    }

    #[test]
    fn a_multiaddr_keeps_its_one_transport_and_loses_its_peer() {
        let text = "/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let address = parse(text).expect("reads");
        assert_eq!(address.tcp, None);
        assert_eq!(
            address.quic.expect("quic").to_string(),
            "/ip4/192.0.2.7/udp/4001/quic-v1"
        );
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in [
            "",
            "host",
            ":4001",
            "host:",
            "host:port",
            "host:70000",
            "a b:1",
            "/ip4/1.2.3.4",
            "/tcp/1/udp/1",
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
