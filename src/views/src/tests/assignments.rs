//! What a node should run: assigned by a step, withdrawn with the rollout, never below a counter that it may have seen.

use super::history::*;
use domain::fleet::{Assigner, Desired};
use domain::node::{ActivationFailed, Event};
use domain::{Position, rollout};

/// Two bundles, two nodes that run the first; rollouts 1 and 2 of bundles 1 and 2.
fn given() -> History {
    let mut history = History::default();
    for (i, name) in [(1, "a"), (2, "b")] {
        history.register(i, name, labels(&[]));
        history.create_bundle(i, name);
        history.create_rollout(i, i);
    }
    history.second = 100;
    history
}

fn desired(bundle: u8, rollout: u8, position: Position, second: i64) -> Option<Desired> {
    let (bundle, by) = (bundle_id(bundle), Assigner::Rollout(rollout_id(rollout)));
    Some(Desired { bundle, by, before: None, decided: position, position, assigned_at: at(second) })
}

fn of(history: &History, node: u8) -> (Option<Desired>, Option<Desired>) {
    let row = history.state.nodes.row(node_id(node)).unwrap();
    (row.desired.clone(), row.previous.clone())
}

#[test]
fn a_step_assigns_and_a_repeat_counts_as_a_new_assignment() {
    let mut history = given();
    let first = history.assign(1, 0, 1, &[1, 2]);
    assert_eq!(of(&history, 1), (desired(1, 1, first, 100), None));
    history.second = 200;
    let second = history.assign(1, 0, 1, &[1]);
    assert_eq!(of(&history, 1), (desired(1, 1, second, 200), None));
    assert_eq!(of(&history, 2), (desired(1, 1, first, 100), None));
    assert!(history.state.nodes.row(node_id(9)).is_none(), "a deleted node is not made again");
}

#[test]
fn another_rollout_takes_over_and_remembers_what_was_before() {
    let mut history = given();
    let first = history.assign(1, 0, 1, &[1]);
    let second = history.assign(2, 0, 2, &[1]);
    assert_eq!(of(&history, 1), (desired(2, 2, second, 100), desired(1, 1, first, 100)));
}

#[test]
fn withdrawing_falls_back_to_the_assignment_before_under_a_higher_counter() {
    let mut history = given();
    let first = history.assign(1, 0, 1, &[1, 2]);
    history.rollout(1, rollout::Event::Completed(rollout::Completed { updated: 2, deferred: 0 }));
    let second = history.assign(2, 0, 2, &[1, 2]);
    history.reports(2, 2);
    history.second = 300;
    let withdrawn = history.rollout(2, cancelled());
    let fallen = desired(1, 1, withdrawn, 300).map(|desired| Desired { decided: first, ..desired });
    assert_eq!(of(&history, 1), (fallen, None), "and the wish stays as old as it is");
    assert_eq!(of(&history, 2).0, desired(2, 2, second, 100), "what a node already runs stays its assignment");
}

#[test]
fn withdrawing_a_first_assignment_leaves_none() {
    let mut history = given();
    history.assign(1, 0, 1, &[1]);
    history.rollout(1, rollout::Event::Failed(rollout::Failed { cause: cause() }));
    assert_eq!(of(&history, 1), (None, None));
}

#[test]
fn nothing_falls_back_to_an_assignment_that_was_withdrawn_itself() {
    let mut history = given();
    history.assign(1, 0, 1, &[1]);
    history.assign(2, 0, 2, &[1]);
    history.rollout(1, cancelled());
    history.rollout(2, cancelled());
    assert_eq!(of(&history, 1), (None, None));
}

#[test]
fn a_completed_rollout_withdraws_nothing_later() {
    let mut history = given();
    let first = history.assign(1, 0, 1, &[1]);
    history.rollout(1, rollout::Event::Completed(rollout::Completed { updated: 0, deferred: 1 }));
    history.rollout(1, cancelled());
    assert_eq!(of(&history, 1).0, desired(1, 1, first, 100));
}

#[test]
fn a_new_assignment_makes_the_old_failure_old() {
    let mut history = given();
    history.assign(1, 0, 1, &[1]);
    let failed = ActivationFailed { bundle_id: bundle_id(1), reason: "no".into() };
    history.node(1, Event::ActivationFailed(failed));
    let superseded =
        |history: &History| history.state.nodes.get(node_id(1)).unwrap().failure.clone().unwrap().superseded;
    assert!(!superseded(&history));
    history.assign(1, 0, 1, &[1]);
    assert!(superseded(&history));
}

#[test]
fn a_rollback_assigns_what_ran_before_and_takes_the_rest_back_at_its_end() {
    let mut history = given();
    history.register(3, "c", labels(&[]));
    history.reports(1, 1);
    history.reports(2, 1);
    let first = history.assign(2, 0, 2, &[1, 2, 3]);
    assert_eq!(of(&history, 1).0.unwrap().before, Some(bundle_id(1)));
    history.reports(1, 2);
    let again = history.assign(2, 0, 2, &[1]);
    let before = of(&history, 1).0.unwrap();
    assert_eq!((before.before, before.position), (Some(bundle_id(1)), again), "a repeat forgets nothing");
    let other = history.assign(1, 0, 1, &[2]);
    let restores =
        vec![rollout::Restore { bundle_id: bundle_id(1), digest: digest(1), node_ids: vec![node_id(1), node_id(2)] }];
    let left = vec![rollout::Left { reason: rollout::LeftReason::RanNothing, node_ids: vec![node_id(3)] }];
    let started = rollout::RollbackStarted { restores, left };
    let back = history.rollout(2, rollout::Event::RollbackStarted(started));
    let by = Assigner::Rollback(rollout_id(2));
    let (before, bundle, position) = (None, bundle_id(1), back);
    let restored = Desired { bundle, by, before, decided: back, position, assigned_at: at(100) };
    assert_eq!(of(&history, 1).0, Some(restored));
    assert_eq!(of(&history, 2).0.map(|desired| desired.position), Some(other), "another rollout has it by now");
    assert_eq!(of(&history, 3).0, desired(2, 2, first, 100));
    assert_eq!(history.state.rollouts.live().count(), 2, "the engine looks after the rollback");
    let ended = rollout::RollbackEnded { restored: 1, left: 1, node_ids: vec![node_id(3)] };
    history.rollout(2, rollout::Event::RollbackEnded(ended));
    assert_eq!((of(&history, 3).0, history.state.rollouts.live().count()), (None, 1));
}

#[test]
fn a_direct_assignment_stands_until_a_rollout_takes_over() {
    let mut history = given();
    let assigned = domain::bundle::Assigned { digest: digest(1), node_ids: vec![node_id(1)] };
    let direct = history.bundle(1, domain::bundle::Event::Assigned(assigned));
    let (bundle, by, decided) = (bundle_id(1), Assigner::Operator, direct);
    let by_hand = Desired { bundle, by, before: None, decided, position: direct, assigned_at: at(100) };
    assert_eq!(of(&history, 1), (Some(by_hand.clone()), None));
    assert!(history.state.bundles.is_deployed(bundle_id(1)));
    let taken = history.assign(2, 0, 2, &[1]);
    assert_eq!(of(&history, 1), (desired(2, 2, taken, 100), Some(by_hand.clone())));
    let withdrawn = history.rollout(2, cancelled());
    assert_eq!(of(&history, 1).0, Some(Desired { position: withdrawn, ..by_hand }));
}

#[test]
fn a_late_assignment_is_the_rollouts() {
    let mut history = given();
    history.rollout(2, rollout::Event::Completed(rollout::Completed { updated: 1, deferred: 1 }));
    let digest = digest(2);
    let late = rollout::LateAssigned { bundle_id: bundle_id(2), digest, node_ids: vec![node_id(2)] };
    let position = history.rollout(2, rollout::Event::LateAssigned(late));
    assert_eq!(of(&history, 2).0, desired(2, 2, position, 100));
}

#[test]
fn the_newest_assignments_are_remembered_also_when_they_no_longer_stand() {
    let mut history = given();
    let first = history.assign(1, 0, 1, &[1]);
    let second = history.assign(2, 0, 2, &[1]);
    let withdrawn = history.rollout(2, cancelled());
    let assigned = |history: &History| {
        let row = history.state.nodes.row(node_id(1)).unwrap();
        row.assigned.iter().map(|assigned| (assigned.bundle, assigned.position)).collect::<Vec<_>>()
    };
    let all = [(bundle_id(1), first), (bundle_id(2), second), (bundle_id(1), withdrawn)];
    assert_eq!(assigned(&history), all, "falling back is an assignment too");
    let newest: Vec<_> = (0..8).map(|step| (bundle_id(1), history.assign(1, step, 1, &[1]))).collect();
    assert_eq!(assigned(&history), newest, "and no more than eight");
}

#[test]
fn what_a_node_ran_is_what_it_falls_back_to_where_nobody_had_assigned_anything() {
    let mut history = given();
    history.reports(1, 1);
    history.assign(2, 0, 2, &[1, 2]);
    let withdrawn = history.rollout(2, cancelled());
    let by = Assigner::Rollback(rollout_id(2));
    let (position, decided) = (withdrawn, Position::START);
    let back = Desired { bundle: bundle_id(1), by, before: None, decided, position, assigned_at: at(100) };
    assert_eq!((of(&history, 1), of(&history, 2)), ((Some(back), None), (None, None)));
}

#[test]
fn a_rollback_that_is_overtaken_still_says_what_ran_before() {
    let mut history = given();
    history.reports(1, 1);
    history.assign(2, 0, 2, &[1]);
    history.reports(1, 2);
    let restores = vec![rollout::Restore { bundle_id: bundle_id(1), digest: digest(1), node_ids: vec![node_id(1)] }];
    history.rollout(2, rollout::Event::RollbackStarted(rollout::RollbackStarted { restores, left: Vec::new() }));
    history.assign(1, 0, 3, &[1]);
    assert_eq!(of(&history, 1).0.unwrap().before, Some(bundle_id(1)), "and not what nobody wants there");
}
