//! Files into a head and an entries list, in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use samara_protocol::id::{ArtifactId, ManifestId, ProductId};
use samara_protocol::manifest::contents::ContentsBuilder;
use samara_protocol::manifest::entry::Entry;
use samara_protocol::manifest::head::{EntriesRef, Head, SCHEMA, Urgency};
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::manifest::list::{self, EncodedList};
use samara_protocol::manifest::platform::{Platform, PlatformSet};
use semver::Version;

use crate::cli::{CliError, ExitStatus};
use crate::release::scan::{ScanOptions, ScanRoot, scan};
use crate::release::sizes::Sizes;

/// A release that is ready to be signed.
pub(super) struct Prepared {
    pub(super) head: Vec<u8>,
    pub(super) manifest: ManifestId,
    pub(super) list: EncodedList,
    /// Each artifact with a file that has it.
    pub(super) sources: BTreeMap<ArtifactRef, PathBuf>,
    pub(super) sizes: Sizes,
}

/// Reads and hashes everything.
pub(super) fn prepare(
    path: Option<&Path>,
    platforms: &[String],
    product: ProductId,
    version: &Version,
) -> Result<Prepared, CliError> {
    let roots = roots(path, platforms)?;
    let culprit = roots
        .iter()
        .map(|root| root.path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    // Each of what it names has its own way out beside it.
    let refused = |error| CliError::usage(&culprit, error).way_out("put that right and publish again");
    let scanned = scan(&roots, &ScanOptions::default()).map_err(refused)?;
    let mut entries = scanned.entries;
    let list = list::encode(&mut entries).map_err(|error| CliError::usage(&culprit, error.to_string()))?;
    let payload = totals(&entries).map_err(|error| CliError::usage(&culprit, error))?;
    let head = Head {
        attachments: Vec::new(),
        depends_on: Vec::new(),
        entries: EntriesRef {
            artifact: list.artifact,
            count: list.count,
        },
        payload,
        product,
        required: false,
        schema: SCHEMA,
        upgrade_from: None,
        urgency: Urgency::Normal,
        version: version.clone(),
    };
    let head = head
        .encode()
        .map_err(|error| CliError::usage("--version", error.to_string()))?;
    let sizes: BTreeMap<ArtifactId, u64> = entries
        .iter()
        .filter_map(Entry::artifact)
        .map(|artifact| (artifact.id, artifact.size))
        .collect();
    let sources = scanned.sources.into_iter().filter_map(|(id, path)| {
        Some((
            ArtifactRef {
                id,
                size: *sizes.get(&id)?,
            },
            path,
        ))
    });
    Ok(Prepared {
        manifest: Head::id_of(&head),
        sources: sources.collect(),
        sizes: Sizes::of(&entries),
        head,
        list,
    })
}

fn totals(entries: &[Entry]) -> Result<samara_protocol::manifest::head::PayloadTotals, String> {
    let mut builder = ContentsBuilder::default();
    for entry in entries {
        builder.add(entry);
    }
    builder.totals(&[]).map_err(|error| error.to_string())
}

fn roots(path: Option<&Path>, platforms: &[String]) -> Result<Vec<ScanRoot>, CliError> {
    let mut roots: Vec<_> = path
        .iter()
        .map(|path| ScanRoot {
            path: (*path).to_owned(),
            platforms: PlatformSet::default(),
        })
        .collect();
    for text in platforms {
        let usage = || {
            CliError::usage("--platform", format!("`{text}` is not OS/ARCH=PATH"))
                .way_out("write for example --platform linux/amd64=build/amd64")
        };
        let (names, folder) = text.split_once('=').ok_or_else(usage)?;
        let set: Result<Vec<Platform>, _> = names.split(',').map(str::parse).collect();
        let set = set.map_err(|error| CliError::worded(ExitStatus::Usage, "--platform", error))?;
        let platforms =
            PlatformSet::new(set).map_err(|error| CliError::worded(ExitStatus::Usage, "--platform", error))?;
        roots.push(ScanRoot {
            path: folder.into(),
            platforms,
        });
    }
    if roots.is_empty() {
        return Err(CliError::usage("PATH", "nothing to publish is named")
            .way_out("name a file or folder, or give --platform OS/ARCH=PATH"));
    }
    Ok(roots)
}
