//! Rotation: roots that follow each other, and what they heal.

use super::*;
use crate::trust::fixture::{DAY, NOW, Vendor, key};
use crate::trust::key::Signer;
use crate::trust::writer::{Lifetimes, Sealing, next_root, seal_under};

/// The vendor after `role` got the key of `seed`, and the product sealed under the new root.
fn rotate(vendor: &Vendor, trust: &ProductTrust, role: Role, seed: u8) -> (Vendor, ProductTrust) {
    let mut next = Vendor::new(1);
    for (&role, key) in &vendor.keys {
        next.keys
            .insert(role, crate::trust::key::SigningKey::from_seed(*key.seed()));
    }
    next.keys.insert(role, key(seed));
    let mut signers: Vec<&dyn Signer> = vec![&vendor.keys[&Role::Root]];
    if role == Role::Root {
        signers.push(&next.keys[&Role::Root]);
    }
    let root = next_root(trust, &next.role_keys(), &signers, NOW.plus_seconds(900 * DAY)).expect("a root");
    let snapshot: [&dyn Signer; 1] = [&next.keys[&Role::Snapshot]];
    let timestamp: [&dyn Signer; 1] = [&next.keys[&Role::Timestamp]];
    let sealing = Sealing {
        snapshot: &snapshot,
        timestamp: &timestamp,
        now: NOW,
        lifetimes: Lifetimes::default(),
    };
    let sealed = seal_under(trust, root, &sealing).expect("sealed");
    (next, sealed)
}

#[test]
fn root_rotation_chain() {
    let first = Vendor::new(1);
    let start = first.product_with_release();
    let (second, two) = rotate(&first, &start, Role::Root, 90);
    let (third, three) = rotate(&second, &two, Role::Timestamp, 91);
    assert_eq!(three.summary().version(Role::Root), 3);
    assert_eq!(third.keys[&Role::Root].public(), key(90).public());
    // Three years offline: one set of files brings the whole chain.
    let mut site = start.clone();
    let files = three.files_newer_than(&site.summary());
    assert_eq!(files.roots.keys().copied().collect::<Vec<_>>(), [2, 3]);
    site.update(&files, NOW).expect("verified");
    assert_eq!(site.summary(), three.summary());
    // Without the root between, nothing is taken.
    let mut gap = files.clone();
    gap.roots.remove(&2);
    let mut site = start.clone();
    assert!(matches!(
        site.update(&gap, NOW),
        Err(TrustError::RootGap { known: 1, offered: 3 })
    ));
    // A root that only the old or only the new key signed is none.
    for signer in [&first.keys[&Role::Root], &second.keys[&Role::Root]] {
        let half = next_root(&start, &second.role_keys(), &[signer], NOW);
        assert!(half.is_err());
    }
    // Another root of a version that is known: somebody signs two.
    let (_, other) = rotate(&first, &start, Role::Snapshot, 92);
    assert!(matches!(
        site_at(&two).update(other.files(), NOW),
        Err(TrustError::Rebound { role: Role::Root, .. })
    ));
}

fn site_at(trust: &ProductTrust) -> ProductTrust {
    let mut site = ProductTrust::new(trust.first_root()).expect("a root");
    site.update(trust.files(), NOW).expect("verified");
    site
}

#[test]
fn a_rotated_root_does_not_let_the_other_roles_go_back() {
    let vendor = Vendor::new(1);
    let start = vendor.product_with_release();
    let newer = vendor.seal(&start, Vec::new(), NOW).expect("sealed");
    let newest = vendor.seal(&newer, Vec::new(), NOW).expect("sealed");
    // A new root key; timestamp and snapshot keep theirs, so they are still bound by what the site has seen.
    let (_, rotated) = rotate(&vendor, &start, Role::Root, 90);
    assert!(rotated.summary().version(Role::Timestamp) < newest.summary().version(Role::Timestamp));
    let mut site = site_at(&newest);
    let verdict = site.update(rotated.files(), NOW);
    assert!(matches!(verdict, Err(TrustError::Rollback { .. })), "{verdict:?}");
    assert_eq!(site.summary(), newest.summary());
}

#[test]
fn a_stolen_timestamp_key_that_ran_ahead_is_healed_by_rotation() {
    let vendor = Vendor::new(1);
    let start = vendor.product_with_release();
    let mut ahead = start.clone();
    for _ in 0..40 {
        ahead = vendor.seal(&ahead, Vec::new(), NOW).expect("sealed");
    }
    let mut site = site_at(&ahead);
    // The vendor never saw those; both online keys are replaced.
    let (second, two) = rotate(&vendor, &start, Role::Timestamp, 90);
    let (_, healed) = rotate(&second, &two, Role::Snapshot, 91);
    site.update(&healed.files_newer_than(&site.summary()), NOW)
        .expect("healed");
    assert_eq!(site.summary(), healed.summary());
    assert!(
        site.update(ahead.files(), NOW).is_err(),
        "and the thief's files are of no use"
    );
}
