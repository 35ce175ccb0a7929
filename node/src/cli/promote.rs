//! `samara promote`: a published release becomes the latest of a channel.

use std::fmt;

use samara_protocol::trust::grant::ChannelName;
use samara_protocol::trust::role::Role;
use samara_protocol::trust::writer::changes;
use serde::Serialize;

use super::input::ReleaseArg;
use super::vendor::{HomeArgs, hand_over};
use super::{CliError, Context, ExitStatus, Printer};

/// Puts a published release on a channel, as its latest.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which release, e.g. acme/app@1.0.0.
    #[arg(value_name = "PRODUCT@VERSION")]
    pub release: ReleaseArg,
    /// On which channel.
    #[arg(long, default_value = "stable")]
    pub channel: ChannelName,
    /// Where the keys are.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Promoted {
    product: String,
    version: String,
    channel: String,
    manifest: String,
    sequence: u64,
    again: bool,
}

impl fmt::Display for Promoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.again { "is already" } else { "is now" };
        write!(
            f,
            "{}:{} {is} {} (change {})",
            self.product, self.channel, self.version, self.sequence
        )
    }
}

/// Runs it. What is the latest already stays so.
///
/// # Errors
/// When it is not published, or recalled; when a key is not here.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let vendor = args.home.vendor(context);
    let ReleaseArg { product: name, version } = &args.release;
    let (mut product, _turn) = hand_over::open_in_turn(context, &vendor, name)?;
    let change = vendor.change(Role::Channels, context.now(), |hand| {
        changes::promote(&product.trust, version, &args.channel, hand)
    });
    let again = hand_over::commit_once(context, &vendor, &mut product, change, printer)?;
    if let Some(latest) = product.trust.documents().latest(&args.channel) {
        printer.print(&Promoted {
            product: name.clone(),
            version: latest.version.to_string(),
            channel: args.channel.to_string(),
            manifest: latest.manifest.to_string(),
            sequence: latest.sequence,
            again,
        })?;
    }
    Ok(ExitStatus::Success)
}
