//! The small files of homes, whatever somebody has made of them: refused by name, or what they say is kept as it is.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use samara_protocol::id::{NodeId, ProductId, StatementId};
use samara_protocol::time::WallTime;
use samara_protocol::trust::dsse::Envelope;
use samara_protocol::trust::enrolment::{MemberKind, SiteRevocations};
use samara_protocol::trust::grant::{Reseed, Rights, SiteId, TenantId};

use super::product::{Membership, ProductHome};
use super::site::{EnrolError, Member, Site, SiteRegister};
use super::vendor::{RegisteredSite, RegisteredTenant, Vendor};
use super::{AccessError, entropy};

const NOW: WallTime = WallTime(1_790_000_000);
const NODE: NodeId = NodeId([3; 32]);

fn envelope() -> Envelope {
    let key = entropy::new_key();
    let list = SiteRevocations {
        schema: 0,
        site_key: key.public(),
        sequence: 1,
        nodes: vec![NODE],
    };
    Envelope::sign(&list, &[&key]).expect("signed")
}

fn member(name: &str) -> Member {
    Member {
        name: name.to_owned(),
        node: NODE,
        kind: MemberKind::Host,
        enrol: false,
        not_after: NOW.to_rfc3339(),
        contact: Some(envelope()),
        revoked: false,
    }
}

/// Some bytes of a good file in place of others: digits too, since counters and times are numbers.
#[derive(Debug, Clone)]
struct Splice {
    at: prop::sample::Index,
    len: usize,
    with: String,
}

impl Splice {
    fn of(&self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        let start = self.at.index(bytes.len());
        bytes.splice(start..(start + self.len).min(bytes.len()), self.with.bytes());
        bytes
    }
}

fn any_splice() -> impl Strategy<Value = Splice> {
    let with = "[0-9]{1,22}|[a-z\"]{1,3}|.{0,12}";
    (any::<prop::sample::Index>(), 0_usize..12, with).prop_map(|(at, len, with)| Splice { at, len, with })
}

/// Reads a file of these bytes. What is refused is refused by the file's name; what is taken is there again when it is
/// written and read.
fn refused_by_name_or_kept<T: PartialEq + std::fmt::Debug>(
    path: &Path,
    bytes: &[u8],
    read: impl Fn() -> Result<T, AccessError>,
    write: impl Fn(&T) -> Result<(), AccessError>,
) -> Result<Option<T>, TestCaseError> {
    fs::write(path, bytes).expect("written");
    let taken = match read() {
        Ok(taken) => taken,
        Err(error) => {
            prop_assert!(error.to_string().contains(&path.display().to_string()), "{}", error);
            return Ok(None);
        }
    };
    write(&taken).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let again = read().map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&again, &taken);
    Ok(Some(taken))
}

fn membership(bytes: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a folder");
    let home = ProductHome::at(dir.path(), ProductId([5; 32]));
    let good = Membership {
        schema: 0,
        name: "acme/app".to_owned(),
        product: ProductId([5; 32]),
        grant: envelope(),
        enrolments: vec![envelope(), envelope()],
    };
    home.save_membership(&good).expect("written");
    let path = home.dir().join("membership.json");
    let bytes = bytes(&fs::read(&path).expect("there"));
    let read = || home.membership();
    let write = |taken: &Option<Membership>| home.save_membership(taken.as_ref().expect("the file is there"));
    let taken = refused_by_name_or_kept(&path, &bytes, read, write)?.flatten();
    // As it is shown to peers.
    let shown = taken.map(|taken| taken.credentials());
    prop_assert!(shown.is_none_or(|shown| shown.enrolments.len() <= bytes.len()));
    Ok(())
}

fn site_register(bytes: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a folder");
    let site = Site::at(dir.path());
    site.init().expect("a key");
    let mut good = SiteRegister {
        serial: 2,
        sequence: 1,
        ..SiteRegister::default()
    };
    good.members.insert(NODE.to_string(), member("host"));
    site.save_register(&good).expect("written");
    let path = dir.path().join("register.json");
    let bytes = bytes(&fs::read(&path).expect("there"));
    let taken = refused_by_name_or_kept(
        &path,
        &bytes,
        || site.register(),
        |register| site.save_register(register),
    )?;
    let Some(taken) = taken else { return Ok(()) };
    // Whoever is on it can be revoked, or an error says why not.
    if let (Some(id), Ok((revoked, _))) = (taken.members.keys().next(), site.revoke("host")) {
        let after = site
            .register()
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(revoked.revoked && after.members.get(id).is_some_and(|member| member.revoked));
        prop_assert_eq!(after.sequence, taken.sequence + 1);
    }
    Ok(())
}

fn vendor_register(bytes: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a folder");
    let vendor = Vendor::at(dir.path());
    vendor.init().expect("keys");
    let mut product = vendor.create_product("acme/app", NOW).expect("a product");
    let site = RegisteredSite {
        id: SiteId([2; 16]),
        key: entropy::new_key().public(),
        channels: vec!["stable".parse().expect("a channel")],
        rights: Rights {
            fetch: true,
            reseed: Reseed::All,
            publish: false,
            origin: false,
        },
        not_after: NOW.to_rfc3339(),
        grants: vec![StatementId([4; 32])],
        revoked: false,
    };
    let tenant = RegisteredTenant {
        id: TenantId([1; 16]),
        sites: [("site1".to_owned(), site)].into(),
    };
    product.register.tenants.insert("tenant1".to_owned(), tenant);
    product.register.origins.push(envelope());
    product.save_register().expect("written");
    let path = product.home.dir().join("register.json");
    let bytes = bytes(&fs::read(&path).expect("there"));
    let read = || Ok(vendor.products()?.swap_remove(0).register);
    refused_by_name_or_kept(&path, &bytes, read, |_| vendor.products()?[0].save_register())?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_membership_of_random_or_changed_bytes_is_refused_by_name_or_kept(
        random in proptest::collection::vec(any::<u8>(), 0..300), splice in any_splice()
    ) {
        membership(|_| random)?;
        membership(|good| splice.of(good))?;
    }

    #[test]
    fn a_sites_register_of_random_or_changed_bytes_is_refused_by_name_or_kept(
        random in proptest::collection::vec(any::<u8>(), 0..300), splice in any_splice()
    ) {
        site_register(|_| random)?;
        site_register(|good| splice.of(good))?;
    }

    #[test]
    fn a_vendors_register_of_random_or_changed_bytes_is_refused_by_name_or_kept(
        random in proptest::collection::vec(any::<u8>(), 0..300), splice in any_splice()
    ) {
        vendor_register(|_| random)?;
        vendor_register(|good| splice.of(good))?;
    }
}

/// As a file can say that was not written by us.
#[test]
fn a_sites_register_that_has_counted_to_the_end_is_an_error_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let site = Site::at(dir.path());
    site.init().expect("a key");
    let mut register = SiteRegister {
        serial: u64::MAX,
        sequence: u64::MAX,
        ..SiteRegister::default()
    };
    register.members.insert(NODE.to_string(), member("host"));
    site.save_register(&register).expect("written");
    let refused = site.revoke("host").expect_err("there is no further number");
    assert!(
        matches!(&refused, EnrolError::Access(AccessError::Damaged { path, .. }) if path.ends_with("register.json")),
        "{refused}"
    );
    assert_eq!(site.register().expect("reads"), register);
}
