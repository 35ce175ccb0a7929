//! A release's bytes and proofs, as a node would have them: the manifest fetched over the wire, the payload read from the
//! folder that was published.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use samara_protocol::bits::Bits;
use samara_protocol::id::{ArtifactId, LayoutId, ManifestId, Part};
use samara_protocol::manifest::contents::Contents;
use samara_protocol::manifest::head::Head;
use samara_protocol::manifest::layout::{Group, Layout};
use samara_protocol::manifest::list;
use samara_protocol::tree::geometry::{Geometry, GroupIndex};
use samara_protocol::tree::outboard;
use samara_protocol::tree::prove::ReplyProver;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::control::ControlMessage;
use samara_protocol::wire::data::{Ask, EndStatus};
use samara_protocol::wire::message::SwarmMessage;

use super::{Insider, Visit};

/// See the module.
#[derive(Debug, Clone)]
pub struct Wares {
    id: LayoutId,
    layout: Arc<Layout>,
    bytes: Arc<BTreeMap<ArtifactId, Bytes>>,
}

#[derive(Debug)]
struct Bytes {
    data: Vec<u8>,
    outboard: Vec<u8>,
}

/// One reply's proofs: pairs that were sent are not sent again.
#[derive(Debug)]
pub struct Proofs<'a> {
    wares: &'a Wares,
    current: Option<(usize, ReplyProver)>,
}

impl Wares {
    /// Takes the manifest from the node at `address`, as any peer would, and the bytes from `folder`.
    ///
    /// # Errors
    /// When the node does not give it, or the folder does not hold the release.
    pub async fn take(insider: &Insider, address: &str, manifest: ManifestId, folder: &Path) -> Result<Self> {
        let mut visit = Visit::to(insider, address).await?;
        let name = format!("head/{manifest}");
        let (product, offset) = (insider.product(), 0);
        let ask = Ask::File { product, name, offset };
        let (head, status) = visit.ask(ask).await?;
        ensure!(status == EndStatus::Done, "the head: {status:?}");
        let head = Head::decode(&head)?;

        let list = Layout::single(head.entries.artifact.layout_ref())?;
        let layout = LayoutId {
            manifest,
            part: Part::Entries,
        };
        let groups = RangeSet::from(0..list.group_count());
        // An origin shows nothing to who has not said that it wants it, and takes a moment then.
        visit
            .say(&ControlMessage::Swarm(want(layout, 1, list.blocks().len(), false)))
            .await?;
        let entries = loop {
            let groups = groups.clone();
            match visit.ask(Ask::Groups { layout, groups }).await? {
                (bytes, EndStatus::Done) => break bytes,
                (_, EndStatus::Absent) => drop(visit.hear().await?),
                (_, status) => bail!("the entries: {status:?}"),
            }
        };
        let entries = list::decode(&entries)?;
        let mut bytes = BTreeMap::new();
        for entry in &entries {
            if entry.artifact().is_some() {
                let data = fs::read(folder.join(entry.path.as_str()))?;
                let (id, outboard) = outboard::of_bytes(&data)?;
                bytes.insert(id, Bytes { data, outboard });
            }
        }
        Ok(Self {
            id: LayoutId {
                manifest,
                part: Part::Payload,
            },
            layout: Arc::new(Contents::new(&head, &entries)?.into_layout()),
            bytes: Arc::new(bytes),
        })
    }

    /// The payload's layout.
    #[must_use]
    pub const fn id(&self) -> LayoutId {
        self.id
    }

    /// A claim to have all of it, durably, and to want it.
    #[must_use]
    pub fn claim(&self) -> SwarmMessage {
        let all = Bits::all(self.layout.blocks().len());
        SwarmMessage::Status {
            number: 0,
            layout: self.id,
            ask: false,
            have: all.clone(),
            durable: all.clone(),
            want: all,
        }
    }

    /// The word that nothing of it is there and all of it is wanted; with `ask`, that the other's is wanted too.
    #[must_use]
    pub fn wish(&self, ask: bool) -> SwarmMessage {
        want(self.id, 0, self.layout.blocks().len(), ask)
    }

    /// The groups of some of its blocks.
    #[must_use]
    pub fn groups_of(&self, blocks: &RangeSet) -> RangeSet {
        let table = self.layout.blocks();
        let mut groups = RangeSet::new();
        let known = blocks.iter().filter(|block| *block < table.len());
        known.for_each(|block| groups.insert(table.get(block).range()));
        groups
    }

    /// All its blocks.
    #[must_use]
    pub fn blocks(&self) -> RangeSet {
        RangeSet::from(0..self.layout.blocks().len())
    }

    /// Proofs of a new reply.
    #[must_use]
    pub const fn proofs(&self) -> Proofs<'_> {
        Proofs {
            wares: self,
            current: None,
        }
    }
}

impl Proofs<'_> {
    /// The proof and the data of the next group of the reply.
    ///
    /// # Errors
    /// When there is no such group, or an earlier one was given.
    pub fn group(&mut self, group: u32) -> Result<(Vec<u8>, Vec<u8>)> {
        let (layout, placed) = (&self.wares.layout, self.wares.layout.placed());
        let bytes = |at: usize| {
            self.wares
                .bytes
                .get(&placed[at].artifact.id)
                .context("not in the folder")
        };
        match layout.group(group).context("no such group")? {
            Group::Packed { artifacts, .. } => {
                let mut data = Vec::new();
                for at in artifacts {
                    data.extend_from_slice(&bytes(at)?.data);
                }
                Ok((Vec::new(), data))
            }
            Group::Large { artifact, index, .. } => {
                let geometry = Geometry::new(placed[artifact].artifact.size)?;
                let held = bytes(artifact)?;
                let prover = match &mut self.current {
                    Some((at, prover)) if *at == artifact => prover,
                    current => &mut current.insert((artifact, ReplyProver::new(geometry))).1,
                };
                let mut proof = Vec::new();
                prover.proof(GroupIndex(index), &mut proof, |node| {
                    let at = usize::try_from(node.offset()).expect("in memory");
                    let pair = held.outboard[at..].first_chunk().expect("whole pairs");
                    Ok::<_, Infallible>(*pair)
                })?;
                let range = geometry.bytes_of(GroupIndex(index)).context("no such group")?;
                let (start, end) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
                Ok((proof, held.data[start..end].to_vec()))
            }
        }
    }
}

/// The word that all of a layout is wanted.
fn want(layout: LayoutId, number: u16, blocks: u32, ask: bool) -> SwarmMessage {
    SwarmMessage::Status {
        number,
        layout,
        ask,
        have: Bits::none(blocks),
        durable: Bits::none(blocks),
        want: Bits::all(blocks),
    }
}
