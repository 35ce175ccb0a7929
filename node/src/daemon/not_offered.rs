//! Why a release that a verb names is not to be had: it was recalled, it is on channels alone that this machine's grant does
//! not have, or no channel offers it.

use samara_protocol::trust::document::{Documents, Recall};
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::grant::ChannelName;
use semver::Version;

use super::products::Product;
use crate::admin::api::{Refusal, RefusalKind, ReleaseName, Select};

impl Product {
    /// The channels that this machine's grant has. None where no grant is in force, which is said elsewhere, and at an
    /// origin, which carries whatever its product has.
    pub(super) fn granted(&self) -> Option<&[ChannelName]> {
        let own = self.own.as_ref().filter(|own| own.kind != MemberKind::Origin)?;
        Some(&own.channels)
    }
}

/// Why a release is not to be had, where the metadata says why: it was recalled, or is on other channels.
pub(super) fn known_reason(
    name: &ReleaseName,
    documents: &Documents,
    granted: Option<&[ChannelName]>,
) -> Option<Refusal> {
    let Select::Version(version) = &name.select else {
        return None;
    };
    if let Some(recall) = documents.recalls.values().find(|recall| recall.version == *version) {
        return Some(recalled(&name.product, recall));
    }
    let on = listing(documents, version);
    let granted = granted.filter(|_| !on.is_empty())?;
    Some(version_not_granted(&name.product, version, &on, granted))
}

/// What is said of a release that the metadata knows nothing of. Which channels were looked at is said; those of others are
/// none of this machine's business.
pub(super) fn nowhere(name: &ReleaseName, documents: &Documents, granted: Option<&[ChannelName]>) -> Refusal {
    let what = match (&name.select, granted) {
        (Select::Version(version), Some(granted)) => {
            format!("none of this site's channels ({}) offers {version}", names(granted))
        }
        (Select::Version(version), None) => format!("no channel offers {version}"),
        (Select::Channel(channel), _) => format!("channel {channel} offers nothing"),
    };
    nothing(name, documents, granted, what)
}

/// A release that was taken back, in the vendor's own words.
pub(super) fn recalled(product: &str, recall: &Recall) -> Refusal {
    let what = format!("{} was recalled: {}", recall.version, recall.reason);
    let refusal = Refusal::new(RefusalKind::Denied, product, what);
    refusal.way_out(match &recall.replacement {
        Some(other) => format!("take {other} instead: `samara fetch {product}@{other}`"),
        None => "take another release; the vendor names none instead".to_owned(),
    })
}

/// A channel that the grant does not have.
#[must_use]
pub fn channel_not_granted(product: &str, channel: &str, granted: &[ChannelName]) -> Refusal {
    let what = format!(
        "channel {channel} is not granted to this site, which has {}",
        names(granted)
    );
    not_granted(product, channel, what)
}

fn version_not_granted(product: &str, version: &Version, on: &[ChannelName], granted: &[ChannelName]) -> Refusal {
    let what = format!(
        "{version} is on {}, which is not granted to this site: it has {}",
        names(on),
        names(granted)
    );
    not_granted(product, &names(on), what)
}

fn not_granted(product: &str, channels: &str, what: String) -> Refusal {
    let refusal = Refusal::new(RefusalKind::Absent, product, what);
    refusal.way_out(format!(
        "ask the vendor for a grant of {channels}; what the site is given then is joined there and enrolled anew here"
    ))
}

/// Nothing of the kind: what else there is for this machine.
fn nothing(name: &ReleaseName, documents: &Documents, granted: Option<&[ChannelName]>, what: String) -> Refusal {
    let for_us = |channel: &ChannelName| granted.is_none_or(|granted| granted.contains(channel));
    let offered: Vec<String> = documents
        .channels
        .keys()
        .filter(|channel| for_us(channel))
        .filter_map(|channel| {
            Some(format!(
                "{}:{channel} is {}",
                name.product,
                documents.latest(channel)?.version
            ))
        })
        .collect();
    let refusal = Refusal::new(RefusalKind::Absent, name.product.clone(), what);
    if offered.is_empty() {
        refusal.way_out("ask the vendor to promote a release; --wait waits for it")
    } else {
        refusal.way_out(format!(
            "{}; --wait waits for one that is on its way",
            offered.join(", ")
        ))
    }
}

/// The channels that offer a version.
fn listing(documents: &Documents, version: &Version) -> Vec<ChannelName> {
    let offers = |channel: &&samara_protocol::trust::document::Channel| {
        let mut releases = channel.releases.iter();
        releases.any(|release| release.version == *version && !release.held)
    };
    let channels = documents.channels.values().filter(offers);
    channels.map(|channel| channel.name.clone()).collect()
}

fn names(channels: &[ChannelName]) -> String {
    let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use samara_protocol::id::ManifestId;
    use samara_protocol::trust::document::{Channel, Promotion};

    use super::*;

    fn channel(name: &str) -> ChannelName {
        name.parse().expect("a channel")
    }

    /// 1.0.0, recalled, and 1.1.0 on stable, 2.0.0 on beta.
    fn documents() -> Documents {
        let mut documents = Documents::default();
        for (name, versions) in [("stable", ["1.0.0", "1.1.0"].as_slice()), ("beta", &["2.0.0"])] {
            let promotion = |(at, version): (u8, &&str)| Promotion {
                version: version.parse().expect("a version"),
                manifest: ManifestId([at + name.as_bytes()[0]; 32]),
                sequence: u64::from(at),
                held: false,
            };
            let channel = Channel {
                schema: 0,
                name: channel(name),
                sequence: 9,
                releases: (0..).zip(versions).map(promotion).collect(),
            };
            documents.channels.insert(channel.name.clone(), channel);
        }
        let recall = Recall {
            version: Version::new(1, 0, 0),
            manifest: ManifestId([b's'; 32]),
            reason: "loses data".to_owned(),
            replacement: Some(Version::new(1, 1, 0)),
        };
        documents.recalls.insert(recall.manifest, recall);
        documents
    }

    fn said(select: Select, granted: Option<&[ChannelName]>) -> (RefusalKind, String) {
        let name = ReleaseName {
            product: "acme/app".to_owned(),
            select,
        };
        let documents = documents();
        let known = known_reason(&name, &documents, granted);
        let refusal = known.unwrap_or_else(|| nowhere(&name, &documents, granted));
        assert_eq!(refusal.culprit, "acme/app");
        let way_out = refusal.way_out.expect("there is one");
        (refusal.reason, format!("{}; {way_out}", refusal.what))
    }

    fn version(text: &str) -> Select {
        Select::Version(text.parse().expect("a version"))
    }

    #[test]
    fn a_version_on_other_channels_names_them_and_the_granted_ones() {
        let stable = [channel("stable")];
        let (kind, text) = said(version("2.0.0"), Some(&stable));
        assert_eq!(kind, RefusalKind::Absent);
        assert!(text.contains("on beta") && text.contains("it has stable"), "{text}");
        assert!(text.contains("a grant of beta"), "{text}");
    }

    #[test]
    fn a_recall_is_told_with_its_reason_and_what_to_take_instead() {
        let (kind, text) = said(version("1.0.0"), Some(&[channel("beta")]));
        assert_eq!(kind, RefusalKind::Denied);
        assert!(text.contains("loses data") && text.contains("acme/app@1.1.0"), "{text}");
    }

    #[test]
    fn what_is_nowhere_is_absent_and_only_what_is_granted_is_named_instead() {
        let stable = [channel("stable")];
        for select in [version("9.9.9"), Select::Channel("lts".to_owned())] {
            let (kind, text) = said(select.clone(), Some(&stable));
            assert_eq!(kind, RefusalKind::Absent);
            assert!(
                text.contains("acme/app:stable is 1.1.0") && !text.contains("beta"),
                "{text}"
            );
            assert!(said(select, None).1.contains("acme/app:beta is 2.0.0"));
        }
    }

    #[test]
    fn a_version_that_is_nowhere_names_the_channels_that_were_looked_at() {
        let (_, text) = said(version("9.9.9"), Some(&[channel("lts"), channel("stable")]));
        assert!(
            text.starts_with("none of this site's channels (lts, stable) offers 9.9.9"),
            "{text}"
        );
        let (_, text) = said(version("9.9.9"), None);
        assert!(text.starts_with("no channel offers 9.9.9"), "{text}");
        for (select, granted) in [
            (version("9.9.9"), None),
            (Select::Channel("lts".to_owned()), Some(&[][..])),
        ] {
            let (_, text) = said(select, granted);
            assert!(text.contains("--wait waits"), "{text}");
        }
    }
}
