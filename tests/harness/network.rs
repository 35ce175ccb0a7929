//! A vendor, its origin, customers' sites and their hosts, set up on this machine by the verbs that a person would type.
//!
//! Every site is a tenant of its own. All state lies below one temporary folder; each actor has a home of its own, so that any
//! number of networks stand side by side. Nothing here knows more than a user does: verbs, configuration files, exit codes,
//! `--json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::namespace::Star;
use crate::{Finished, binary};

mod actor;
mod node;

pub use actor::Actor;
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
    /// The origin's limits and the like.
    pub origin: NodeConfig,
    /// Each site node's.
    pub site: NodeConfig,
    /// Hosts dial the origin themselves and the sites' nodes are not started.
    pub direct: bool,
    /// Place `o` for the origin and `s1`, `s2` .. for the sites and their hosts; without it everything is on loopback.
    pub star: Option<Arc<Star>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            sites: 1,
            hosts: 1,
            reseed: "all",
            origin: NodeConfig::default(),
            site: NodeConfig::default(),
            direct: false,
            star: None,
        }
    }
}

/// A network that runs.
#[derive(Debug)]
pub struct Network {
    /// Who holds the vendor's keys.
    pub vendor: Actor,
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
        let vendor = Actor::new(folder.path(), "vendor", None)?;
        vendor.run(["vendor", "init", "--name", "acme"])?;
        vendor.run(["vendor", "product", PRODUCT])?;
        let place = plan.star.as_ref().map(|star| (star.clone(), "o".to_owned()));
        let origin = Node::new(Actor::new(folder.path(), "origin", place)?, "origin", &plan.origin)?;
        let mut network = Self {
            vendor,
            origin,
            sites: Vec::new(),
            plan: plan.clone(),
            folder,
        };
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

    /// Publishes `path` as `version` on the channel, beside the running origin.
    ///
    /// # Errors
    /// What `publish` said.
    pub fn publish(&self, path: &Path, version: &str) -> Result<Finished> {
        let mut publish = self.vendor.command();
        publish
            .arg("--socket")
            .arg(self.origin.socket())
            .arg("publish")
            .arg(path);
        publish.args([
            "--product",
            PRODUCT,
            "--version",
            version,
            "--channel",
            CHANNEL,
            "--json",
        ]);
        Finished::of(&mut publish, FETCH)?.success()
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
        let place = self.place(site);
        let host = Actor::new(self.folder.path(), name, place)?;
        let request = self.exchange(&format!("{name}.request"));
        let join = self.exchange(&format!("{name}.join"));
        host.run([word("request"), word("host"), word("--out"), path(&request)])?;
        let site = self.sites.get_mut(site).context("no such site")?;
        site.keeper
            .run([word("site"), word("enrol"), path(&request), word("--out"), path(&join)])?;
        let mut arguments = vec![word("join"), path(&join)];
        if !self.plan.direct {
            arguments.extend([word("--node"), word(&site.node.address())]);
        }
        host.run(arguments)?;
        site.hosts.push(host);
        Ok(())
    }

    fn place(&self, site: usize) -> Option<(Arc<Star>, String)> {
        self.plan
            .star
            .as_ref()
            .map(|star| (star.clone(), format!("s{}", site + 1)))
    }

    fn grant_origin(&mut self) -> Result<()> {
        let request = self.exchange("origin.request");
        let join = self.exchange("origin.join");
        self.origin
            .actor
            .run([word("request"), word("origin"), word("--out"), path(&request)])?;
        let mut grant = self.vendor.command();
        grant
            .arg("grant")
            .arg(&request)
            .args(["--product", PRODUCT, "--origin", "--address", &self.origin.address()]);
        Finished::of(grant.arg("--out").arg(&join), VERB)?.success()?;
        self.origin.actor.run([word("join"), path(&join)]).map(drop)
    }

    fn add_site(&mut self, number: usize, plan: &Plan) -> Result<()> {
        let index = number - 1;
        let keeper = Actor::new(self.folder.path(), &format!("keeper{number}"), None)?;
        let request = self.exchange(&format!("site{number}.request"));
        let grant_file = self.exchange(&format!("site{number}.grant"));
        keeper.run([word("site"), word("init"), word("--out"), path(&request)])?;
        let mut grant = self.vendor.command();
        grant.arg("grant").arg(&request).args([
            "--product",
            PRODUCT,
            "--channel",
            CHANNEL,
            "--reseed",
            self.plan.reseed,
        ]);
        Finished::of(grant.arg("--out").arg(&grant_file), VERB)?.success()?;

        let name = format!("site{number}");
        let node = Node::new(
            Actor::new(self.folder.path(), &name, self.place(index))?,
            "site",
            &plan.site,
        )?;
        let node_request = self.exchange(&format!("{name}.node.request"));
        let join = self.exchange(&format!("{name}.join"));
        node.actor
            .run([word("request"), word("node"), word("--out"), path(&node_request)])?;
        keeper.run([word("join"), path(&grant_file)])?;
        keeper.run([
            word("site"),
            word("enrol"),
            path(&node_request),
            word("--out"),
            path(&join),
        ])?;
        node.actor.run([word("join"), path(&join)])?;
        self.sites.push(Site {
            keeper,
            grant: grant_file,
            node,
            hosts: Vec::new(),
        });
        for host in 1..=plan.hosts {
            self.add_host(index, &format!("host{number}-{host}"))?;
        }
        Ok(())
    }
}

impl Site {
    /// Fetches into `into` on the first host.
    ///
    /// # Errors
    /// What `fetch` said.
    pub fn fetch(&self, what: &str, into: &Path) -> Result<Finished> {
        let host = self.hosts.first().context("the site has a host")?;
        fetch(host, what, into).and_then(Finished::success)
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
    command
}

fn word(text: &str) -> std::ffi::OsString {
    text.into()
}

fn path(path: &Path) -> std::ffi::OsString {
    path.into()
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
