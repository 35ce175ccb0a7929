use super::*;
use crate::trust::fixture::{DAY, NOW, Vendor, head, version};
use crate::trust::release::{ManifestRefusal, VerifiedManifest};
use crate::trust::writer::WriteError;
use crate::trust::writer::changes::{Revocation, add_release, promote, recall, revoke};

/// A site that has joined: the first root, then everything.
fn site(trust: &ProductTrust) -> ProductTrust {
    let mut site = ProductTrust::new(trust.first_root()).expect("a root");
    site.update(trust.files(), NOW).expect("verified");
    assert_eq!(site.summary(), trust.summary());
    site
}

fn published(vendor: &Vendor, trust: &ProductTrust, number: &str, head: &[u8], now: WallTime) -> ProductTrust {
    let change = vendor.change(Role::Releases, now, |hand| {
        add_release(trust, &version(number), head, hand)
    });
    vendor
        .seal(trust, vec![change.expect("a change")], now)
        .expect("sealed")
}

#[test]
fn a_site_verifies_what_the_writer_wrote_and_asks_it_everything() {
    let vendor = Vendor::new(1);
    let site = site(&vendor.product_with_release());
    let stable = "stable".parse().expect("a name");
    let latest = site.documents().latest(&stable).expect("a release");
    assert_eq!(latest.version, version("1.0.0"));
    let manifest = VerifiedManifest::verify(&site, &version("1.0.0"), head(&site, "1.0.0", 1)).expect("verified");
    assert_eq!(manifest.id(), latest.manifest);
    assert_eq!(manifest.listings().len(), 1);
    assert!(VerifiedManifest::verify(&site, &version("1.0.0"), head(&site, "1.0.0", 2)).is_err());
    assert!(VerifiedManifest::verify(&site, &version("1.0.1"), head(&site, "1.0.0", 1)).is_err());
    assert!(site.documents().offered(manifest.id(), std::slice::from_ref(&stable)));
    assert!(
        !site
            .documents()
            .offered(manifest.id(), &["beta".parse().expect("a name")])
    );
    for role in Role::ALL {
        assert_eq!(site.role_keys(role), (vec![vendor.keys[&role].public()], 1), "{role}");
    }
}

#[test]
fn a_signed_head_of_another_release_or_product_is_no_manifest() {
    let vendor = Vendor::new(1);
    let base = vendor.product();
    let other = vendor.product_named(1);
    for bytes in [head(&base, "1.0.1", 1), head(&other, "1.0.0", 1), b"{}".to_vec()] {
        let trust = published(&vendor, &base, "1.0.0", &bytes, NOW);
        let verdict = VerifiedManifest::verify(&trust, &version("1.0.0"), bytes);
        assert!(matches!(verdict, Err(ManifestRefusal::Unusable { .. })), "{verdict:?}");
    }
}

#[test]
fn an_update_brings_only_what_is_newer() {
    let vendor = Vendor::new(1);
    let old = vendor.product_with_release();
    let mut site = site(&old);
    let new = published(&vendor, &old, "1.1.0", b"head two", NOW);
    let files = new.files_newer_than(&site.summary());
    let roles: Vec<Role> = files.roles.keys().copied().collect();
    assert_eq!(roles, [Role::Snapshot, Role::Timestamp, Role::Releases]);
    assert!(files.roots.is_empty());
    let changed = site.update(&files, NOW).expect("verified");
    assert!(changed.role(Role::Releases) && !changed.role(Role::Channels));
    assert!(site.files_newer_than(&new.summary()).is_empty());
    assert!(old.files_newer_than(&new.summary()).is_empty(), "nobody is sent back");
    assert!(!site.update(&files, NOW).expect("again").any());
}

#[test]
fn no_role_goes_back() {
    let vendor = Vendor::new(1);
    let old = vendor.product_with_release();
    let new = published(&vendor, &old, "1.1.0", b"head two", NOW);
    let new = vendor
        .seal(
            &new,
            vec![
                vendor
                    .change(Role::Channels, NOW, |hand| {
                        promote(&new, &version("1.1.0"), &"stable".parse().expect("a name"), hand)
                    })
                    .expect("a change"),
                vendor
                    .change(Role::Recalls, NOW, |hand| {
                        recall(&new, &version("1.0.0"), "bad", None, hand)
                    })
                    .expect("a change"),
                vendor
                    .change(Role::Grants, NOW, |hand| {
                        revoke(&new, &[Revocation::Node(NodeId([9; 32]))], hand)
                    })
                    .expect("a change"),
            ],
            NOW,
        )
        .expect("sealed");
    let mut site = site(&new);
    let before = site.summary();
    assert!(matches!(
        site.update(old.files(), NOW),
        Err(TrustError::Rollback { .. })
    ));
    for (&role, file) in &old.files().roles {
        let mut offered = MetadataFiles::default();
        offered.roles.insert(role, file.clone());
        match site.update(&offered, NOW) {
            Ok(changed) => assert_eq!(role, Role::Targets, "{changed:?}: the same file in both"),
            Err(error) => assert!(matches!(error, TrustError::Rollback { .. }), "{role}: {error}"),
        }
        // Mix and match: the one old file among the new ones.
        let mut mixed = new.files().clone();
        mixed.roles.insert(role, file.clone());
        assert!(site.update(&mixed, NOW).is_ok() == (role == Role::Targets), "{role}");
        // A newcomer without floors has only the pins, and they hold.
        let mut newcomer = ProductTrust::new(new.first_root()).expect("a root");
        let verdict = newcomer.update(&mixed, NOW);
        assert_eq!(verdict.is_ok(), role == Role::Targets, "{role}: {verdict:?}");
    }
    assert_eq!(site.summary(), before);
}

#[test]
fn a_resealed_rollback_of_one_role_is_refused_with_the_online_keys_in_hand() {
    let vendor = Vendor::new(1);
    let old = vendor.product_with_release();
    let new = published(&vendor, &old, "1.1.0", b"head two", NOW);
    let mut site = site(&new);
    // The thief of snapshot and timestamp seals the old releases file again, with higher versions.
    let mut forged = old.clone();
    for _ in 0..3 {
        forged = vendor.seal(&forged, Vec::new(), NOW).expect("sealed");
    }
    let verdict = site.update(&forged.files_newer_than(&site.summary()), NOW);
    assert!(
        matches!(
            verdict,
            Err(TrustError::Rollback {
                role: Role::Releases | Role::Snapshot,
                ..
            })
        ),
        "{verdict:?}"
    );
}

#[test]
fn version_rebinding_refused() {
    let vendor = Vendor::new(1);
    let base = vendor.product_with_release();
    let one = published(&vendor, &base, "1.1.0", b"one", NOW);
    let two = published(&vendor, &base, "1.1.0", b"two", NOW);
    // The same file version with another content.
    let mut site_one = site(&one);
    assert!(matches!(
        site_one.update(two.files(), NOW),
        Err(TrustError::Rebound { .. })
    ));
    // The same, with everything above it higher.
    let two = vendor.seal(&two, Vec::new(), NOW).expect("sealed");
    assert!(matches!(
        site_one.update(two.files(), NOW),
        Err(TrustError::Rebound { .. })
    ));
    // A later file that binds 1.1.0 anew: the release key's holder tries it.
    let two = published(&vendor, &two, "1.2.0", b"three", NOW);
    let verdict = site_one.update(two.files(), NOW);
    assert!(matches!(verdict, Err(TrustError::VersionRebound { .. })), "{verdict:?}");
    // And the honest writer does not.
    let again = vendor.change(Role::Releases, NOW, |hand| {
        add_release(&one, &version("1.1.0"), b"two", hand)
    });
    assert!(matches!(again, Err(WriteError::Published { .. })));
    let same = vendor.change(Role::Releases, NOW, |hand| {
        add_release(&one, &version("1.1.0"), b"one", hand)
    });
    assert!(matches!(same, Err(WriteError::NoChange(_))));
}

#[test]
fn two_timestamp_signers_are_noticed() {
    let vendor = Vendor::new(1);
    let base = vendor.product();
    let mut site = site(&vendor.seal(&base, Vec::new(), NOW).expect("sealed"));
    let other = vendor.seal(&base, Vec::new(), NOW.plus_seconds(1)).expect("sealed");
    let verdict = site.update(other.files(), NOW);
    assert!(
        matches!(
            verdict,
            Err(TrustError::Rebound {
                role: Role::Timestamp | Role::Snapshot,
                ..
            })
        ),
        "{verdict:?}"
    );
}

#[test]
fn expired_metadata_makes_stale_and_heals_by_one_update() {
    let vendor = Vendor::new(1);
    let trust = vendor.product_with_release();
    let late = NOW.plus_seconds(3 * 365 * DAY - DAY);
    let mut site = ProductTrust::new(trust.first_root()).expect("a root");
    site.update(trust.files(), late).expect("verified as of its own time");
    assert_eq!(site.freshness(NOW), Freshness::Fresh);
    assert_eq!(
        site.freshness(late),
        Freshness::Stale {
            role: Role::Timestamp,
            since: NOW.plus_seconds(7 * DAY)
        }
    );
    assert_eq!(site.freshness(WallTime(0)), Freshness::Unknown);
    let fresh: Vec<_> = Role::DELEGATED.into_iter().collect();
    assert!(fresh.len() == 4 && site.update(trust.files(), late).is_ok_and(|changed| !changed.any()));
    let healed = published(&vendor, &trust, "1.1.0", b"new", late);
    site.update(&healed.files_newer_than(&site.summary()), late)
        .expect("verified");
    assert_eq!(site.documents().releases.len(), 2);
    // Recalls, grants and channels were not signed anew in those years: still stale, but the timestamp is not.
    assert!(site.expiries()[&Role::Timestamp] > late);
}

#[test]
fn a_clock_at_1970_or_2100_changes_no_verdict() {
    let vendor = Vendor::new(1);
    let trust = vendor.product_with_release();
    for wall in [WallTime(0), WallTime(4_102_444_800)] {
        let mut site = ProductTrust::new(trust.first_root()).expect("a root");
        site.update(trust.files(), wall).expect("verified");
        let newer = published(&vendor, &trust, "1.1.0", b"new", NOW);
        site.update(newer.files(), wall).expect("verified");
        assert!(site.update(trust.files(), wall).is_err(), "and back it does not go");
    }
}

#[test]
fn recalls_and_revocations_reach_a_site_and_stay() {
    let vendor = Vendor::new(1);
    let base = vendor.product_with_release();
    let change = vendor.change(Role::Recalls, NOW, |hand| {
        recall(&base, &version("1.0.0"), "broken", None, hand)
    });
    let trust = vendor
        .seal(&base, vec![change.expect("a change")], NOW)
        .expect("sealed");
    let mut site = site(&base);
    site.update(&trust.files_newer_than(&site.summary()), NOW)
        .expect("verified");
    let stable = "stable".parse().expect("a name");
    assert!(site.documents().latest(&stable).is_none());
    let manifest = VerifiedManifest::verify(&site, &version("1.0.0"), head(&site, "1.0.0", 1)).expect("verified");
    assert_eq!(manifest.recall().map(|recall| recall.reason.as_str()), Some("broken"));
    assert!(!site.documents().offered(manifest.id(), std::slice::from_ref(&stable)));
    let again = vendor.change(Role::Channels, NOW, |hand| {
        promote(&trust, &version("1.0.0"), &stable, hand)
    });
    assert!(
        matches!(again, Err(WriteError::Recalled { .. })),
        "a recall beats a promotion"
    );
    // Even the recalls key cannot take a recall back.
    let other = vendor.seal(&base, Vec::new(), NOW).expect("sealed");
    let other = published(&vendor, &other, "2.0.0", b"x", NOW);
    let second = vendor.change(Role::Recalls, NOW, |hand| {
        recall(&other, &version("2.0.0"), "x", None, hand)
    });
    let other = vendor
        .seal(&other, vec![second.expect("a change")], NOW)
        .expect("sealed");
    let third = vendor.change(Role::Recalls, NOW, |hand| {
        let mut more = other.clone();
        more = published(&vendor, &more, "3.0.0", b"y", NOW);
        recall(&more, &version("3.0.0"), "x", None, hand)
    });
    let other = published(&vendor, &other, "3.0.0", b"y", NOW);
    let other = vendor
        .seal(&other, vec![third.expect("a change")], NOW)
        .expect("sealed");
    let verdict = site.update(other.files(), NOW);
    assert!(
        matches!(
            verdict,
            Err(TrustError::Lost {
                role: Role::Recalls,
                ..
            })
        ),
        "{verdict:?}"
    );
}

#[test]
fn a_revoked_grant_site_or_node_is_refused() {
    let vendor = Vendor::new(1);
    let base = vendor.product();
    let credentials = crate::trust::fixture::node_credentials(&vendor, &base);
    let node = crate::trust::fixture::key(101).node_id();
    let covered = base.admit(&credentials, node, [], NOW).expect("covered");
    for what in [
        Revocation::Grant(covered.grant),
        Revocation::Site(covered.site),
        Revocation::Node(node),
    ] {
        let change = vendor
            .change(Role::Grants, NOW, |hand| revoke(&base, &[what], hand))
            .expect("a change");
        let trust = vendor.seal(&base, vec![change], NOW).expect("sealed");
        let verdict = trust.admit(&credentials, node, [], NOW);
        assert!(matches!(verdict, Err(Refusal::Revoked { .. })), "{what:?}: {verdict:?}");
    }
}

#[test]
fn the_key_of_every_role_is_refused_in_every_other() {
    let vendor = Vendor::new(1);
    let trust = vendor.product_with_release();
    for role in Role::ALL {
        for other in Role::ALL {
            if role == other || role == Role::Root {
                continue;
            }
            let mut thief = Vendor::new(1);
            let stolen = crate::trust::fixture::key(1 + u8::try_from(other as usize).expect("small"));
            thief.keys.insert(role, stolen);
            let verdict = match role {
                Role::Snapshot | Role::Timestamp => thief.seal(&trust, Vec::new(), NOW).map(|_| ()),
                Role::Releases => {
                    let change = thief.change(role, NOW, |hand| add_release(&trust, &version("9.0.0"), b"evil", hand));
                    vendor.seal(&trust, vec![change.expect("written")], NOW).map(|_| ())
                }
                Role::Channels => {
                    let change = thief.change(role, NOW, |hand| {
                        promote(&trust, &version("1.0.0"), &"beta".parse().expect("a name"), hand)
                    });
                    vendor.seal(&trust, vec![change.expect("written")], NOW).map(|_| ())
                }
                Role::Recalls => {
                    let change = thief.change(role, NOW, |hand| recall(&trust, &version("1.0.0"), "x", None, hand));
                    vendor.seal(&trust, vec![change.expect("written")], NOW).map(|_| ())
                }
                Role::Grants => {
                    let change = thief.change(role, NOW, |hand| {
                        revoke(&trust, &[Revocation::Node(NodeId([1; 32]))], hand)
                    });
                    vendor.seal(&trust, vec![change.expect("written")], NOW).map(|_| ())
                }
                Role::Root | Role::Targets => continue,
            };
            assert!(
                matches!(verdict, Err(WriteError::Refused(_))),
                "{other}'s key as {role}: {verdict:?}"
            );
        }
    }
}

#[test]
fn a_file_of_another_product_of_the_same_vendor_is_refused() {
    let vendor = Vendor::new(1);
    let (one, two) = (vendor.product(), vendor.product_named(1));
    let mut site = ProductTrust::new(one.first_root()).expect("a root");
    let mut offered = two.files().clone();
    offered.roots.clear();
    assert!(matches!(
        site.update(&offered, NOW),
        Err(TrustError::OtherProduct { .. })
    ));
}

#[test]
fn no_changed_byte_of_any_file_is_accepted() {
    let vendor = Vendor::new(1);
    let old = vendor.product();
    let new = vendor.product_with_release();
    assert_eq!(old.product(), new.product());
    let floor = site(&old);
    let names: Vec<(String, Vec<u8>)> = new.files().named().map(|(name, file)| (name, file.to_vec())).collect();
    for (name, file) in names {
        for place in 0..file.len() {
            let mut flipped = file.clone();
            flipped[place] ^= 1 << (place % 8);
            let mut other = file.clone();
            match place % 3 {
                0 => other.truncate(place),
                1 => other.insert(place, file[place]),
                _ => drop(other.remove(place)),
            }
            for mutant in [flipped, other] {
                if name == "1.root.json" {
                    // It is another product, if it is one at all.
                    assert!(ProductTrust::new(&mutant).map_or(true, |other| other.product() != new.product()));
                    continue;
                }
                let mut files = new.files().clone();
                files
                    .roles
                    .remove(&Role::from_name(name.trim_end_matches(".json")).expect("a role"));
                assert!(files.insert(&name, mutant.clone()));
                let verdict = floor.clone().update(&files, NOW);
                assert!(verdict.is_err() || mutant == file, "{name} at {place}: {verdict:?}");
            }
        }
    }
}

#[test]
fn at_start_the_stored_files_restore_the_floors() {
    let vendor = Vendor::new(1);
    let old = vendor.product_with_release();
    let new = published(&vendor, &old, "1.1.0", b"two", NOW);
    let stored = MetadataFiles::decode(&new.files().encode()).expect("read");
    let mut restarted = ProductTrust::new(&stored.roots[&1]).expect("a root");
    restarted.update(&stored, NOW).expect("replayed");
    assert_eq!(restarted.summary(), new.summary());
    assert!(matches!(
        restarted.update(old.files(), NOW),
        Err(TrustError::Rollback { .. })
    ));
}
