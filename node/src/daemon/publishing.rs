//! Publishing beside a running node: what verbs pass over the socket becomes a release of this origin.
//!
//! Keys stay with the verb. The node hashes what it is passed, checks the signed files as a consumer would, and only
//! then shows the release.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use samara_protocol::id::{ManifestId, ProductId};
use samara_protocol::limits::{ENTRIES_BYTES_MAX, HEAD_BYTES_MAX};
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::trust::files::MetadataFiles;
use semver::Version;
use tokio_util::sync::CancellationToken;

use super::answering::read_signed;
use super::driver::Driver;
use super::importing::{ImportError, Importing};
use super::report::Report;
use crate::admin::api::{Artifact, Refusal, RefusalKind, Response, SignedFile};
use crate::admin::files;
use crate::admin::server::Reply;
use crate::observe::Event;
use crate::store::StoreError;

/// Releases being passed, by connection.
#[derive(Debug, Default)]
pub(super) struct Publishings(BTreeMap<u64, Publishing>);

/// Publishings under way at a time.
const PUBLISHINGS_MAX: usize = 4;

#[derive(Debug, Clone)]
struct Publishing {
    product: ProductId,
    version: Version,
    import: Arc<Mutex<Option<Importing>>>,
    /// Cancelled when the verb is gone.
    closed: CancellationToken,
}

/// A release whose bytes are in the store.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) product: ProductId,
    pub(super) version: Version,
    pub(super) manifest: ManifestId,
    pub(super) files: MetadataFiles,
    pub(super) reply: Reply,
}

impl Driver {
    pub(super) fn publish_begin(
        &mut self,
        connection: (u64, CancellationToken),
        product: &str,
        version: Version,
        link: bool,
        reply: Reply,
    ) {
        let (connection, closed) = connection;
        let Some((id, known)) = self.products.named(product) else {
            let refusal = Refusal::new(RefusalKind::Absent, product, "this node does not carry the product");
            return reply.refuse(refusal.way_out("`samara join` it at this origin, and restart the node"));
        };
        if self.publishings.0.len() >= PUBLISHINGS_MAX {
            let refusal = Refusal::new(
                RefusalKind::Conflict,
                product,
                "as many releases as may be are being published already",
            );
            return reply.refuse(refusal.way_out("try again when one of them is done"));
        }
        let published = known
            .trust
            .documents()
            .releases
            .get(&version)
            .map(|record| record.manifest);
        match Importing::begin(self.store.clone(), &self.config.store, link) {
            Ok(import) => {
                let import = Arc::new(Mutex::new(Some(import)));
                self.publishings.0.insert(
                    connection,
                    Publishing {
                        product: id,
                        version,
                        import,
                        closed,
                    },
                );
                reply.finish(Response::Publishing { published });
            }
            Err(error) => reply.refuse(refusal(product, &error)),
        }
    }

    pub(super) fn publish_artifacts(
        &self,
        connection: u64,
        artifacts: Vec<Artifact>,
        files: Vec<OwnedFd>,
        reply: Reply,
    ) {
        let Some(publishing) = self.publishings.0.get(&connection).cloned() else {
            return reply.refuse(not_begun());
        };
        tokio::task::spawn_blocking(move || {
            let refs: Vec<_> = artifacts
                .iter()
                .map(|artifact| ArtifactRef {
                    id: artifact.root,
                    size: artifact.size,
                })
                .collect();
            let files: Vec<_> = files.into_iter().map(File::from).collect();
            let mut import = publishing.import.lock().unwrap_or_else(PoisonError::into_inner);
            match import.as_mut().map(move |import| import.add(&refs, files)) {
                Some(Ok(())) => reply.finish(Response::Done),
                Some(Err(error)) => reply.refuse(refusal("publish", &error)),
                None => reply.refuse(not_begun()),
            }
        });
    }

    pub(super) fn publish_commit(
        &mut self,
        connection: u64,
        manifest: ManifestId,
        signed: &[SignedFile],
        mut files: Vec<OwnedFd>,
        reply: Reply,
    ) {
        let Some(publishing) = self.publishings.0.remove(&connection) else {
            return reply.refuse(not_begun());
        };
        let metadata = files.split_off(2.min(files.len()));
        let metadata = match read_signed(signed, metadata) {
            Ok(metadata) => metadata,
            Err(refusal) => return reply.refuse(refusal),
        };
        let Ok([head, list]) = <[OwnedFd; 2]>::try_from(files) else {
            return reply.refuse(not_begun());
        };
        let reports = self.shell.reports.clone();
        tokio::task::spawn_blocking(move || {
            let Publishing {
                product,
                version,
                import,
                ..
            } = publishing;
            let import = import.lock().unwrap_or_else(PoisonError::into_inner).take();
            let outcome = import
                .ok_or_else(not_begun)
                .and_then(|import| commit(import, &head, &list));
            match outcome {
                Ok(found) if found == manifest => {
                    let imported = Imported {
                        product,
                        version,
                        manifest,
                        files: metadata,
                        reply,
                    };
                    // The driver is gone only when everything ends; the verb is then told that the node is stopping.
                    let _ = reports.blocking_send(Report::Imported(imported));
                }
                Ok(found) => reply.refuse(Refusal::new(
                    RefusalKind::Unverified,
                    "the manifest head",
                    format!("it is {found}, not {manifest}"),
                )),
                Err(refusal) => reply.refuse(refusal),
            }
        });
    }

    /// The bytes are here: now the signatures, then everybody may know.
    pub(super) fn on_imported(&mut self, imported: Imported) {
        let Imported {
            product,
            version,
            manifest,
            files,
            reply,
        } = imported;
        let again = self
            .products
            .get(product)
            .is_some_and(|known| known.trust.documents().releases.contains_key(&version));
        let installed = self.products.install(product, &files);
        let bound = self
            .products
            .get(product)
            .and_then(|known| known.trust.documents().releases.get(&version))
            .map(|record| record.manifest);
        match installed {
            Err(error) => reply.refuse(Refusal::new(
                RefusalKind::Unverified,
                self.name_of(product),
                error.to_string(),
            )),
            Ok(_) if bound != Some(manifest) => {
                let what = format!("the signed metadata does not bind {version} to this content");
                reply.refuse(Refusal::new(RefusalKind::Unverified, self.name_of(product), what));
            }
            Ok(_) => {
                self.metadata_changed(product);
                if !again {
                    self.observer.emit(Event::ReleasePublished {
                        product,
                        version,
                        manifest,
                    });
                }
                reply.finish(Response::Published { manifest, again });
            }
        }
    }

    /// Forgets publishings whose verb is gone.
    pub(super) fn sweep_publishings(&mut self) {
        self.publishings
            .0
            .retain(|_, publishing| !publishing.closed.is_cancelled());
    }
}

fn commit(import: Importing, head: &OwnedFd, list: &OwnedFd) -> Result<ManifestId, Refusal> {
    let read = |what: &str, file, max| {
        files::read(file, max).map_err(|error| Refusal::new(RefusalKind::Failure, what, error.to_string()))
    };
    let head = read("the manifest head", head, HEAD_BYTES_MAX)?;
    let list = read("the entries list", list, ENTRIES_BYTES_MAX)?;
    let finished = import.finish(&head, &list);
    finished.map_err(|error| refusal("publish", &error))
}

fn not_begun() -> Refusal {
    Refusal::new(
        RefusalKind::Usage,
        "publish",
        "nothing is being published on this connection",
    )
}

fn refusal(culprit: &str, error: &ImportError) -> Refusal {
    let kind = match error {
        ImportError::Store(StoreError::DiskFull { .. } | StoreError::QuotaFull { .. }) => RefusalKind::DiskFull,
        ImportError::Store(_) | ImportError::Io { .. } => RefusalKind::Failure,
        _ => RefusalKind::Unverified,
    };
    Refusal::new(kind, culprit, error.to_string())
}
