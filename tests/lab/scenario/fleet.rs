//! The processes of a scenario: the origin's node, a node for each site's part, a host beside each, and hosts alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use samara_protocol::swarm::config::Role;
use samara_protocol::units::ByteRate;
use samara_simulations::scenario::{Reach, Reseed};
use samara_tests::network::{
    Actor, FETCH, Member, Network, Node, NodeConfig, PRODUCT, Plan as Setup, VERB, fetch_command,
};
use samara_tests::tree::random_file;
use samara_tests::{Finished, namespace};
use serde_json::Value;

use super::links::{Links, is_origin};
use super::plan::{Part, Plan};

/// The group that the hosts beside nodes run in, so that the kernel can tell their packets from the nodes'.
const BESIDE: u32 = 4901;

/// Everybody, enrolled; each node's process by the number of its part.
#[derive(Debug)]
pub(super) struct Fleet {
    network: Mutex<Network>,
    nodes: BTreeMap<usize, Mutex<Node>>,
    hosts: BTreeMap<usize, Actor>,
    /// Of each release.
    manifests: Vec<String>,
}

impl Fleet {
    /// Enrols everybody and publishes the releases; only the origin runs then.
    pub(super) fn enrol(plan: &Plan, links: &Links, work: &Path) -> Result<Self> {
        let origin = plan.parts.iter().find(|part| is_origin(part)).context("an origin")?;
        let setup = Setup {
            sites: 0,
            origin: NodeConfig {
                copies: origin.nature.limits.origin_copies_max,
                ..config(origin)
            },
            places: Some(links.places()),
            ..Setup::default()
        };
        let mut network = Network::prepare(&setup)?;
        network.origin.start()?;
        let mut manifests = Vec::new();
        for (number, release) in plan.releases.iter().enumerate() {
            let folder = work.join(format!("release{number}"));
            std::fs::create_dir_all(&folder)?;
            random_file(&folder.join("file"), release.bytes, plan.scenario.seed + number as u64)?;
            let mut publish = network.publish_command(&folder, &release.version);
            if plan.is_followed() {
                let arguments = ["publish", "--product", PRODUCT, "--version", &release.version, "--json"];
                publish = network.vendor_command(arguments);
                publish.arg(&folder);
            }
            let published = Finished::of(&mut publish, FETCH)?.success()?.json()?;
            let manifest = published["manifest"].as_str().context("the release's manifest")?;
            manifests.push(manifest.to_owned());
        }
        let mut fleet = Self {
            network: Mutex::new(network),
            nodes: BTreeMap::new(),
            hosts: BTreeMap::new(),
            manifests,
        };
        fleet.enrol_sites(plan, links)?;
        Ok(fleet)
    }

    fn enrol_sites(&mut self, plan: &Plan, links: &Links) -> Result<()> {
        let mut keepers: BTreeMap<u64, Actor> = BTreeMap::new();
        // Nodes before hosts: a host is told of its site's nodes.
        let by_role = |role: Role| {
            plan.parts
                .iter()
                .enumerate()
                .filter(move |(_, part)| part.nature.role == role)
        };
        for (at, part) in by_role(Role::Site).chain(by_role(Role::Host)) {
            let network = lock(&self.network);
            let site = part.nature.site;
            let keeper = match keepers.entry(site) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let tenant = format!("tenant{}", part.nature.tenant);
                    new.insert(network.found_site(&format!("site{site}"), &tenant, reseed(part.reseed))?)
                }
            };
            let (node, host) = (format!("node{at}"), format!("host{at}"));
            let member = |name| Member {
                name,
                place: &part.place,
                keeper,
            };
            let mut host = network.member_host(&member(&host))?;
            if part.nature.role == Role::Site {
                let is_open = part.nature.reach == Reach::Open;
                let config = NodeConfig {
                    follow: plan.is_followed(),
                    log: Some(if is_kept() { "debug" } else { "info" }),
                    ..config(part)
                };
                let node = network.member_node(&member(&node), &config, is_open)?;
                host = host.beside(node.socket());
                keep_beside(links, &part.place)?;
                self.nodes.insert(at, Mutex::new(node));
            }
            if part.nature.reach == Reach::Outbound {
                shut(links, &part.place)?;
            }
            self.hosts.insert(at, host);
        }
        Ok(())
    }

    /// Starts a node; nothing for a host alone.
    pub(super) fn start(&self, at: usize) -> Result<()> {
        let Some(node) = self.nodes.get(&at) else { return Ok(()) };
        lock(node).start()
    }

    /// Whether a part is more than a host alone.
    pub(super) fn has_node(&self, at: usize) -> bool {
        self.nodes.contains_key(&at)
    }

    /// `kill -9` of a node, also of the origin; nothing for a host alone.
    pub(super) fn kill(&self, plan: &Plan, at: usize) -> Result<()> {
        if is_origin(&plan.parts[at]) {
            lock(&self.network).origin.kill()?;
        } else if let Some(node) = self.nodes.get(&at) {
            lock(node).kill()?;
        }
        Ok(())
    }

    /// What a node says of itself; none for a host alone or where it does not run.
    pub(super) fn status(&self, plan: &Plan, at: usize) -> Option<Value> {
        let actor = if is_origin(&plan.parts[at]) {
            lock(&self.network).origin.actor.clone()
        } else {
            lock(self.nodes.get(&at)?).actor.clone()
        };
        actor.run(["status", "--json"]).ok()?.json().ok()
    }

    /// Promotes a release on the channel that all sites follow.
    pub(super) fn promote(&self, plan: &Plan, release: usize) -> Result<()> {
        let release = format!("{PRODUCT}@{}", plan.releases[release].version);
        let mut promote = lock(&self.network).vendor_command(["promote", &release]);
        Finished::of(&mut promote, VERB)?.success().map(drop)
    }

    /// Whether a node has said that all of a release is verified and written. `seen` is which of its processes was looked at, and how
    /// many of its lines.
    pub(super) fn has_verified(&self, at: usize, release: usize, seen: &mut (u32, usize)) -> bool {
        let Some(node) = self.nodes.get(&at).map(lock) else {
            return false;
        };
        let Ok(process) = node.process() else { return false };
        if seen.0 != process.pid() {
            *seen = (process.pid(), 0);
        }
        let words = ["\"transfer_completed\"", "\"payload\"", &self.manifests[release]];
        process.has_said(&mut seen.1, |line| words.iter().all(|word| line.contains(word)))
    }

    /// How a node stands and what it said last, for whoever asks why its host hangs.
    pub(super) fn standing(&self, plan: &Plan, at: usize) -> String {
        let Some(node) = self.nodes.get(&at) else {
            return "it has no node beside it".to_owned();
        };
        let said = lock(node).last_lines();
        match self.status(plan, at) {
            Some(status) => format!(
                "the node's transfers: {}\nits peers: {}\nit said last:\n{said}",
                status["transfers"], status["peers"]
            ),
            None => format!("the node does not answer; it said last:\n{said}"),
        }
    }

    /// The fetch of a release, beside the part's node or alone.
    pub(super) fn fetch(&self, plan: &Plan, at: usize, release: usize, into: &Path) -> Command {
        let part = &plan.parts[at];
        let product = format!("{PRODUCT}@{}", plan.releases[release].version);
        let mut command = fetch_command(&self.hosts[&at], &product, into);
        // A node that is killed comes back; until then nobody is there to be asked.
        command.args(["--wait", "10m"]);
        if part.nature.role == Role::Site {
            command.gid(BESIDE);
        }
        if let (Role::Host, Some(ByteRate(down))) = (part.nature.role, part.nature.limits.down) {
            command.args(["--down", &rate(down)]);
        }
        command
    }
}

impl Drop for Fleet {
    /// With `SAMARA_KEEP` set the network's folder stays, with what each node has said.
    fn drop(&mut self) {
        if is_kept() {
            for node in self.nodes.values() {
                // Best effort: this is for a person who looks.
                let _ = lock(node).keep_log();
            }
        }
    }
}

/// The rows of the peers in a status.
pub(super) fn peers(status: &Value) -> &[Value] {
    status["peers"].as_array().map_or(&[], Vec::as_slice)
}

/// Where a release's file was made.
pub(super) fn source(work: &Path, release: usize) -> PathBuf {
    work.join(format!("release{release}")).join("file")
}

fn config(part: &Part) -> NodeConfig {
    let limits = &part.nature.limits;
    let upload = match part.reseed {
        Reseed::All => "all",
        Reseed::Own => "tenant",
        Reseed::None => "site",
    };
    NodeConfig {
        up: limits.up.map(|ByteRate(bytes)| rate(bytes)),
        down: limits.down.map(|ByteRate(bytes)| rate(bytes)),
        upload: (part.nature.role == Role::Site).then(|| upload.to_owned()),
        log: is_kept().then_some("debug"),
        ..NodeConfig::default()
    }
}

/// Whether what the nodes say is kept for a person who looks.
fn is_kept() -> bool {
    std::env::var_os("SAMARA_KEEP").is_some()
}

const fn reseed(reseed: Reseed) -> &'static str {
    match reseed {
        Reseed::All => "all",
        Reseed::Own => "own",
        Reseed::None => "none",
    }
}

fn rate(bytes: u64) -> String {
    format!("{}bit", bytes * 8)
}

/// Drops whatever comes to a place and answers nothing that went out from there: it dials, and cannot be dialled.
fn shut(links: &Links, place: &str) -> Result<()> {
    let rules: [&[&str]; 2] = [
        &["iifname", "lo", "accept"],
        &["ct", "state", "established,related", "accept"],
    ];
    filter(links, place, ["input", "drop"], &rules)
}

/// Refuses what the host of a place sends to other places: it takes from the node beside it alone. Hosts of a site with several
/// nodes take from all of them, and the simulator's nodes have no hosts who would share their neighbours' uplinks.
fn keep_beside(links: &Links, place: &str) -> Result<()> {
    let group = BESIDE.to_string();
    let rule = ["meta", "skgid", &group, "oifname", "eth0", "reject"];
    filter(links, place, ["output", "accept"], &[&rule])
}

/// A chain of a place's packets that come or go, what becomes of those that no rule speaks of, and its rules.
fn filter(links: &Links, place: &str, [hook, policy]: [&str; 2], rules: &[&[&str]]) -> Result<()> {
    let space = links.places().namespace(place);
    let add = |what: &[&str]| {
        let arguments = [&["netns", "exec", &space, "nft", "add"], what].concat();
        namespace::run("ip", &arguments).map(drop)
    };
    add(&["table", "ip", "lab"])?;
    let chain = format!("{{ type filter hook {hook} priority 0; policy {policy}; }}");
    add(&["chain", "ip", "lab", hook, &chain])?;
    rules
        .iter()
        .try_for_each(|rule| add(&[&["rule", "ip", "lab", hook], *rule].concat()))
}

/// The lock, also after a thread that held it has panicked: the run is over then.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
