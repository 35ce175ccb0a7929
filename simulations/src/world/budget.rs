//! What no scheduler may use more of than its limits allow, counted outside of it.

use samara_protocol::limits::{
    CONTROL_BYTES_MAX, GROUP_BYTES, REQUEST_BYTES_MAX, REQUEST_RANGES_MAX, REQUESTS_PER_PEER_MAX, SERVE_BYTES_MAX,
};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::message::SwarmMessage;

use super::World;
use super::traffic::PIECE_GROUPS;

/// A limited uplink may be ahead of its rate by so much: what it saves up while idle, and what was allowed and has not left.
const AHEAD: u64 = 2 * SERVE_BYTES_MAX;

impl World {
    /// A node asks `peer` for groups.
    pub(super) fn weigh_request(&mut self, node: usize, peer: usize, groups: &RangeSet) {
        let running = self.nodes[node].fetches.values().filter(|fetch| fetch.peer == peer);
        let running = running.count();
        let bytes = groups.count() * GROUP_BYTES;
        if running > REQUESTS_PER_PEER_MAX || bytes > REQUEST_BYTES_MAX || groups.ranges().len() > REQUEST_RANGES_MAX {
            let ranges = groups.ranges().len();
            self.overruns.push(format!(
                "node {node} has {running} requests at node {peer}, the last for {bytes} bytes in {ranges} ranges"
            ));
        }
    }

    /// A node says something.
    pub(super) fn weigh_message(&mut self, node: usize, message: &SwarmMessage) {
        let bytes = message.encoded_len();
        if bytes > CONTROL_BYTES_MAX {
            self.overruns.push(format!("node {node} said {bytes} bytes at once"));
        }
    }

    /// A node has put something on its uplink. Looks once in a while: it is a sum over all that waits there.
    pub(super) fn weigh_uplink(&mut self, node: usize) {
        if !self.steps.is_multiple_of(16) {
            return;
        }
        let (bytes, peers) = self.links.waiting(node);
        // What was taken back while it was leaving goes on to its end, and is not the scheduler's any more.
        if bytes > SERVE_BYTES_MAX + peers * PIECE_GROUPS as u64 * GROUP_BYTES {
            self.overruns.push(format!(
                "node {node} has {bytes} bytes on its uplink that have not left"
            ));
        }
    }

    /// The operators' limits, and what went over them.
    pub(crate) fn over_limits(&self) -> Option<String> {
        let mut nodes = self.nodes.iter().enumerate();
        nodes.find_map(|(at, node)| {
            let limit = node.nature.limits.up?.0;
            let allowed = u128::from(limit) * u128::from(self.now.0) / 1_000_000 + u128::from(AHEAD);
            let is_over = u128::from(node.sent) > allowed;
            is_over.then(|| {
                format!(
                    "node {at} sent {} bytes with a limit of {limit} bytes a second",
                    node.sent
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use samara_protocol::bits::Bits;

    use super::*;
    use crate::oracle::{self, Objection};
    use crate::scenario::Scenario;

    fn world() -> World {
        let mut plan = Scenario::load("flash-release").expect("built in");
        plan.set_sites(2);
        plan.release[0].size = "1MiB".to_owned();
        World::new(&plan).expect("a world")
    }

    #[test]
    fn each_budget_is_told_when_it_is_exceeded() {
        let mut world = world();
        world.run();
        oracle::judge(&world).expect("nothing was exceeded");
        let too_many: RangeSet = (0..100).map(|at| 2 * at..2 * at + 1).collect();
        world.weigh_request(1, 0, &too_many);
        world.weigh_request(1, 0, &RangeSet::from(0..1024));
        let want = Bits::none(1 << 20);
        world.weigh_message(1, &SwarmMessage::Want { number: 0, want });
        assert_eq!(world.overruns.len(), 3, "{:?}", world.overruns);
        assert!(matches!(oracle::judge(&world), Err(Objection::Budget(_))));
        world.overruns.clear();
        world.nodes[1].nature.limits.up = Some(samara_protocol::units::ByteRate(1));
        world.nodes[1].sent = AHEAD + world.now.0 / 1_000_000 + 2;
        assert!(matches!(oracle::judge(&world), Err(Objection::Budget(what)) if what.contains("node 1 sent")));
    }
}
