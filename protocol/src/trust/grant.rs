//! Grants: the vendor's signed leave for one site key and one product.
//!
//! Signed by the product's `grants` role. The ids in it are random and differ per product; no name is in it, because a
//! grant is shown to other customers' nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::ProductId;
use crate::limits::{CHANNEL_NAME_BYTES_MAX, CHANNELS_MAX};
use crate::time::WallTime;
use crate::trust::canonical::wall_time;
use crate::trust::dsse::Statement;
use crate::trust::key::PublicKey;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), data_encoding::HEXLOWER.encode(&self.0[..4]))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = RandomIdError;

            fn try_from(text: String) -> Result<Self, RandomIdError> {
                text.parse()
            }
        }

        impl FromStr for $name {
            type Err = RandomIdError;

            fn from_str(text: &str) -> Result<Self, RandomIdError> {
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
                bytes
                    .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| RandomIdError { text: text.to_owned() })
            }
        }
    };
}

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a tenant's or site's id: 32 lower-case hexadecimal digits are needed")]
pub struct RandomIdError {
    /// What was given.
    pub text: String,
}

random_id! {
    /// A customer, in one product's grants: random, another one in every product.
    TenantId
}
random_id! {
    /// A customer's installation, in one product's grants: random, another one in every product.
    SiteId
}

/// A channel's name: 1 to 32 of `a-z`, `0-9`, `-` and `.`, not starting with `-` or `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

/// The text is not a channel's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a channel's name: 1 to 32 of a-z, 0-9, - and . that start with a letter or digit, e.g. `stable`"
)]
pub struct ChannelNameError {
    /// What was given.
    pub text: String,
}

impl ChannelName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(text: &str) -> Result<Self, ChannelNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = (1..=CHANNEL_NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
            && text.bytes().next().is_some_and(plain);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(ChannelNameError { text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for ChannelName {
    type Error = ChannelNameError;

    fn try_from(text: String) -> Result<Self, ChannelNameError> {
        text.parse()
    }
}

impl From<ChannelName> for String {
    fn from(name: ChannelName) -> Self {
        name.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// To which sites a site may pass on what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reseed {
    /// To none but its own nodes and hosts.
    None,
    /// To sites of the same tenant.
    Own,
    /// To every site whose grant covers the product and allows the same.
    All,
}

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// To fetch releases of the named channels.
    pub fetch: bool,
    /// To pass them on.
    pub reseed: Reseed,
    /// To hand new releases to an origin.
    pub publish: bool,
    /// To be an origin: a vendor's node.
    pub origin: bool,
}

/// The vendor's leave for one site and one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The format: 0.
    pub schema: u32,
    /// For which product.
    pub product: ProductId,
    /// Which customer.
    pub tenant: TenantId,
    /// Which installation.
    pub site: SiteId,
    /// The key that enrols the site's nodes and hosts; for an origin, the node's own key.
    pub site_key: PublicKey,
    /// Which channels, sorted.
    pub channels: Vec<ChannelName>,
    /// What is allowed.
    pub rights: Rights,
    /// Not valid before.
    #[serde(with = "wall_time::option")]
    pub not_before: Option<WallTime>,
    /// Not valid after.
    #[serde(with = "wall_time")]
    pub not_after: WallTime,
}

/// The format of statements that this version writes and reads.
pub const STATEMENT_SCHEMA: u32 = 0;

impl Statement for Grant {
    const KIND: &'static str = "grant";

    fn check(&self) -> Result<(), String> {
        check_schema(self.schema)?;
        if self.channels.is_empty() || self.channels.len() > CHANNELS_MAX {
            return Err(format!(
                "it names {} channels; 1 to {CHANNELS_MAX} are allowed",
                self.channels.len()
            ));
        }
        if !self.channels.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err("its channels are not in sorted order, each once".to_owned());
        }
        if self.not_before.is_some_and(|start| start >= self.not_after) {
            return Err("it ends before it starts".to_owned());
        }
        Ok(())
    }
}

/// Refuses a statement's format that this version does not know.
pub(crate) fn check_schema(schema: u32) -> Result<(), String> {
    if schema == STATEMENT_SCHEMA {
        Ok(())
    } else {
        Err(format!(
            "its format is {schema}; this program knows {STATEMENT_SCHEMA}; use the version that wrote it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_are_plain_words() {
        for good in ["stable", "2.x", "lts-2026", "a"] {
            assert!(good.parse::<ChannelName>().is_ok(), "{good}");
        }
        for bad in ["", "Stable", "-x", ".", "..", "a/b", "a b", &"x".repeat(33)] {
            assert!(bad.parse::<ChannelName>().is_err(), "{bad}");
        }
    }
}
