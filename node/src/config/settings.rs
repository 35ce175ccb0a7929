//! What a configuration means: every value checked, units resolved, defaults filled in. Immutable from here on.
//!
//! Relative paths in a file are relative to the file's own directory.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use samara_protocol::id::ProductId;
use samara_protocol::limits::CONFIG_BYTES_MAX;
use samara_protocol::manifest::platform::Platform;
use samara_protocol::swarm::io::{Limits, UploadAudience};
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::units::ByteRate;
use serde::{Deserialize, Serialize, Serializer};

use super::ConfigError;
use super::address::Address;
use super::file::File;
use super::locate::Source;
use super::proxy::Proxy;

mod resolve;
mod signer;

pub(crate) use resolve::is_product_name;

/// Everything that a node is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Who and where it is.
    pub node: NodeSettings,
    /// How fast and for whom it moves bytes.
    pub limits: LimitSettings,
    /// Where and how much it keeps.
    pub store: StoreSettings,
    /// What it carries.
    pub products: Vec<ProductSettings>,
    /// Where Prometheus may ask; always loopback.
    pub metrics: Option<SocketAddr>,
    /// What it says.
    pub log: LogSettings,
}

/// Who and where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeSettings {
    /// Identity, credentials and metadata.
    pub home: PathBuf,
    /// The Unix socket for verbs.
    pub socket: PathBuf,
    /// Vendor's or customer's.
    pub role: Role,
    /// Where it accepts connections; empty means that it only dials.
    pub listen: Vec<Address>,
    /// Where others can reach it, when that differs from `listen` (address translation, names).
    pub external: Vec<Address>,
    /// A word shared by nodes that are near each other.
    pub region: Option<String>,
    /// The only way out.
    pub proxy: Option<Proxy>,
}

/// Whose node it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A vendor's: takes what is published and serves it.
    Origin,
    /// A customer's: follows channels and serves its hosts and other sites.
    Site,
}

/// How fast and for whom a node moves payload. `None` is no limit; rates are bytes a second in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LimitSettings {
    /// Sent.
    #[serde(serialize_with = "rate")]
    pub up: Option<ByteRate>,
    /// Received.
    #[serde(serialize_with = "rate")]
    pub down: Option<ByteRate>,
    /// Who is served.
    #[serde(serialize_with = "audience")]
    pub upload: UploadAudience,
    /// The most copies of a block that an origin sends into one reseed domain.
    pub origin_copies_max: Option<u32>,
}

impl From<LimitSettings> for Limits {
    fn from(settings: LimitSettings) -> Self {
        let LimitSettings {
            up,
            down,
            upload,
            origin_copies_max,
        } = settings;
        Self {
            up,
            down,
            upload,
            origin_copies_max,
        }
    }
}

/// Where and how much a node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreSettings {
    /// The store's directory.
    pub dir: PathBuf,
    /// Bytes that it may use in all; `None` is what the disk has, less the reserve.
    pub quota: Option<u64>,
    /// Bytes of the disk that are left to others.
    pub reserve: u64,
}

/// A product that a node carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProductSettings {
    /// What this site calls it, `vendor/product`.
    pub name: String,
    /// What it is; when given, joined metadata of another product under this name is refused.
    pub id: Option<ProductId>,
    /// A join file to take in at the start, if it has not been joined yet.
    pub join: Option<PathBuf>,
    /// Channels whose releases are fetched without being asked.
    pub follow: Vec<ChannelName>,
    /// Which platforms' files are wanted; `None` is all.
    pub platforms: Option<Vec<Platform>>,
    /// Releases kept for each followed channel, the current one included.
    pub keep: u32,
    /// Transfers of a higher one go first.
    pub priority: u8,
    /// Directory with the snapshot and timestamp keys: at the one origin that signs them, nowhere else.
    pub signer: Option<PathBuf>,
}

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LogSettings {
    /// For people or for programs.
    pub format: LogFormat,
    /// How much.
    pub level: LogLevel,
}

/// For whom log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is broken and somebody must act.
    Error,
    /// Something is wrong and was dealt with.
    Warn,
    /// What an operator wants to know next morning.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl ProductSettings {
    /// What holds for a product that is joined and not configured: its channel `stable`, for all platforms.
    ///
    /// # Panics
    /// Never: `stable` is a channel's name.
    #[must_use]
    pub fn defaults(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: None,
            join: None,
            follow: vec!["stable".parse().expect("a channel's name")],
            platforms: None,
            keep: resolve::KEEP_DEFAULT,
            priority: 0,
            signer: None,
        }
    }
}

impl Settings {
    /// Reads and checks a file. `home` is where this machine's data lives unless the file says otherwise.
    ///
    /// # Errors
    /// Names the file, the line, the key and the way out.
    pub fn load(path: &Path, home: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let (source, file) = Self::written(path, &text)?;
        let settings = resolve::settings(&source, &file, home)?;
        // What it names and cannot do without is looked for here, where the line is known.
        signer::check(&source, &file)?;
        Ok(settings)
    }

    /// Checks a text as if it had been read from `path`; looks at no other file.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(path: &Path, text: &str, home: &Path) -> Result<Self, ConfigError> {
        let (source, file) = Self::written(path, text)?;
        resolve::settings(&source, &file, home)
    }

    fn written<'a>(path: &'a Path, text: &'a str) -> Result<(Source<'a>, File), ConfigError> {
        let source = Source { path, text };
        let file = toml::from_str(text).map_err(|error| source.syntax(&error))?;
        Ok((source, file))
    }
}

/// The whole text, or why it is none. Reads at most the bound, whatever the path names.
fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let no_text = |what: String| ConfigError::NoText {
        path: path.to_owned(),
        what,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(no_text(format!(
            "is larger than {CONFIG_BYTES_MAX} bytes; is it a configuration?"
        )));
    }
    String::from_utf8(bytes).map_err(|error| no_text(format!("{error}; write it as UTF-8")))
}

#[expect(clippy::ref_option, reason = "the signature that serde wants")]
fn rate<S: Serializer>(rate: &Option<ByteRate>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| rate.0).serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn audience<S: Serializer>(audience: &UploadAudience, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(audience_name(*audience))
}

/// The word for an audience in the file, in `status` and in JSON.
#[must_use]
pub const fn audience_name(audience: UploadAudience) -> &'static str {
    match audience {
        UploadAudience::Off => "off",
        UploadAudience::Site => "site",
        UploadAudience::Tenant => "tenant",
        UploadAudience::All => "all",
    }
}
