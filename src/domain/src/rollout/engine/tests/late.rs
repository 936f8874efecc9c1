//! Nodes that come late.

use super::world::*;
use crate::fleet::Desired;
use crate::node::Command as NodeCommand;
use crate::rollout::{
    Command, Event, LateAssigned, LateJoiners, NodeState, Owed, Rollout, Selector, Spec, decide, members, report,
};
use crate::{Labels, Position, RolloutId};

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
    late_of(world, &[], i)
}

/// With further rollouts of the project.
fn late_of(world: &World, others: &[&Rollout], i: u8) -> Option<LateAssigned> {
    let owed = Owed::of(others.iter().copied().chain([&world.rollout]));
    let mut found = owed.to(std::iter::once(world.fleet_node(i)), &world.fleet);
    assert!(found.len() < 2);
    found.pop().map(|(_, late)| late)
}

fn assigned(bundle_id: crate::BundleId, digit: &str, nodes: &[u8]) -> LateAssigned {
    LateAssigned { bundle_id, digest: digit.repeat(64).parse().unwrap(), node_ids: ids(nodes) }
}

#[test]
fn a_node_that_returns_after_the_end_gets_the_bundle() {
    let mut world = completed(spec());
    assert_eq!(late(&world, 1), None, "it is still offline");
    world.beats(1, true);
    let expected = assigned(NEW, "1", &[1]);
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
    let fell_back = Desired { decided: Position(0), position: world.position, ..old.clone() };
    world.desire(1, fell_back);
    assert!(late(&world, 1).is_some(), "a new counter makes an old wish no newer");
    world.desire(1, Desired { decided: world.position, ..old });
    assert_eq!(late(&world, 1), None);
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
    assert_eq!(late(&world, 1), None);
    assert!(decide(&world.rollout, Command::AssignLate(assigned(NEW, "1", &[1]))).is_err());
    let mut returns = World::new(2, ignore);
    returns.goes_offline(1);
    returns.run();
    returns.beats(1, true);
    returns.reports(0, NEW);
    assert_eq!(returns.run(), ["step_completed", "step_started"], "who was there and returns in time takes part");
}

/// Another rollout of the project, created and ended where it is said.
fn another(world: &World, spec: Spec, (created, ended): (u64, Option<u64>)) -> Rollout {
    let names = ("default".parse().unwrap(), project(), RolloutId::from_bytes([0xbb; 16]));
    let mut other = Rollout::created(names, &spec, world.now, Position(created));
    if let Some(ended) = ended {
        let completed = crate::rollout::Completed { updated: 1, deferred: 0 };
        other.evolve(&Event::Completed(completed), world.now, Position(ended));
    }
    other
}

#[test]
fn the_newest_rollout_that_was_meant_for_a_node_decides_alone() {
    let mut world = completed(spec());
    world.beats(1, true);
    let end = world.position.0;
    let older = Spec { bundle_id: OLD, ..spec() };
    let back = another(&world, older.clone(), (end + 1, Some(end + 2)));
    assert_eq!(late_of(&world, &[&back], 1), None, "it runs the old bundle, to which all went back since");
    let ignoring = Spec { late_joiners: LateJoiners::Ignore, ..older.clone() };
    let ignoring = another(&world, ignoring, (end + 1, Some(end + 2)));
    assert_eq!(late_of(&world, &[&ignoring], 1), None);
    let under_way = another(&world, older.clone(), (end + 1, None));
    assert_eq!(late_of(&world, &[&under_way], 1), None, "it is taken along there");
    let elsewhere = Spec { target_selector: Selector::node_ids(ids(&[0])), ..older.clone() };
    let elsewhere = another(&world, elsewhere, (end + 1, Some(end + 2)));
    assert_eq!(late_of(&world, &[&elsewhere], 1), Some(assigned(NEW, "1", &[1])));
    // Which one is the newest is told by the ends: what waited to be started is as old as it is late.
    let sooner = another(&world, older, (0, Some(end + 2)));
    world.reports(1, crate::BundleId::from_bytes([0xb2; 16]));
    assert_eq!(late_of(&world, &[&sooner], 1), Some(assigned(OLD, "0", &[1])));
}

#[test]
fn a_node_that_is_approved_after_the_end_joined_after_it() {
    let mut world = World::new(2, spec());
    world.register_unapproved(7);
    world.beats(7, true);
    let mut in_time = world.clone();
    in_time.node(7, NodeCommand::Approve);
    for world in [&mut world, &mut in_time] {
        world.run();
        for _ in 0..3 {
            (0..2).for_each(|i| world.reports(i, NEW));
            world.run();
        }
    }
    assert_eq!(world.rollout.state.as_str(), "completed");
    assert_eq!(in_time.rollout.steps.last().map(|step| step.node_ids.clone()), Some(ids(&[7])));
    world.node(7, NodeCommand::Approve);
    assert_eq!(late(&world, 7), None);
    assert_eq!(members(&world.rollout, &world.fleet).count(), 2);
}

#[test]
fn nodes_that_return_together_are_one_assignment() {
    let mut world = World::new(4, spec());
    (1..4).for_each(|i| world.goes_offline(i));
    world.run();
    world.reports(0, NEW);
    world.run();
    (1..4).for_each(|i| world.beats(i, true));
    let owed = Owed::of(std::iter::once(&world.rollout));
    let nodes = (0..4).map(|i| world.fleet_node(i));
    let late: Vec<LateAssigned> = owed.to(nodes, &world.fleet).into_iter().map(|(_, late)| late).collect();
    assert_eq!(late, [assigned(NEW, "1", &[1, 2, 3])]);
}
