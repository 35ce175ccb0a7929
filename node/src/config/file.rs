//! The file as written: every key, no meaning yet. Unknown keys are refused. Each value keeps its place in the text, so
//! that what is found wrong later still names a line.

use serde::Deserialize;
use toml::Spanned;

/// Text with its place.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) node: Node,
    pub(super) limits: Limits,
    pub(super) store: Store,
    pub(super) product: Vec<Product>,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Node {
    pub(super) home: Option<Text>,
    pub(super) socket: Option<Text>,
    pub(super) role: Option<Text>,
    pub(super) listen: Option<Vec<Text>>,
    pub(super) external: Vec<Text>,
    pub(super) region: Option<Text>,
    pub(super) proxy: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Limits {
    pub(super) up: Option<Text>,
    pub(super) down: Option<Text>,
    pub(super) upload: Option<Text>,
    pub(super) origin_copies_max: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Store {
    pub(super) dir: Option<Text>,
    pub(super) quota: Option<Text>,
    pub(super) reserve: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Product {
    pub(super) name: Text,
    pub(super) id: Option<Text>,
    pub(super) join: Option<Text>,
    #[serde(default)]
    pub(super) follow: Vec<Text>,
    pub(super) platforms: Option<Vec<Text>>,
    pub(super) keep: Option<Spanned<u32>>,
    pub(super) priority: Option<Spanned<u8>>,
    pub(super) signer: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Metrics {
    pub(super) listen: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Log {
    pub(super) format: Option<Text>,
    pub(super) level: Option<Text>,
}
