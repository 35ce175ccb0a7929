//! The thread that moves the packets: from each place's device into the links, and what is due out of them again.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fabric::{Arrival, Fabric};
use super::tun;

/// How many packets of one place are read before the others have their turn, and what is due is handed out.
const BATCH: usize = 64;
/// Larger than any packet.
const PACKET_MAX: usize = 64 << 10;

/// How much later than they were due packets have been handed out: what the measuring machine adds to each path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lateness {
    /// Packets handed out.
    pub packets: u64,
    /// All their delays together.
    pub total: Duration,
    /// The longest.
    pub worst: Duration,
}

impl Lateness {
    /// On average.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let packets = u32::try_from(self.packets).unwrap_or(u32::MAX);
        self.total.checked_div(packets).unwrap_or_default()
    }
}

/// What the thread and its handle share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    started: Instant,
}

/// The links, and how well they were served.
#[derive(Debug)]
pub(super) struct State {
    pub(super) fabric: Fabric,
    pub(super) lateness: Lateness,
    /// Packets that a device did not take.
    pub(super) refused: u64,
}

impl Shared {
    pub(super) fn new(fabric: Fabric) -> Self {
        let state = State {
            fabric,
            lateness: Lateness::default(),
            refused: 0,
        };
        Self {
            state: Mutex::new(state),
            started: Instant::now(),
        }
    }

    /// Time as the links know it.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on until the other end of `stop` is closed.
pub(super) fn run(shared: &Shared, devices: &[File], stop: &PipeReader) -> io::Result<()> {
    tun::be_punctual();
    let mut files: Vec<_> = devices.iter().map(AsFd::as_fd).collect();
    files.push(stop.as_fd());
    let mut buffer = vec![0; PACKET_MAX];
    let (mut packets, mut due) = (Vec::new(), Vec::new());
    loop {
        let next = hand_out(shared, devices, &mut due);
        let limit = next.map(|at| at.saturating_sub(shared.now()));
        let ready = tun::wait(&files, limit)?;
        if ready.last() == Some(&true) {
            return Ok(());
        }
        for (from, device) in devices.iter().enumerate().filter(|(from, _)| ready[*from]) {
            read(device, &mut buffer, &mut packets)?;
            let now = shared.now();
            let mut state = shared.lock();
            for packet in packets.drain(..) {
                state.fabric.offer(now, from, packet);
            }
        }
    }
}

/// Writes everything that is due; when something is due next.
fn hand_out(shared: &Shared, devices: &[File], due: &mut Vec<Arrival>) -> Option<Duration> {
    let now = shared.now();
    let mut state = shared.lock();
    due.extend(std::iter::from_fn(|| state.fabric.due(now)));
    let next = state.fabric.next();
    drop(state);
    let (mut lateness, mut refused) = (Lateness::default(), 0);
    for arrival in due.drain(..) {
        // A place whose device was taken down takes nothing, as one whose queue is full.
        let written = (&devices[arrival.place]).write(&arrival.packet);
        refused += u64::from(written.is_err());
        let late = shared.now().saturating_sub(arrival.at);
        lateness.packets += 1;
        lateness.total += late;
        lateness.worst = lateness.worst.max(late);
    }
    if lateness.packets > 0 {
        let mut state = shared.lock();
        state.refused += refused;
        state.lateness.packets += lateness.packets;
        state.lateness.total += lateness.total;
        state.lateness.worst = state.lateness.worst.max(lateness.worst);
    }
    next
}

/// What a place has sent, at most [`BATCH`] packets of it.
fn read(mut device: &File, buffer: &mut [u8], packets: &mut Vec<Vec<u8>>) -> io::Result<()> {
    while packets.len() < BATCH {
        match device.read(buffer) {
            Ok(length) => packets.push(buffer[..length].to_vec()),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => break,
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(())
}
