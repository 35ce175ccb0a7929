//! Fluid links: every node has an uplink and a downlink, a pair of nodes is one flow, rates are shared nearly max-min.
//!
//! A flow carries chunks one behind the other. When a flow starts or stops, its sender shares its uplink anew (water
//! filling under what each receiver can take) and, where the receiver's downlink is the narrow place, so do the other
//! senders to it. That is max-min sharing up to the second neighbour, at a cost that does not grow with the world.

use std::collections::VecDeque;

use samara_protocol::sorted::SortedMap;
use samara_protocol::time::Timestamp;

/// Bytes on their way from one node to another.
#[derive(Debug, Clone)]
pub struct Chunk<T> {
    /// How many.
    pub bytes: u64,
    /// What they are.
    pub load: T,
}

/// Bytes that left a node between two moments, at an even pace.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// The node.
    pub from: usize,
    /// The first moment.
    pub since: Timestamp,
    /// The last one.
    pub until: Timestamp,
    /// How many, parts of one included.
    pub bytes: f64,
}

/// The direction from one node to another.
#[derive(Debug)]
struct Flow<T> {
    from: usize,
    to: usize,
    queue: VecDeque<Chunk<T>>,
    /// The most that it gets, whatever the links have.
    cap: f64,
    /// Bytes of the first chunk that have not left.
    left: f64,
    rate: f64,
    at: Timestamp,
}

/// A flow with something to send, as its sender sees it.
#[derive(Debug, Clone, Copy)]
struct Outgoing {
    flow: usize,
    to: usize,
    cap: f64,
}

/// The same as its receiver sees it. The rate is its flow's: those that are added up lie together.
#[derive(Debug, Clone, Copy)]
struct Incoming {
    flow: usize,
    from: usize,
    rate: f64,
}

/// What a flow may have of an uplink that is shared.
#[derive(Debug, Clone, Copy)]
struct Claim {
    cap: f64,
    flow: usize,
    rate: f64,
}

/// All links.
#[derive(Debug)]
pub struct Links<T> {
    up: Vec<f64>,
    down: Vec<f64>,
    flows: Vec<Flow<T>>,
    /// Of each flow how often its rate changed: most of what is due is so no more when its time comes, and that is all it is asked.
    versions: Vec<u32>,
    /// Of each sender, the flow to each receiver.
    index: Vec<SortedMap<u32, u32>>,
    /// Flows with something to send, by sender and by receiver.
    out: Vec<Vec<Outgoing>>,
    into: Vec<Vec<Incoming>>,
    /// When the first chunk of a flow will have left, for those whose rate changed.
    due: VecDeque<(Timestamp, usize, u32)>,
    /// What left since the last look.
    carried: Vec<Carried>,
    /// What one uplink is shared between, kept to be filled again.
    claims: Vec<Claim>,
}

impl<T> Links<T> {
    /// Links with these rates in bytes a second; no flows.
    #[must_use]
    pub fn new(up: Vec<f64>, down: Vec<f64>) -> Self {
        let nodes = up.len();
        Self {
            up,
            down,
            flows: Vec::new(),
            versions: Vec::new(),
            index: vec![SortedMap::new(); nodes],
            out: vec![Vec::new(); nodes],
            into: vec![Vec::new(); nodes],
            due: VecDeque::new(),
            carried: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// Puts a chunk behind what already goes from `from` to `to`.
    pub fn push(&mut self, now: Timestamp, from: usize, to: usize, chunk: Chunk<T>) {
        let flow = self.flow(from, to);
        let is_idle = self.flows[flow].queue.is_empty();
        if is_idle {
            let bytes = chunk.bytes;
            let entry = &mut self.flows[flow];
            entry.left = exact(bytes);
            entry.at = now;
            entry.rate = 0.0;
            let cap = entry.cap;
            self.out[from].push(Outgoing { flow, to, cap });
            self.into[to].push(Incoming { flow, from, rate: 0.0 });
        }
        self.flows[flow].queue.push_back(chunk);
        if is_idle {
            self.share(now, from, to, 0.0);
        }
    }

    /// What is leaving now from one node to another.
    #[must_use]
    pub fn leaving(&self, from: usize, to: usize) -> Option<&T> {
        let flow = self.index[from].get(&narrow(to))?;
        self.flows[*flow as usize].queue.front().map(|chunk| &chunk.load)
    }

    /// Bytes that wait at a node's uplink, and for how many others.
    #[must_use]
    pub fn waiting(&self, from: usize) -> (u64, u64) {
        let queues = self.out[from].iter().map(|out| &self.flows[out.flow].queue);
        let bytes = queues.flatten().map(|chunk| chunk.bytes).sum();
        (bytes, self.out[from].len() as u64)
    }

    /// Takes back chunks that have not begun to leave; the others go on.
    pub fn retain(&mut self, from: usize, to: usize, mut keep: impl FnMut(&T) -> bool) {
        let flow = self.flow(from, to);
        let queue = &mut self.flows[flow].queue;
        let first = queue.pop_front();
        queue.retain(|chunk| keep(&chunk.load));
        if let Some(first) = first {
            queue.push_front(first);
        }
    }

    /// Everything between two nodes is gone.
    pub fn cut(&mut self, now: Timestamp, from: usize, to: usize) {
        let flow = self.flow(from, to);
        if self.flows[flow].queue.is_empty() {
            return;
        }
        self.advance(now, flow);
        self.flows[flow].queue.clear();
        self.stop(now, flow);
    }

    /// Changes the rates of a node, in bytes a second; 0 is a link on which nothing moves.
    pub fn set_rates(&mut self, now: Timestamp, node: usize, up: f64, down: f64) {
        (self.up[node], self.down[node]) = (up, down);
        self.share_uplink(now, node);
        for sender in self.senders(node) {
            self.share_uplink(now, sender);
        }
    }

    /// Holds what goes from one node to another down to so many bytes a second.
    pub fn limit(&mut self, now: Timestamp, from: usize, to: usize, cap: f64) {
        let flow = self.flow(from, to);
        self.flows[flow].cap = cap;
        if let Some(out) = self.out[from].iter_mut().find(|out| out.flow == flow) {
            out.cap = cap;
            self.share_uplink(now, from);
        }
    }

    /// When a chunk will have left, for each flow whose rate changed, once: `(when, flow, version)`.
    pub fn next_due(&mut self) -> Option<(Timestamp, usize, u32)> {
        self.due.pop_front()
    }

    /// What has left since the last call, as far as it is known: up to the last moment at which a rate changed or a chunk was
    /// gone.
    pub fn take_carried(&mut self) -> std::vec::Drain<'_, Carried> {
        self.carried.drain(..)
    }

    /// The time came that [`Self::next_due`] named: the chunk that has left, with its ends; nothing when the rate has
    /// changed since.
    pub fn finish(&mut self, now: Timestamp, flow: usize, version: u32) -> Option<(usize, usize, Chunk<T>)> {
        if self.versions[flow] != version {
            return None;
        }
        let entry = &mut self.flows[flow];
        let chunk = entry.queue.pop_front()?;
        let (from, to) = (entry.from, entry.to);
        self.advance(now, flow);
        let entry = &mut self.flows[flow];
        if let Some(next) = entry.queue.front() {
            entry.left = exact(next.bytes);
            self.plan(flow);
        } else {
            self.stop(now, flow);
        }
        Some((from, to, chunk))
    }

    fn flow(&mut self, from: usize, to: usize) -> usize {
        let next = self.flows.len();
        if let Some(flow) = self.index[from].get(&narrow(to)) {
            return *flow as usize;
        }
        self.index[from].insert(narrow(to), narrow(next));
        self.flows.push(Flow {
            from,
            to,
            queue: VecDeque::new(),
            cap: f64::INFINITY,
            left: 0.0,
            rate: 0.0,
            at: Timestamp::ZERO,
        });
        self.versions.push(0);
        next
    }

    fn stop(&mut self, now: Timestamp, flow: usize) {
        self.versions[flow] += 1;
        let entry = &mut self.flows[flow];
        let gone = std::mem::take(&mut entry.rate);
        let (from, to) = (entry.from, entry.to);
        self.out[from].retain(|other| other.flow != flow);
        self.into[to].retain(|other| other.flow != flow);
        self.share(now, from, to, gone);
    }

    /// Shares what a change between `from` and `to` touches; `gone` is the rate of a flow that stopped.
    fn share(&mut self, now: Timestamp, from: usize, to: usize, gone: f64) {
        self.share_uplink(now, from);
        let taken: f64 = self.into[to].iter().map(|flow| flow.rate).sum();
        if taken + gone < 0.9 * self.down[to] {
            return;
        }
        for sender in self.senders(to).into_iter().filter(|sender| *sender != from) {
            self.share_uplink(now, sender);
        }
        self.share_uplink(now, from);
    }

    /// Who sends something to a node.
    fn senders(&self, to: usize) -> Vec<usize> {
        self.into[to].iter().map(|flow| flow.from).collect()
    }

    /// Water filling over one uplink, under what each receiver leaves for it.
    fn share_uplink(&mut self, now: Timestamp, from: usize) {
        let mut claims = std::mem::take(&mut self.claims);
        for Outgoing { flow, to, cap } in &self.out[from] {
            let into = &self.into[*to];
            let (mut others, mut rate) = (0.0, 0.0);
            for other in into {
                if other.flow == *flow {
                    rate = other.rate;
                } else {
                    others += other.rate;
                }
            }
            let fair = self.down[*to] / exact(into.len() as u64);
            let cap = fair.max(self.down[*to] - others).min(*cap);
            claims.push(Claim { cap, flow: *flow, rate });
        }
        claims.sort_unstable_by(|a, b| a.cap.total_cmp(&b.cap).then(a.flow.cmp(&b.flow)));
        let (mut left, mut count) = (self.up[from], claims.len());
        for Claim {
            cap,
            flow,
            rate: before,
        } in claims.drain(..)
        {
            let rate = cap.min(left / exact(count as u64));
            left -= rate;
            count -= 1;
            if (before - rate).abs() > 0.001 * rate {
                self.set_rate(now, flow, rate);
            }
        }
        self.claims = claims;
    }

    fn set_rate(&mut self, now: Timestamp, flow: usize, rate: f64) {
        let to = self.flows[flow].to;
        if let Some(incoming) = self.into[to].iter_mut().find(|other| other.flow == flow) {
            incoming.rate = rate;
        }
        self.advance(now, flow);
        self.flows[flow].rate = rate;
        self.plan(flow);
    }

    /// Takes from the first chunk what has left of it by now.
    fn advance(&mut self, now: Timestamp, flow: usize) {
        let entry = &mut self.flows[flow];
        let left = (entry.left - entry.rate * now.since(entry.at).as_secs_f64()).max(0.0);
        let bytes = entry.left - left;
        if bytes > 0.0 {
            self.carried.push(Carried {
                from: entry.from,
                since: entry.at,
                until: now,
                bytes,
            });
        }
        (entry.left, entry.at) = (left, now);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time in microseconds, not negative"
    )]
    fn plan(&mut self, flow: usize) {
        self.versions[flow] += 1;
        let entry = &self.flows[flow];
        if entry.rate > 0.0 {
            let micros = (entry.left / entry.rate * 1e6).ceil() as u64;
            self.due
                .push_back((Timestamp(entry.at.0 + micros.max(1)), flow, self.versions[flow]));
        }
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than 2^32 nodes and flows")
}

#[expect(clippy::cast_precision_loss, reason = "sizes below 2^53")]
fn exact(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs until nothing moves and returns when each chunk left.
    fn run(links: &mut Links<u32>) -> Vec<(u64, u32)> {
        let (mut agenda, mut gone) = (std::collections::BTreeSet::new(), Vec::new());
        loop {
            agenda.extend(std::iter::from_fn(|| links.next_due()));
            let Some((at, flow, version)) = agenda.pop_first() else {
                return gone;
            };
            if let Some((_, _, chunk)) = links.finish(at, flow, version) {
                gone.push((at.0, chunk.load));
            }
        }
    }

    fn chunk(bytes: u64, load: u32) -> Chunk<u32> {
        Chunk { bytes, load }
    }

    #[test]
    fn two_flows_share_an_uplink_and_the_longer_gets_all_when_the_shorter_is_done() {
        let mut links = Links::new(vec![1e6; 3], vec![1e6; 3]);
        links.push(Timestamp::ZERO, 0, 1, chunk(500_000, 1));
        links.push(Timestamp::ZERO, 0, 2, chunk(1_000_000, 2));
        assert_eq!(run(&mut links), [(1_000_000, 1), (1_500_000, 2)]);
    }

    #[test]
    fn a_narrow_downlink_leaves_the_rest_of_the_uplink_to_the_other_flow() {
        let mut links = Links::new(vec![1e6; 3], vec![1e6, 1e5, 1e6]);
        links.push(Timestamp::ZERO, 0, 1, chunk(100_000, 1));
        links.push(Timestamp::ZERO, 0, 2, chunk(900_000, 2));
        let gone = run(&mut links);
        assert!(
            gone.iter().all(|(at, _)| (999_000..=1_001_000).contains(at)),
            "{gone:?}"
        );
    }

    #[test]
    fn a_link_that_stood_still_goes_on_where_it_was_and_a_held_down_flow_leaves_the_rest() {
        let mut links = Links::new(vec![1e6; 3], vec![1e6; 3]);
        links.limit(Timestamp::ZERO, 0, 1, 1e5);
        links.push(Timestamp::ZERO, 0, 1, chunk(100_000, 1));
        links.push(Timestamp::ZERO, 0, 2, chunk(900_000, 2));
        links.set_rates(Timestamp(500_000), 0, 0.0, 0.0);
        assert!(
            std::mem::take(&mut links.due)
                .iter()
                .all(|(at, flow, version)| { at.0 < 500_000 || links.versions[*flow] != *version })
        );
        links.set_rates(Timestamp(2_500_000), 0, 1e6, 1e6);
        let gone = run(&mut links);
        assert!(
            gone.iter().all(|(at, _)| (2_999_000..=3_001_000).contains(at)),
            "half a second before and half after: {gone:?}"
        );
    }

    #[test]
    fn what_was_carried_is_all_that_left_and_never_more_than_the_link_lets_through() {
        let mut links = Links::new(vec![1e6; 3], vec![1e6; 3]);
        links.push(Timestamp::ZERO, 0, 1, chunk(500_000, 1));
        links.push(Timestamp::ZERO, 0, 2, chunk(1_000_000, 2));
        links.set_rates(Timestamp(100_000), 0, 2e6, 1e6);
        run(&mut links);
        let carried: Vec<Carried> = links.take_carried().collect();
        let all: f64 = carried.iter().map(|some| some.bytes).sum();
        assert!((all - 1_500_000.0).abs() < 10.0, "{all}");
        for some in carried {
            let rate = some.bytes / some.until.since(some.since).as_secs_f64();
            assert!(some.from == 0 && rate <= 1.001e6, "{some:?}");
        }
        // What is cut off had left in part.
        links.push(Timestamp(5_000_000), 0, 1, chunk(1_000_000, 3));
        links.cut(Timestamp(5_250_000), 0, 1);
        let part: f64 = links.take_carried().map(|some| some.bytes).sum();
        assert!((part - 250_000.0).abs() < 10.0, "{part}");
    }

    #[test]
    fn many_senders_do_not_exceed_a_downlink() {
        let mut links = Links::new(vec![1e6; 11], vec![1e6; 11]);
        for from in 1..11 {
            links.push(Timestamp::ZERO, from, 0, chunk(100_000, 0));
        }
        let last = run(&mut links).last().copied().expect("ten chunks");
        assert!((990_000..1_050_000).contains(&last.0), "{last:?}");
    }
}
