//! A small release, and what its bytes are.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId, ManifestId, Part};
use samara_protocol::manifest::layout::{ArtifactRef, Group, Layout, Section};
use samara_protocol::rng::Rng;
use samara_protocol::tree::geometry::{Geometry, GroupIndex, Node, Pair};
use samara_protocol::tree::outboard::of_bytes;
use samara_protocol::tree::ranges::RangeSet;

use crate::store::{FrameShape, Frames, GroupWrite, Store};

/// A release in memory.
pub(super) struct Release {
    pub(super) id: LayoutId,
    pub(super) layout: Arc<Layout>,
    pub(super) artifacts: Vec<ArtifactRef>,
    bytes: HashMap<ArtifactId, (Vec<u8>, Vec<u8>)>,
}

/// Bytes that look random and are the same for the same seed.
pub(super) fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| rng.next_u64().to_le_bytes())
        .take(len / 8 + 1)
        .flatten()
        .collect();
    bytes.truncate(len);
    bytes
}

impl Release {
    pub(super) fn new(number: u8, files: &[Vec<u8>]) -> Self {
        let mut bytes = HashMap::new();
        let mut artifacts = Vec::new();
        for file in files {
            let (id, outboard) = of_bytes(file).expect("small");
            let size = file.len() as u64;
            artifacts.push(ArtifactRef { id, size });
            bytes.insert(id, (file.clone(), outboard));
        }
        let section = Section {
            artifacts: artifacts.clone(),
        };
        Self {
            id: LayoutId {
                manifest: ManifestId([number; 32]),
                part: Part::Payload,
            },
            layout: Arc::new(Layout::new(&[section]).expect("small")),
            artifacts,
            bytes,
        }
    }

    /// Three large artifacts (one with a group of zeros), and small ones for three packed groups.
    pub(super) fn mixed(number: u8) -> Self {
        let mut sparse = random(u64::from(number) + 1, 4 << 16);
        sparse[1 << 16..2 << 16].fill(0);
        let mut files = vec![
            random(100, (5 << 16) + 777),
            sparse,
            random(u64::from(number) + 3, 1 << 16),
        ];
        files.extend((0..6).map(|i| random(u64::from(number) * 1000 + i, 30_000)));
        Self::new(number, &files)
    }

    pub(super) fn all(&self) -> RangeSet {
        RangeSet::from(0..self.layout.group_count())
    }

    pub(super) fn bytes(&self, id: ArtifactId) -> &[u8] {
        &self.bytes[&id].0
    }

    /// What the group is.
    pub(super) fn group(&self, group: u32) -> Vec<u8> {
        let placed = self.layout.placed();
        match self.layout.group(group).expect("of the layout") {
            Group::Large { artifact, index, len } => {
                let start = (index as usize) << 16;
                self.bytes(placed[artifact].artifact.id)[start..start + len as usize].to_vec()
            }
            Group::Packed { artifacts, .. } => {
                let each = placed[artifacts].iter().map(|placed| self.bytes(placed.artifact.id));
                each.flatten().copied().collect()
            }
        }
    }

    /// All pairs from the root to the group, as the first group of a reply brings them.
    pub(super) fn pairs(&self, group: u32) -> Vec<(Node, Pair)> {
        let Some(Group::Large { artifact, index, .. }) = self.layout.group(group) else {
            return Vec::new();
        };
        let artifact = self.layout.placed()[artifact].artifact;
        let outboard = &self.bytes[&artifact.id].1;
        let pair = |node: Node| {
            let at = node.offset() as usize;
            (node, outboard[at..at + 64].try_into().expect("64 bytes"))
        };
        let geometry = Geometry::new(artifact.size).expect("small");
        geometry.path(GroupIndex(index)).map(|step| pair(step.node())).collect()
    }

    /// Writes groups in ascending order as one reply brings them after another brought `before`: each pair with the first
    /// group that needs it.
    pub(super) fn write_once(
        &self,
        store: &Store,
        groups: &RangeSet,
        before: &RangeSet,
    ) -> Result<(), crate::store::StoreError> {
        // Pairs are told apart by what they are: no two in a release are the same.
        let mut carried: std::collections::HashSet<Pair> = std::collections::HashSet::new();
        for group in before.iter() {
            carried.extend(self.pairs(group).into_iter().map(|(_, pair)| pair));
        }
        for group in groups.iter() {
            let data = self.group(group);
            let mut pairs = self.pairs(group);
            pairs.retain(|(_, pair)| carried.insert(*pair));
            let write = GroupWrite {
                group,
                data: &data,
                pairs: &pairs,
            };
            store.write(self.id, &[write])?;
        }
        Ok(())
    }

    pub(super) fn write(&self, store: &Store, groups: &RangeSet) -> Result<(), crate::store::StoreError> {
        for group in groups.iter() {
            let (data, pairs) = (self.group(group), self.pairs(group));
            let write = GroupWrite {
                group,
                data: &data,
                pairs: &pairs,
            };
            store.write(self.id, &[write])?;
        }
        Ok(())
    }

    /// Reads the groups as one reply and checks every frame the way a peer would; what was served and what was lost.
    pub(super) fn read_checked(&self, store: &Store, groups: &RangeSet) -> (RangeSet, RangeSet) {
        let mut reply = store.reply(self.id).expect("open");
        let (mut out, mut shapes) = (Frames::default(), Vec::new());
        let served = store.read(&mut reply, groups, &mut out, &mut |shape, out| {
            // Tried twice where the outboard had to be made again; the last frame is the one that is there.
            shapes.retain(|(_, known): &(usize, FrameShape)| known.group != shape.group);
            shapes.push((out.len(), shape));
        });
        let served = served.expect("never fails");
        let mut verifier = samara_protocol::manifest::reply::LayoutVerifier::new(Arc::clone(&self.layout));
        for (at, shape) in shapes.iter().filter(|(_, shape)| served.served.contains(shape.group)) {
            let (proof, data) = out.as_slice()[*at..at + shape.proof_len + shape.data_len].split_at(shape.proof_len);
            verifier
                .verify(shape.group, proof, data)
                .expect("what is served verifies");
        }
        (served.served, served.lost)
    }

    /// Writes every artifact to a folder of its own files.
    pub(super) fn to_folder(&self, dir: &std::path::Path) -> HashMap<ArtifactId, PathBuf> {
        let mut paths = HashMap::new();
        for (i, artifact) in self.artifacts.iter().enumerate() {
            let path = dir.join(i.to_string());
            std::fs::write(&path, self.bytes(artifact.id)).expect("room for a few files");
            paths.insert(artifact.id, path);
        }
        paths
    }
}
