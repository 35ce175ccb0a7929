//! Peers that bring nothing: stalled, asked again, given up.

use crate::id::NodeId;
use crate::time::Timestamp;

use super::Swarm;
use super::config::{GIVE_UP_TIME, SPAN_MIN, STALL_TIME};
use super::event::Event;
use super::io::Output;
use super::score::backoff;

impl Swarm {
    /// Watches for peers that bring nothing.
    pub(super) fn tick_sources(&mut self, now: Timestamp) {
        let (mut stalled, mut given_up, mut relieved) = (Vec::new(), Vec::new(), Vec::new());
        for (id, peer) in &mut self.peers {
            let source = &mut peer.source;
            if source.requests.is_empty() {
                if source.stalled {
                    relieved.push(*id);
                }
                continue;
            }
            source.meter.add(now, 0);
            let silent = now.since(source.last_byte);
            if silent >= GIVE_UP_TIME {
                given_up.push(*id);
            } else if silent >= STALL_TIME + 4 * source.rtt_or_guess() && !source.stalled {
                source.stalled = true;
                source.in_vain = source.in_vain.max(silent);
                stalled.push((*id, silent));
            }
        }
        for (peer, silent) in stalled {
            self.out.push_back(Output::Event(Event::PeerStalled { peer, silent }));
            self.share_requests(peer);
        }
        for id in given_up {
            self.give_up(now, id);
        }
        for id in relieved {
            self.relieve(now, id);
        }
    }

    /// A stalled peer owes nothing any more: others brought it, or it said that it is busy. It may be the only one that
    /// has what is still missing, so it is asked again, a little and after a pause that doubles until it brings something.
    fn relieve(&mut self, now: Timestamp, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let source = &mut peer.source;
        source.stalled = false;
        source.failures += 1;
        source.window.collapse(SPAN_MIN);
        let pause = backoff(source.failures);
        self.pause(now, id, pause);
    }

    /// A peer that had stalled brings something again. What of its requests nobody else was asked for meanwhile is its own
    /// again: it would be asked for the same a second time.
    pub(super) fn rely_again(&mut self, id: NodeId) {
        let Some(peer) = self.peers.get(&id) else { return };
        for request in &peer.source.requests {
            let Some(request) = self.requests.get_mut(request).filter(|request| request.shared) else {
                continue;
            };
            let Some(transfer) = self.transfers.get_mut(&request.layout) else {
                continue;
            };
            if request.left.intersection(&transfer.requested).is_empty() {
                request.shared = false;
                transfer.shared -= 1;
                transfer.ask(&request.left);
            }
        }
    }

    /// Everything is taken back, and the pauses grow. That is all: a narrow link that others keep full looks no different, and who
    /// brings nothing costs nothing but an ask a minute.
    fn give_up(&mut self, now: Timestamp, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let source = &mut peer.source;
        source.give_ups += 1;
        source.stalled = false;
        source.last_byte = now;
        let give_ups = source.give_ups;
        for request in source.requests.clone() {
            self.drop_request(request, true);
        }
        self.pause(now, id, backoff(give_ups + 2));
    }
}
