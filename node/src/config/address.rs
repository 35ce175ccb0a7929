//! Where a node listens and where it can be reached, as people write it: `10.0.0.5:7170`, `tcp://[::1]:7170`,
//! `quic://node.example.com:7170`. Without a scheme both transports are meant.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The port when none is configured.
pub const DEFAULT_PORT: u16 = 7170;

/// What stands in the way of reading an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme than `tcp` or `quic`.
    #[error("`{0}` has an unknown scheme; write tcp://, quic:// or none for both")]
    Scheme(String),
    /// No `host:port`.
    #[error("`{0}` is not an address; write for example 10.0.0.5:7170 or [::]:7170")]
    Form(String),
    /// A name where only an IP address can be bound.
    #[error("`{0}` is a name, and a listener needs an IP address; write for example 0.0.0.0:7170")]
    Name(String),
    /// Port 0 where others must be able to dial.
    #[error("`{0}` has port 0, which nobody can dial; write the port")]
    PortZero(String),
}

/// How bytes are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP with TLS 1.3.
    Tcp,
    /// QUIC over UDP.
    Quic,
    /// TCP and QUIC on the same port number.
    Both,
}

/// An IP address or a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal.
    Ip(IpAddr),
    /// To be resolved by whoever dials.
    Name(String),
}

/// A transport, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// How.
    pub transport: Transport,
    /// Where.
    pub host: Host,
    /// At which port; 0 lets the system choose when listening.
    pub port: u16,
}

impl Address {
    /// Reads an address to listen on: an IP literal, any port.
    ///
    /// # Errors
    /// Names the text and gives an example.
    pub fn parse_listen(text: &str) -> Result<Self, AddressError> {
        let address: Self = text.parse()?;
        match address.host {
            Host::Ip(_) => Ok(address),
            Host::Name(_) => Err(AddressError::Name(text.to_owned())),
        }
    }

    /// Reads an address that others dial: an IP literal or a name, and a port.
    ///
    /// # Errors
    /// Names the text and gives an example.
    pub fn parse_external(text: &str) -> Result<Self, AddressError> {
        let address: Self = text.parse()?;
        if address.port == 0 {
            return Err(AddressError::PortZero(text.to_owned()));
        }
        Ok(address)
    }

    /// The same as multiaddr texts, one for each transport: `/ip4/10.0.0.5/tcp/7170`, `/ip4/10.0.0.5/udp/7170/quic-v1`.
    #[must_use]
    pub fn multiaddrs(&self) -> Vec<String> {
        let host = match &self.host {
            Host::Ip(IpAddr::V4(ip)) => format!("/ip4/{ip}"),
            Host::Ip(IpAddr::V6(ip)) => format!("/ip6/{ip}"),
            Host::Name(name) => format!("/dns/{name}"),
        };
        let tcp = format!("{host}/tcp/{}", self.port);
        let quic = format!("{host}/udp/{}/quic-v1", self.port);
        match self.transport {
            Transport::Tcp => vec![tcp],
            Transport::Quic => vec![quic],
            Transport::Both => vec![tcp, quic],
        }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form(text.to_owned());
        let (transport, rest) = match text.split_once("://") {
            None => (Transport::Both, text),
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("quic", rest)) => (Transport::Quic, rest),
            Some(_) => return Err(AddressError::Scheme(text.to_owned())),
        };
        if let Ok(socket) = rest.parse::<SocketAddr>() {
            let host = Host::Ip(socket.ip());
            return Ok(Self {
                transport,
                host,
                port: socket.port(),
            });
        }
        let (name, port) = rest.rsplit_once(':').ok_or_else(form)?;
        let port = port.parse().map_err(|_| form())?;
        if !is_host_name(name) {
            return Err(form());
        }
        Ok(Self {
            transport,
            host: Host::Name(name.to_owned()),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.transport {
            Transport::Tcp => "tcp://",
            Transport::Quic => "quic://",
            Transport::Both => "",
        })?;
        match &self.host {
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A DNS name by its letters and lengths. All-digit last labels are mistyped IP addresses, so they are refused.
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: [&str; 4] = [
        "0.0.0.0:7170",
        "tcp://[2001:db8::1]:1",
        "quic://node-1.example.com:7170",
        "10.0.0.5:65535",
    ];

    /// What is taken is written as the same, and has no more in it than a host and a port.
    fn taken_or_refused_with_the_text(text: &str) -> Result<(), TestCaseError> {
        match text.parse::<Address>() {
            Ok(address) => {
                let shown = address.to_string();
                prop_assert_eq!(shown.parse(), Ok(address.clone()), "{}", shown);
                for multiaddr in address.multiaddrs() {
                    let is_plain = |byte: u8| byte.is_ascii_graphic();
                    prop_assert!(multiaddr.bytes().all(is_plain), "{multiaddr:?}");
                    prop_assert!([5, 6].contains(&multiaddr.split('/').count()), "{multiaddr:?}");
                }
            }
            Err(error) => prop_assert!(error.to_string().contains(text), "{}", error),
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_random_text_is_no_address_or_one_that_is_written_the_same(text in "\\PC{0,40}|[a-z0-9.:/\\[\\]%_-]{0,30}") {
            taken_or_refused_with_the_text(&text)?;
        }

        #[test]
        fn a_good_address_with_some_letters_changed_is_no_address_or_one_that_is_written_the_same(
            which in 0..GOOD.len(), at in any::<prop::sample::Index>(), len in 0_usize..4, with in "[ -~\\r\\n]{0,4}"
        ) {
            let mut text = GOOD[which].to_owned();
            let start = at.index(text.len());
            text.replace_range(start..(start + len).min(text.len()), &with);
            taken_or_refused_with_the_text(&text)?;
        }
    }

    #[test]
    fn addresses_read_as_written_and_become_multiaddrs() {
        let both: Address = "0.0.0.0:7170".parse().expect("an address");
        assert_eq!(
            both.multiaddrs(),
            ["/ip4/0.0.0.0/tcp/7170", "/ip4/0.0.0.0/udp/7170/quic-v1"]
        );
        let six: Address = "tcp://[::1]:1".parse().expect("an address");
        assert_eq!(six.multiaddrs(), ["/ip6/::1/tcp/1"]);
        assert_eq!(six.to_string(), "tcp://[::1]:1");
        let name: Address = "quic://node.example.com:7170".parse().expect("an address");
        assert_eq!(name.multiaddrs(), ["/dns/node.example.com/udp/7170/quic-v1"]);
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for wrong in [
            "",
            ":7170",
            "10.0.0.5",
            "10.0.0.256:1",
            "host:",
            "host:99999",
            "a..b:1",
            "-a:1",
            "::1:80:x",
        ] {
            let error = wrong.parse::<Address>().expect_err(wrong).to_string();
            assert!(error.contains("10.0.0.5:7170"), "{error}");
        }
        assert!(matches!("http://h:1".parse::<Address>(), Err(AddressError::Scheme(_))));
        assert!(matches!(
            Address::parse_listen("localhost:1"),
            Err(AddressError::Name(_))
        ));
        assert!(matches!(Address::parse_external("h:0"), Err(AddressError::PortZero(_))));
    }
}
