//! Which release: `acme/app@1.0.0`, `acme/app:stable`, `acme/app`.

use std::str::FromStr;

use samara_protocol::trust::grant::ChannelName;

use crate::admin::api::{ReleaseName, Select};
use crate::cli::input::{self, ProductName};

/// The channel that is meant when none is named.
const DEFAULT_CHANNEL: &str = "stable";

/// A release by version or channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) product: String,
    pub(super) select: Select,
}

impl Target {
    pub(super) fn release(&self) -> ReleaseName {
        ReleaseName {
            product: self.product.clone(),
            select: self.select.clone(),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = |error: &dyn std::fmt::Display| format!("{error}; write acme/app@1.0.0 or acme/app:stable");
        let (product, select) = if let Some((product, version)) = text.split_once('@') {
            (
                product,
                Select::Version(input::version(version).map_err(|error| form(&error))?),
            )
        } else {
            let (product, channel) = text.split_once(':').unwrap_or((text, DEFAULT_CHANNEL));
            let channel: ChannelName = channel.parse().map_err(|error| form(&error))?;
            (product, Select::Channel(channel.to_string()))
        };
        let ProductName(product) = product.parse()?;
        Ok(Self { product, select })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_version_or_a_channel() {
        let target = |text: &str| text.parse::<Target>().map(|target| (target.product, target.select));
        let app = || "acme/app".to_owned();
        assert_eq!(
            target("acme/app@1.0.0"),
            Ok((app(), Select::Version("1.0.0".parse().expect("a version"))))
        );
        assert_eq!(target("acme/app:beta"), Ok((app(), Select::Channel("beta".to_owned()))));
        assert_eq!(target("acme/app"), Ok((app(), Select::Channel("stable".to_owned()))));
        for bad in ["", "app", "acme/app@", "acme/app@x", "acme/app:", "a b/c"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
