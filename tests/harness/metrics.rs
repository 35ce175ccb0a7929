//! A node's counters, as Prometheus would read them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// What an HTTP server said: its code, its header lines, and the rest.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The header's lines.
    pub header: String,
    /// What comes after them.
    pub body: String,
}

/// Samples by name and labels, as they are written.
#[derive(Debug)]
pub struct Samples(BTreeMap<String, f64>);

/// `GET path` at `address`, asked for under the name `host`.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn get(address: &str, host: &str, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    let (header, body) = said.split_once("\r\n\r\n").context("a header and a body")?;
    let code = header.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer {
        code: code.with_context(|| format!("no status code in {header}"))?,
        header: header.to_lowercase(),
        body: body.to_owned(),
    })
}

/// What the node whose metrics are served at `address` has counted.
///
/// # Errors
/// When it does not answer in the OpenMetrics text format.
pub fn scrape(address: &str) -> Result<Samples> {
    let answer = get(address, address, "/metrics")?;
    ensure!(
        answer.code == 200 && answer.header.contains("content-type: application/openmetrics-text"),
        "{}",
        answer.header
    );
    ensure!(answer.body.ends_with("# EOF\n"), "not to the end:\n{}", answer.body);
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| -> Result<(String, f64)> {
        let (name, value) = line.rsplit_once(' ').context("a name and a value")?;
        Ok((name.to_owned(), value.parse()?))
    };
    let samples: Result<BTreeMap<String, f64>> = lines.map(|line| sample(line).context(line.to_owned())).collect();
    Ok(Samples(samples?))
}

impl Samples {
    /// A whole number; 0 where nothing has been counted yet.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        self.0.get(name).map_or(0, |value| *value as u64)
    }

    /// The same of payload that has moved: `received` or `sent`, from or to nodes so far away.
    #[must_use]
    pub fn payload(&self, direction: &str, distance: &str) -> u64 {
        let name = format!("samara_net_payload_{direction}_bytes_total{{distance=\"{distance}\"}}");
        self.count(&name)
    }
}
