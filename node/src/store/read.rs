//! Groups leave the store: as frames of a reply, or as whole artifacts.
//!
//! Towards a Samara peer, which checks everything itself, a group is hashed here only when its file changed since it was
//! verified, or once a day. What fails is lost: it is told to every layout that has it and fetched again.

use std::sync::Arc;

use samara_protocol::id::{ArtifactId, LayoutId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::{ArtifactRef, Group};
use samara_protocol::tree::geometry::GroupIndex;
use samara_protocol::tree::prove::ReplyProver;
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::tree::verify::StoredVerifier;

use super::body::{Body, Shape, offset_of};
use super::disk::read_exact;
use super::files::{Files, Key};
use super::frames::Frames;
use super::heal::Mending;
use super::inspect::{LOOKS_MAX, Look};
use super::layouts::OpenLayout;
use super::pairs::PairPage;
use super::shared::Shared;
use super::tables::Location;
use super::{FrameShape, Served, StoreError};

/// The state of one reply across several [`super::Store::read`] calls: which pairs its frames have already carried.
#[derive(Debug)]
pub struct Reply {
    open: Arc<OpenLayout>,
    prover: Option<Prover>,
}

/// Proofs for the artifact that the last group was of. What is sent as proof is checked every time: it is little.
#[derive(Debug)]
struct Prover {
    key: Key,
    prover: ReplyProver,
    way: StoredVerifier,
}

/// Why there is no frame of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// It is not held (any more).
    Lost,
    /// Its bytes are not what they must be.
    Wrong,
    /// The outboard does not lead to it.
    Unproved,
    /// Its files cannot be read at this moment; nothing is known of it.
    Later,
}

/// The body that the last group came from.
struct Current {
    body: Arc<Body>,
    look: Option<Look>,
    pairs: PairPage,
    checked: RangeSet,
}

impl Shared {
    pub(super) fn reply(&self, id: LayoutId) -> Result<Reply, StoreError> {
        Ok(Reply {
            open: self.layout(id)?,
            prover: None,
        })
    }

    pub(super) fn read(
        &self,
        reply: &mut Reply,
        groups: &RangeSet,
        out: &mut Frames,
        header: &mut dyn FnMut(FrameShape, &mut Frames),
    ) -> Served {
        let mut served = Served::default();
        let mut current: Option<Current> = None;
        let open = Arc::clone(&reply.open);
        for group in groups.iter() {
            let start = out.len();
            let outcome = if open.is_shared(group) {
                self.frame_of_shared(&open, group, out, header).ok_or(Missed::Lost)
            } else if let Some((body, index)) = open.locate(group) {
                let at = Place { group, index };
                self.frame_or_mend(reply, &mut current, body, at, out, header)
            } else {
                Err(Missed::Lost)
            };
            match outcome {
                Ok(len) => {
                    served.served.insert(group..group + 1);
                    served.bytes += len as u64;
                    continue;
                }
                Err(Missed::Later) => served.later.insert(group..group + 1),
                Err(_) => served.lost.insert(group..group + 1),
            }
            out.truncate(start);
        }
        if let Some(current) = current {
            self.mark_checked(&current.body, &current.checked);
        }
        served
    }

    /// A frame; where the outboard does not prove it, after that was made again from the data.
    fn frame_or_mend(
        &self,
        reply: &mut Reply,
        current: &mut Option<Current>,
        body: &Arc<Body>,
        at: Place,
        out: &mut Frames,
        header: &mut dyn FnMut(FrameShape, &mut Frames),
    ) -> Result<usize, Missed> {
        let (start, group) = (out.len(), RangeSet::from(at.index..at.index + 1));
        let mut is_mended = false;
        for _ in 0..LOOKS_MAX {
            let files = self.current(current, body);
            let missed = match self.frame(reply, files, at, out, header) {
                Err(missed @ (Missed::Unproved | Missed::Wrong)) => missed,
                other => return other,
            };
            out.truncate(start);
            let mending = if missed == Missed::Unproved && !is_mended {
                self.mend(body)
            } else {
                Mending::No
            };
            match (mending, &mut files.look) {
                (Mending::UnderWay, _) => return Err(Missed::Later),
                (Mending::Mended, _) => is_mended = true,
                (Mending::No, Some(look)) => {
                    if self.lose(body, &group, &mut look.seen, "it is not what it must be") {
                        return Err(missed);
                    }
                }
                (Mending::No, None) => return Err(Missed::Later),
            }
            // Its files are new, and so is what the reply knows of the way to a group.
            *current = None;
        }
        Err(Missed::Later)
    }

    fn current<'a>(&self, current: &'a mut Option<Current>, body: &Arc<Body>) -> &'a mut Current {
        if current.as_ref().is_none_or(|current| current.body.key != body.key) {
            if let Some(done) = current.take() {
                self.mark_checked(&done.body, &done.checked);
            }
            *current = Some(Current {
                body: Arc::clone(body),
                look: self.inspect(body),
                pairs: PairPage::default(),
                checked: RangeSet::new(),
            });
        }
        current.as_mut().expect("set above")
    }

    /// One frame of a large artifact's or the own pack's group; its data's length.
    fn frame(
        &self,
        reply: &mut Reply,
        current: &mut Current,
        at: Place,
        out: &mut Frames,
        header: &mut dyn FnMut(FrameShape, &mut Frames),
    ) -> Result<usize, Missed> {
        let body = &current.body;
        let unchecked = {
            let holding = body.holding();
            if !holding.contains(at.index) {
                return Err(Missed::Lost);
            }
            holding.unchecked.contains(at.index) && !current.checked.contains(at.index)
        };
        let files = &current.look.as_ref().ok_or(Missed::Later)?.files;
        let data_len = body.group_len(at.index);
        let index = GroupIndex(at.index);
        let mut proof_len = 0;
        if let Shape::Artifact { id, geometry } = &body.shape {
            if reply.prover.as_ref().is_none_or(|prover| prover.key != body.key) {
                reply.prover = Some(Prover {
                    key: body.key,
                    prover: ReplyProver::new(*geometry),
                    way: StoredVerifier::new(*id, *geometry),
                });
            }
            proof_len = reply.prover.as_ref().map_or(0, |prover| prover.prover.proof_len(index));
        }
        let shape = FrameShape {
            group: at.group,
            proof_len,
            data_len,
        };
        header(shape, out);
        let before = reply.prover.as_ref().map(|prover| prover.prover.clone());
        let proved = match &mut reply.prover {
            Some(Prover { prover, way, .. }) if body.outboard_len() > 0 => {
                let page = &mut current.pairs;
                let mut proof = Vec::with_capacity(proof_len);
                let proved = way.check_path(index, |node| page.read(files, node)).is_ok()
                    && prover.proof(index, &mut proof, |node| page.read(files, node)).is_ok();
                out.extend_from_slice(&proof);
                proved
            }
            _ => true,
        };
        let data = out.room(data_len);
        let good = proved
            && read_exact(&*files.data, data, offset_of(at.index)).is_ok()
            && (!unchecked || body.checker(files).is_good(at.index, data));
        if !good {
            // Nothing of this frame is sent.
            if let (Some(prover), Some(before)) = (&mut reply.prover, before) {
                prover.prover = before;
            }
            return Err(if proved { Missed::Wrong } else { Missed::Unproved });
        }
        if unchecked {
            current.checked.insert(at.index..at.index + 1);
        }
        Ok(data_len)
    }

    /// One frame of a packed group put together from older packs. Always hashed: it is little, and its files are others'.
    pub(super) fn frame_of_shared(
        &self,
        open: &OpenLayout,
        group: u32,
        out: &mut Frames,
        header: &mut dyn FnMut(FrameShape, &mut Frames),
    ) -> Option<usize> {
        let Some(Group::Packed { artifacts, len }) = open.layout.group(group) else {
            return None;
        };
        let data_len = usize::try_from(len).ok()?;
        let shape = FrameShape {
            group,
            proof_len: 0,
            data_len,
        };
        header(shape, out);
        let artifacts: Vec<ArtifactRef> = open.layout.placed()[artifacts]
            .iter()
            .map(|placed| placed.artifact)
            .collect();
        self.append_located(&artifacts, out)?;
        Some(data_len)
    }

    /// A small artifact from wherever the index says; hashed.
    pub(super) fn read_located(&self, artifact: ArtifactRef) -> Option<Vec<u8>> {
        let mut data = Frames::default();
        self.append_located(&[artifact], &mut data)?;
        Some(data.into_vec())
    }

    /// Appends small artifacts from wherever the index says; each is hashed.
    fn append_located(&self, artifacts: &[ArtifactRef], out: &mut Frames) -> Option<()> {
        let ids: Vec<ArtifactId> = artifacts.iter().map(|artifact| artifact.id).collect();
        let found = self.usable_locations(&ids).ok()?;
        for (artifact, at) in artifacts.iter().zip(found) {
            let at = at?;
            let data = out.room(usize::try_from(artifact.size).ok()?);
            let pack = self.index.pack_of_number(at.pack)?;
            if !self.is_located(artifact.id, pack, at, data) && !self.is_still_located(artifact.id, pack, at, data) {
                self.forget_locations(&[artifact.id], |found| *found == at);
                return None;
            }
        }
        Some(())
    }

    /// Reads a small artifact from where the index says; whether it is there.
    fn is_located(&self, id: ArtifactId, pack: LayoutId, at: Location, data: &mut [u8]) -> bool {
        let files = self.files.get(Key::Pack(pack));
        let read = files.and_then(|files| read_exact(&*files.data, data, at.offset));
        read.is_ok() && blake3::hash(data).as_bytes() == id.as_bytes()
    }

    /// The same for one that was not there: may be by now; if not, its group is lost.
    fn is_still_located(&self, id: ArtifactId, pack: LayoutId, at: Location, data: &mut [u8]) -> bool {
        let Some(body) = self.body_in_use(Key::Pack(pack)) else {
            return false;
        };
        let index = u32::try_from(at.offset / GROUP_BYTES).unwrap_or(u32::MAX);
        let group = RangeSet::from(index..index.saturating_add(1));
        for _ in 0..LOOKS_MAX {
            let mut seen = body.seen();
            if self.is_located(id, pack, at, data) {
                return true;
            }
            if self.lose(&body, &group, &mut seen, "a packed artifact is damaged") {
                return false;
            }
        }
        false
    }

    /// A whole small artifact of an open layout, hashed.
    pub(super) fn read_small(&self, id: LayoutId, artifact: ArtifactId) -> Result<Vec<u8>, StoreError> {
        let open = self.layout(id)?;
        let placed = *open.layout.find(&artifact).ok_or(StoreError::Absent(artifact))?;
        if !placed.is_packed() {
            return Err(StoreError::Absent(artifact));
        }
        let own = open.locate(placed.first_group);
        let mut data = vec![0; usize::try_from(placed.artifact.size).expect("smaller than a group")];
        for _ in 0..LOOKS_MAX {
            let Some((body, index)) = own.filter(|(body, index)| body.holding().contains(*index)) else {
                return self.read_located(placed.artifact).ok_or(StoreError::Absent(artifact));
            };
            let (mut seen, group) = (body.seen(), RangeSet::from(index..index + 1));
            let files = self.files.get(body.key);
            let at = offset_of(index) + u64::from(placed.offset);
            let read = files.and_then(|files| read_exact(&*files.data, &mut data, at));
            if read.is_ok() && blake3::hash(&data).as_bytes() == artifact.as_bytes() {
                return Ok(data);
            }
            if self.lose(body, &group, &mut seen, "a packed artifact is damaged") {
                break;
            }
        }
        Err(StoreError::Damaged(artifact))
    }

    /// The files of a whole large artifact, every group of which is known to be good.
    pub(super) fn whole(&self, artifact: ArtifactRef) -> Result<(Arc<Body>, Arc<Files>), StoreError> {
        let body = self.artifact_body(artifact)?;
        for _ in 0..LOOKS_MAX {
            let files = self.inspect(&body).ok_or(StoreError::Absent(artifact.id))?.files;
            let unchecked = {
                let holding = body.holding();
                if !holding.held().contains_range(0..body.group_count()) {
                    return Err(StoreError::Absent(artifact.id));
                }
                holding.unchecked.clone()
            };
            if unchecked.is_empty() {
                return Ok((body, files));
            }
            if !self.check(&body, &unchecked).is_empty() {
                break;
            }
            body.wait_for_mending();
        }
        Err(StoreError::Damaged(artifact.id))
    }
}

/// A group's place in its layout and in its body.
#[derive(Clone, Copy)]
struct Place {
    group: u32,
    index: u32,
}
