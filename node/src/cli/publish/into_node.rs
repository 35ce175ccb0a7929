//! A prepared release into the running origin: open files beside the lines of its socket.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use samara_protocol::limits::ADMIN_FILES_MAX;
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::trust::product::ProductTrust;

use super::Args;
use super::release::Prepared;
use crate::admin::api::{Artifact, Request, SignedFile};
use crate::admin::{Client, files};
use crate::cli::{CliError, blame};

/// How long the node may take with a portion: it hashes what it is given.
const WAIT: Duration = Duration::from_secs(3600);

/// Passes everything, then what `seal` signs when it is all there: others may publish meanwhile, and the origin renews its
/// timestamp. What comes back is the node's verdict.
pub(super) fn send(
    mut client: Client,
    socket: &Path,
    args: &Args,
    prepared: &Prepared,
    seal: impl FnOnce() -> Result<ProductTrust, CliError>,
) -> Result<ProductTrust, CliError> {
    let mut ask = |request: &Request, files: &[OwnedFd]| {
        client
            .ask(request, files, WAIT)
            .map_err(|error| blame::admin(&error, socket))
    };
    ask(
        &Request::PublishBegin {
            product: args.product.0.clone(),
            version: args.version.clone(),
            link: args.link,
        },
        &[],
    )?;
    let sources: Vec<_> = prepared
        .sources
        .iter()
        .filter(|(artifact, _)| artifact.size > 0)
        .collect();
    for portion in sources.chunks(ADMIN_FILES_MAX) {
        let artifacts = portion
            .iter()
            .map(|(ArtifactRef { id, size }, _)| Artifact { root: *id, size: *size })
            .collect();
        let open: Result<Vec<OwnedFd>, CliError> = portion
            .iter()
            .map(|(_, path)| {
                File::open(path)
                    .map(OwnedFd::from)
                    .map_err(|error| CliError::io(path, &error))
            })
            .collect();
        ask(&Request::PublishArtifacts { artifacts }, &open?)?;
    }
    let sealed = seal()?;
    let in_memory =
        |name: &str, bytes: &[u8]| files::in_memory(name, bytes).map_err(|error| CliError::io(Path::new(name), &error));
    let mut open = vec![
        in_memory("head", &prepared.head)?,
        in_memory("entries", &prepared.list.bytes)?,
    ];
    let mut signed = Vec::new();
    for (name, bytes) in sealed.files().named() {
        open.push(in_memory(&name, bytes)?);
        signed.push(SignedFile { name });
    }
    ask(
        &Request::PublishCommit {
            manifest: prepared.manifest,
            signed,
        },
        &open,
    )?;
    Ok(sealed)
}
