//! From the file as written to what it means, one section a function.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use samara_protocol::swarm::io::UploadAudience;
use samara_protocol::units::{ByteRate, parse_bytes};
use toml::Spanned;

use super::super::ConfigError;
use super::super::address::{Address, DEFAULT_PORT, Host, Transport};
use super::super::file::{self, File, Text};
use super::super::locate::Source;
use super::super::rate;
use super::{
    LimitSettings, LogFormat, LogLevel, LogSettings, NodeSettings, ProductSettings, Role, Settings, StoreSettings,
    audience_name,
};

/// Bytes of the disk left to others unless configured.
const RESERVE_DEFAULT: u64 = 256 << 20;
/// Releases kept for a followed channel unless configured: the current one and the one to go back to.
pub(super) const KEEP_DEFAULT: u32 = 2;
/// Every audience, for reading its word.
const AUDIENCES: [UploadAudience; 4] = [
    UploadAudience::Off,
    UploadAudience::Site,
    UploadAudience::Tenant,
    UploadAudience::All,
];

pub(super) fn settings(source: &Source<'_>, file: &File, home: &Path) -> Result<Settings, ConfigError> {
    let node = node(source, &file.node, home)?;
    let limits = limits(source, &file.limits, node.role)?;
    let store = store(source, &file.store, &node.home)?;
    let products = products(source, &file.product, node.role)?;
    let metrics = file
        .metrics
        .listen
        .as_ref()
        .map(|text| metrics(source, text))
        .transpose()?;
    let log = log(source, &file.log)?;
    Ok(Settings {
        node,
        limits,
        store,
        products,
        metrics,
        log,
    })
}

fn node(source: &Source<'_>, node: &file::Node, home: &Path) -> Result<NodeSettings, ConfigError> {
    let home = path_or(source, node.home.as_ref(), || home.to_owned())?;
    let role = match &node.role {
        None => Role::Site,
        Some(text) => choice(source, text, &[("origin", Role::Origin), ("site", Role::Site)])?,
    };
    let addresses = |texts: &[Text], parse: fn(&str) -> Result<Address, _>| {
        texts
            .iter()
            .map(|text| at(source, text, parse(text.get_ref())))
            .collect::<Result<Vec<_>, _>>()
    };
    let listen = match &node.listen {
        Some(texts) => addresses(texts, Address::parse_listen)?,
        None => vec![Address {
            transport: Transport::Both,
            host: Host::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
            port: DEFAULT_PORT,
        }],
    };
    Ok(NodeSettings {
        socket: path_or(source, node.socket.as_ref(), || home.join("node.sock"))?,
        home,
        role,
        listen,
        external: addresses(&node.external, Address::parse_external)?,
        region: node.region.as_ref().map(|text| word(source, text)).transpose()?,
        proxy: node.proxy.as_ref().map(|text| parsed(source, text)).transpose()?,
    })
}

fn limits(source: &Source<'_>, limits: &file::Limits, role: Role) -> Result<LimitSettings, ConfigError> {
    let limit = |text: &Option<Text>| -> Result<Option<ByteRate>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        at(source, text, rate::limit(text.get_ref())).map(Some)
    };
    let upload = match &limits.upload {
        None if role == Role::Origin => UploadAudience::All,
        // Until `join --reseed` writes more, a site feeds its own.
        None => UploadAudience::Tenant,
        Some(text) => {
            let audience = choice(
                source,
                text,
                &AUDIENCES.map(|audience| (audience_name(audience), audience)),
            )?;
            if role == Role::Origin && audience != UploadAudience::All {
                let what = format!(
                    "an origin with `upload = \"{}\"` serves no customer",
                    audience_name(audience)
                );
                return Err(source.error(text.span(), what, "write \"all\" or leave it out"));
            }
            audience
        }
    };
    let copies = limits.origin_copies_max.as_ref();
    if let Some(zero) = copies.filter(|copies| *copies.get_ref() == 0) {
        return Err(source.error(zero.span(), "0 copies reach nobody", "write 1 or more, or leave it out"));
    }
    Ok(LimitSettings {
        up: limit(&limits.up)?,
        down: limit(&limits.down)?,
        upload,
        origin_copies_max: copies.map(|copies| *copies.get_ref()),
    })
}

fn store(source: &Source<'_>, store: &file::Store, home: &Path) -> Result<StoreSettings, ConfigError> {
    let size = |text: &Text| at(source, text, parse_bytes(text.get_ref()));
    let quota = store.quota.as_ref().map(size).transpose()?;
    if let (Some(0), Some(text)) = (quota, &store.quota) {
        return Err(source.error(text.span(), "a quota of 0 holds nothing", "leave it out for no quota"));
    }
    Ok(StoreSettings {
        dir: path_or(source, store.dir.as_ref(), || home.join("store"))?,
        quota,
        reserve: store.reserve.as_ref().map(size).transpose()?.unwrap_or(RESERVE_DEFAULT),
    })
}

fn products(source: &Source<'_>, products: &[file::Product], role: Role) -> Result<Vec<ProductSettings>, ConfigError> {
    let mut resolved: Vec<ProductSettings> = Vec::with_capacity(products.len());
    for written in products {
        let product = product(source, written, role)?;
        if resolved.iter().any(|other| other.name == product.name) {
            let what = format!("`{}` is there twice", product.name);
            return Err(source.error(written.name.span(), what, "keep one [[product]] for each"));
        }
        resolved.push(product);
    }
    Ok(resolved)
}

fn product(source: &Source<'_>, product: &file::Product, role: Role) -> Result<ProductSettings, ConfigError> {
    if !is_product_name(product.name.get_ref()) {
        let what = format!("`{}` is not a product's name", product.name.get_ref());
        return Err(source.error(product.name.span(), what, "write vendor/product, e.g. \"acme/app\""));
    }
    let signer = product.signer.as_ref();
    if let Some(text) = signer.filter(|_| role == Role::Site) {
        let what = "a site signs no snapshot or timestamp";
        return Err(source.error(
            text.span(),
            what,
            "leave it out, or write role = \"origin\" under [node]",
        ));
    }
    let keep = product.keep.as_ref();
    if let Some(zero) = keep.filter(|keep| *keep.get_ref() == 0) {
        return Err(source.error(zero.span(), "0 releases keep nothing", "write 1 or more"));
    }
    let platforms = product.platforms.as_ref().map(|texts| {
        texts
            .iter()
            .map(|text| parsed(source, text))
            .collect::<Result<Vec<_>, _>>()
    });
    Ok(ProductSettings {
        name: product.name.get_ref().clone(),
        id: product.id.as_ref().map(|text| parsed(source, text)).transpose()?,
        join: product.join.as_ref().map(|text| path(source, text)).transpose()?,
        follow: product
            .follow
            .iter()
            .map(|text| parsed(source, text))
            .collect::<Result<_, _>>()?,
        platforms: platforms.transpose()?,
        keep: keep.map_or(KEEP_DEFAULT, |keep| *keep.get_ref()),
        priority: product.priority.as_ref().map_or(0, |priority| *priority.get_ref()),
        signer: signer.map(|text| path(source, text)).transpose()?,
    })
}

fn metrics(source: &Source<'_>, text: &Text) -> Result<SocketAddr, ConfigError> {
    let Ok(address) = text.get_ref().parse::<SocketAddr>() else {
        let what = format!("`{}` is not an IP address and port", text.get_ref());
        return Err(source.error(text.span(), what, "write for example \"127.0.0.1:9170\""));
    };
    if !address.ip().is_loopback() {
        let what = format!("metrics are plain HTTP and stay on this machine, `{address}` is not loopback");
        let way_out = "write 127.0.0.1 or [::1], and put a TLS proxy before it for others";
        return Err(source.error(text.span(), what, way_out));
    }
    Ok(address)
}

fn log(source: &Source<'_>, log: &file::Log) -> Result<LogSettings, ConfigError> {
    let format = match &log.format {
        None => LogFormat::Human,
        Some(text) => choice(source, text, &[("human", LogFormat::Human), ("json", LogFormat::Json)])?,
    };
    let level = match &log.level {
        None => LogLevel::Info,
        Some(text) => choice(
            source,
            text,
            &[
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
                ("trace", LogLevel::Trace),
            ],
        )?,
    };
    Ok(LogSettings { format, level })
}

/// Puts the place in the text to an error that names the value and the way out itself.
fn at<T, E: Display, S>(source: &Source<'_>, place: &Spanned<S>, result: Result<T, E>) -> Result<T, ConfigError> {
    result.map_err(|error| source.error(place.span(), error.to_string(), ""))
}

fn parsed<T: FromStr<Err: Display>>(source: &Source<'_>, text: &Text) -> Result<T, ConfigError> {
    at(source, text, text.get_ref().parse::<T>())
}

fn choice<T: Copy>(source: &Source<'_>, text: &Text, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| name == text.get_ref()) {
        return Ok(*value);
    }
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let what = format!("`{}` is none of the choices", text.get_ref());
    Err(source.error(text.span(), what, format!("write {}", names.join(" or "))))
}

fn path_or(source: &Source<'_>, text: Option<&Text>, default: impl Fn() -> PathBuf) -> Result<PathBuf, ConfigError> {
    text.map_or_else(|| Ok(default()), |text| path(source, text))
}

/// Relative paths are relative to the file that names them.
pub(super) fn path(source: &Source<'_>, text: &Text) -> Result<PathBuf, ConfigError> {
    if text.get_ref().is_empty() || text.get_ref().contains('\0') {
        return Err(source.error(text.span(), "an empty path", "write a path, or leave the key out"));
    }
    let base = source.path.parent().unwrap_or_else(|| Path::new(""));
    Ok(base.join(text.get_ref()))
}

/// A region's name.
fn word(source: &Source<'_>, text: &Text) -> Result<String, ConfigError> {
    if is_word(text.get_ref()) {
        return Ok(text.get_ref().clone());
    }
    let what = format!("`{}` is not a name", text.get_ref());
    Err(source.error(
        text.span(),
        what,
        "use 1 to 64 lower-case letters, digits, `-`, `_` and `.`, e.g. \"eu-west\"",
    ))
}

/// `vendor/product`.
pub(crate) fn is_product_name(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(vendor, product)| is_word(vendor) && is_word(product))
}

fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-'])
}
