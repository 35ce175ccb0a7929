use samara_protocol::id::ArtifactId;
use samara_protocol::manifest::layout::{ArtifactRef, Section};

use super::*;

const GROUP: u64 = samara_protocol::limits::GROUP_BYTES;

fn manifest(number: u8) -> ManifestId {
    ManifestId([number; 32])
}

fn layout(artifacts: &[(u8, u64)]) -> Layout {
    let artifact = |(number, size): &(u8, u64)| ArtifactRef {
        id: ArtifactId([*number; 32]),
        size: *size,
    };
    let artifacts = artifacts.iter().map(artifact).collect();
    Layout::new(&[Section { artifacts }]).expect("two artifacts")
}

fn releases(numbers: &[u8]) -> Releases {
    let mut releases = Releases::default();
    for number in numbers {
        let product = ProductId([0; 32]);
        releases.add(
            manifest(*number),
            product,
            Version::new(1, 0, u64::from(*number)),
            Selection::default(),
            0,
        );
    }
    releases
}

#[test]
fn what_an_earlier_run_began_is_resumed_and_what_another_release_has_is_reused() {
    let mut releases = releases(&[1, 2]);
    let other = Arc::new(layout(&[(7, 2 * GROUP)]));
    releases
        .get_mut(manifest(1))
        .expect("added")
        .layouts
        .insert(Part::Payload, other);
    let new = layout(&[(7, 2 * GROUP), (8, 3 * GROUP)]);
    let (all, held) = (RangeSet::from(0..5), RangeSet::from(0..4));
    let found = releases.find(manifest(2), &new, &all, &held);
    assert_eq!(
        (found.resumed, found.reused),
        (0, 4 * GROUP),
        "nothing can be resumed that was never begun"
    );
    releases.get_mut(manifest(2)).expect("added").begun_before = true;
    let found = releases.find(manifest(2), &new, &all, &held);
    assert_eq!((found.resumed, found.reused), (2 * GROUP, 2 * GROUP));
}

fn promotion(number: u8) -> Promotion {
    Promotion {
        version: Version::new(1, 0, u64::from(number)),
        manifest: manifest(number),
        sequence: u64::from(number),
        held: false,
    }
}

#[test]
fn there_are_never_more_than_the_scheduler_can_open_and_what_was_asked_for_comes_first() {
    let numbers: Vec<u8> = (0..=u8::MAX).collect();
    let mut releases = releases(&numbers);
    assert!(releases.is_full());
    let (product, listed) = (ProductId([0; 32]), [promotion(1), promotion(2)]);
    assert!(!releases.add(
        ManifestId([1, 2].repeat(16).try_into().expect("32")),
        product,
        Version::new(9, 0, 0),
        Selection::default(),
        0
    ));
    assert_eq!(releases.to_make_place(), None, "none is staged");
    for number in [3, 7, 5] {
        releases.get_mut(manifest(number)).expect("added").phase = Phase::Staged;
    }
    releases.get_mut(manifest(3)).expect("added").asked = Some(Timestamp::ZERO);
    assert_eq!(releases.to_make_place(), Some(manifest(5)));
    assert_eq!(releases.room_for(product, &listed), RELEASES_MAX - 1);
    assert_eq!(releases.room_for(ProductId([1; 32]), &listed), 0);
}

#[test]
fn what_was_asked_for_longest_ago_goes_first_and_what_a_channel_lists_stays() {
    let count = u8::try_from(ASKED_RELEASES_MAX).expect("few");
    let mut releases = releases(&(0..count + 2).collect::<Vec<_>>());
    for number in 0..count + 2 {
        let release = releases.get_mut(manifest(number)).expect("added");
        release.asked = Some(Timestamp::ZERO.after(Duration::from_secs(100 - u64::from(number))));
        release.phase = Phase::Staged;
    }
    releases.get_mut(manifest(count + 1)).expect("added").listed = true;
    assert_eq!(releases.asked_too_many(), Some(manifest(count)));
    let (now, time) = (
        Timestamp::ZERO.after(Duration::from_secs(101)),
        Duration::from_secs(u64::from(count)),
    );
    assert_eq!(
        releases.not_asked_for(now, time),
        [manifest(count - 1), manifest(count)]
    );
    releases.get_mut(manifest(count)).expect("added").phase = Phase::Moving(Part::Payload);
    assert_eq!(
        releases.not_asked_for(now, time),
        [manifest(count - 1)],
        "one that is on its way is not taken away"
    );
    releases.remove(manifest(count));
    assert_eq!(releases.asked_too_many(), None);
}

#[test]
fn only_what_is_wanted_counts_as_found() {
    let mut releases = releases(&[1]);
    releases.get_mut(manifest(1)).expect("added").begun_before = true;
    let (wanted, held) = (RangeSet::from(1..2), RangeSet::from(0..3));
    let found = releases.find(manifest(1), &layout(&[(8, 3 * GROUP)]), &wanted, &held);
    assert_eq!((found.resumed, found.reused), (GROUP, 0));
}
