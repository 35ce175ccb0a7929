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
    // The name goes to resolvers and proxies as it is.
    if let Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) = address.iter().next()
        && !is_name(&name)
    {
        return None;
    }
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
    if !is_name(host) {
        return None;
    }
    Some((Protocol::Dns(host.to_owned().into()), port.parse().ok()?))
}

/// Whether a text has the letters and the length of a DNS name.
fn is_name(text: &str) -> bool {
    let is_of_one = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    (1..=253).contains(&text.len()) && text.chars().all(is_of_one)
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
    use proptest::prelude::*;

    use super::*;

    const GOOD: [&str; 6] = [
        "192.0.2.7:4001",
        "[2001:db8::1]:4001",
        "origin.example.com:443",
        "/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
        "/dns/origin.example.com/tcp/443",
        "/ip6/::1/udp/1/quic-v1",
    ];

    /// What is taken is the same when it is read again, and shows no more than a host and a port.
    fn taken_or_named(text: &str) -> Result<(), TestCaseError> {
        let address = match parse(text) {
            Ok(address) => address,
            Err(error) => {
                prop_assert!(error.to_string().contains(text), "{}", error);
                return Ok(());
            }
        };
        prop_assert!(address.tcp.is_some() || address.quic.is_some());
        for one in address.tcp.iter().chain(&address.quic) {
            let again = parse(&one.to_string()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(
                again.tcp.as_ref() == Some(one) || again.quic.as_ref() == Some(one),
                "{one}"
            );
            let shown = host_and_port(one);
            prop_assert!(
                shown
                    .as_ref()
                    .is_some_and(|shown| shown.bytes().all(|byte| byte.is_ascii_graphic())),
                "{shown:?}"
            );
            prop_assert!(port(one).is_some() && port(&with_port(one, 7)).is_some());
        }
        prop_assert!(address.quic.as_ref().and_then(tcp_socket).is_none());
        Ok(())
    }

    proptest! {
        #[test]
        fn a_random_text_is_no_address_or_one_that_is_read_back(
            text in "\\PC{0,40}|[a-z0-9.:/\\[\\]%_-]{0,30}|/(dns|dns4|dns6|ip4|ip6)/[^/]{0,20}/(tcp|udp)/[0-9]{1,5}(/quic-v1)?"
        ) {
            taken_or_named(&text)?;
        }

        #[test]
        fn a_good_address_with_some_letters_changed_is_no_address_or_one_that_is_read_back(
            which in 0..GOOD.len(), at in any::<prop::sample::Index>(), len in 0_usize..4, with in "[ -~\\r\\n]{0,4}"
        ) {
            let mut text = GOOD[which].to_owned();
            let start = at.index(text.len());
            text.replace_range(start..(start + len).min(text.len()), &with);
            taken_or_named(&text)?;
        }

        #[test]
        fn random_bytes_that_are_a_multiaddr_show_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(address) = Multiaddr::try_from(bytes) {
                prop_assert!(!show(&address).is_empty() || address.is_empty());
                let _ = (ip_of(&address), tcp_socket(&address), port(&address), with_port(&address, 1));
            }
        }
    }

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
