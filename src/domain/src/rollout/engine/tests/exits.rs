//! Properties over random histories: no rollout waits forever, deciding is repeatable, replaying is living again.

use super::world::*;
use crate::Labels;
use crate::rollout::{
    Blocker, Command, HealthGates, LateJoiners, Rollout, Spec, State, Strategy, decide, explain, members, plan, report,
};
use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as PropStrategy;

const NODES: u8 = 6;

/// What may happen between two decisions.
#[derive(Clone, Debug)]
enum Happening {
    Beats { node: u8, healthy: bool },
    Activates(u8),
    Fails(u8, bool),
    GoesOffline(u8),
    Deleted(u8),
    Joins(u8),
    TakenOver(u8),
    Passes(u32),
    Revoked,
    Wish(Command),
    RolledBack,
}

fn happening() -> impl PropStrategy<Value = Happening> {
    let node = 0..NODES;
    prop_oneof![
        4 => (node.clone(), any::<bool>()).prop_map(|(node, healthy)| Happening::Beats { node, healthy }),
        8 => node.clone().prop_map(Happening::Activates),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, same)| Happening::Fails(node, same)),
        2 => node.clone().prop_map(Happening::GoesOffline),
        1 => node.clone().prop_map(Happening::Deleted),
        1 => (NODES..NODES + 3).prop_map(Happening::Joins),
        1 => node.prop_map(Happening::TakenOver),
        4 => (1..400u32).prop_map(Happening::Passes),
        1 => Just(Happening::Revoked),
        3 => prop_oneof![3 => Just(Command::Resume), 1 => Just(Command::Pause)].prop_map(Happening::Wish),
        1 => Just(Happening::RolledBack),
    ]
}

fn specs() -> impl PropStrategy<Value = Spec> {
    let numbers = (1..4u32, 0..3u32);
    (numbers, any::<[bool; 3]>()).prop_map(|((batch_size, max_unavailable), [rolling, gate, join])| Spec {
        strategy: if rolling { Strategy::Rolling } else { Strategy::AllAtOnce },
        batch_size,
        max_unavailable,
        health_gates: HealthGates { heartbeat_healthy: gate },
        late_joiners: if join { LateJoiners::Join } else { LateJoiners::Ignore },
        ..spec()
    })
}

fn happen(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Beats { node, healthy } => world.beats(*node, *healthy),
        Happening::Activates(node) => world.reports(*node, NEW),
        Happening::Fails(node, same) => world.fails(*node, if *same { "no" } else { "never" }),
        Happening::GoesOffline(node) => world.goes_offline(*node),
        Happening::Deleted(node) => world.delete(*node),
        Happening::Joins(node) => world.register(*node, Labels::default()),
        Happening::TakenOver(node) => world.is_taken_over(*node),
        Happening::Passes(seconds) => world.pass(*seconds),
        Happening::Revoked => world.revoke(NEW),
        Happening::RolledBack => {
            let wish = Command::Rollback(plan(&world.rollout, &world.fleet));
            if decide(&world.rollout, wish.clone()).is_ok() {
                world.wish(wish);
            }
        }
        Happening::Wish(wish) => {
            if decide(&world.rollout, wish.clone()).is_ok() {
                world.wish(wish.clone());
            }
        }
    }
}

/// Every answer has an action, or says what is waited for and until when; asking twice changes nothing; deciding twice is
/// refused, except for what may be said again without harm.
fn check(world: &World) {
    let verdict = world.verdict();
    assert_eq!(verdict, world.verdict());
    let explained = explain(&world.rollout, &world.fleet, LIMITS, world.now);
    assert_eq!((&explained.blocker, explained.next_deadline), (&verdict.blocker, verdict.next_deadline));
    for member in members(&world.rollout, &world.fleet) {
        report(&world.rollout, member, &world.fleet, LIMITS, world.now);
    }
    match (&verdict.action, &verdict.blocker) {
        (Some(action), None) => {
            let mut after = world.clone();
            after.wish(action.clone());
            assert!(decide(&after.rollout, action.clone()).is_err(), "{action:?} twice");
        }
        (None, Some(Blocker::Ended)) => assert!(!world.rollout.is_live()),
        (None, Some(blocker)) => {
            let wishes = [Command::Start, Command::Cancel];
            let allowed = wishes.into_iter().all(|wish| decide(&world.rollout, wish).is_ok());
            assert_eq!(allowed, *blocker == Blocker::NotStarted, "people can go on, and end it");
            assert!(verdict.next_deadline.is_some_and(|at| at > world.now), "{verdict:?} at {}", world.now);
        }
        _ => panic!("{verdict:?}"),
    }
}

proptest! {
    #[test]
    fn every_rollout_ends_whatever_the_nodes_do(
        spec in specs(), history in prop::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new(NODES, spec);
        for happening in &history {
            happen(&mut world, happening);
            check(&world);
            world.run();
        }
        // From here on nothing is heard any more: only the clock moves, to where the engine says that it will think again.
        for _ in 0..50 {
            world.run();
            check(&world);
            match world.verdict().next_deadline {
                Some(at) => world.now = at,
                None => break,
            }
        }
        prop_assert!(world.rollout.state.is_terminal(), "{:?}", world.rollout.state);
        prop_assert!(!world.rollout.is_live(), "{:?}", world.rollout.rollback);
    }

    #[test]
    fn a_held_rollout_waits_and_ends_as_any_other_once_it_is_started(
        spec in specs(), history in prop::collection::vec(happening(), 0..30),
    ) {
        let mut world = World::new(NODES, Spec { held: true, ..spec });
        for happening in history.iter().filter(|happening| !matches!(happening, Happening::RolledBack)) {
            happen(&mut world, happening);
            check(&world);
            prop_assert_eq!(world.run(), [] as [&str; 0]);
        }
        world.wish(Command::Start);
        for _ in 0..50 {
            world.run();
            check(&world);
            match world.verdict().next_deadline {
                Some(at) => world.now = at,
                None => break,
            }
        }
        prop_assert!(world.rollout.state.is_terminal(), "{:?}", world.rollout.state);
    }

    #[test]
    fn an_operator_can_always_end_it(spec in specs(), history in prop::collection::vec(happening(), 0..40)) {
        let mut world = World::new(NODES, spec);
        for happening in &history {
            happen(&mut world, happening);
            world.run();
        }
        let cancelled = decide(&world.rollout, Command::Cancel).is_ok();
        prop_assert_eq!(cancelled, !world.rollout.state.is_terminal());
    }

    #[test]
    fn replaying_the_facts_gives_the_same_rollout(
        spec in specs(), history in prop::collection::vec(happening(), 0..40), cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(NODES, spec);
        let mut replayed = world.rollout.clone();
        for happening in &history {
            happen(&mut world, happening);
            world.run();
        }
        let split = cut.index(world.facts.len() + 1);
        for (i, (event, time, position)) in world.facts.iter().enumerate() {
            if i == split {
                let snapshot = serde_json::to_string(&replayed).unwrap();
                replayed = serde_json::from_str::<Rollout>(&snapshot).unwrap();
            }
            replayed.evolve(event, *time, *position);
        }
        prop_assert_eq!(replayed, world.rollout);
    }

    #[test]
    fn a_fleet_that_obeys_completes(spec in specs(), order in prop::collection::vec(0..NODES, 0..80)) {
        let mut world = World::new(NODES, spec);
        world.run();
        for node in order.into_iter().chain(0..NODES).chain(0..NODES).chain(0..NODES).chain(0..NODES) {
            let assigned = world.rollout.steps.iter().any(|step| step.node_ids.contains(&id(node)));
            if assigned { world.reports(node, NEW) } else { world.beats(node, true) }
            world.run();
        }
        (0..NODES).for_each(|node| world.reports(node, NEW));
        world.run();
        prop_assert_eq!(&world.rollout.state, &State::Completed);
    }
}
