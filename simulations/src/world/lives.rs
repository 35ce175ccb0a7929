//! Lives and connections: who joins, is told, meets, crashes and comes back.

use std::time::Duration;

use samara_protocol::bits::Bits;
use samara_protocol::swarm::config::Role;
use samara_protocol::swarm::io::{Input, OpenTransfer};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::message::SwarmMessage;

use super::{CHECKPOINT, Connection, Event, Parcel, Release, WARM_UP, World};
use crate::scenario::Behaviour;
use crate::topology;

impl World {
    pub(super) fn join(&mut self, node: usize) {
        if self.nodes[node].gone {
            return;
        }
        let seed = self.rng.next_u64();
        self.nodes[node].start(self.now, seed);
        let life = self.nodes[node].life;
        for other in self.nodes[node].knows.clone() {
            self.connect(node, other);
        }
        for release in 0..self.releases.len() {
            let told = self.releases[release].at.after(WARM_UP).max(self.now);
            if self.nodes[node].nature.role == Role::Origin || self.nodes[node].claims_all() {
                self.tell(node, release);
            } else {
                self.at(told, Event::Tell(node, release));
            }
        }
        self.at(self.now.after(CHECKPOINT), Event::Checkpoint(node, life));
    }

    /// The node is told to take part in a release.
    pub(super) fn tell(&mut self, node: usize, release: usize) {
        let now = self.now;
        let Release {
            layout,
            table,
            priority,
            ..
        } = self.releases[release].clone();
        let entry = &mut self.nodes[node];
        if !entry.alive {
            return;
        }
        if !entry.told.contains_key(&layout) {
            entry.told.insert(layout, now);
        }
        let held = entry.claimed(layout, &table);
        let durable = if entry.claims_all() {
            held.clone()
        } else {
            entry
                .disk
                .get(&layout)
                .map(|disk| disk.durable.clone())
                .unwrap_or_default()
        };
        let wanted = if entry.nature.role == Role::Origin {
            Bits::none(table.len())
        } else {
            Bits::all(table.len())
        };
        let open = OpenTransfer {
            layout,
            table,
            wanted,
            volatile: held.difference(&durable),
            durable,
            priority,
            product: 0,
        };
        self.step(node, Input::Open(open));
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let apart = !self.nodes[a].connected.contains_key(&b);
        if !apart || !self.nodes[a].alive || !self.nodes[b].alive || self.opens_at(a, b) > self.now {
            return;
        }
        self.hold_down(a, b);
        let connection = Connection {
            number: self.connections.len(),
            latency: self.latency(a, b),
        };
        self.connections.push(true);
        self.nodes[a].connected.insert(b, connection);
        self.nodes[b].connected.insert(a, connection);
        for (one, other) in [(a, b), (b, a)] {
            if self.nodes[other].nature.behaviour == Behaviour::Stranger {
                // It thinks that it is in, and nobody let it in.
                continue;
            }
            let peer = self.ids[other];
            let info = topology::info(&self.nodes[one].nature, &self.nodes[other].nature);
            self.step(one, Input::PeerUp { peer, info });
            self.step(
                one,
                Input::PeerCovers {
                    peer,
                    product: 0,
                    info,
                    fed: true,
                },
            );
        }
    }

    /// Both sides see the connection go; `again` makes it come back.
    pub(super) fn disconnect(&mut self, a: usize, b: usize, again: Option<Duration>) {
        if !self.nodes[a].connected.contains_key(&b) && !self.nodes[b].connected.contains_key(&a) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            self.links.cut(self.now, one, other);
            if let Some(connection) = self.nodes[one].connected.remove(&other) {
                self.connections[connection.number] = false;
            }
            self.nodes[one].fetches.retain(|_, fetch| fetch.peer != other);
            self.nodes[one].asks.retain(|_, ask| ask.by != other);
            if self.nodes[one].alive {
                let peer = self.ids[other];
                self.step(one, Input::PeerDown { peer });
            }
        }
        if let Some(after) = again {
            self.at(self.now.after(after), Event::Connect(a, b));
        }
    }

    /// A node is gone for good.
    pub(super) fn leave(&mut self, node: usize) {
        self.nodes[node].gone = true;
        if self.nodes[node].alive {
            self.stop(node, false);
        }
    }

    /// A node's process ends; with `power` what was not durable is lost.
    pub(super) fn stop(&mut self, node: usize, power: bool) {
        self.nodes[node].stop(self.now, power);
        for other in self.nodes[node].knows.clone() {
            self.disconnect(other, node, None);
        }
    }

    pub(super) fn checkpoint(&mut self, node: usize, life: u32) {
        if !self.nodes[node].alive || self.nodes[node].life != life {
            return;
        }
        let mut fresh = Vec::new();
        for (layout, disk) in &mut self.nodes[node].disk {
            let groups = disk.held.difference(&disk.durable);
            if !groups.is_empty() {
                disk.durable = disk.held.clone();
                fresh.push((*layout, groups));
            }
        }
        for (layout, groups) in fresh {
            self.step(node, Input::Durable { layout, groups });
        }
        self.at(self.now.after(CHECKPOINT), Event::Checkpoint(node, life));
    }

    pub(super) fn flood(&mut self, node: usize) {
        let others: Vec<usize> = self.nodes[node].connected.keys().copied().collect();
        for other in others {
            for _ in 0..100 {
                let blocks = RangeSet::from(0..1);
                self.send(node, other, Parcel::Message(SwarmMessage::Lost { number: 0, blocks }));
            }
        }
        self.at(self.now.after(Duration::from_millis(100)), Event::Flood(node));
    }
}
