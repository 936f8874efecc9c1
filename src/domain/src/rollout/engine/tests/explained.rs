//! Why nothing happens, with what that rests on.

use super::world::*;
use crate::fleet::Assigner;
use crate::node::Status;
use crate::rollout::{Blocker, Command, Explanation, NodeState, Reason, Spec, explain, explain_node, members, report};

fn explained(world: &World) -> Explanation {
    explain(&world.rollout, &world.fleet, LIMITS, world.now)
}

fn why(world: &World, i: u8) -> (&'static str, String) {
    let found = explain_node(id(i), &world.fleet, std::iter::once(&world.rollout)).unwrap();
    (found.predicate, found.evidence.says)
}

#[test]
fn the_nodes_that_are_waited_for_are_told_with_the_facts_that_say_so() {
    let mut world = World::new(2, Spec { batch_size: 2, ..spec() });
    world.run();
    let assigned = world.position;
    world.reports(1, NEW);
    let found = explained(&world);
    assert_eq!((found.predicate, found.nodes, found.position), ("nodes_pending", 1, world.rollout.position));
    assert_eq!(found.next_deadline, world.verdict().next_deadline);
    let node = &found.evidence[0];
    assert_eq!((node.id, node.status, node.assigned), (id(0), Some(Status::Online), Some(assigned)));
    assert_eq!(node.says, format!("runs bundle {OLD} and has not reported the bundle"));
    assert!(node.switched < Some(assigned) && node.status_changed < Some(assigned) && node.failed.is_none());
    assert_eq!(node.last_beat_at, Some(world.now));
    world.reports(0, NEW);
    world.beats(0, false);
    let found = explained(&world);
    assert_eq!((found.predicate, found.evidence[0].says.as_str()), ("nodes_verifying", "says that it is not healthy"));
    assert!(found.evidence[0].switched > Some(assigned));
}

#[test]
fn a_pause_is_explained_by_its_cause() {
    let mut world = World::new(1, spec());
    world.run();
    world.fails(0, "port 80 is taken");
    world.run();
    let found = explained(&world);
    assert_eq!((found.predicate, found.cause.unwrap().reason), ("paused", Reason::ActivationFailed));
    assert_eq!(found.evidence[0].says, "could not activate the bundle: port 80 is taken");
    assert!(found.evidence[0].failed > found.evidence[0].assigned);
}

#[test]
fn every_blocker_has_its_name() {
    let mut held = World::new(1, Spec { held: true, ..spec() });
    assert_eq!(explained(&held).predicate, "not_started");
    held.wish(Command::Start);
    assert_eq!((explained(&held).predicate, explained(&held).blocker), ("due", None));
    held.wish(Command::Cancel);
    assert_eq!((explained(&held).predicate, explained(&held).blocker), ("ended", Some(Blocker::Ended)));
    let mut world = World::new(1, spec());
    world.goes_offline(0);
    let found = explained(&world);
    assert_eq!((found.predicate, found.evidence[0].says.as_str()), ("nobody_available", "is offline"));
}

#[test]
fn a_node_is_explained_in_every_situation() {
    let mut world = World::new(2, spec());
    assert_eq!(why(&world, 0).0, "waits_for_step");
    world.run();
    assert_eq!(why(&world, 0), ("not_reported", format!("is offered bundle {NEW} and has not reported it")));
    assert_eq!(why(&world, 1).0, "waits_for_step");
    let mut paused = world.clone();
    paused.wish(Command::Pause);
    assert_eq!(why(&paused, 0).0, "offer_withheld");
    let mut revoked = world.clone();
    revoked.revoke(NEW);
    assert_eq!(why(&revoked, 0).0, "bundle_not_deployable");
    let mut failed = world.clone();
    failed.fails(0, "no");
    assert_eq!(why(&failed, 0).0, "activation_failed");
    let mut offline = world.clone();
    offline.goes_offline(0);
    assert_eq!(why(&offline, 0).0, "offline");
    let mut taken_over = world.clone();
    taken_over.is_taken_over(0);
    assert_eq!(why(&taken_over, 0).0, "as_desired", "it had its step, and runs what others want");
    world.register_unapproved(7);
    assert_eq!(why(&world, 7).0, "waits_for_approval");
    world.reports(0, NEW);
    assert_eq!(why(&world, 0).0, "as_desired");
    world.wish(Command::Cancel);
    assert_eq!(why(&world, 1).0, "nothing_assigned");
    let found = explain_node(id(0), &world.fleet, std::iter::empty()).unwrap();
    assert_eq!(
        (found.rollout, found.desired.unwrap().by),
        (Some(world.rollout.id), Assigner::Rollout(world.rollout.id))
    );
    assert_eq!(explain_node(id(9), &world.fleet, std::iter::empty()), None);
}

#[test]
fn every_node_has_a_state_and_a_reason() {
    let mut world = World::new(7, Spec { batch_size: 5, max_unavailable: 5, ..spec() });
    world.goes_offline(6);
    world.run();
    world.reports(0, NEW);
    world.reports(1, NEW);
    world.beats(1, false);
    world.fails(2, "no");
    world.goes_offline(3);
    let told = |world: &World| {
        let all =
            members(&world.rollout, &world.fleet).map(|m| report(&world.rollout, m, &world.fleet, LIMITS, world.now));
        all.map(|node| (node.state, node.reason, node.step)).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (NodeState::Active, None, Some(0)),
        (NodeState::Verifying, text("says that it is not healthy"), Some(0)),
        (NodeState::Failed, text("no"), Some(0)),
        (NodeState::Lost, text("is offline"), Some(0)),
        (NodeState::Offered, None, Some(0)),
        (NodeState::Pending, text("waits for its step"), None),
        (NodeState::Deferred, text("is offline"), None),
    ];
    assert_eq!(told(&world), expected);
    world.delete(0);
    let last = told(&world).pop();
    assert_eq!(last, Some((NodeState::Gone, text("was deleted"), Some(0))), "after all that have a name");
    world.wish(Command::Cancel);
    assert_eq!(told(&world)[4].1, text("was not reached before the rollout ended"));
}
