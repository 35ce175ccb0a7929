//! A wide-area network in user space: one network namespace per place, and links between them that are slow, far, lossy or
//! down, as a test asks for it.
//!
//! The kernel's own emulator, netem, is missing from many kernels, and knows no seed. Here each place has one TUN device as its
//! way to everywhere, and one thread of this process owns them all: it reads each packet, lets the links decide what becomes of
//! it and when ([`Shape`]), and writes it to the device of the place that it is for. TCP and QUIC go through unchanged.
//!
//! The same seed gives each link the same losses, copies and reorderings, packet by packet. Needs root, `ip` and
//! `/dev/net/tun`: ask [`runnable`]. Everything is removed on drop.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};

use crate::namespace::{self, Counters, run};
use crate::places::Places;
use crate::skip;

mod chance;
mod fabric;
mod lane;
mod profile;
mod pump;
mod shape;
mod tun;

#[cfg(test)]
mod tests;

pub use lane::Traffic;
pub use profile::{LADDER, Profile, profile};
pub use pump::Lateness;
pub use shape::{Link, Loss, Outage, Reorder, Shape};

use fabric::Fabric;
use pump::Shared;

/// Bytes of an IP packet on a place's own device.
const MTU: &str = "1500";
/// Packets that the kernel holds for the emulator while that does something else. None of them waits for a link: that is what
/// [`Shape::queue`] is for, so there is room for what may come in some 10 ms at the full speed of this machine.
const READ_AHEAD: &str = "4000";

/// The places and the thread that joins them; gone on drop.
#[derive(Debug)]
pub struct Wan {
    prefix: String,
    names: Vec<String>,
    shared: Arc<Shared>,
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What has gone through the link of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkTraffic {
    /// What the place sent.
    pub up: Traffic,
    /// What was sent to it.
    pub down: Traffic,
}

/// Skips the test `name` unless this machine can emulate networks and has these programs too; also where `SAMARA_NO_TUN` says that
/// it is known not to. True: go on.
///
/// # Panics
/// When everything must run.
#[must_use]
pub fn runnable(name: &str, programs: &[&str]) -> bool {
    if std::env::var_os("SAMARA_NO_TUN").is_some() {
        skip::say(name, "SAMARA_NO_TUN is set");
        return false;
    }
    if !crate::runnable(name, &[&["ip"], programs].concat(), true) {
        return false;
    }
    // A container may have the file and not the right to it.
    if let Err(error) = tun::reach() {
        skip(name, &format!("{}: {error}", tun::DEVICE));
        return false;
    }
    true
}

impl Wan {
    /// Sets it up. Names are unique, at most 8 letters and digits.
    ///
    /// # Errors
    /// Which link makes no sense, or which command failed and what it said; what was made until then is removed.
    pub fn new<N: Into<String>>(seed: u64, places: impl IntoIterator<Item = (N, Link)>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (names, links): (Vec<String>, Vec<Link>) =
            places.into_iter().map(|(name, link)| (name.into(), link)).unzip();
        ensure!(names.len() <= 250, "at most 250 places");
        for (name, link) in names.iter().zip(&links) {
            link.check().with_context(|| format!("the link of {name}"))?;
        }
        let mut wan = Self {
            prefix: format!("sw{}x{number}", std::process::id()),
            names,
            shared: Arc::new(Shared::new(Fabric::new(seed, &links))),
            stop: None,
            thread: None,
        };
        let devices: Vec<File> = (0..wan.names.len())
            .map(|index| wan.join(index))
            .collect::<Result<_>>()?;
        let (reader, writer) = io::pipe()?;
        let shared = wan.shared.clone();
        let thread = std::thread::Builder::new().name("wan".to_owned());
        wan.thread = Some(thread.spawn(move || pump::run(&shared, &devices, &reader))?);
        wan.stop = Some(writer);
        Ok(wan)
    }

    /// The address of a place.
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        namespace::address(self.index(name))
    }

    /// The name of a place's namespace, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// `program` inside a place; its process number is the program's own.
    #[must_use]
    pub fn command(&self, name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        namespace::command(&self.namespace(name), program)
    }

    /// What has gone through a place's own device so far: before its uplink and after its downlink.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn counters(&self, name: &str) -> Result<Counters> {
        namespace::counters(&self.namespace(name))
    }

    /// Runs `act` on a thread inside a place. Threads that it starts, and sockets that it opens, stay there.
    ///
    /// # Errors
    /// When the place cannot be entered.
    pub fn inside<T: Send>(&self, name: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
        namespace::inside(Path::new(&format!("/run/netns/{}", self.namespace(name))), act)
    }

    /// The link of a place, as it is now.
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    pub fn link(&self, name: &str) -> Link {
        self.shared.lock().fabric.link(self.index(name))
    }

    /// Changes the link of a place while it is in use. What is under way on it keeps the time that it was given.
    ///
    /// # Errors
    /// What makes no sense in the new link; it stays as it was.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Link)) -> Result<()> {
        let index = self.index(name);
        let mut state = self.shared.lock();
        let mut link = state.fabric.link(index);
        change(&mut link);
        link.check().with_context(|| format!("the link of {name}"))?;
        state.fabric.set(index, link, self.shared.now());
        Ok(())
    }

    /// Takes a place's link down, or up again, in both directions.
    ///
    /// # Errors
    /// Never: as [`Wan::change`].
    ///
    /// # Panics
    /// When there is no such place.
    pub fn set_link(&self, name: &str, up: bool) -> Result<()> {
        let outage = if up { Outage::Never } else { Outage::Now };
        self.change(name, |link| {
            link.up.outage = outage;
            link.down.outage = outage;
        })
    }

    /// Drops everything on its way from one place to another, or lets it through again. The way back is another path: with one
    /// of the two closed the path is half open.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn set_path(&self, from: &str, to: &str, open: bool) {
        let (from, to) = (self.index(from), self.index(to));
        self.shared.lock().fabric.set_path(from, to, open);
    }

    /// What has gone through a place's link so far.
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    pub fn traffic(&self, name: &str) -> LinkTraffic {
        let [up, down] = self.shared.lock().fabric.traffic(self.index(name));
        LinkTraffic { up, down }
    }

    /// How well the links were served so far. A measurement with a worst case near what it measures is none.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        self.shared.lock().lateness
    }

    /// Packets that were for no place of this network.
    #[must_use]
    pub fn unrouted(&self) -> u64 {
        self.shared.lock().fabric.unrouted()
    }

    /// Packets that no link has dropped and that were lost all the same: the kernel had no room for them because the emulator, or
    /// a receiver, did not keep up. Other than 0 the links were not what they were said to be.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read.
    pub fn overruns(&self) -> Result<u64> {
        let mut total = self.shared.lock().refused;
        for name in &self.names {
            let space = self.namespace(name);
            let file = "/sys/class/net/eth0/statistics/tx_dropped";
            let text = run("ip", &["netns", "exec", &space, "cat", file])?;
            total += text.trim().parse::<u64>().context("tx_dropped is a number")?;
        }
        Ok(total)
    }

    fn index(&self, name: &str) -> usize {
        let index = self.names.iter().position(|other| other == name);
        index.unwrap_or_else(|| panic!("no place {name}"))
    }

    fn join(&self, index: usize) -> Result<File> {
        let name = &self.names[index];
        let space = self.namespace(name);
        run("ip", &["netns", "add", &space])?;
        let device = self.inside(name, tun::open)?.context(tun::DEVICE)?;
        let address = format!("{}/16", namespace::address(index));
        run("ip", &["-n", &space, "addr", "add", &address, "dev", "eth0"])?;
        // Without an address of IPv6 the kernel has nothing to say on its own.
        let quiet = ["-n", &space, "link", "set", "eth0", "addrgenmode", "none"];
        run("ip", &quiet)?;
        run("ip", &["-n", &space, "link", "set", "lo", "up"])?;
        let up = ["link", "set", "eth0", "mtu", MTU, "txqueuelen", READ_AHEAD, "up"];
        run("ip", &[&["-n", &space], &up[..]].concat())?;
        // Other than in a star, somebody who does not exist is not refused: nothing comes back.
        run("ip", &["-n", &space, "route", "add", "default", "dev", "eth0"])?;
        Ok(device)
    }
}

impl LinkTraffic {
    /// What has been added since `before`, an earlier count of the same link.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            up: self.up.since(&before.up),
            down: self.down.since(&before.down),
        }
    }
}

impl Places for Wan {
    fn address(&self, name: &str) -> String {
        Self::address(self, name)
    }

    fn namespace(&self, name: &str) -> String {
        Self::namespace(self, name)
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => println!("the emulated network had ended early: {error}"),
            Some(Err(_)) => println!("the emulated network had ended early: its thread panicked"),
        }
        for name in &self.names {
            namespace::remove(&self.namespace(name));
        }
    }
}
