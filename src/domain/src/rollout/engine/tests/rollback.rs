//! Back to what ran before, as far as that is possible.

use super::world::*;
use crate::Labels;
use crate::fleet::Assigner;
use crate::rollout::{
    Blocker, Command, Event, Left, LeftReason, NodeState, Progress, Restore, RollbackEnded, RollbackProgress,
    RollbackStarted, Spec, Verdict, members, plan, progress, report, rollback_progress,
};
use jiff::SignedDuration;

/// Three nodes in one step: the first runs the new bundle, the second was told to, the third ran nothing before.
fn given() -> World {
    let mut world = World::new(2, Spec { batch_size: 3, ..spec() });
    world.register(2, Labels::default());
    world.beats(2, true);
    world.run();
    world.reports(0, NEW);
    world
}

fn restores(bundle: crate::BundleId, digit: &str, nodes: &[u8]) -> Restore {
    Restore { bundle_id: bundle, digest: digit.repeat(64).parse().unwrap(), node_ids: ids(nodes) }
}

fn roll_back(world: &mut World) -> Event {
    let plan = plan(&world.rollout, &world.fleet);
    world.wish(Command::Rollback(plan))
}

fn counts(world: &World) -> (u32, u32, u32) {
    let RollbackProgress { restored, pending, left } = rollback_progress(&world.rollout, &world.fleet).unwrap();
    (restored, pending, left)
}

#[test]
fn every_node_that_was_assigned_goes_back_to_what_it_ran() {
    let mut world = given();
    let left = vec![Left { reason: LeftReason::RanNothing, node_ids: ids(&[2]) }];
    let expected = RollbackStarted { restores: vec![restores(OLD, "0", &[0, 1])], left };
    assert_eq!(roll_back(&mut world), Event::RollbackStarted(expected));
    let position = world.position;
    for i in 0..2 {
        let desired = world.desired(i).unwrap();
        assert_eq!((desired.bundle, desired.position), (OLD, position), "the fact is the counter");
        assert_eq!(desired.by, Assigner::Rollback(world.rollout.id));
    }
    assert_eq!(counts(&world), (1, 1, 1), "the second never left the old bundle");
    let until = world.now + SignedDuration::from_secs(i64::from(DEADLINE_S));
    let blocker = Some(Blocker::NodesRestoring { node_ids: ids(&[0]) });
    assert_eq!(world.verdict(), Verdict { action: None, blocker, next_deadline: Some(until) });
    world.reports(0, OLD);
    let ended = RollbackEnded { restored: 2, left: 1, node_ids: ids(&[2]) };
    assert_eq!(world.act(), Some(Event::RollbackEnded(ended)));
    assert_eq!(world.rollout.rollback.as_ref().unwrap().as_str(), "partial");
    assert_eq!(world.desired(2), None, "what it did not take is withdrawn");
    assert_eq!(world.verdict().blocker, Some(Blocker::Ended));
}

#[test]
fn what_was_rolled_back_was_not_achieved() {
    let mut world = World::new(2, Spec { batch_size: 1, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.run();
    roll_back(&mut world);
    world.reports(0, OLD);
    assert_eq!(world.run(), ["rollback_ended"]);
    assert_eq!(world.rollout.rollback.as_ref().unwrap().as_str(), "completed");
    let sum = progress(&world.rollout, &world.fleet, LIMITS, world.now);
    assert_eq!(sum, Progress { total: 2, deferred: 2, ..Progress::default() });
    let states =
        members(&world.rollout, &world.fleet).map(|m| report(&world.rollout, m, &world.fleet, LIMITS, world.now));
    assert_eq!(states.map(|node| node.state).collect::<Vec<_>>(), [NodeState::Gone, NodeState::Gone]);
}

#[test]
fn a_bundle_that_may_not_be_deployed_is_no_way_back() {
    let mut world = given();
    world.revoke(OLD);
    let Event::RollbackStarted(started) = roll_back(&mut world) else { panic!() };
    let reasons: Vec<LeftReason> = started.left.iter().map(|left| left.reason).collect();
    assert_eq!((started.restores, reasons), (vec![], vec![LeftReason::RanNothing, LeftReason::BundleNotDeployable]));
    let ended = RollbackEnded { restored: 0, left: 3, node_ids: ids(&[2, 0, 1]) };
    assert_eq!(world.act(), Some(Event::RollbackEnded(ended)));
}

#[test]
fn a_repeated_step_does_not_hide_what_ran_before() {
    let mut world = World::new(1, spec());
    world.run();
    world.fails(0, "it crashed");
    world.run();
    world.wish(Command::Resume);
    assert_eq!(world.run(), ["step_started"]);
    let Event::RollbackStarted(started) = roll_back(&mut world) else { panic!() };
    assert_eq!(started.restores, [restores(OLD, "0", &[0])]);
}

#[test]
fn what_others_own_by_now_is_left_alone() {
    let mut world = given();
    world.is_taken_over(0);
    world.delete(1);
    let Event::RollbackStarted(started) = roll_back(&mut world) else { panic!() };
    assert_eq!(started.restores, []);
    let mut other = given();
    roll_back(&mut other);
    other.is_taken_over(0);
    assert_eq!(counts(&other), (1, 0, 1), "it is not waited for");
}

#[test]
fn failures_and_silence_end_a_rollback_in_part() {
    let mut world = given();
    roll_back(&mut world);
    world.fails_on(0, OLD, "gone bad");
    assert_eq!(world.act(), Some(Event::RollbackEnded(RollbackEnded { restored: 1, left: 2, node_ids: ids(&[0, 2]) })));
    let mut world = given();
    roll_back(&mut world);
    world.goes_offline(1);
    world.pass(DEADLINE_S - 1);
    assert_eq!(world.run(), [] as [&str; 0]);
    world.pass(1);
    let ended = RollbackEnded { restored: 0, left: 3, node_ids: ids(&[2, 0, 1]) };
    assert_eq!(world.act(), Some(Event::RollbackEnded(ended)));
}

#[test]
fn many_nodes_take_several_facts() {
    let mut world = World::new(0, Spec { batch_size: 5_000, ..spec() });
    for i in 0..2_500u16 {
        world.register_many(i);
    }
    world.run();
    roll_back(&mut world);
    assert_eq!(world.run(), ["rollback_started", "rollback_ended"]);
    let listed = |started: &crate::rollout::Rollback| started.restores.iter().map(|r| r.node_ids.len()).sum::<usize>();
    assert_eq!(world.rollout.rollback.as_ref().map(listed), Some(2_500));
}

#[test]
fn offers_are_withheld_until_the_end_of_a_rollback_and_no_longer() {
    let mut world = given();
    roll_back(&mut world);
    assert!(world.rollout.withholds_offers());
    world.reports(0, OLD);
    assert_eq!(world.run(), ["rollback_ended"]);
    assert!(!world.rollout.withholds_offers(), "a node that stays with the bundle may need it again");
}

/// The fact that ends the rollout overtakes nodes that are at work on the bundle.
#[test]
fn a_node_that_took_the_bundle_while_it_was_withdrawn_goes_back_to_what_it_ran() {
    let mut world = World::new(1, spec());
    world.run();
    world.pass(DEADLINE_S);
    assert_eq!(world.run(), ["failed"]);
    let back = world.desired(0).unwrap();
    assert_eq!((back.bundle, back.by, back.position), (OLD, Assigner::Rollback(world.rollout.id), world.position));
    world.reports(0, NEW);
    assert_eq!(world.desired(0), Some(back));
}
