use super::*;
use crate::trust::fixture::{NOW, Vendor, key};
use crate::trust::key::SigningKey;

#[test]
fn a_key_that_serves_two_roles_is_refused() {
    for (one, two) in [
        (Role::Releases, Role::Channels),
        (Role::Targets, Role::Grants),
        (Role::Snapshot, Role::Timestamp),
    ] {
        let mut vendor = Vendor::new(1);
        let seed = 1 + u8::try_from(one as usize).expect("small");
        vendor.keys.insert(two, key(seed));
        let signers: Signers<'_> = vendor
            .keys
            .iter()
            .map(|(role, key)| (*role, vec![key as &dyn Signer]))
            .collect();
        let verdict = create(&vendor.role_keys(), &signers, [0; 16], NOW, &Lifetimes::default());
        assert!(matches!(verdict, Err(WriteError::Refused(_))), "{one} and {two}");
    }
}

#[test]
fn a_threshold_needs_that_many_different_signers() {
    let vendor = Vendor::new(1);
    let (a, b, c) = (key(50), key(51), key(52));
    let mut keys = vendor.role_keys();
    keys.insert(Role::Targets, (vec![a.public(), b.public(), c.public()], 2));
    let mut signers: Signers<'_> = vendor
        .keys
        .iter()
        .map(|(role, key)| (*role, vec![key as &dyn Signer]))
        .collect();
    let sets: [(&[&SigningKey], bool); 4] = [
        (&[&a], false),
        (&[&a, &a], false),
        (&[&a, &c], true),
        (&[&a, &b, &c], true),
    ];
    for (set, good) in sets {
        signers.insert(Role::Targets, set.iter().map(|key| *key as &dyn Signer).collect());
        assert_eq!(
            create(&keys, &signers, [0; 16], NOW, &Lifetimes::default()).is_ok(),
            good,
            "{} signers",
            set.len()
        );
    }
}

#[test]
fn the_same_keys_and_time_write_the_same_bytes() {
    assert_eq!(
        Vendor::new(1).product_with_release().files(),
        Vendor::new(1).product_with_release().files()
    );
}
