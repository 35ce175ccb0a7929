//! The paths between nodes: how long they are, what gets through, and when.

use std::time::Duration;

use samara_protocol::time::Timestamp;

use super::World;

/// Payload of a full TCP segment.
const SEGMENT: f64 = 1460.0;

impl World {
    /// When something that leaves now gets through between two nodes.
    pub(super) fn opens_at(&self, a: usize, b: usize) -> Timestamp {
        let path = self.half_open.get(&pair(a, b)).copied().unwrap_or(self.now);
        path.max(self.cut_until[a]).max(self.cut_until[b]).max(self.now)
    }

    /// How long something is on its way between two nodes.
    pub(super) fn latency(&self, a: usize, b: usize) -> Duration {
        let (a, b) = (&self.nodes[a].nature, &self.nodes[b].nature);
        let regions = if a.region == b.region {
            0.0
        } else {
            self.scenario.region_latency_ms
        };
        let ms = self.scenario.latency_ms + regions + a.latency_ms + b.latency_ms;
        Duration::from_secs_f64(ms / 1e3)
    }

    /// What the losses on the path between two nodes let through, in bytes a second, as TCP has it (Mathis, Semke, Mahdavi, Ott
    /// 1997: `1.22 · segment / (rtt · √loss)`).
    pub(super) fn path_cap(&self, a: usize, b: usize) -> f64 {
        let loss = 1.0 - (1.0 - self.nodes[a].nature.loss) * (1.0 - self.nodes[b].nature.loss);
        if loss <= 0.0 {
            return f64::INFINITY;
        }
        let rtt = 2.0 * self.latency(a, b).as_secs_f64().max(1e-4);
        1.22 * SEGMENT / (rtt * loss.sqrt())
    }

    /// Holds the flows between two nodes down to what their path lets through: nothing where it is half open.
    pub(super) fn hold_down(&mut self, a: usize, b: usize) {
        let is_open = !self.half_open.contains_key(&pair(a, b));
        let cap = if is_open { self.path_cap(a, b) } else { 0.0 };
        self.links.limit(self.now, a, b, cap);
        self.links.limit(self.now, b, a, cap);
    }
}

pub(super) fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
