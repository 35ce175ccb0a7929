//! The uploader: serves four neighbours at a time, and more where these leave the uplink idle.
//!
//! A slot belongs to a peer; what it asked for goes out in quanta, two of which may be on their way to its socket. When a
//! quantum ends what the peer asked for, or its time is up, and others wait, the slot passes on. Nodes of the own site
//! have slots of their own: their link is another one. More slots are tried when others wait, and kept when they raise
//! the rate: slow receivers must not leave the uplink idle.

use std::time::Duration;

use crate::id::{LayoutId, NodeId, ServeId};
use crate::limits::{GROUP_BYTES, REQUESTS_PER_PEER_MAX, SERVE_BYTES_MAX, STANDINGS_MAX};
use crate::time::Timestamp;
use crate::tree::ranges::RangeSet;

use super::Swarm;
use super::config::{
    AUDIENCE_RETRY, BUSY_RETRY, QUANTUM_MAX, QUANTUM_MIN, QUANTUM_TIME, Role, SLOT_TIME, STALL_TIME, UNREAD_MAX,
    UPLOAD_SLOTS, UPLOAD_SLOTS_MAX, WAIT_MAX,
};
use super::io::{DisconnectReason, Distance, Output, Refusal, UploadAudience};
use super::peer::{Peer, Slot, is_local};
use super::rate::{Meter, bytes_in};
use super::rules::Rule;
use super::timer::Timers;
use super::transfer::{first_groups, nominal};

/// How long a further slot is tried, and how long none is tried after one that earned nothing.
const PROBE_TIME: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_secs(8);

/// What a neighbour asked for.
#[derive(Debug)]
pub(super) struct Serve {
    pub(super) peer: NodeId,
    pub(super) layout: LayoutId,
    /// What the shell has not been given yet.
    pub(super) left: RangeSet,
    /// Nominal bytes given to the shell and not yet sent.
    pub(super) issued: u64,
    /// When it was asked for, or last served.
    waits_since: Timestamp,
}

/// How many are served at a time.
#[derive(Debug)]
pub(super) struct Admission {
    /// Nominal bytes given to the shell and not yet sent, over all peers.
    pub(super) issued: u64,
    pub(super) meter: Meter,
    /// The most that the uplink has carried lately, in bytes a second.
    pub(super) peak: u64,
    /// Quanta so far.
    quanta: u64,
    /// Slots for other sites.
    pub(super) slots: usize,
    /// A further slot is being tried since then, against this rate.
    probe: Option<(Timestamp, u64, usize)>,
    probe_after: Timestamp,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            issued: 0,
            meter: Meter::default(),
            peak: 0,
            quanta: 0,
            slots: UPLOAD_SLOTS,
            probe: None,
            probe_after: Timestamp::ZERO,
        }
    }
}

impl Admission {
    /// Nobody asks for anything: who comes next may be fast.
    fn rest(&mut self, now: Timestamp) {
        self.meter.stop(now);
        self.probe = None;
        self.slots = UPLOAD_SLOTS;
    }
}

impl Swarm {
    pub(super) fn serve_asked(
        &mut self,
        now: Timestamp,
        id: ServeId,
        from: NodeId,
        layout: LayoutId,
        groups: RangeSet,
    ) {
        if let Some(reason) = self.objection(&from, layout, &groups) {
            self.out.push_back(Output::Refuse { serve: id, reason });
            if let Some(peer) = self.peers.get_mut(&from)
                && peer.flood.add(now, 1)
            {
                self.punish(now, from, DisconnectReason::Misbehaved);
            }
            return;
        }
        if self.role == Role::Origin {
            self.pledges_asked(from, layout, &groups);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.heard = now;
        if peer.sink.serves.is_empty() {
            peer.sink.last_sent = now;
            peer.sink.meter.start(now);
        }
        peer.sink.serves.push_back(id);
        let serve = Serve {
            peer: from,
            layout,
            left: groups,
            issued: 0,
            waits_since: now,
        };
        self.serves.insert(id, serve);
        self.admission.meter.start(now);
        self.to_pump = true;
    }

    /// Why this is not served, if it is not.
    fn objection(&self, from: &NodeId, layout: LayoutId, groups: &RangeSet) -> Option<Refusal> {
        let (Some(peer), Some(transfer)) = (self.peers.get(from), self.transfers.get(&layout)) else {
            return Some(Refusal::Absent);
        };
        let Some(line) = peer
            .lines
            .get(&layout)
            .filter(|line| line.fed && self.role != Role::Host)
        else {
            return Some(Refusal::Absent);
        };
        let given = if self.role == Role::Origin {
            &line.shown
        } else {
            &transfer.have
        };
        let known = groups
            .ranges()
            .last()
            .is_some_and(|last| last.end <= transfer.table.group_count());
        let is_given = |block: &u32| given.get(*block) && transfer.have.get(*block);
        if !known || !transfer.blocks_of(groups).iter().all(is_given) {
            return Some(Refusal::Absent);
        }
        let widest = match self.limits.upload {
            UploadAudience::Off => None,
            UploadAudience::Site => Some(Distance::Site),
            UploadAudience::Tenant => Some(Distance::Tenant),
            UploadAudience::All => Some(Distance::Origin),
        };
        let is_idle = self.limits.up.is_some_and(|rate| rate.0 == 0);
        if is_idle || widest.is_none_or(|widest| line.info.distance > widest) {
            return Some(Refusal::Busy(AUDIENCE_RETRY));
        }
        (peer.sink.serves.len() >= REQUESTS_PER_PEER_MAX).then_some(Refusal::Busy(BUSY_RETRY))
    }

    pub(super) fn serve_cancelled(&mut self, now: Timestamp, id: ServeId) {
        let Some(from) = self.forget_serve(now, id) else { return };
        if let Some(peer) = self.peers.get_mut(&from)
            && peer.flood.add(now, 1)
        {
            self.punish(now, from, DisconnectReason::Misbehaved);
        }
    }

    pub(super) fn serve_failed(&mut self, now: Timestamp, id: ServeId) {
        self.forget_serve(now, id);
    }

    pub(super) fn serve_sent(&mut self, now: Timestamp, id: ServeId, groups: &RangeSet, bytes: u64) {
        let Some(serve) = self.serves.get_mut(&id) else { return };
        let sent = nominal(groups).min(serve.issued);
        serve.issued -= sent;
        let over = serve.issued == 0 && serve.left.is_empty();
        if let Some(transfer) = self.transfers.get_mut(&serve.layout) {
            transfer.sent += bytes;
        }
        self.admission.issued -= sent;
        self.admission.meter.add(now, bytes);
        self.up.give_back(sent.saturating_sub(bytes));
        self.unread.remove(&serve.peer);
        if let Some(peer) = self.peers.get_mut(&serve.peer) {
            peer.sink.issued -= sent;
            peer.sink.last_sent = now;
            peer.sink.meter.add(now, bytes);
            if let Some(slot) = &mut peer.sink.slot {
                slot.sent += bytes;
            }
            if let Some(line) = peer.lines.get_mut(&serve.layout) {
                line.given.left(bytes);
                line.moved = now;
            }
        }
        if over {
            self.forget_serve(now, id);
        }
        self.to_pump = true;
    }

    /// Answers a serve with a reason and forgets it.
    pub(super) fn refuse(&mut self, now: Timestamp, id: ServeId, reason: Refusal) {
        if self.forget_serve(now, id).is_some() {
            self.out.push_back(Output::Refuse { serve: id, reason });
        }
    }

    fn forget_serve(&mut self, now: Timestamp, id: ServeId) -> Option<NodeId> {
        let serve = self.serves.remove(&id)?;
        self.admission.issued -= serve.issued;
        if self.serves.is_empty() {
            self.admission.rest(now);
        }
        if let Some(peer) = self.peers.get_mut(&serve.peer) {
            let sink = &mut peer.sink;
            sink.serves.retain(|other| *other != id);
            sink.issued -= serve.issued;
            if sink.serves.is_empty() {
                sink.meter.stop(now);
            }
        }
        self.to_pump = true;
        Some(serve.peer)
    }

    /// Fills slots, then sends quanta through them, until nothing more can go. Who has had none for longest goes first:
    /// a narrow uplink opens for one quantum at a time, and were that always the same peer's, the others would starve.
    pub(super) fn pump(&mut self, now: Timestamp) {
        self.free_slots();
        self.fill_slots(now);
        let mut served: Vec<(u64, NodeId)> = Vec::new();
        for (id, peer) in &self.peers {
            if peer.sink.slot.is_some_and(|slot| !slot.closing) {
                served.push((peer.sink.last_quantum, *id));
            }
        }
        served.sort_unstable();
        let mut more = true;
        while more {
            more = false;
            for (_, id) in &served {
                more |= self.issue(now, *id);
            }
        }
    }

    /// Gives the shell one quantum for a peer; says whether it did.
    fn issue(&mut self, now: Timestamp, id: NodeId) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let Some(slot) = peer.sink.slot.filter(|slot| !slot.closing) else {
            return false;
        };
        let Some(serve_id) = self.next_serve(peer) else {
            return false;
        };
        let quantum = match self.unread.contains(&id) {
            true => GROUP_BYTES,
            false => quantum(peer, self.up.rate().map(|rate| rate.0)),
        };
        if peer.sink.issued + quantum > 2 * quantum {
            return false;
        }
        // Crumbs cost as much work as loaves: who still has something on its way waits for a loaf.
        let least = if peer.sink.issued == 0 {
            GROUP_BYTES
        } else {
            quantum.min(QUANTUM_MIN)
        };
        let quantum = quantum.min(share(self.admission.issued, peer.sink.issued));
        if quantum < least {
            return false;
        }
        if !self.up.is_open(now) {
            if let Some(at) = self.up.opens_at(now) {
                Timers::arm(&mut self.timers.up, at);
            }
            return false;
        }
        let (local, again) = (is_local(&peer.info), self.is_again(peer, serve_id));
        let Some(serve) = self.serves.get_mut(&serve_id) else {
            return false;
        };
        let groups = first_groups(&serve.left, quantum / GROUP_BYTES);
        let bytes = nominal(&groups);
        serve.left.subtract(&groups);
        serve.issued += bytes;
        serve.waits_since = now;
        let (layout, last) = (serve.layout, serve.left.is_empty());
        self.note_given(id, layout, &groups);
        self.admission.issued += bytes;
        self.admission.quanta += 1;
        let number = self.admission.quanta;
        self.up.take(now, bytes);
        self.out.push_back(Output::Serve {
            serve: serve_id,
            groups,
            last,
        });
        let time_is_up = last || now.since(slot.since) >= SLOT_TIME;
        let defers = again && self.has_first_time(local);
        let closing = defers || (time_is_up && self.waiting(local).next().is_some());
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.sink.issued == 0 {
                peer.sink.last_sent = now;
            }
            peer.sink.issued += bytes;
            peer.sink.last_quantum = number;
            peer.sink.slot = Some(Slot { closing, ..slot });
        }
        true
    }

    fn note_given(&mut self, id: NodeId, layout: LayoutId, groups: &RangeSet) {
        if let (Some(peer), Some(transfer)) = (self.peers.get_mut(&id), self.transfers.get(&layout))
            && let Some(line) = peer.lines.get_mut(&layout)
        {
            line.given.note(&transfer.table, &transfer.blocks_of(groups));
        }
    }

    /// A peer reads nothing of what it asked for, and holds memory by that. It may do so on purpose, be cut off, or have a narrow
    /// link that others keep full: it is hung up on, welcome again, and given a group at a time until it has read one.
    fn hang_up(&mut self, peer: NodeId) {
        if self.unread.len() >= STANDINGS_MAX {
            self.unread.pop_first();
        }
        self.unread.insert(peer);
        self.out.push_back(Output::Disconnect {
            peer,
            reason: DisconnectReason::Stalled,
            quarantine: Duration::ZERO,
        });
    }

    /// Frees slots that move nothing, refuses what waits too long, and tries a further slot now and then.
    pub(super) fn tick_serving(&mut self, now: Timestamp) {
        self.admission.meter.add(now, 0);
        let mut unread = Vec::new();
        for (id, peer) in &mut self.peers {
            let sink = &mut peer.sink;
            if sink.issued == 0 {
                continue;
            }
            sink.meter.add(now, 0);
            let silent = now.since(sink.last_sent);
            if silent >= STALL_TIME {
                sink.slot = None;
            }
            if silent >= UNREAD_MAX {
                // It would be hung up on again and again, should that not come through.
                sink.last_sent = now;
                unread.push(*id);
            }
        }
        for id in unread {
            self.hang_up(id);
        }
        let priority = |serve: &Serve| {
            self.transfers
                .get(&serve.layout)
                .map_or(0, |transfer| transfer.priority)
        };
        let most = self.serves.values().map(priority).max();
        // What is less urgent just waits: its peer must not be kept from asking for what is urgent.
        let waited = |serve: &Serve| {
            let long = serve.issued == 0 && now.since(serve.waits_since) >= WAIT_MAX;
            long && Some(priority(serve)) == most
        };
        let late = self.serves.iter().filter(|(_, serve)| waited(serve));
        let late: Vec<ServeId> = late.map(|(id, _)| *id).collect();
        for id in late {
            self.refuse(now, id, Refusal::Busy(BUSY_RETRY));
        }
        self.probe_slots(now);
    }

    /// Further slots are tried, half as many again each time, and kept when they earn at least half of what that many more should.
    fn probe_slots(&mut self, now: Timestamp) {
        let is_wanted = self.rules.has(Rule::MoreSlots) && self.waiting(false).next().is_some();
        let is_spare = self.slots_taken(now, false) < self.admission.slots;
        let admission = &mut self.admission;
        let Some(rate) = admission.meter.rate() else { return };
        admission.peak = rate.max(admission.peak - admission.peak / 512);
        match admission.probe {
            Some((since, before, more)) if now.since(since) >= PROBE_TIME => {
                let had = (admission.slots - more) as u64;
                admission.probe = None;
                admission.probe_after = now;
                if rate <= before + before * more as u64 / (2 * had) {
                    admission.slots -= more;
                    admission.probe_after = now.after(PROBE_PAUSE);
                }
            }
            None if now < admission.probe_after => {}
            None if is_wanted && admission.slots < UPLOAD_SLOTS_MAX => {
                let more = (admission.slots / 2).min(UPLOAD_SLOTS_MAX - admission.slots);
                admission.probe = Some((now, rate, more));
                admission.slots += more;
            }
            // Who has just got all that it asked for is about to ask for more: a slot that stands empty is not given up at once.
            None if is_spare && admission.slots > UPLOAD_SLOTS => {
                admission.slots -= 1;
                admission.probe_after = now.after(PROBE_TIME);
            }
            _ => {}
        }
    }
}

/// How much more a peer may be given when `all` is given to everybody and `own` to it: whole groups, such that it holds at
/// most half of what it leaves. Whoever then stops reading holds that, and the next one gets half of the rest, so a few
/// who read nothing never hold everything.
fn share(all: u64, own: u64) -> u64 {
    let free = SERVE_BYTES_MAX.saturating_sub(all);
    free.saturating_sub(2 * own) / 3 / GROUP_BYTES * GROUP_BYTES
}

/// Bytes of the next quantum for a peer: what it takes in 50 ms, more than a moment's worth of no limit, whole groups.
fn quantum(peer: &Peer, limit: Option<u64>) -> u64 {
    let rate = peer.sink.meter.rate();
    let quantum = rate.map_or(QUANTUM_MIN, |rate| {
        let least = bytes_in(rate, Duration::from_secs(1)).clamp(GROUP_BYTES, QUANTUM_MIN);
        bytes_in(rate, QUANTUM_TIME).clamp(least, QUANTUM_MAX)
    });
    let quantum = limit.map_or(quantum, |limit| quantum.min(bytes_in(limit, 2 * QUANTUM_TIME)));
    (quantum / GROUP_BYTES).max(1) * GROUP_BYTES
}
