//! What a node should run: assigned by a step, withdrawn with the rollout, never below a counter that it may have seen.

use super::history::*;
use domain::fleet::Desired;
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
    let (bundle, rollout) = (bundle_id(bundle), rollout_id(rollout));
    Some(Desired { bundle, rollout, position, assigned_at: at(second) })
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
    history.assign(1, 0, 1, &[1, 2]);
    history.rollout(1, rollout::Event::Completed(rollout::Completed { updated: 2, deferred: 0 }));
    let second = history.assign(2, 0, 2, &[1, 2]);
    history.reports(2, 2);
    history.second = 300;
    let withdrawn = history.rollout(2, cancelled());
    assert_eq!(of(&history, 1), (desired(1, 1, withdrawn, 300), None));
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
