//! The only drain loop, so that a node and a simulation cannot differ.

use crate::time::Timestamp;

use super::Swarm;
use super::io::{Input, Output};
use super::timer::TimerKind;

/// What a shell does with outputs. Cannot fail: the shell's queues are as long as the limits allow.
pub trait Effects {
    /// Does (or queues) one thing.
    fn perform(&mut self, output: Output);
}

impl<F: FnMut(Output)> Effects for F {
    fn perform(&mut self, output: Output) {
        self(output);
    }
}

/// Hands in one input, has every output performed in order, and says when to come back with [`Input::TimedOut`] if
/// nothing else happens before.
pub fn step(
    swarm: &mut Swarm,
    now: Timestamp,
    input: Input,
    effects: &mut impl Effects,
) -> Option<(Timestamp, TimerKind)> {
    swarm.handle(now, input);
    while let Some(output) = swarm.poll_output() {
        effects.perform(output);
    }
    swarm.poll_timeout()
}
