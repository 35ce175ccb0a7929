//! `samara verify`: a fetched folder against the manifest kept in it, and that manifest against what the vendor signed.
//!
//! Opens no socket. That the kept manifest is the vendor's can be said only where this machine has joined the product;
//! elsewhere the folder is compared with itself and the output says so.

use std::fmt;
use std::path::PathBuf;

use samara_protocol::id::{ManifestId, ProductId};
use samara_protocol::units::show_bytes;
use semver::Version;
use serde::Serialize;

use super::{CliError, Context, ExitStatus, Printer};
use crate::access::Machine;
use crate::release::verify::{Verification, VerifyDirError, verify};

/// How many wrong paths are shown to people; `--json` has all.
const SHOWN_MAX: usize = 20;

/// Check a fetched folder, byte for byte.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that `samara fetch` wrote.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How many threads read and hash [default: one for each core].
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

/// Whether the manifest in the folder is the vendor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Signature {
    /// This machine's verified metadata binds the version to this very manifest.
    Trusted,
    /// It binds the version to another manifest.
    Contradicted,
    /// The product is joined; its metadata here does not list the version.
    VersionUnknown,
    /// The product has not been joined on this machine.
    NotJoined,
}

#[derive(Debug, Serialize)]
struct Wrong {
    path: String,
    what: &'static str,
}

#[derive(Debug, Serialize)]
struct Recalled {
    reason: String,
    replacement: Option<Version>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    dir: PathBuf,
    verified: bool,
    /// The product's name here, when it is joined.
    product: Option<String>,
    product_id: ProductId,
    version: Version,
    manifest: ManifestId,
    signature: Signature,
    recalled: bool,
    /// Why, and what to take instead, in the vendor's words.
    recall: Option<Recalled>,
    right: u64,
    bytes: u64,
    modified: Vec<Wrong>,
    missing: Vec<String>,
    extra: Vec<String>,
}

/// Verifies. Files that are not of the release are listed and make nothing wrong.
///
/// # Errors
/// When there is no release in the folder or it cannot be read. What is wrong with it is a result, and the status then
/// is [`ExitStatus::Unverified`], or [`ExitStatus::Denied`] for the right files of a release that was recalled.
pub fn run(args: &Args, context: &Context, printer: &mut Printer) -> Result<ExitStatus, CliError> {
    let found = verify(&args.dir, args.threads.map(Into::into)).map_err(|error| failed(&args.dir, &error))?;
    let report = report(args, context, found)?;
    printer.print(&report)?;
    Ok(match (report.verified, report.recalled) {
        (false, _) => ExitStatus::Unverified,
        // As `fetch` ends: a script that asks before it installs must not go on.
        (true, true) => ExitStatus::Denied,
        (true, false) => ExitStatus::Success,
    })
}

fn report(args: &Args, context: &Context, found: Verification) -> Result<Report, CliError> {
    let right = found.is_right();
    let products = Machine::at(context.home()).products()?;
    let joined = products
        .into_iter()
        .find(|product| product.trust.product() == found.product);
    let documents = joined.as_ref().map(|product| product.trust.documents());
    let signature = match documents.map(|documents| documents.releases.get(&found.version)) {
        None => Signature::NotJoined,
        Some(None) => Signature::VersionUnknown,
        Some(Some(record)) if record.manifest == found.manifest => Signature::Trusted,
        Some(Some(_)) => Signature::Contradicted,
    };
    let recall = documents.and_then(|documents| documents.recalls.get(&found.manifest));
    let recall = recall.map(|recall| Recalled {
        reason: recall.reason.clone(),
        replacement: recall.replacement.clone(),
    });
    Ok(Report {
        dir: args.dir.clone(),
        verified: right && signature != Signature::Contradicted,
        product: joined.map(|product| product.membership.name),
        product_id: found.product,
        version: found.version,
        manifest: found.manifest,
        signature,
        recalled: recall.is_some(),
        recall,
        right: found.right,
        bytes: found.bytes,
        modified: found
            .modified
            .into_iter()
            .map(|(path, what)| Wrong { path, what })
            .collect(),
        missing: found.missing,
        extra: found.extra,
    })
}

fn failed(dir: &std::path::Path, error: &VerifyDirError) -> CliError {
    match error {
        VerifyDirError::Io { dir, path, source } if path == "." => CliError::io(dir, source),
        VerifyDirError::Io { dir, path, source } => CliError::io(&dir.join(path), source),
        VerifyDirError::NoRelease(_) => {
            let error = CliError::new(
                ExitStatus::Absent,
                dir.display(),
                "no release was fetched into it: .samara or its manifest is missing",
            );
            error.way_out("name the folder that was given to `samara fetch -o`")
        }
        VerifyDirError::Unfinished(_) => {
            let error = CliError::new(ExitStatus::Unverified, dir.display(), "a fetch into it was broken off");
            error.way_out("run the same fetch again, which finishes it")
        }
        VerifyDirError::Damaged { cause, .. } => {
            let what = format!("the manifest kept in it is damaged: {cause}");
            CliError::new(ExitStatus::Unverified, dir.display(), what).way_out("fetch again")
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dir, id) = (self.dir.display(), self.product_id.to_string());
        let name = self.product.as_ref().unwrap_or(&id);
        let (version, right, bytes) = (&self.version, self.right, show_bytes(self.bytes));
        let is = if self.verified { "is" } else { "is NOT" };
        writeln!(
            f,
            "{dir} {is} {name}@{version}: {right} of its entries are right, {bytes} hashed"
        )?;
        list(f, "modified", self.modified.len(), |at| {
            let Wrong { path, what } = &self.modified[at];
            format!("{path} ({what})")
        })?;
        list(f, "missing", self.missing.len(), |at| self.missing[at].clone())?;
        list(f, "not of the release", self.extra.len(), |at| self.extra[at].clone())?;
        f.write_str(match self.signature {
            Signature::Trusted => "the vendor signed this release",
            Signature::Contradicted => "the vendor signed ANOTHER release under this version",
            Signature::VersionUnknown => {
                "whether the vendor signed it is not known: the metadata here does not list this version; fetch brings it up to date"
            }
            Signature::NotJoined => {
                "whether the vendor signed it is not known: this machine has not joined the product (`samara join FILE`)"
            }
        })?;
        let Some(Recalled { reason, replacement }) = &self.recall else {
            return Ok(());
        };
        write!(f, "\nthe vendor has RECALLED this release: {reason}")?;
        match replacement {
            Some(version) => write!(f, "; take {version} instead"),
            None => Ok(()),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, count: usize, line: impl Fn(usize) -> String) -> fmt::Result {
    for at in 0..count.min(SHOWN_MAX) {
        writeln!(f, "{what}: {}", line(at))?;
    }
    match count.checked_sub(SHOWN_MAX) {
        Some(more) if more > 0 => writeln!(f, "{what}: and {more} more"),
        _ => Ok(()),
    }
}
