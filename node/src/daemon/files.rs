//! The small files that peers ask each other for by name: a product's metadata and manifest heads. A name is ASCII.

use samara_protocol::id::{ManifestId, NodeId, ProductId};
use samara_protocol::limits::{HEAD_BYTES_MAX, METADATA_BYTES_MAX};
use samara_protocol::wire::data::{Ask, EndStatus};
use tokio::sync::mpsc;

use super::report::{FileFault, Report};
use crate::net::{NetHandle, ReplyFrame};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum FileName {
    /// All current metadata of the product, as one file.
    Metadata,
    /// One release's manifest head.
    Head(ManifestId),
}

impl FileName {
    /// The name on the wire.
    pub(super) fn to_wire(self) -> String {
        match self {
            Self::Metadata => "metadata".to_owned(),
            Self::Head(manifest) => format!("head/{manifest}"),
        }
    }

    /// Reads a name from the wire; `None` for anything else, which is answered as absent.
    pub(super) fn from_wire(name: &str) -> Option<Self> {
        match name.strip_prefix("head/") {
            Some(manifest) => manifest.parse().ok().map(Self::Head),
            None => (name == "metadata").then_some(Self::Metadata),
        }
    }

    /// Bytes that such a file may have.
    const fn bytes_max(self) -> u64 {
        match self {
            Self::Metadata => 2 * METADATA_BYTES_MAX,
            Self::Head(_) => HEAD_BYTES_MAX,
        }
    }
}

/// Asks `peer` for a file and reports what came of it.
pub(super) async fn ask(
    net: NetHandle,
    peer: NodeId,
    product: ProductId,
    name: FileName,
    reports: mpsc::Sender<Report>,
) {
    let outcome = receive(&net, peer, product, name).await;
    // The driver is gone only when everything ends.
    let _ = reports
        .send(Report::File {
            peer,
            product,
            name,
            outcome,
        })
        .await;
}

async fn receive(net: &NetHandle, peer: NodeId, product: ProductId, name: FileName) -> Result<Vec<u8>, FileFault> {
    let mut source = net.ask(
        peer,
        Ask::File {
            product,
            name: name.to_wire(),
            offset: 0,
        },
    );
    let mut bytes = Vec::new();
    loop {
        match source.next().await.map_err(|_| FileFault::Broken)? {
            ReplyFrame::File { total, chunk } => {
                if total > name.bytes_max() || bytes.len() + chunk.len() > usize::try_from(total).unwrap_or(0) {
                    return Err(FileFault::TooLarge(name.bytes_max()));
                }
                bytes.extend_from_slice(&chunk);
            }
            ReplyFrame::End(EndStatus::Done) => return Ok(bytes),
            ReplyFrame::End(EndStatus::Absent) => return Err(FileFault::Absent),
            ReplyFrame::End(_) => return Err(FileFault::Broken),
            ReplyFrame::Group { .. } => return Err(FileFault::Absent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_none() {
        for name in [FileName::Metadata, FileName::Head(ManifestId([9; 32]))] {
            assert_eq!(FileName::from_wire(&name.to_wire()), Some(name));
        }
        for bad in ["", "metadata/", "head/", "head/zz", "../secret"] {
            assert_eq!(FileName::from_wire(bad), None, "{bad}");
        }
    }
}
