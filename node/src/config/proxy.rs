//! The HTTP proxy of a site that has no other way out: `http://[user:password@]host:port`.

use std::fmt;

use serde::{Serialize, Serializer};

use super::address::is_host_name;

/// What stands in the way of reading a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not `http://`.
    #[error("a proxy is written http://host:port")]
    Form,
    /// TLS to the proxy itself.
    #[error(
        "https to the proxy itself is not supported; write http://host:port (what goes through it is encrypted anyway)"
    )]
    Https,
}

/// Where CONNECT requests go. `Debug`, `Display` and JSON leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or IP address, IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `user:password` as written, for `Proxy-Authorization: Basic`.
    pub credentials: Option<String>,
}

impl Proxy {
    /// As configured, password included: for the network alone, never for words.
    #[must_use]
    pub fn with_password(&self) -> String {
        let credentials = self
            .credentials
            .as_ref()
            .map_or_else(String::new, |credentials| format!("{credentials}@"));
        format!("http://{credentials}{}", self.place())
    }

    fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl std::str::FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        if text.starts_with("https://") {
            return Err(ProxyError::Https);
        }
        let rest = text.strip_prefix("http://").ok_or(ProxyError::Form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials.to_owned()), place),
            None => (None, rest),
        };
        let (host, port) = place.rsplit_once(':').ok_or(ProxyError::Form)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(ProxyError::Form)?;
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let is_literal = match bare {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        if !is_literal && !is_host_name(host) {
            return Err(ProxyError::Form);
        }
        Ok(Self {
            host: bare.unwrap_or(host).to_owned(),
            port,
            credentials,
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.credentials.is_some() { "***@" } else { "" };
        write!(f, "http://{hidden}{}", self.place())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: [&str; 3] = [
        "http://bob:s3cret@10.0.0.1:3128/",
        "http://proxy.example.com:3128",
        "http://[::1]:3128",
    ];

    /// What is taken is handed to the network as the same, and words about it never have the password.
    fn taken_or_refused_in_silence(text: &str) -> Result<(), TestCaseError> {
        let said = match text.parse::<Proxy>() {
            Ok(proxy) => {
                let whole = proxy.with_password();
                prop_assert_eq!(whole.parse::<Proxy>(), Ok(proxy.clone()), "{}", whole);
                prop_assert!(proxy.port != 0 && proxy.host.bytes().all(|byte| byte.is_ascii_graphic()));
                let credentials = proxy.credentials.clone();
                prop_assert_eq!(credentials.is_some(), proxy.to_string().contains("***@"));
                prop_assert_eq!(serde_json::to_value(&proxy).ok(), Some(proxy.to_string().into()));
                format!("{proxy} {proxy:?}")
            }
            Err(error) => error.to_string(),
        };
        prop_assert!(!said.contains("s3cret"), "{}", said);
        Ok(())
    }

    proptest! {
        #[test]
        fn a_random_text_is_no_proxy_or_one_that_is_written_the_same(
            text in "\\PC{0,40}|(http://)?([a-z:@]{0,10}s3cret@)?[a-z0-9.:/@\\[\\]%_-]{0,30}"
        ) {
            // In the place of the host it is no password, and is shown.
            prop_assume!(text.rsplit_once('@').is_none_or(|(_, place)| !place.contains("s3cret")));
            taken_or_refused_in_silence(&text)?;
        }

        #[test]
        fn a_good_proxy_with_some_letters_changed_is_no_proxy_or_one_that_is_written_the_same(
            which in 0..GOOD.len(), at in any::<prop::sample::Index>(), len in 0_usize..4, with in "[ -~\\r\\n]{0,4}"
        ) {
            let mut text = GOOD[which].to_owned();
            let start = at.index(text.len());
            text.replace_range(start..(start + len).min(text.len()), &with);
            prop_assume!(text.contains('@') || !text.contains("s3cret"));
            taken_or_refused_in_silence(&text)?;
        }
    }

    #[test]
    fn a_proxy_is_read_and_its_password_never_shown() {
        let proxy: Proxy = "http://bob:s3cret@10.0.0.1:3128/".parse().expect("a proxy");
        assert_eq!((proxy.host.as_str(), proxy.port), ("10.0.0.1", 3128));
        assert_eq!(proxy.credentials.as_deref(), Some("bob:s3cret"));
        assert_eq!(
            format!("{proxy} {proxy:?}"),
            "http://***@10.0.0.1:3128 Proxy(http://***@10.0.0.1:3128)"
        );
        assert_eq!(proxy.with_password(), "http://bob:s3cret@10.0.0.1:3128");
        let six: Proxy = "http://[::1]:3128".parse().expect("a proxy");
        assert_eq!(
            (six.host.as_str(), six.to_string().as_str()),
            ("::1", "http://[::1]:3128")
        );
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_echoing_a_password() {
        for wrong in [
            "",
            "proxy:3128",
            "http://proxy",
            "http://proxy:0",
            "http://bob:s3cret@:3128",
            "socks5://p:1",
        ] {
            let error = wrong.parse::<Proxy>().expect_err(wrong).to_string();
            assert!(
                error.contains("http://host:port") && !error.contains("s3cret"),
                "{error}"
            );
        }
        assert_eq!("https://p:1".parse::<Proxy>(), Err(ProxyError::Https));
    }
}
