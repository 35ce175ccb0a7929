//! One run: everybody in place, the barrier, who fetches when, and what was counted from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use samara_protocol::swarm::config::Role;
use samara_simulations::scenario::Reach;
use samara_tests::tree::b3sum;
use samara_tests::{Finished, Process};
use serde_json::Value;

use super::books::Books;
use super::clock::Clock;
use super::faults::Gap;
use super::fleet::{self, Fleet, lock};
use super::links::{Links, Through, is_origin};
use super::meeting::meet;
use super::plan::Plan;
use crate::warm_memory::WarmMemory;

/// What one run gave.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Seconds of each node and release that counts, from when it was told.
    pub(super) seconds: Vec<f64>,
    /// Bytes out of the origin's interface.
    pub(super) origin_through: u64,
    /// Payload that the origin says it has sent.
    pub(super) origin_sent: u64,
    /// Verified payload that the nodes received, and of that what they had already.
    pub(super) received: u64,
    pub(super) again: u64,
    /// Payload that nodes which cannot be dialled sent to others than their hosts.
    pub(super) outbound_sent: u64,
    /// Bytes into the interfaces of those who fetched.
    pub(super) down_through: u64,
    pub(super) gaps: Vec<Gap>,
    pub(super) origin_died: Option<Duration>,
    pub(super) is_verified: bool,
    /// The least number of neighbours that a node had at the barrier.
    pub(super) neighbours: usize,
    pub(super) links: Value,
}

/// What a run's threads share.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) links: &'a Links,
    pub(super) fleet: &'a Fleet,
    pub(super) clock: Clock,
    pub(super) books: Mutex<Books>,
    pub(super) gaps: Mutex<Vec<Gap>>,
    pub(super) origin_died: Mutex<Option<Duration>>,
    /// The origin's interface at the barrier.
    pub(super) origin_before: Through,
    /// Who has left for good.
    gone: Mutex<BTreeSet<usize>>,
    fetches: Mutex<BTreeMap<usize, Vec<Arc<Process>>>>,
    /// Releases that are on the channel.
    promoted: Mutex<BTreeSet<usize>>,
    work: &'a Path,
}

/// A copy that came, and how long it took.
#[derive(Debug)]
struct Copy {
    node: usize,
    release: usize,
    took: Duration,
    /// None yet where no host has fetched.
    file: Option<PathBuf>,
}

/// Performs the plan once, in an empty folder.
pub(super) fn perform(plan: &Plan, work: &Path) -> Result<Run> {
    let _memory = WarmMemory::new(plan.parts.len(), plan.bytes())?;
    let links = Links::new(plan)?;
    crate::note(&format!("enrolling {} nodes and hosts", plan.parts.len()));
    let fleet = Fleet::enrol(plan, &links, work)?;
    crate::note("waiting until they have met");
    let neighbours = meet(plan, &fleet, work)?;
    crate::note(&format!(
        "the clock runs: the bound is {:.0} s, after {:.0} s it counts as hung",
        plan.bound.as_secs_f64(),
        plan.limit().as_secs_f64()
    ));
    let mut before = BTreeMap::new();
    for (at, part) in plan.parts.iter().enumerate() {
        before.insert(at, links.through(&part.place)?);
    }
    let origin = plan.parts.iter().position(is_origin).context("an origin")?;
    let stage = Stage {
        plan,
        links: &links,
        fleet: &fleet,
        books: Mutex::new(Books::open(plan, &fleet)),
        gaps: Mutex::default(),
        origin_died: Mutex::default(),
        origin_before: before[&origin],
        gone: Mutex::default(),
        fetches: Mutex::default(),
        promoted: Mutex::new(if plan.is_followed() {
            BTreeSet::new()
        } else {
            (0..plan.releases.len()).collect()
        }),
        work,
        clock: Clock::start(),
    };
    let copies = stage.play()?;
    let mut run = Run {
        origin_through: links.through(&plan.parts[origin].place)?.sent - before[&origin].sent,
        links: links.quality()?,
        neighbours,
        ..Run::default()
    };
    for at in stage.fetchers() {
        run.down_through += links.through(&plan.parts[at].place)?.received - before[&at].received;
    }
    stage.sum_up(&mut run, &copies)?;
    Ok(run)
}

/// Whether a part has everything at the start.
pub(super) fn holds(plan: &Plan, at: usize) -> bool {
    plan.parts[at].nature.holds >= 1.0
}

impl Stage<'_> {
    /// Everybody who gets something on the stage.
    fn fetchers(&self) -> impl Iterator<Item = usize> {
        (0..self.plan.parts.len()).filter(|at| !is_origin(&self.plan.parts[*at]) && !holds(self.plan, *at))
    }

    /// From the barrier to the last copy.
    fn play(&self) -> Result<Vec<Copy>> {
        thread::scope(|scope| {
            let faults: Vec<_> = self
                .plan
                .acts
                .iter()
                .map(|act| {
                    scope.spawn(move || self.act(act).with_context(|| format!("{:?} at {:?}", act.kind, act.at)))
                })
                .collect();
            let releases = 0..self.plan.releases.len();
            let promotions: Vec<_> = releases
                .filter(|_| self.plan.is_followed())
                .map(|release| scope.spawn(move || self.promote(release)))
                .collect();
            let leaves: Vec<_> = (0..self.plan.parts.len())
                .map(|at| scope.spawn(move || self.leave_in_time(at)))
                .collect();
            let lives: Vec<_> = self
                .fetchers()
                .map(|at| scope.spawn(move || self.live(at).with_context(|| self.plan.parts[at].place.clone())))
                .collect();
            let copies: Vec<Result<Vec<Copy>>> = lives.into_iter().map(joined).collect();
            self.clock.end();
            for outcome in faults.into_iter().chain(leaves).chain(promotions).map(joined) {
                outcome?;
            }
            let copies: Vec<Vec<Copy>> = copies.into_iter().collect::<Result<_>>()?;
            Ok(copies.into_iter().flatten().collect())
        })
    }

    /// One part: joins, and fetches each release when it is told to.
    fn live(&self, at: usize) -> Result<Vec<Copy>> {
        let joins = self.plan.parts[at].joins.unwrap_or_default();
        if !self.clock.until(joins) {
            return Ok(Vec::new());
        }
        if self.plan.parts[at].joins.is_some() {
            self.fleet.start(at)?;
        }
        thread::scope(|scope| {
            let fetch = |release: usize| {
                let told = self.plan.releases[release].at.max(joins);
                let follows = self.plan.is_followed() && self.plan.parts[at].nature.role == Role::Site;
                scope.spawn(move || match follows {
                    true => self.watch(at, release, told),
                    false => self.fetch(at, release, told),
                })
            };
            let fetches: Vec<_> = (0..self.plan.releases.len()).map(fetch).collect();
            let copies: Result<Vec<Option<Copy>>> = fetches.into_iter().map(joined).collect();
            Ok(copies?.into_iter().flatten().collect())
        })
    }

    /// A release is promoted when its time has come: what the sites that follow are told by.
    fn promote(&self, release: usize) -> Result<()> {
        self.clock.until(self.plan.releases[release].at);
        self.fleet.promote(self.plan, release)?;
        lock(&self.promoted).insert(release);
        Ok(())
    }

    /// A node that follows, until it says that it has all; nothing when the part has left before.
    fn watch(&self, at: usize, release: usize, told: Duration) -> Result<Option<Copy>> {
        self.clock.until(told);
        let (mut seen, limit) = ((0, 0), told + self.plan.limit());
        while !self.fleet.has_verified(at, release, &mut seen) {
            if lock(&self.gone).contains(&at) {
                return Ok(None);
            }
            let now = self.clock.now();
            ensure!(now < limit, "it hangs: {}", self.fleet.standing(self.plan, at));
            self.clock.until(now + GLANCE);
        }
        Ok(Some(Copy {
            node: at,
            release,
            took: self.clock.now().saturating_sub(told),
            file: None,
        }))
    }

    /// The file of a copy: that of a node that followed is fetched now.
    fn file_of(&self, copy: &Copy) -> Result<PathBuf> {
        if let Some(file) = &copy.file {
            return Ok(file.clone());
        }
        let into = self.work.join(format!("copy{}-{}", copy.node, copy.release));
        let mut fetch = self.fleet.fetch(self.plan, copy.node, copy.release, &into);
        Finished::of(&mut fetch, self.plan.limit())?.success()?;
        Ok(into.join("file"))
    }

    /// One fetch; nothing when the part has left before it was done.
    fn fetch(&self, at: usize, release: usize, told: Duration) -> Result<Option<Copy>> {
        self.clock.until(told);
        while !lock(&self.promoted).contains(&release) && self.clock.until(self.clock.now() + GLANCE) {}
        let into = self.work.join(format!("copy{at}-{release}"));
        let began = self.clock.now();
        let fetch = Arc::new(Process::start(&mut self.fleet.fetch(self.plan, at, release, &into))?);
        {
            let mut fetches = lock(&self.fetches);
            fetches.entry(at).or_default().push(fetch.clone());
        }
        let finished = fetch
            .finish(self.plan.limit())
            .with_context(|| self.fleet.standing(self.plan, at))?;
        if lock(&self.gone).contains(&at) && !finished.status.success() {
            return Ok(None);
        }
        let done = began + finished.success()?.elapsed;
        Ok(Some(Copy {
            node: at,
            release,
            took: done.saturating_sub(told),
            file: Some(into.join("file")),
        }))
    }

    fn leave_in_time(&self, at: usize) -> Result<()> {
        match self.plan.parts[at].leaves {
            Some(leaves) if self.clock.until(leaves) => self.leave(at),
            _ => Ok(()),
        }
    }

    /// A part is gone for good: its node and its fetches are killed.
    pub(super) fn leave(&self, at: usize) -> Result<()> {
        lock(&self.gone).insert(at);
        self.kill(at)?;
        for fetch in lock(&self.fetches).remove(&at).into_iter().flatten() {
            fetch.signal(libc::SIGKILL)?;
        }
        Ok(())
    }

    /// `kill -9`, after its counters were read: they end with it.
    pub(super) fn kill(&self, at: usize) -> Result<()> {
        let last = self.fleet.status(self.plan, at);
        lock(&self.books).close(at, last.as_ref());
        self.fleet.kill(self.plan, at)
    }

    fn sum_up(&self, run: &mut Run, copies: &[Copy]) -> Result<()> {
        let mut books = lock(&self.books);
        let gone = lock(&self.gone).clone();
        for (at, part) in self.plan.parts.iter().enumerate() {
            let status = (!gone.contains(&at))
                .then(|| self.fleet.status(self.plan, at))
                .flatten();
            books.close(at, status.as_ref());
            let moved = books.moved(at);
            if is_origin(part) {
                run.origin_sent = moved.sent;
            } else if part.nature.role == Role::Site {
                run.received += moved.received;
                run.again += if holds(self.plan, at) || gone.contains(&at) {
                    0
                } else {
                    moved.received.saturating_sub(moved.wanted)
                };
                // What its own host took is no feeding of others.
                let hosts = if self.plan.is_followed() { 0 } else { self.plan.bytes() };
                let fed = moved.sent.saturating_sub(hosts);
                run.outbound_sent += if part.nature.reach == Reach::Outbound { fed } else { 0 };
            }
        }
        let held = (0..self.plan.parts.len()).filter(|at| !is_origin(&self.plan.parts[*at]) && holds(self.plan, *at));
        run.seconds = held.flat_map(|_| self.plan.releases.iter().map(|_| 0.0)).collect();
        run.seconds.extend(
            copies
                .iter()
                .filter(|copy| !gone.contains(&copy.node))
                .map(|copy| copy.took.as_secs_f64()),
        );
        run.is_verified = true;
        for copy in copies {
            if gone.contains(&copy.node) {
                continue;
            }
            run.is_verified &= b3sum(&self.file_of(copy)?)? == b3sum(&fleet::source(self.work, copy.release))?;
        }
        ensure!(!run.seconds.is_empty(), "nobody was to fetch anything");
        run.gaps = lock(&self.gaps).clone();
        run.origin_died = *lock(&self.origin_died);
        Ok(())
    }
}

fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Asks `look` until it answers or the run is over; the pause between two looks is one process's start.
pub(super) fn look<T>(clock: &Clock, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    loop {
        let began = Instant::now();
        if let Some(answer) = look()? {
            return Ok(Some(answer));
        }
        if !clock.until(clock.now() + LOOK.saturating_sub(began.elapsed()) + Duration::from_millis(1)) {
            return Ok(None);
        }
    }
}

/// How long one glance at what a node has said and the next lie apart.
const GLANCE: Duration = Duration::from_millis(5);
/// How long one look and the next lie apart.
const LOOK: Duration = Duration::from_millis(50);
