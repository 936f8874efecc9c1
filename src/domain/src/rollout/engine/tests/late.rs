//! Nodes that come late.

use super::world::*;
use crate::Labels;
use crate::rollout::{
    Command, Event, LateAssigned, LateJoiners, NodeState, Selector, Spec, awaits, decide, late_joiner, members, report,
};

/// A completed rollout over one node, while another one was offline.
fn completed(spec: Spec) -> World {
    let mut world = World::new(2, spec);
    world.goes_offline(1);
    world.run();
    world.reports(0, NEW);
    world.run();
    assert_eq!(world.rollout.state.as_str(), "completed");
    world
}

fn late(world: &World, i: u8) -> Option<LateAssigned> {
    late_joiner(&world.rollout, world.fleet_node(i), &world.fleet)
}

#[test]
fn a_node_that_returns_after_the_end_gets_the_bundle() {
    let mut world = completed(spec());
    assert_eq!((awaits(&world.rollout), late(&world, 1)), (true, None), "it is still offline");
    world.beats(1, true);
    let expected = LateAssigned { bundle_id: NEW, digest: "1".repeat(64).parse().unwrap(), node_ids: ids(&[1]) };
    assert_eq!(late(&world, 1), Some(expected.clone()));
    assert_eq!(world.wish(Command::AssignLate(expected.clone())), Event::LateAssigned(expected));
    assert_eq!(late(&world, 1), None, "once");
    let state = |world: &World| {
        let all =
            members(&world.rollout, &world.fleet).map(|m| report(&world.rollout, m, &world.fleet, LIMITS, world.now));
        all.map(|node| node.state).collect::<Vec<_>>()
    };
    assert_eq!(state(&world), [NodeState::Active, NodeState::Offered]);
    world.pass(1);
    world.reports(1, NEW);
    assert_eq!(state(&world), [NodeState::Active, NodeState::Active]);
}

#[test]
fn who_took_part_runs_it_joined_later_or_is_meant_for_something_newer_is_not_late() {
    let mut world = completed(spec());
    world.register(5, Labels::default());
    world.beats(5, true);
    world.beats(1, true);
    let mut newer = world.clone();
    newer.is_taken_over(1);
    let mut runs = world.clone();
    runs.reports(1, NEW);
    let mut revoked = world.clone();
    revoked.revoke(NEW);
    let mut elsewhere = world.clone();
    elsewhere.rollout.spec.target_selector = Selector::node_ids(ids(&[0]));
    assert!(late(&world, 1).is_some());
    let cases = [(&world, 0), (&world, 5), (&newer, 1), (&runs, 1), (&revoked, 1), (&elsewhere, 1)];
    for (i, (world, node)) in cases.into_iter().enumerate() {
        assert_eq!(late(world, node), None, "case {i}");
    }
}

#[test]
fn what_was_desired_before_the_rollout_is_older() {
    let mut world = World::new(2, spec());
    let mut before = world.clone();
    before.is_taken_over(1);
    let old = before.desired(1).unwrap();
    world.goes_offline(1);
    world.run();
    world.reports(0, NEW);
    world.run();
    world.beats(1, true);
    world.desire(1, crate::fleet::Desired { position: crate::Position(0), ..old });
    assert!(late(&world, 1).is_some());
}

#[test]
fn ignoring_late_joiners_is_for_those_who_were_there() {
    let ignore = Spec { late_joiners: LateJoiners::Ignore, ..spec() };
    let mut world = World::new(2, ignore.clone());
    world.goes_offline(1);
    world.run();
    world.register(7, Labels::default());
    world.beats(7, true);
    world.reports(0, NEW);
    assert_eq!(world.run(), ["step_completed", "completed"], "the newcomer is not taken along");
    world.beats(1, true);
    assert_eq!((awaits(&world.rollout), late(&world, 1)), (false, None));
    let assigned = LateAssigned { bundle_id: NEW, digest: "1".repeat(64).parse().unwrap(), node_ids: ids(&[1]) };
    assert!(decide(&world.rollout, Command::AssignLate(assigned)).is_err());
    let mut returns = World::new(2, ignore);
    returns.goes_offline(1);
    returns.run();
    returns.beats(1, true);
    returns.reports(0, NEW);
    assert_eq!(returns.run(), ["step_completed", "step_started"], "who was there and returns in time takes part");
}
