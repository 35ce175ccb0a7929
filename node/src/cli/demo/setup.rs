//! From nothing to configuration files: a vendor with its origin, sites that are each a tenant of their own, and hosts.
//! Public verbs only, in the order in which people would run them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use samara_protocol::units::ByteRate;

use super::node::{Host, Node, Role};
use super::process::Runner;
use crate::cli::{CliError, Printer};

/// The product that is published.
pub(super) const PRODUCT: &str = "acme/demo";

/// Who takes part.
#[derive(Debug)]
pub(super) struct Network {
    /// The vendor's node.
    pub(super) origin: Node,
    /// One for each tenant.
    pub(super) sites: Vec<Node>,
    /// Spread evenly over the sites.
    pub(super) hosts: Vec<Host>,
}

impl Network {
    /// Asks the origin and every site how they are.
    pub(super) fn look_at_nodes(&mut self) -> Result<(), CliError> {
        self.origin.look()?;
        self.sites.iter_mut().try_for_each(Node::look)
    }
}

/// What the network is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) sites: usize,
    pub(super) hosts: usize,
    /// The cap on the origin's uplink.
    pub(super) up: Option<ByteRate>,
}

/// Makes keys, grants, enrolments and configuration files; starts nothing.
pub(super) fn network(shape: Shape, runner: &Runner, printer: &mut Printer) -> Result<Network, CliError> {
    let mut ports = Ports::new();
    let origin = vendor(shape.up, ports.take()?, runner, printer)?;
    let sites = (1..=shape.sites).map(|number| site(number, ports.take()?, runner, printer));
    let sites: Vec<Node> = sites.collect::<Result<_, _>>()?;
    let hosts = (1..=shape.hosts).map(|number| host(number, (number - 1) % shape.sites, runner, printer));
    let hosts = hosts.collect::<Result<_, _>>()?;
    Ok(Network { origin, sites, hosts })
}

fn vendor(up: Option<ByteRate>, address: SocketAddr, runner: &Runner, printer: &mut Printer) -> Result<Node, CliError> {
    let mut run = |words: &str| {
        let words: Vec<_> = ["--home", "vendor"].into_iter().chain(words.split(' ')).collect();
        runner.run(&words, printer)
    };
    run("vendor init")?;
    run(&format!("vendor product {PRODUCT}"))?;
    run(&format!("request origin --address {address} -o origin.request"))?;
    run(&format!("grant origin.request --product {PRODUCT} -o origin.join"))?;
    run("join origin.join")?;
    let limits = up.map_or_else(String::new, |up| format!("[limits]\nup = \"{}B/s\"\n", up.0));
    let config = format!("[node]\nrole = \"origin\"\nhome = \"vendor\"\nlisten = [\"{address}\"]\n{limits}");
    configure("origin", &config, runner, printer)?;
    Ok(Node::new("origin", Role::Origin, runner.path("vendor")))
}

fn site(number: usize, address: SocketAddr, runner: &Runner, printer: &mut Printer) -> Result<Node, CliError> {
    let (name, tenant) = (format!("site{number}"), format!("tenant{number}"));
    let mut run = |home: &str, words: &str| {
        let words: Vec<_> = ["--home", home].into_iter().chain(words.split(' ')).collect();
        runner.run(&words, printer)
    };
    run(&name, &format!("site init -o {name}.request"))?;
    let grant = format!("grant {name}.request --product {PRODUCT} --tenant {tenant} --site {name} --reseed all");
    run("vendor", &format!("{grant} -o {name}.join"))?;
    run(&name, &format!("join {name}.join"))?;
    run(
        &name,
        &format!("request node --address {address} -o {name}-node.request"),
    )?;
    run(&name, &format!("site enrol {name}-node.request -o {name}-node.join"))?;
    run(&name, &format!("join {name}-node.join"))?;
    let config = format!(
        "[node]\nrole = \"site\"\nhome = \"{name}\"\nlisten = [\"{address}\"]\n[limits]\nupload = \"all\"\n\
         [[product]]\nname = \"{PRODUCT}\"\nfollow = [\"stable\"]\n"
    );
    configure(&name, &config, runner, printer)?;
    Ok(Node::new(&name, Role::Site, runner.path(&name)))
}

fn host(number: usize, site: usize, runner: &Runner, printer: &mut Printer) -> Result<Host, CliError> {
    let (name, at) = (format!("host{number}"), format!("site{}", site + 1));
    let mut run = |home: &str, words: &str| {
        let words: Vec<_> = ["--home", home].into_iter().chain(words.split(' ')).collect();
        runner.run(&words, printer)
    };
    run(&name, &format!("request host -o {name}.request"))?;
    run(&at, &format!("site enrol {name}.request -o {name}.join"))?;
    run(&name, &format!("join {name}.join"))?;
    Ok(Host::new(&name, site))
}

fn configure(name: &str, text: &str, runner: &Runner, printer: &mut Printer) -> Result<(), CliError> {
    let file = format!("{name}.toml");
    runner.explain_file(&file, text, printer);
    let path = runner.path(&file);
    std::fs::write(&path, text).map_err(|error| CliError::io(&path, &error))
}

/// Ports of loopback that nobody uses, below those that Linux gives to outgoing connections: one of these could take a
/// port again before its node listens. All stay taken until the last is chosen, so no two are equal.
#[derive(Debug)]
struct Ports {
    candidates: std::ops::Range<u16>,
    taken: Vec<TcpListener>,
}

impl Ports {
    /// Begins somewhere else in each process, so that two demos rarely look at the same.
    fn new() -> Self {
        let spread = u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
        Self {
            candidates: 20_000 + spread..32_000,
            taken: Vec::new(),
        }
    }

    fn take(&mut self) -> Result<SocketAddr, CliError> {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let free = self.candidates.find_map(bind);
        let listener = free.ok_or_else(|| CliError::failure("127.0.0.1", "no port below 32000 is free"))?;
        let failed = |error| CliError::failure("127.0.0.1", format!("no port can be had: {error}"));
        let address = listener.local_addr().map_err(failed)?;
        self.taken.push(listener);
        Ok(address)
    }
}
