//! `fold(facts) == fold(snapshot, tail)` over random histories that the domain allows.

use super::history::*;
use crate::State;
use domain::api_key::{self, Scope};
use domain::fleet::Assigner;
use domain::rollout::{
    Completed, LateAssigned, Restore, RollbackEnded, RollbackStarted, Selector, StepCompleted, StepStarted,
};
use domain::{bundle, node, org, rollout};
use proptest::prelude::{Just, any, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy;

/// A wish; what the domain refuses is not written.
#[derive(Clone, Debug)]
enum Wish {
    Key(u8, bool),
    SigningKey(u8, bool),
    Register(u8),
    Node(u8, node::Command),
    CreateBundle(u8),
    Bundle(u8, bundle::Command),
    Assign(u8, Vec<u8>),
    CreateRollout(u8, u8, bool),
    /// With these nodes to be restored.
    Rollback(u8, Vec<u8>),
    StartStep(u8, Vec<u8>),
    CompleteStep(u8),
    Rollout(u8, rollout::Command),
    Passes(u32),
}

fn observe(bundle: Option<u8>, failed: bool) -> node::Command {
    let report = node::Report {
        active_bundle_id: bundle.map(bundle_id),
        metadata: Some(serde_json::Map::from_iter([("n".to_owned(), 1.5.into())])),
        ..node::Report::default()
    };
    let failed = failed.then(|| node::ActivationFailed { bundle_id: bundle_id(1), reason: "no".into() });
    node::Command::Observe { report, failed }
}

fn wish() -> impl Strategy<Value = Wish> {
    let id = || 1..4u8;
    let seen = prop::option::of(Just(at(5)));
    let node_wish = prop_oneof![
        4 => (prop::option::of(id()), any::<bool>()).prop_map(|(bundle, failed)| observe(bundle, failed)),
        2 => seen.prop_map(|last_seen_at| node::Command::MarkOffline { last_seen_at }),
        1 => Just(node::Command::Delete),
    ];
    let failed = || bundle::Failed { problems: Vec::new() };
    let bundle_wish = prop_oneof![
        3 => id().prop_map(|i| bundle::Command::Finish(Ok(compiled(i)))),
        1 => Just(bundle::Command::Finish(Err(failed()))),
        1 => Just(bundle::Command::Revoke { reason: None }),
        1 => Just(bundle::Command::Delete { deployed: false }),
    ];
    let end = || Completed { updated: 1, deferred: 1 };
    let over = || RollbackEnded { restored: 1, left: 0, node_ids: Vec::new() };
    let late = || LateAssigned { bundle_id: bundle_id(1), digest: digest(1), node_ids: vec![node_id(3)] };
    let rollout_wish = prop_oneof![
        Just(rollout::Command::Start),
        Just(rollout::Command::Pause),
        Just(rollout::Command::Resume),
        Just(rollout::Command::Cancel),
        Just(rollout::Command::Complete(end())),
        Just(rollout::Command::Fail(cause())),
        Just(rollout::Command::EndRollback(over())),
        Just(rollout::Command::AssignLate(late())),
    ];
    prop_oneof![
        1 => (id(), any::<bool>()).prop_map(|(i, revoke)| Wish::Key(i, revoke)),
        1 => (id(), any::<bool>()).prop_map(|(i, off)| Wish::SigningKey(i, off)),
        3 => id().prop_map(Wish::Register),
        6 => (id(), node_wish).prop_map(|(i, wish)| Wish::Node(i, wish)),
        2 => id().prop_map(Wish::CreateBundle),
        3 => (id(), bundle_wish).prop_map(|(i, wish)| Wish::Bundle(i, wish)),
        2 => (id(), id(), any::<bool>()).prop_map(|(i, bundle, all)| Wish::CreateRollout(i, bundle, all)),
        6 => (id(), prop::collection::vec(id(), 1..3)).prop_map(|(i, nodes)| Wish::StartStep(i, nodes)),
        3 => id().prop_map(Wish::CompleteStep),
        1 => (id(), prop::collection::vec(id(), 1..3)).prop_map(|(i, nodes)| Wish::Assign(i, nodes)),
        2 => (id(), prop::collection::vec(id(), 1..3)).prop_map(|(i, nodes)| Wish::Rollback(i, nodes)),
        3 => (id(), rollout_wish).prop_map(|(i, wish)| Wish::Rollout(i, wish)),
        1 => (0..50_000u32).prop_map(Wish::Passes),
    ]
}

fn key_fact(i: u8) -> api_key::Created {
    api_key::Created {
        name: format!("key {i}"),
        scopes: [Scope::NodesRead].into(),
        project: Some(demo()),
        expires_at: Some(at(9)),
        key_prefix: "x".into(),
    }
}

fn signing_key(i: u8) -> org::SigningKeyCreated {
    org::SigningKeyCreated { key_id: format!("sk_{i}"), key_use: org::KeyUse::Bundle, public_key: format!("p{i}") }
}

fn start(history: &mut History, i: u8, nodes: &[u8]) {
    let Some(rollout) = history.state.rollouts.get(rollout_id(i)) else { return };
    // Repeats the open step, or starts the next one.
    let open = rollout.steps.iter().find(|step| step.completed_at.is_none());
    let (step_index, attempt) = open.map_or((rollout.steps.len() as u32, 0), |step| (step.index, step.attempt + 1));
    let node_ids = match open {
        Some(step) => step.node_ids.clone(),
        None => nodes.iter().map(|i| node_id(*i)).collect(),
    };
    let bundle_id = rollout.spec.bundle_id;
    let started = StepStarted { step_index, attempt, bundle_id, digest: digest(1), node_ids };
    decide_rollout(history, i, rollout::Command::StartStep(started));
}

fn decide_rollout(history: &mut History, i: u8, command: rollout::Command) {
    let Some(rollout) = history.state.rollouts.get(rollout_id(i)) else { return };
    if let Ok(event) = rollout::decide(rollout, command) {
        history.rollout(i, event);
    }
}

fn carry_out(history: &mut History, wish: Wish) {
    let state = &history.state;
    match wish {
        Wish::Key(i, false) => drop(history.api_key(i, api_key::Event::Created(key_fact(i)))),
        Wish::Key(i, true) => drop(history.api_key(i, api_key::Event::Revoked(api_key::Revoked {}))),
        Wish::SigningKey(i, false) => drop(history.org(org::Event::SigningKeyCreated(signing_key(i)))),
        Wish::SigningKey(i, true) => {
            let key_id = format!("sk_{i}");
            history.org(org::Event::SigningKeyDeactivated(org::SigningKeyDeactivated { key_id }));
        }
        Wish::Register(i) if state.nodes.get(node_id(i)).is_none() => {
            history.register(i, &format!("n{i}"), labels(&[("zone", "x")]));
        }
        Wish::Node(i, command) => {
            if let Some(event) = state.nodes.get(node_id(i)).and_then(|node| node::decide(node, command)) {
                history.node(i, event);
            }
        }
        Wish::CreateBundle(i) if state.bundles.get(bundle_id(i)).is_none() => {
            let fact = bundle::Created {
                version: format!("v{i}").parse().unwrap(),
                source_digest: digest(i),
                source_bytes: 1,
            };
            let command = Some((i, u64::from(i)));
            history.fact_of(command, bundle(i), domain::Event::Bundle(bundle::Event::Created(fact)));
        }
        Wish::Bundle(i, command) => {
            let command = match command {
                bundle::Command::Delete { .. } => {
                    bundle::Command::Delete { deployed: state.bundles.is_deployed(bundle_id(i)) }
                }
                other => other,
            };
            let decided = state.bundles.get(bundle_id(i)).map(|bundle| bundle::decide(bundle, command));
            if let Some(Ok(Some(event))) = decided {
                history.bundle(i, event);
            }
        }
        Wish::CreateRollout(i, bundle, all) if state.rollouts.get(rollout_id(i)).is_none() => {
            let selector = if all { Selector::All {} } else { Selector::node_ids(vec![node_id(1), node_id(2)]) };
            let spec = rollout::Spec { held: all && bundle == 1, ..spec(bundle, selector) };
            history.rollout(i, rollout::Event::Created(spec));
        }
        Wish::StartStep(i, nodes) => start(history, i, &nodes),
        Wish::Assign(i, nodes) => {
            let command = bundle::Command::Assign { node_ids: nodes.iter().map(|i| node_id(*i)).collect() };
            let decided = state.bundles.get(bundle_id(i)).map(|bundle| bundle::decide(bundle, command));
            if let Some(Ok(Some(event))) = decided {
                history.bundle(i, event);
            }
        }
        Wish::Rollback(i, nodes) => {
            let node_ids = nodes.iter().map(|i| node_id(*i)).collect();
            let restores = vec![Restore { bundle_id: bundle_id(3), digest: digest(3), node_ids }];
            decide_rollout(history, i, rollout::Command::Rollback(RollbackStarted { restores, left: Vec::new() }));
        }
        Wish::CompleteStep(i) => {
            let open = |step: &&rollout::Step| step.completed_at.is_none();
            let step = state.rollouts.get(rollout_id(i)).and_then(|rollout| rollout.steps.iter().find(open));
            if let Some(step_index) = step.map(|step| step.index) {
                let completed = StepCompleted { step_index, deferred_node_ids: vec![node_id(1)] };
                decide_rollout(history, i, rollout::Command::CompleteStep(completed));
            }
        }
        Wish::Rollout(i, command) => decide_rollout(history, i, command),
        Wish::Passes(seconds) => history.second += i64::from(seconds),
        Wish::Register(_) | Wish::CreateBundle(_) | Wish::CreateRollout(..) => {}
    }
}

fn live(wishes: Vec<Wish>) -> History {
    let mut history = History::default();
    history.org(org::Event::Created(org::Created { name: "Default".into() }));
    history.project("demo");
    wishes.into_iter().for_each(|wish| carry_out(&mut history, wish));
    history
}

proptest! {
    #[test]
    fn a_snapshot_and_the_tail_give_what_all_facts_give(
        wishes in prop::collection::vec(wish(), 0..120), cut in any::<prop::sample::Index>(),
    ) {
        let history = live(wishes);
        prop_assert_eq!(&fold(&history.facts), &history.state);
        let cut = cut.index(history.facts.len() + 1);
        let before = fold(&history.facts[..cut]);
        let bytes = before.to_snapshot().unwrap();
        let mut restored = State::from_snapshot(&bytes).unwrap();
        prop_assert_eq!(&restored, &before);
        prop_assert_eq!(restored.to_snapshot().unwrap(), bytes);
        // The tail overlaps with what the snapshot holds.
        history.facts[cut / 2..].iter().for_each(|fact| restored.apply(&decode(fact)));
        prop_assert_eq!(&restored, &history.state);
    }
}

#[test]
fn every_kind_of_row_is_in_a_snapshot() {
    let mut history = live(vec![
        Wish::SigningKey(1, false),
        Wish::Key(1, false),
        Wish::Register(1),
        Wish::Register(2),
        Wish::CreateBundle(1),
        Wish::CreateBundle(2),
        Wish::Bundle(1, bundle::Command::Finish(Ok(compiled(1)))),
        Wish::CreateRollout(1, 1, false),
        Wish::StartStep(1, vec![1, 2]),
        Wish::CreateRollout(2, 2, true),
        Wish::StartStep(2, vec![2]),
        Wish::Node(1, observe(Some(1), false)),
        Wish::Node(2, observe(None, true)),
    ]);
    let restored = State::from_snapshot(&history.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, history.state);
    let row = restored.nodes.row(node_id(2)).unwrap();
    assert!(row.desired.is_some() && row.previous.is_some() && row.node.failure.is_some());
    assert!(restored.orgs.signing_key("sk_1").is_some());
    assert_eq!(restored.rollouts.live().count(), 2);
    assert_eq!(restored.rollouts.newest_position(&demo()), history.state.rollouts.newest_position(&demo()));
    assert_eq!(restored.commands.rows().count(), 2);
    // What a live rollout had assigned before the snapshot is withdrawn after it.
    let mut restored = restored;
    history.rollout(2, cancelled());
    restored.apply(&decode(history.facts.last().unwrap()));
    assert_eq!(restored, history.state);
    assert_eq!(
        restored.nodes.row(node_id(2)).unwrap().desired.as_ref().map(|d| d.by),
        Some(Assigner::Rollout(rollout_id(1)))
    );
}

#[test]
fn a_damaged_snapshot_is_an_error_and_no_panic() {
    let bytes = live(vec![Wish::Register(1), Wish::CreateBundle(1)]).state.to_snapshot().unwrap();
    for cut in 0..bytes.len() {
        assert!(State::from_snapshot(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for i in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[i] ^= 0x55;
        // Some damage stays undetected here: the blob's digest is what finds it.
        let _ = State::from_snapshot(&damaged);
    }
}
