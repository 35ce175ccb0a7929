//! What a grant changes against what the register has. A site shows the grant that it joined last, so what a slip of the pen
//! takes away is said. But nothing makes it join, and a former grant stays good until it ends or is revoked: where that one
//! allows more, how to end it is said too.

use samara_protocol::time::WallTime;
use samara_protocol::trust::document::Documents;
use samara_protocol::trust::grant::{ChannelName, Grant, Reseed};
use samara_protocol::trust::key::PublicKey;

use super::Names;
use crate::access::vendor::{Register, RegisteredSite};

/// What the register has of a site before it is granted anew.
#[derive(Debug, Default)]
pub(super) struct Former {
    site: Option<RegisteredSite>,
    /// Other names under which its key is registered.
    elsewhere: Vec<String>,
    /// Whether this name or this key was revoked and has not been granted anything since.
    revoked: bool,
}

/// What the reader should know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remarks {
    /// That it is so.
    pub(super) notes: Vec<String>,
    /// That it may not be meant.
    pub(super) warnings: Vec<String>,
}

impl Former {
    pub(super) fn of(register: &Register, names: &Names, key: PublicKey) -> Self {
        let tenants = register.tenants.iter();
        let sites = tenants.flat_map(|(tenant, entry)| entry.sites.iter().map(move |(site, of)| (tenant, site, of)));
        let mut former = Self::default();
        for (tenant, site, of) in sites {
            let same_name = (tenant, site) == (&names.tenant, &names.site);
            if of.revoked {
                former.revoked |= same_name || of.key == key;
            } else if of.key == key && same_name {
                former.site = Some(of.clone());
            } else if of.key == key {
                former.elsewhere.push(format!("{tenant}/{site}"));
            }
        }
        former.revoked &= former.site.is_none();
        former
    }

    /// What `grant` changes, and whether its channels are there.
    pub(super) fn remarks(&self, names: &Names, product: &str, grant: &Grant, documents: &Documents) -> Remarks {
        let mut remarks = Remarks::default();
        if !grant.rights.origin {
            remarks.notes.extend(unborn(&grant.channels, documents));
        }
        let name = format!("{}/{}", names.tenant, names.site);
        if self.revoked {
            remarks.warnings.push(format!(
                "{name} or its key was revoked: this file lets it in again, as a new site; what it was granted before stays revoked"
            ));
        }
        if !self.elsewhere.is_empty() {
            let others = self.elsewhere.join(", ");
            remarks.warnings.push(format!(
                "this key is registered as {others} too: it has grants under both names, what `revoke` ends is one of them, and \
                 the site shows the one that it joined last; is {name} meant?"
            ));
        }
        let Some(site) = &self.site else { return remarks };
        let changes = differences(site, grant);
        if changes.is_empty() {
            return remarks;
        }
        let text = format!(
            "with this file {name} has another grant than before: {}",
            changes.join("; ")
        );
        if takes_away(site, grant) {
            remarks.warnings.push(text);
            remarks.warnings.extend(still_good(site, product, documents));
        } else {
            remarks.notes.push(text);
        }
        remarks
    }
}

/// What ends the former grants, of those that are not revoked.
fn still_good(site: &RegisteredSite, product: &str, documents: &Documents) -> Option<String> {
    let good = site.grants.iter().filter(|id| !documents.revoked.grants.contains(id));
    let verbs: Vec<String> = good
        .map(|id| format!("`samara revoke --product {product} --grant {id}`"))
        .collect();
    (!verbs.is_empty()).then(|| {
        format!(
            "what it was granted before stays good until then for whoever has that file; once the site has joined this one \
             and enrolled its machines anew, end it: {}",
            verbs.join(", ")
        )
    })
}

/// Channels that nobody has promoted anything to. Of a product without any, the one that is the default is no surprise.
fn unborn(channels: &[ChannelName], documents: &Documents) -> Vec<String> {
    let is_new = documents.channels.is_empty();
    channels
        .iter()
        .filter(|name| !(documents.channels.contains_key(*name) || is_new && name.as_str() == "stable"))
        .map(|name| format!("channel {name} does not exist yet: the first `samara promote --channel {name}` makes it"))
        .collect()
}

fn differences(site: &RegisteredSite, grant: &Grant) -> Vec<String> {
    let list = |channels: &[ChannelName]| {
        let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
        names.join(", ")
    };
    let mut changes = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            changes.push(format!("{what} was {old}, is now {new}"));
        }
    };
    compare("--channel", list(&site.channels), list(&grant.channels));
    compare(
        "--reseed",
        word(site.rights.reseed).to_owned(),
        word(grant.rights.reseed).to_owned(),
    );
    compare("--until", site.not_after.clone(), grant.not_after.to_rfc3339());
    changes
}

/// Whether the site may do less than before, or not as long.
fn takes_away(site: &RegisteredSite, grant: &Grant) -> bool {
    let fewer = site.channels.iter().any(|name| !grant.channels.contains(name));
    let shorter = WallTime::from_rfc3339(&site.not_after).is_some_and(|end| grant.not_after < end);
    fewer || shorter || reach(grant.rights.reseed) < reach(site.rights.reseed)
}

const fn reach(reseed: Reseed) -> u8 {
    match reseed {
        Reseed::None => 0,
        Reseed::Own => 1,
        Reseed::All => 2,
    }
}

const fn word(reseed: Reseed) -> &'static str {
    match reseed {
        Reseed::None => "none",
        Reseed::Own => "own",
        Reseed::All => "all",
    }
}
