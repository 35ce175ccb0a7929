//! A vendor, its origin, customers' sites and their hosts, set up on this machine by the verbs that a person would type.
//!
//! Every site is a tenant of its own, unless a plan says otherwise. All state lies below one temporary folder; each actor has a home of its own, so that any
//! number of networks stand side by side. Nothing here knows more than a user does: verbs, configuration files, exit codes,
//! `--json`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::places::Places;
use crate::{Finished, binary};

mod actor;
mod crossing;
mod fleet;
mod node;

pub use actor::Actor;
pub use crossing::Crossing;
pub use fleet::Member;
pub use node::{Node, NodeConfig, Transfer};

/// How long a verb that only computes may take.
pub const VERB: Duration = Duration::from_secs(60);
/// How long a fetch in a test may take before it counts as hung.
pub const FETCH: Duration = Duration::from_secs(240);
/// The product that everything here is about.
pub const PRODUCT: &str = "acme/app";
/// The channel that is promoted to.
pub const CHANNEL: &str = "stable";

/// What to set up.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many sites, each with one node.
    pub sites: usize,
    /// How many hosts at each site.
    pub hosts: usize,
    /// The `reseed` right of each site's grant.
    pub reseed: &'static str,
    /// How many sites, in their order, are one customer's. Of the same customer's each is told of all, of others of sixteen.
    pub sites_per_tenant: usize,
    /// The origin's limits and the like.
    pub origin: NodeConfig,
    /// Each site node's; by default it follows the channel.
    pub site: NodeConfig,
    /// Hosts dial the origin themselves and the sites' nodes are not started.
    pub direct: bool,
    /// Place `o` for the origin and `s1`, `s2` .. for the sites and their hosts; without it everything is on loopback.
    pub places: Option<Arc<dyn Places>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            sites: 1,
            hosts: 1,
            reseed: "all",
            sites_per_tenant: 1,
            origin: NodeConfig::default(),
            site: NodeConfig {
                follow: true,
                ..NodeConfig::default()
            },
            direct: false,
            places: None,
        }
    }
}

/// A network that runs.
#[derive(Debug)]
pub struct Network {
    /// Where the vendor's keys are; its verbs run beside the origin.
    pub keys: PathBuf,
    /// The vendor's node.
    pub origin: Node,
    /// The customers.
    pub sites: Vec<Site>,
    plan: Plan,
    folder: TempDir,
}

/// One customer's installation.
#[derive(Debug)]
pub struct Site {
    /// Who holds the site key.
    pub keeper: Actor,
    /// The vendor's grant.
    pub grant: PathBuf,
    /// Its node.
    pub node: Node,
    /// Its machines.
    pub hosts: Vec<Actor>,
}

impl Network {
    /// Sets everything up and starts every node; returns when all answer.
    ///
    /// # Errors
    /// The verb that failed and what it said.
    pub fn start(plan: &Plan) -> Result<Self> {
        let mut network = Self::prepare(plan)?;
        network.origin.start()?;
        for site in network.sites.iter_mut().filter(|_| !plan.direct) {
            site.node.start()?;
        }
        Ok(network)
    }

    /// Sets everything up and starts nothing.
    ///
    /// # Errors
    /// As [`Network::start`].
    pub fn prepare(plan: &Plan) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("samara-test-").tempdir()?;
        let place = plan.places.as_ref().map(|places| (places.clone(), "o".to_owned()));
        let origin = Node::new(Actor::new(folder.path(), "origin", place)?, "origin", &plan.origin)?;
        let keys = folder.path().join("vendor");
        let mut network = Self {
            keys,
            origin,
            sites: Vec::new(),
            plan: plan.clone(),
            folder,
        };
        network.vendor(["vendor", "init"])?;
        network.vendor(["vendor", "product", PRODUCT])?;
        network.grant_origin()?;
        for number in 1..=plan.sites {
            network.add_site(number, plan)?;
        }
        Ok(network)
    }

    /// A folder below the network's own, made anew.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join("work").join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A verb of the vendor's, with its keys, on the origin's machine.
    #[must_use]
    pub fn vendor_command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.origin.actor.command();
        command.args(arguments).arg("--vendor-dir").arg(&self.keys);
        command
    }

    /// Runs a verb of the vendor's that must succeed.
    ///
    /// # Errors
    /// What it said.
    pub fn vendor(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Finished> {
        Finished::of(&mut self.vendor_command(arguments), VERB)?.success()
    }

    /// Publishes `path` as `version` on the channel, beside the origin.
    ///
    /// # Errors
    /// What `publish` said.
    pub fn publish(&self, path: &Path, version: &str) -> Result<Finished> {
        Finished::of(&mut self.publish_command(path, version), FETCH)?.success()
    }

    /// The same, to be started by the caller.
    #[must_use]
    pub fn publish_command(&self, path: &Path, version: &str) -> Command {
        let mut publish = self.vendor_command(["publish", "--product", PRODUCT, "--version", version]);
        publish.args(["--channel", CHANNEL, "--json"]).arg(path);
        publish
    }

    /// A file that a verb of one actor writes and another reads.
    #[must_use]
    pub fn exchange(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Enrols one more host at a site, by file.
    ///
    /// # Errors
    /// The verb that failed.
    pub fn add_host(&mut self, site: usize, name: &str) -> Result<()> {
        let host = Actor::new(self.folder.path(), name, self.place(site))?;
        let joined = self.sites.get(site).context("no such site")?;
        self.enrol(&host, &joined.keeper, "host", name, &[])?;
        let host = if self.plan.direct {
            host
        } else {
            host.beside(joined.node.socket())
        };
        self.sites[site].hosts.push(host);
        Ok(())
    }

    /// Enrols one more node at a site, in a home of its own; it is not started.
    ///
    /// # Errors
    /// The verb that failed.
    pub fn add_node(&self, site: usize, name: &str) -> Result<Node> {
        let actor = Actor::new(self.folder.path(), name, self.place(site))?;
        let node = Node::new(actor, "site", &self.plan.site)?;
        let joined = self.sites.get(site).context("no such site")?;
        self.enrol(
            &node.actor,
            &joined.keeper,
            "node",
            name,
            &["--address", &node.address()],
        )?;
        Ok(node)
    }

    /// Request there, enrolment by the site's key, join there.
    fn enrol(&self, member: &Actor, keeper: &Actor, kind: &str, name: &str, more: &[&str]) -> Result<()> {
        let request = self.exchange(&format!("{name}.request"));
        let join = self.exchange(&format!("{name}.join"));
        let mut ask = member.command();
        Finished::of(
            ask.args(["request", kind]).args(more).arg("--output").arg(&request),
            VERB,
        )?
        .success()?;
        let mut enrol = keeper.command();
        enrol
            .args(["site", "enrol", "--name", name])
            .arg(&request)
            .arg("--output")
            .arg(&join);
        Finished::of(&mut enrol, VERB)?.success()?;
        member.run(["join".as_ref(), join.as_os_str()]).map(drop)
    }

    fn place(&self, site: usize) -> Option<(Arc<dyn Places>, String)> {
        self.plan
            .places
            .as_ref()
            .map(|places| (places.clone(), format!("s{}", site + 1)))
    }

    fn grant_origin(&self) -> Result<()> {
        let request = self.exchange("origin.request");
        let join = self.exchange("origin.join");
        let mut ask = self.origin.actor.command();
        ask.args(["request", "origin", "--address", &self.origin.address()])
            .arg("--output")
            .arg(&request);
        Finished::of(&mut ask, VERB)?.success()?;
        let mut grant = self.vendor_command(["grant", "--product", PRODUCT]);
        Finished::of(grant.arg(&request).arg("--output").arg(&join), VERB)?.success()?;
        self.origin.actor.run(["join".as_ref(), join.as_os_str()]).map(drop)
    }

    fn add_site(&mut self, number: usize, plan: &Plan) -> Result<()> {
        let index = number - 1;
        let name = format!("site{number}");
        let keeper = Actor::new(self.folder.path(), &format!("keeper{number}"), None)?;
        let tenant = format!("tenant{}", index / plan.sites_per_tenant + 1);
        let granted = self.grant_site(&keeper, &name, &tenant, plan.reseed)?;

        let actor = Actor::new(self.folder.path(), &name, self.place(index))?;
        let node = Node::new(actor, "site", &plan.site)?;
        // A host that knows a node of its site goes to no origin: without a node running, none is to be known.
        let address = node.address();
        let reachable: &[&str] = if plan.direct { &[] } else { &["--address", &address] };
        self.enrol(&node.actor, &keeper, "node", &name, reachable)?;
        self.sites.push(Site {
            keeper,
            grant: granted,
            node,
            hosts: Vec::new(),
        });
        for host in 1..=plan.hosts {
            self.add_host(index, &format!("host{number}-{host}"))?;
        }
        Ok(())
    }
}

impl Drop for Network {
    /// With `SAMARA_KEEP` set the folder stays, with what each node has said.
    fn drop(&mut self) {
        if std::env::var_os("SAMARA_KEEP").is_some() {
            for node in self.sites.iter().map(|site| &site.node).chain([&self.origin]) {
                // Best effort: this is for a person who looks.
                let _ = node.keep_log();
            }
            self.folder.disable_cleanup(true);
            println!("kept: {}", self.folder.path().display());
        }
    }
}

impl Site {
    /// Fetches into `into` on the first host.
    ///
    /// # Errors
    /// What `fetch` said. When it speaks of losses: nobody was at its own files, whatever the test did to a node's.
    pub fn fetch(&self, what: &str, into: &Path) -> Result<Finished> {
        let host = self.hosts.first().context("the site has a host")?;
        let finished = fetch(host, what, into).and_then(Finished::success)?;
        ensure!(!finished.stderr.contains("are lost"), "{}", finished.stderr);
        Ok(finished)
    }
}

/// `samara fetch WHAT -o INTO --json` at an actor, to its end.
///
/// # Errors
/// When it hangs; not when it fails.
pub fn fetch(host: &Actor, what: &str, into: &Path) -> Result<Finished> {
    Finished::of(&mut fetch_command(host, what, into), FETCH)
}

/// The same, to be started by the caller.
#[must_use]
pub fn fetch_command(host: &Actor, what: &str, into: &Path) -> Command {
    let mut command = host.command();
    command.args(["fetch", what, "--json", "-o"]).arg(into);
    if let Some(node) = host.node() {
        command.arg("--socket").arg(node);
    }
    command
}

/// Fails unless the program says that it is what the tests were written for.
///
/// # Errors
/// When the binary does not run.
pub fn check_binary() -> Result<()> {
    let version = Finished::of(Command::new(binary::samara()).arg("--version"), VERB)?.success()?;
    ensure!(
        version.text().starts_with("samara "),
        "`samara --version` printed {}",
        version.text()
    );
    Ok(())
}
