//! `samara publish`: a file or folder becomes a signed, immutable release.
//!
//! Everything that needs a key happens in this process; bytes go to the origin on this machine, as open files over its
//! socket when it runs, straight into its store when it does not.

mod into_node;
mod into_store;
mod release;

use std::fmt;
use std::path::PathBuf;

use samara_protocol::id::ManifestId;
use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::product::ProductTrust;
use samara_protocol::trust::role::Role;
use samara_protocol::trust::writer::changes;
use semver::Version;
use serde::Serialize;

use self::release::Prepared;
use super::input::{self, ProductName};
use super::vendor::{HomeArgs, hand_over};
use super::{CliError, Context, ExitStatus, Printer};
use crate::access::vendor::{Vendor, VendorProduct};
use crate::admin::AdminError;
use crate::admin::Client;
use crate::release::sizes::Sizes;

/// Publish a file or folder as a release.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file or folder. May be left out when --platform names folders.
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// A folder for one platform only, e.g. linux/amd64=build/amd64; may be given several times.
    #[arg(long, value_name = "OS/ARCH=PATH")]
    platform: Vec<String>,
    /// The product, e.g. acme/app.
    #[arg(long)]
    product: ProductName,
    /// The version, e.g. 1.0.0. A version is published once.
    #[arg(id = "release_version", long = "version", value_name = "VERSION", value_parser = input::version)]
    version: Version,
    /// Promote it on this channel at once; needs that key too.
    #[arg(long)]
    channel: Option<ChannelName>,
    /// Give large files a second name in the store instead of a copy; whoever writes to them later damages the store.
    #[arg(long)]
    link: bool,
    /// Where the origin's store is when no node runs [default: store in the home].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Where the keys are.
    #[command(flatten)]
    home: HomeArgs,
}

#[derive(Serialize)]
struct Published {
    product: String,
    version: Version,
    manifest: ManifestId,
    entries: u32,
    bytes: u64,
    file_bytes: u64,
    unique_bytes: u64,
    channel: Option<String>,
    again: bool,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            product,
            version,
            entries,
            ..
        } = self;
        let sizes = Sizes {
            files: self.file_bytes,
            unique: self.unique_bytes,
        };
        let word = if self.again {
            "had been published with this very content"
        } else {
            "is published"
        };
        write!(f, "{product}@{version} {word}: {entries} entries, {sizes}")?;
        match &self.channel {
            Some(channel) => write!(f, "; {product}:{channel} is now {version}"),
            None => write!(f, "; no customer sees it before `samara promote {product}@{version}`"),
        }
    }
}

/// Publishes.
///
/// # Errors
/// When PATH cannot be one release, a key is missing, the version is taken by other content, or the origin refuses.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let vendor = args.home.vendor(context);
    let mut product = hand_over::open(context, &vendor, &args.product.0)?;
    let prepared = release::prepare(args.path.as_deref(), &args.platform, product.id(), &args.version)?;
    let bound = product
        .trust
        .documents()
        .releases
        .get(&args.version)
        .map(|record| record.manifest);
    if bound.is_some_and(|bound| bound != prepared.manifest) {
        let error = CliError::new(
            ExitStatus::Conflict,
            args.path_text(),
            format!("{} is published with other content", args.version),
        );
        return Err(error.way_out("a version is published once; publish this as a new version"));
    }
    // What cannot be signed is found out before everything is copied; what is signed then stands on the metadata of that time.
    seal(args, context, &vendor, &product, &prepared)?;
    let mut turn = None;
    let sealed = store(args, context, &prepared, || {
        let (now, taken) = hand_over::open_in_turn(context, &vendor, &args.product.0)?;
        turn = Some(taken);
        seal(args, context, &vendor, &now, &prepared)
    })?;
    let (trust, _) = product.home.update(sealed.files(), context.now())?;
    drop(turn);
    product.trust = trust;
    printer.print(&Published {
        product: args.product.0.clone(),
        version: args.version.clone(),
        manifest: prepared.manifest,
        entries: prepared.list.count,
        bytes: prepared.sizes.unique,
        file_bytes: prepared.sizes.files,
        unique_bytes: prepared.sizes.unique,
        channel: args.channel.as_ref().map(ToString::to_string),
        again: bound.is_some(),
    })?;
    Ok(ExitStatus::Success)
}

impl Args {
    fn path_text(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| self.product.0.clone(), |path| path.display().to_string())
    }
}

/// Signs the release, and the promotion when there is one to make; what comes out has passed the consumer's check.
fn seal(
    args: &Args,
    context: &Context,
    vendor: &Vendor,
    product: &VendorProduct,
    prepared: &Prepared,
) -> Result<ProductTrust, CliError> {
    let (keys, now) = (vendor.sealing_keys()?, context.now());
    let mut trust = product.trust.clone();
    if !trust.documents().releases.contains_key(&args.version) {
        let change = vendor.change(Role::Releases, now, |hand| {
            changes::add_release(&trust, &args.version, &prepared.head, hand)
        })?;
        trust = keys.seal(&trust, vec![change], now)?;
    }
    if let Some(channel) = &args.channel
        && trust
            .documents()
            .latest(channel)
            .is_none_or(|latest| latest.manifest != prepared.manifest)
    {
        let change = vendor.change(Role::Channels, now, |hand| {
            changes::promote(&trust, &args.version, channel, hand)
        })?;
        trust = keys.seal(&trust, vec![change], now)?;
    }
    Ok(trust)
}

/// Copies the release to where it is served from; `seal` is called when all of it is there.
fn store(
    args: &Args,
    context: &Context,
    prepared: &Prepared,
    seal: impl FnOnce() -> Result<ProductTrust, CliError>,
) -> Result<ProductTrust, CliError> {
    match Client::connect(context.socket()) {
        Ok(client) => into_node::send(client, context.socket(), args, prepared, seal),
        Err(AdminError::NotRunning { .. }) => {
            let dir = args.store.clone().unwrap_or_else(|| context.home().join("store"));
            into_store::write(&dir, prepared, args.link)?;
            let sealed = seal()?;
            hand_over::into_home(context, &sealed)?;
            Ok(sealed)
        }
        Err(error) => Err(super::blame::admin(&error, context.socket())),
    }
}
