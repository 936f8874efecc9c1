//! Receipts are told until they are heard.

use super::*;
use crate::progress::Switched;

fn switched(n: u8) -> Switched {
    Switched { target: target(n), at: wall() }
}

fn with_receipts(numbers: &[u8]) -> Progress {
    let mut progress = on_bundle_1();
    numbers.iter().for_each(|n| progress.tell(&target(*n), wall()));
    progress
}

/// Registered, with a token, the first beat under way.
fn beating(progress: Progress) -> (Given, Option<Switched>) {
    let mut given = given(Some(identity()), progress);
    given.due();
    given.when(Input::Token(Ok(12 * HOUR_S)));
    let beat = given.then_beat();
    (given, beat.switched)
}

/// What the next beat tells; what else is due is answered.
fn next_told(given: &mut Given) -> Option<Switched> {
    for _ in 0..10 {
        for action in given.wait() {
            match action {
                Action::Beat(_, beat) => return beat.switched,
                Action::Poll(_) => given.when(no_update()),
                other => panic!("{other:?}"),
            };
        }
    }
    panic!("no beat came")
}

#[test]
fn a_receipt_is_told_until_a_beat_is_answered_and_then_forgotten_on_disk() {
    let (mut given, told) = beating(with_receipts(&[1]));
    assert_eq!(told, Some(switched(1)), "also after a restart");
    assert_eq!(given.when(Input::Beat(Err(away()))), []);
    given.when(no_update());
    assert_eq!(next_told(&mut given), Some(switched(1)));
    assert_eq!(given.when(beat_ok()), [Action::Save(on_bundle_1())]);
    assert_eq!(next_told(&mut given), None);
    assert_eq!(given.when(beat_ok()), []);
}

#[test]
fn several_are_told_one_after_the_other_at_once() {
    let (mut given, told) = beating(with_receipts(&[2, 3]));
    assert_eq!(told, Some(switched(2)));
    assert_eq!(given.when(beat_ok()), [Action::Save(with_receipts(&[3]))]);
    assert_eq!(given.then_beat().switched, Some(switched(3)));
    assert_eq!(given.when(beat_ok()), [Action::Save(on_bundle_1())]);
    assert_eq!(given.due(), []);
}

#[test]
fn what_is_heard_during_an_activation_is_forgotten_after_it() {
    let mut given = running(on_bundle_1());
    given.when_offered(2, 2);
    given.machine.progress = with_receipts(&[1]);
    given.when(Input::Fetched(Ok(())));
    assert_eq!(given.then_beat().switched, Some(switched(1)));
    assert_eq!(given.when(beat_ok()), [], "the activation keeps the progress meanwhile");
    let mut after = with_receipts(&[1]);
    after.succeed(&target(2));
    after.tell(&target(2), wall());
    let mut left = after.clone();
    left.told(target(1).counter);
    let actions = given.when(Input::Activated(Box::new(Activated { progress: after, postponed: None })));
    assert_eq!(actions, [Action::Save(left)]);
    assert_eq!(given.then_beat().switched, Some(switched(2)));
}

#[test]
fn a_receipt_that_spoils_the_beat_is_given_up() {
    let (mut given, _) = beating(with_receipts(&[1]));
    let actions = given.when(Input::Beat(Err(refused(422, "validation_failed"))));
    assert_eq!(actions, [Action::Save(on_bundle_1())]);
    given.when(no_update());
    assert_eq!(next_told(&mut given), None);
}
