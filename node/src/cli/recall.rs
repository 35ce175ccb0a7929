//! `samara recall`: a release is taken back, for ever.

use std::fmt;

use samara_protocol::trust::role::Role;
use samara_protocol::trust::writer::changes;
use semver::Version;
use serde::Serialize;

use super::input::{self, ReleaseArg};
use super::vendor::{HomeArgs, hand_over};
use super::{CliError, Context, ExitStatus, Printer};
use crate::access::vendor::VendorProduct;

/// Takes a release back from every channel, for ever.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which release, e.g. acme/app@1.0.0.
    #[arg(value_name = "PRODUCT@VERSION")]
    pub release: ReleaseArg,
    /// Why, in a sentence that every site reads.
    #[arg(long)]
    pub reason: String,
    /// What to take instead.
    #[arg(long, value_name = "VERSION", value_parser = input::version)]
    pub replacement: Option<Version>,
    /// Where the keys are.
    #[command(flatten)]
    pub home: HomeArgs,
}

#[derive(Serialize)]
struct Recalled {
    product: String,
    version: String,
    reason: String,
    replacement: Option<String>,
    again: bool,
}

impl fmt::Display for Recalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.again {
            "was recalled before"
        } else {
            "is recalled"
        };
        write!(f, "{}@{} {is}: {}", self.product, self.version, self.reason)?;
        match &self.replacement {
            Some(version) => write!(f, "; take {version} instead"),
            None => Ok(()),
        }
    }
}

/// Runs it. The same recall again changes nothing.
///
/// # Errors
/// When it is not published, or was recalled in other words; when a key is not here.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    if args.reason.trim().is_empty() {
        let error = CliError::usage("--reason", "it is empty, and a recall cannot be taken back");
        return Err(error.way_out("say in a sentence why: every site reads it"));
    }
    let vendor = args.home.vendor(context);
    let ReleaseArg { product: name, version } = &args.release;
    let (mut product, _turn) = hand_over::open_in_turn(context, &vendor, name)?;
    in_these_words(args, &product)?;
    let change = vendor.change(Role::Recalls, context.now(), |hand| {
        changes::recall(&product.trust, version, &args.reason, args.replacement.as_ref(), hand)
    });
    let again = hand_over::commit_once(context, &vendor, &mut product, change, printer)?;
    printer.print(&Recalled {
        product: name.clone(),
        version: version.to_string(),
        reason: args.reason.clone(),
        replacement: args.replacement.as_ref().map(ToString::to_string),
        again,
    })?;
    Ok(ExitStatus::Success)
}

/// A recall is for ever, its words too: whoever gives others is told which stand.
fn in_these_words(args: &Args, product: &VendorProduct) -> Result<(), CliError> {
    let recalls = &product.trust.documents().recalls;
    let found = recalls.values().find(|recall| recall.version == args.release.version);
    let Some(recall) = found.filter(|of| of.reason != args.reason || of.replacement != args.replacement) else {
        return Ok(());
    };
    let instead = match &recall.replacement {
        Some(version) => format!("{version} instead"),
        None => "nothing instead".to_owned(),
    };
    let what = format!(
        "it was recalled before, with the reason \"{}\" and {instead}",
        recall.reason
    );
    let culprit = format!("{}@{}", args.release.product, args.release.version);
    Err(CliError::new(ExitStatus::Conflict, culprit, what)
        .way_out("a recall is never changed; every site reads that one"))
}
