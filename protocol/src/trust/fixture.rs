//! A vendor with a key for every role, for the tests of this module.

use std::collections::BTreeMap;

use semver::Version;

use crate::time::WallTime;
use crate::trust::credentials::Credentials;
use crate::trust::dsse::{Envelope, Statement};
use crate::trust::enrolment::{Enrolment, MemberKind};
use crate::trust::grant::{Grant, Reseed, Rights, SiteId, TenantId};
use crate::trust::key::{Signer, SigningKey};
use crate::trust::product::ProductTrust;
use crate::trust::role::Role;
use crate::trust::writer::changes::Hand;
use crate::trust::writer::{Change, Lifetimes, RoleKeys, Sealing, Signers, WriteError, create, seal};

pub(crate) const NOW: WallTime = WallTime(1_790_000_000);
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

/// A vendor's eight keys, from seeds `base..base + 8`.
pub(crate) struct Vendor {
    pub(crate) keys: BTreeMap<Role, SigningKey>,
}

impl Vendor {
    pub(crate) fn new(base: u8) -> Self {
        let keys = Role::ALL.into_iter().zip(base..).map(|(role, seed)| (role, key(seed)));
        Self { keys: keys.collect() }
    }

    pub(crate) fn role_keys(&self) -> RoleKeys {
        self.keys
            .iter()
            .map(|(role, key)| (*role, (vec![key.public()], 1)))
            .collect()
    }

    pub(crate) fn product(&self) -> ProductTrust {
        self.product_named(0)
    }

    pub(crate) fn product_named(&self, nonce: u8) -> ProductTrust {
        let signers: Signers<'_> = self
            .keys
            .iter()
            .map(|(role, key)| (*role, vec![key as &dyn Signer]))
            .collect();
        create(&self.role_keys(), &signers, [nonce; 16], NOW, &Lifetimes::default()).expect("a product")
    }

    pub(crate) fn change<F>(&self, role: Role, now: WallTime, write: F) -> Result<Change, WriteError>
    where
        F: FnOnce(&Hand<'_>) -> Result<Change, WriteError>,
    {
        let signers: [&dyn Signer; 1] = [&self.keys[&role]];
        write(&Hand {
            signers: &signers,
            now,
            lifetimes: Lifetimes::default(),
        })
    }

    pub(crate) fn seal(
        &self,
        trust: &ProductTrust,
        changes: Vec<Change>,
        now: WallTime,
    ) -> Result<ProductTrust, WriteError> {
        let snapshot: [&dyn Signer; 1] = [&self.keys[&Role::Snapshot]];
        let timestamp: [&dyn Signer; 1] = [&self.keys[&Role::Timestamp]];
        let sealing = Sealing {
            snapshot: &snapshot,
            timestamp: &timestamp,
            now,
            lifetimes: Lifetimes::default(),
        };
        seal(trust, changes, &sealing)
    }

    /// A product with 1.0.0 published and promoted on `stable`.
    pub(crate) fn product_with_release(&self) -> ProductTrust {
        let trust = self.product();
        let add = self.change(Role::Releases, NOW, |hand| {
            crate::trust::writer::changes::add_release(&trust, &version("1.0.0"), &head(&trust, "1.0.0", 1), hand)
        });
        let trust = self.seal(&trust, vec![add.expect("a change")], NOW).expect("sealed");
        let promote = self.change(Role::Channels, NOW, |hand| {
            crate::trust::writer::changes::promote(&trust, &version("1.0.0"), &"stable".parse().expect("a name"), hand)
        });
        self.seal(&trust, vec![promote.expect("a change")], NOW)
            .expect("sealed")
    }

    pub(crate) fn sign_grant(&self, grant: &Grant) -> Envelope {
        sign(grant, &self.keys[&Role::Grants])
    }
}

/// A head of an empty release; `mark` tells two of the same version apart.
pub(crate) fn head(trust: &ProductTrust, number: &str, mark: u8) -> Vec<u8> {
    use crate::id::{ArtifactId, Sha256};
    use crate::manifest::entry::Artifact;
    use crate::manifest::head::{EntriesRef, Head, PayloadTotals, SCHEMA, Urgency};

    let artifact = Artifact {
        id: ArtifactId(*blake3::hash(&[]).as_bytes()),
        sha256: Sha256([mark; 32]),
        size: 0,
    };
    let head = Head {
        attachments: Vec::new(),
        depends_on: Vec::new(),
        entries: EntriesRef { artifact, count: 0 },
        payload: PayloadTotals { bytes: 0, groups: 0 },
        product: trust.product(),
        required: false,
        schema: SCHEMA,
        upgrade_from: None,
        urgency: Urgency::Normal,
        version: version(number),
    };
    head.encode().expect("a head")
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

pub(crate) fn sign<T: Statement>(statement: &T, key: &SigningKey) -> Envelope {
    Envelope::sign(statement, &[key]).expect("a statement")
}

pub(crate) fn grant(trust: &ProductTrust, site_key: &SigningKey) -> Grant {
    Grant {
        schema: 0,
        product: trust.product(),
        tenant: TenantId([1; 16]),
        site: SiteId([2; 16]),
        site_key: site_key.public(),
        channels: vec!["stable".parse().expect("a name")],
        rights: Rights {
            fetch: true,
            reseed: Reseed::Own,
            publish: false,
            origin: false,
        },
        not_before: None,
        not_after: NOW.plus_seconds(300 * DAY),
    }
}

pub(crate) fn enrolment(site_key: &SigningKey, node: &SigningKey, kind: MemberKind, enrol: bool) -> Enrolment {
    Enrolment {
        schema: 0,
        site_key: site_key.public(),
        node: node.node_id(),
        kind,
        enrol,
        serial: 1,
        not_after: NOW.plus_seconds(90 * DAY),
    }
}

/// The credentials of a node (seed 101) of a site (seed 100).
pub(crate) fn node_credentials(vendor: &Vendor, trust: &ProductTrust) -> Credentials {
    let site = key(100);
    Credentials {
        grant: vendor.sign_grant(&grant(trust, &site)),
        enrolments: vec![sign(&enrolment(&site, &key(101), MemberKind::Node, true), &site)],
    }
}
