//! How far everybody is, while it happens: a bar each on a terminal, a line every few seconds elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use samara_protocol::units::show_bytes;

use super::node::{Host, Node};
use super::report::Sources;
use super::setup::Network;
use crate::cli::Printer;

/// Between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(3);

/// Draws on stderr.
pub(super) struct Display {
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
    next_line: Instant,
}

impl Display {
    /// Bars for everybody in `network`, if stderr is a terminal.
    pub(super) fn new(network: &Network, printer: &Printer) -> Self {
        let bars = printer.shows_progress().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            let names = std::iter::once(&network.origin.name)
                .chain(network.sites.iter().map(|site| &site.name))
                .chain(network.hosts.iter().map(|host| &host.name));
            let bar = |name: &String| all.add(ProgressBar::new(0).with_style(style()).with_prefix(name.clone()));
            let bars = names.map(bar).collect();
            (all, bars)
        });
        Self {
            bars,
            next_line: Instant::now(),
        }
    }

    /// Does what writes to stderr itself without disturbing the bars.
    pub(super) fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some((all, _)) => all.suspend(act),
            None => act(),
        }
    }

    /// Shows the moment.
    pub(super) fn show(&mut self, network: &Network, printer: &mut Printer) {
        let total = network.origin.payload().map_or(0, |payload| payload.wanted_bytes);
        match &self.bars {
            Some((_, bars)) => draw(bars, network, total),
            None if Instant::now() >= self.next_line && total > 0 => {
                self.next_line = Instant::now() + LINE;
                printer.note(line(network, total));
            }
            None => {}
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some((all, _)) = &self.bars {
            // Nobody is left to see it when stderr is closed.
            let _ = all.clear();
        }
    }
}

fn draw(bars: &[ProgressBar], network: &Network, total: u64) {
    let mut bars = bars.iter();
    let mut next = |have: u64, total: u64, said: String| {
        if let Some(bar) = bars.next() {
            bar.set_length(total);
            bar.set_position(have.min(total));
            bar.set_message(said);
        }
    };
    let sent = network.origin.sent();
    next(sent, total, format!("sent {}", show_bytes(sent)));
    for site in &network.sites {
        let have = site.payload().map_or(0, |payload| payload.have_bytes);
        next(have, total, from_where(site));
    }
    for host in &network.hosts {
        next(
            have(host, total),
            total,
            format!("from {}", network.sites[host.site].name),
        );
    }
}

fn from_where(site: &Node) -> String {
    let Some(payload) = site.payload() else {
        return "starting".to_owned();
    };
    let Sources {
        origin,
        other_sites,
        resumed,
        ..
    } = Sources::of(&payload.sources);
    let mut said = format!("origin {}, sites {}", show_bytes(origin), show_bytes(other_sites));
    if resumed > 0 {
        said += &format!(", resumed {}", show_bytes(resumed));
    }
    said
}

fn have(host: &Host, total: u64) -> u64 {
    if host.finished.is_some() {
        total
    } else {
        host.have().min(total)
    }
}

fn line(network: &Network, total: u64) -> String {
    let percent = |name: &str, have: u64| format!("{name} {} %", have.min(total) * 100 / total);
    let origin = format!("origin sent {}", show_bytes(network.origin.sent()));
    let sites = network.sites.iter().map(|site| {
        let starting = || format!("{} starting", site.name);
        site.payload()
            .map_or_else(starting, |payload| percent(&site.name, payload.have_bytes))
    });
    let hosts = network.hosts.iter().map(|host| percent(&host.name, have(host, total)));
    std::iter::once(origin)
        .chain(sites)
        .chain(hosts)
        .collect::<Vec<_>>()
        .join(", ")
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{prefix:8} {bar:30} {percent:>3} %  {bytes:>11}  {msg}");
    style.expect("the template is well-formed")
}
