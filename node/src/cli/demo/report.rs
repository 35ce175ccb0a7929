//! What happened, as one table or one JSON object.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use samara_protocol::units::{ByteRate, show_bytes};
use serde::Serialize;

use super::kill::{Kill, Killed};
use super::node::{Host, Node, Role};
use super::setup::Network;
use crate::admin::status::{SourceBytes, SourceClass};

/// The result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Every host has the very files of the source, by this process's own hashing and by `samara verify`.
    pub(super) verified: bool,
    /// What was wrong, in words; empty when verified.
    pub(super) problems: Vec<String>,
    /// Payload of the release: each artifact once.
    pub(super) artifact_bytes: u64,
    /// Payload that left the origin.
    pub(super) origin_bytes_sent: u64,
    /// The same in copies of the release; `None` for a release without bytes.
    pub(super) origin_copies: Option<f64>,
    /// The cap on the origin's uplink.
    pub(super) origin_up_bytes_per_second: Option<u64>,
    /// From "published" until the last site and host had it.
    pub(super) seconds: f64,
    /// What `publish` took.
    pub(super) publish_seconds: f64,
    /// Whether the killed site went on with what it had; `None` when none was killed.
    pub(super) resumed_after_kill: Option<bool>,
    /// Why none was killed.
    pub(super) not_killed_because: Option<String>,
    /// The killed site.
    pub(super) killed: Option<KillReport>,
    /// Of what it had verified and written, bytes that crossed the wire again.
    pub(super) refetched_bytes_after_kill: Option<u64>,
    /// Payload that was sent to the killed site and never became part of its release: what was in sockets or memory at the
    /// kill, and what came twice.
    pub(super) in_flight_lost_bytes: Option<u64>,
    /// Where the hosts' folders are.
    pub(super) kept: Option<PathBuf>,
    /// Everybody.
    pub(super) nodes: Vec<Row>,
}

/// The kill, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct KillReport {
    site: String,
    at_percent: u64,
    had_bytes: u64,
    resumed_bytes: u64,
    received_after_bytes: u64,
}

/// One of the nodes and hosts.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    role: Role,
    /// Whose host it is.
    site: Option<String>,
    #[serde(flatten)]
    sources: Sources,
    sent_bytes: u64,
    /// From "published" until it had everything.
    seconds: Option<f64>,
    verified: bool,
}

/// Payload bytes by where they came from.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Sources {
    #[serde(rename = "origin_bytes")]
    pub(super) origin: u64,
    #[serde(rename = "other_sites_bytes")]
    pub(super) other_sites: u64,
    #[serde(rename = "own_site_bytes")]
    pub(super) own_site: u64,
    #[serde(rename = "resumed_bytes")]
    pub(super) resumed: u64,
    #[serde(rename = "reused_bytes")]
    pub(super) reused: u64,
}

impl Sources {
    /// Adds up what `status` or `fetch` says.
    pub(super) fn of(all: &[SourceBytes]) -> Self {
        let mut sum = Self::default();
        for SourceBytes { source, bytes } in all {
            *match source {
                SourceClass::Origin => &mut sum.origin,
                SourceClass::Site => &mut sum.own_site,
                SourceClass::Tenant | SourceClass::Region | SourceClass::Other => &mut sum.other_sites,
                SourceClass::Resumed => &mut sum.resumed,
                SourceClass::Reused => &mut sum.reused,
            } += bytes;
        }
        sum
    }

    /// What came over the network.
    const fn received(&self) -> u64 {
        self.origin + self.other_sites + self.own_site
    }
}

/// What the table needs beside the network.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) published: Instant,
    pub(super) publish_seconds: f64,
    pub(super) up: Option<ByteRate>,
    pub(super) kept: Option<PathBuf>,
    /// For each host, what is wrong with its folder.
    pub(super) wrong: Vec<Vec<String>>,
}

impl Report {
    /// From what was seen last.
    pub(super) fn new(network: &Network, kill: &Kill, run: Run) -> Self {
        let payload = network.origin.payload();
        let artifact_bytes = payload.map_or(0, |payload| payload.wanted_bytes);
        let origin_bytes_sent = network.origin.sent();
        let mut nodes = vec![node_row(&network.origin, run.published)];
        nodes.extend(network.sites.iter().map(|site| node_row(site, run.published)));
        let hosts = network.hosts.iter().zip(&run.wrong);
        nodes.extend(hosts.map(|(host, wrong)| host_row(host, network, run.published, wrong.is_empty())));
        let (killed, lost) = match kill {
            Kill::Done(killed) => (Some(kill_report(killed, network)), Some(lost(killed, network))),
            _ => (None, None),
        };
        let names = network.hosts.iter().zip(&run.wrong);
        let wrong = names.flat_map(|(host, wrong)| wrong.iter().map(|what| format!("{}: {what}", host.name)));
        let seconds = nodes.iter().filter_map(|row| row.seconds).fold(0.0, f64::max);
        Self {
            verified: nodes.iter().all(|row| row.verified),
            problems: wrong.collect(),
            artifact_bytes,
            origin_bytes_sent,
            origin_copies: ratio(origin_bytes_sent, artifact_bytes),
            origin_up_bytes_per_second: run.up.map(|up| up.0),
            seconds,
            publish_seconds: run.publish_seconds,
            resumed_after_kill: killed.as_ref().map(|killed| killed.resumed_bytes > 0),
            not_killed_because: match kill {
                Kill::Never(why) => Some(why.clone()),
                Kill::Planned { .. } => Some("the transfer was over before".to_owned()),
                Kill::Done(_) => None,
            },
            refetched_bytes_after_kill: killed
                .as_ref()
                .map(|killed| killed.had_bytes.saturating_sub(killed.resumed_bytes)),
            in_flight_lost_bytes: lost,
            killed,
            kept: run.kept,
            nodes,
        }
    }
}

fn node_row(node: &Node, published: Instant) -> Row {
    let payload = node.payload();
    let of_origin = node.role == Role::Origin;
    let sources = payload.map_or_else(Sources::default, |payload| Sources::of(&payload.sources));
    Row {
        name: node.name.clone(),
        role: node.role,
        site: None,
        // The vendor's own files came from nobody.
        sources: if of_origin { Sources::default() } else { sources },
        sent_bytes: node.sent(),
        seconds: node.finished.filter(|_| !of_origin).map(|at| since(published, at)),
        verified: payload.is_some_and(|payload| payload.have_bytes == payload.wanted_bytes) && node.finished.is_some(),
    }
}

fn host_row(host: &Host, network: &Network, published: Instant, right: bool) -> Row {
    Row {
        name: host.name.clone(),
        role: Role::Host,
        site: Some(network.sites[host.site].name.clone()),
        sources: host
            .fetched
            .as_ref()
            .map_or_else(Sources::default, |fetched| Sources::of(&fetched.sources)),
        sent_bytes: 0,
        seconds: host.finished.map(|at| since(published, at)),
        verified: right && host.finished.is_some(),
    }
}

fn kill_report(killed: &Killed, network: &Network) -> KillReport {
    let site = &network.sites[killed.site];
    let payload = site.payload();
    KillReport {
        site: site.name.clone(),
        at_percent: killed.had * 100 / killed.wanted.max(1),
        had_bytes: killed.had,
        resumed_bytes: payload.map_or(0, Killed::resumed),
        received_after_bytes: payload.map_or(0, |payload| Sources::of(&payload.sources).received()),
    }
}

/// What was sent to the killed site, by all of its neighbours, less what it has made of it. What they sent in the last
/// moment before the kill, after they were asked, is not in it.
fn lost(killed: &Killed, network: &Network) -> u64 {
    let others = network.sites.iter().enumerate();
    let others = others.filter_map(|(index, site)| (index != killed.site).then_some(site));
    let senders = std::iter::once(&network.origin).chain(others);
    let sent: u64 = senders.map(|node| node.sent_to(killed.peer)).sum();
    let of_use = network.sites[killed.site].payload().map_or(0, |payload| {
        let refetched = killed.had.saturating_sub(Killed::resumed(payload));
        payload.have_bytes - Sources::of(&payload.sources).reused.min(payload.have_bytes) + refetched
    });
    sent.saturating_sub(of_use)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1e4).round() / 1e4)
}

fn since(start: Instant, end: Instant) -> f64 {
    (end.saturating_duration_since(start).as_secs_f64() * 1e3).round() / 1e3
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(f)?;
        let copies = self
            .origin_copies
            .map_or_else(String::new, |copies| format!(" = {copies:.2} copies"));
        writeln!(
            f,
            "\n{} in {:.1} s; the origin sent {}{copies}",
            show_bytes(self.artifact_bytes),
            self.seconds,
            show_bytes(self.origin_bytes_sent)
        )?;
        self.kill_line(f)?;
        if let Some(kept) = &self.kept {
            writeln!(f, "the hosts' folders are kept in {}", kept.display())?;
        }
        for problem in &self.problems {
            writeln!(f, "WRONG: {problem}")?;
        }
        f.write_str(if self.verified {
            "every host has exactly the files of the source"
        } else {
            "NOT everybody has exactly the files of the source"
        })
    }
}

impl Report {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<8} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>8}  verified",
            "", "origin", "other sites", "own site", "resumed", "reused", "sent", "time"
        )?;
        for row in &self.nodes {
            let bytes = |bytes: u64| if bytes == 0 { "-".to_owned() } else { show_bytes(bytes) };
            let Sources {
                origin,
                other_sites,
                own_site,
                resumed,
                reused,
            } = row.sources;
            write!(f, "{:<8}", row.name)?;
            for cell in [origin, other_sites, own_site, resumed, reused, row.sent_bytes] {
                write!(f, " {:>11}", bytes(cell))?;
            }
            let time = row
                .seconds
                .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"));
            writeln!(f, " {time:>8}  {}", if row.verified { "yes" } else { "NO" })?;
        }
        Ok(())
    }

    fn kill_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(killed) = &self.killed else {
            let why = self.not_killed_because.as_deref().unwrap_or("it was not asked for");
            return writeln!(f, "no site was killed: {why}");
        };
        let (refetched, lost) = (
            self.refetched_bytes_after_kill.unwrap_or(0),
            self.in_flight_lost_bytes.unwrap_or(0),
        );
        writeln!(
            f,
            "{} was killed with {} verified and written, resumed with {} and received {} more; \
             {} of what it had crossed the wire again, {} were lost in flight",
            killed.site,
            show_bytes(killed.had_bytes),
            show_bytes(killed.resumed_bytes),
            show_bytes(killed.received_after_bytes),
            show_bytes(refetched),
            show_bytes(lost)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_apart_by_who_sent_them() {
        let all = [
            (SourceClass::Resumed, 1),
            (SourceClass::Reused, 2),
            (SourceClass::Site, 4),
            (SourceClass::Tenant, 8),
            (SourceClass::Region, 16),
            (SourceClass::Other, 32),
            (SourceClass::Origin, 64),
        ];
        let sum = Sources::of(&all.map(|(source, bytes)| SourceBytes { source, bytes }));
        assert_eq!(
            (sum.resumed, sum.reused, sum.own_site, sum.other_sites, sum.origin),
            (1, 2, 4, 56, 64)
        );
        assert_eq!(sum.received(), 4 + 56 + 64);
    }

    #[test]
    fn a_release_without_bytes_has_no_number_of_copies() {
        assert_eq!((ratio(0, 0), ratio(3, 2)), (None, Some(1.5)));
    }
}
