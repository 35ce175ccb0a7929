//! A star of network namespaces round one bridge, with a rate limit on both ends of every link.
//!
//! Each place has one address; what it sends is limited by its own end (`up`), what it receives by the bridge's (`down`).
//! No delay is added. Needs root and `ip`, `tc`; everything is removed on drop. Names carry this process's number, so that
//! several stars may stand side by side.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::places::Places;

/// Bytes that a token bucket lets through at once.
const BURST: &str = "64kb";
/// The largest packet that the kernel makes and a card would cut. A token bucket cuts what is larger than its burst, headers of
/// all parts counted, into single frames, and each of these then costs as much as a large one: with 64 KiB, the kernel's own bound, a swarm of
/// 32 sites was up to 87,000 packets a second.
const PACKET: &str = "32768";
/// How long a packet may wait in the bucket's queue.
const LATENCY: &str = "100ms";

/// One place of the star; `None` is unlimited. Rates are Mbit/s.
#[derive(Debug, Clone)]
pub struct Place {
    /// Unique in the star, at most 8 letters and digits.
    pub name: String,
    /// What it may send.
    pub up: Option<f64>,
    /// What it may receive.
    pub down: Option<f64>,
}

/// The namespaces; gone on drop.
#[derive(Debug)]
pub struct Star {
    prefix: String,
    places: Vec<Place>,
}

/// Bytes through one place's interface, frame headers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

impl Place {
    /// A place with these limits.
    #[must_use]
    pub fn new(name: impl Into<String>, up: Option<f64>, down: Option<f64>) -> Self {
        Self {
            name: name.into(),
            up,
            down,
        }
    }
}

impl Star {
    /// Sets it up.
    ///
    /// # Errors
    /// Which command failed and what it said; what was made until then is removed.
    pub fn new(places: Vec<Place>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let star = Self {
            prefix: format!("sm{}x{number}", std::process::id()),
            places,
        };
        ensure!(star.places.len() <= 250, "at most 250 places in a star");
        let hub = star.namespace("hub");
        run("ip", &["netns", "add", &hub])?;
        run("ip", &["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        run("ip", &["-n", &hub, "link", "set", "br0", "up"])?;
        not_filtered(&hub)?;
        for (index, place) in star.places.iter().enumerate() {
            star.join(index, place, &hub)?;
        }
        Ok(star)
    }

    /// The address of a place.
    ///
    /// # Panics
    /// When the star has no such place.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        let index = self.places.iter().position(|place| place.name == name);
        address(index.unwrap_or_else(|| panic!("no place {name}")))
    }

    /// `program` inside a place; its process number is the program's own.
    #[must_use]
    pub fn command(&self, name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command(&self.namespace(name), program)
    }

    /// The name of a place's namespace, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// What has gone through a place's interface so far.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn counters(&self, name: &str) -> Result<Counters> {
        counters(&self.namespace(name))
    }

    /// Runs `act` on a thread inside a place. Threads that it starts, and sockets that it opens, stay there.
    ///
    /// # Errors
    /// When the place cannot be entered.
    pub fn inside<T: Send>(&self, name: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
        inside(Path::new(&format!("/run/netns/{}", self.namespace(name))), act)
    }

    /// Takes away every way out of a place but the one to `to`: what it sends to anybody else has no route.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn only_way_out(&self, name: &str, to: &str) -> Result<()> {
        Places::only_way_out(self, name, to)
    }

    /// Refuses every TCP packet that a place has for `to`, as a firewall would.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn no_tcp(&self, name: &str, to: &str) -> Result<()> {
        Places::no_tcp(self, name, to)
    }

    /// Takes a place's link down, or up again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_link(&self, name: &str, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        run("ip", &["-n", &self.namespace(name), "link", "set", "eth0", state]).map(drop)
    }

    fn join(&self, index: usize, place: &Place, hub: &str) -> Result<()> {
        let space = self.namespace(&place.name);
        let port = format!("v{index}");
        run("ip", &["netns", "add", &space])?;
        let link = [
            "link", "add", "eth0", "netns", &space, "type", "veth", "peer", "name", &port, "netns", hub,
        ];
        run("ip", &link)?;
        run("ip", &["-n", hub, "link", "set", &port, "master", "br0", "up"])?;
        run(
            "ip",
            &[
                "-n",
                &space,
                "addr",
                "add",
                &format!("{}/16", address(index)),
                "dev",
                "eth0",
            ],
        )?;
        run("ip", &["-n", &space, "link", "set", "lo", "up"])?;
        run("ip", &["-n", &space, "link", "set", "eth0", "up"])?;
        limit(&space, "eth0", place.up)?;
        limit(hub, &port, place.down)
    }
}

impl Places for Star {
    fn address(&self, name: &str) -> String {
        Self::address(self, name)
    }

    fn namespace(&self, name: &str) -> String {
        Self::namespace(self, name)
    }
}

impl Drop for Star {
    fn drop(&mut self) {
        let names = self.places.iter().map(|place| place.name.as_str()).chain(["hub"]);
        for name in names {
            remove(&self.namespace(name));
        }
    }
}

/// Runs `act` on a thread inside the network namespace that `space` names. Threads that it starts, and sockets that it opens,
/// stay there.
///
/// # Errors
/// When it cannot be entered.
pub fn inside<T: Send>(space: &Path, act: impl FnOnce() -> T + Send) -> Result<T> {
    let opened = File::open(space).with_context(|| space.display().to_string())?;
    let entered = || -> Result<T> {
        // SAFETY: setns takes two numbers and changes the namespace of this thread alone.
        #[expect(unsafe_code, reason = "std knows no namespaces")]
        let outcome = unsafe { libc::setns(opened.as_raw_fd(), libc::CLONE_NEWNET) };
        let error = std::io::Error::last_os_error();
        ensure!(outcome == 0, "entering {}: {error}", space.display());
        Ok(act())
    };
    std::thread::scope(|scope| scope.spawn(entered).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// `program` inside the namespace `space`; its process number is the program's own.
pub(crate) fn command(space: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space]).arg(program);
    command
}

/// What has gone through `eth0` of the namespace `space` so far.
///
/// # Errors
/// When the kernel's table cannot be read.
pub(crate) fn counters(space: &str) -> Result<Counters> {
    let table = run("ip", &["netns", "exec", space, "cat", "/proc/net/dev"])?;
    let line = table
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"))
        .context("no eth0 in /proc/net/dev")?;
    let fields: Vec<_> = line.split_whitespace().collect();
    let field = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse().ok())
            .context("a short line in /proc/net/dev")
    };
    Ok(Counters {
        received: field(0)?,
        sent: field(8)?,
    })
}

/// Removes a namespace; one that was never made is none, and that is fine.
pub(crate) fn remove(space: &str) {
    let _ = Command::new("ip").args(["netns", "del", space]).output();
}

/// The address of the place with this number, of at most 250.
pub(crate) fn address(index: usize) -> String {
    format!("10.77.0.{}", index + 2)
}

/// Where Docker has loaded the bridge's filter, each packet of every bridge goes through all tables of the firewall, and here
/// there are none: it is a tenth of what 33 nodes on one machine cost. Without that module there is no such setting.
fn not_filtered(hub: &str) -> Result<()> {
    inside(Path::new(&format!("/run/netns/{hub}")), || {
        for tables in ["iptables", "ip6tables", "arptables"] {
            let setting = format!("/proc/sys/net/bridge/bridge-nf-call-{tables}");
            if Path::new(&setting).exists() {
                std::fs::write(&setting, "0").with_context(|| setting.clone())?;
            }
        }
        Ok(())
    })?
}

fn limit(space: &str, device: &str, mbit: Option<f64>) -> Result<()> {
    let Some(mbit) = mbit else { return Ok(()) };
    let rate = format!("{mbit}mbit");
    let bucket = [
        "qdisc", "add", "dev", device, "root", "tbf", "rate", &rate, "burst", BURST, "latency", LATENCY,
    ];
    run(
        "ip",
        &["-n", space, "link", "set", "dev", device, "gso_max_size", PACKET],
    )?;
    run("ip", &[&["netns", "exec", space, "tc"], &bucket[..]].concat()).map(drop)
}

/// Runs `program` to its end; what it printed.
///
/// # Errors
/// What it said when it failed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("running {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        said.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Process, runnable};
    use std::time::{Duration, Instant};

    /// 2 MiB at 40 Mbit/s take 0.42 s; without the limit a few milliseconds.
    #[test]
    fn a_link_is_as_slow_as_asked_for_and_counts_its_bytes() {
        if !runnable("namespaces", &["ip", "tc", "curl", "nginx"], true) {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        crate::tree::random_file(&folder.path().join("x"), 2 << 20, 1).expect("is written");
        let star = Star::new(vec![Place::new("a", Some(40.0), None), Place::new("b", None, None)]).expect("root may");
        let server = crate::web::serve(star.command("a", "nginx"), folder.path(), &star.address("a"), 80, None);
        let server = server.expect("nginx starts");
        let before = star.counters("a").expect("is there");
        let started = Instant::now();
        let mut curl = star.command("b", "curl");
        let url = format!("http://{}/x", star.address("a"));
        let curl = Process::start(
            curl.args(["-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "0"])
                .args(["-o", "/dev/null", &url]),
        );
        curl.and_then(|curl| curl.finish(Duration::from_secs(20))?.success())
            .expect("curl gets it");
        let took = started.elapsed();
        let sent = star.counters("a").expect("is there").sent - before.sent;
        assert!(
            took > Duration::from_millis(350) && took < Duration::from_secs(5),
            "{took:?}"
        );
        assert!(sent > 2 << 20 && sent < 5 << 19, "{sent}");
        drop(server);
        let spaces = Command::new("ip")
            .args(["netns", "list"])
            .output()
            .expect("ip runs")
            .stdout;
        assert!(String::from_utf8_lossy(&spaces).contains(&star.prefix));
        let prefix = star.prefix.clone();
        drop(star);
        let spaces = Command::new("ip")
            .args(["netns", "list"])
            .output()
            .expect("ip runs")
            .stdout;
        assert!(
            !String::from_utf8_lossy(&spaces).contains(&prefix),
            "nothing is left behind"
        );
    }
}
