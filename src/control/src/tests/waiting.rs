//! Nodes that wait for an offer: woken by what gives them one and by nothing else, and never forgotten.

use super::stage::{BASE_URL, Stage, operator};
use crate::{Control, ControlSettings, NodeIdentity};
use contract::{LatestBundle, Operation};
use domain::NodeId;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const WAIT_S: u32 = 60;
/// Far less than the wait, so that an answer within it was woken.
const SOON: Duration = Duration::from_secs(15);

fn wait(control: &Control, node: &NodeIdentity, wait_s: u32) -> JoinHandle<LatestBundle> {
    let (control, node) = (control.clone(), node.clone());
    tokio::spawn(async move { control.await_bundle(&node, wait_s, BASE_URL).await.unwrap() })
}

async fn soon(waiting: JoinHandle<LatestBundle>) -> Option<String> {
    match tokio::time::timeout(SOON, waiting).await.expect("a waiting node was forgotten").unwrap() {
        LatestBundle::Offer(offer) => Some(offer.bundle_id),
        LatestBundle::NoUpdate(_) => None,
    }
}

async fn online(stage: &Stage, name: &str) -> NodeIdentity {
    let (node, _) = stage.node(name).await;
    stage.beat(&node, json!({"health": {"status": "healthy"}})).await.unwrap();
    node
}

async fn until_waiting(stage: &Stage, nodes: usize) {
    stage.until("the nodes wait", || stage.control.waiting() == nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiting_nodes_are_answered_by_one_step() {
    let stage = Stage::start().await;
    let mut nodes = Vec::new();
    for i in 0..1000 {
        nodes.push(stage.node(&format!("n{i}")).await.0);
    }
    let beats = nodes.iter().map(|node| stage.beat(node, json!({"health": {"status": "healthy"}})));
    futures_util::future::try_join_all(beats).await.unwrap();
    let bundle = stage.bundle("v1").await;
    let waiting: Vec<_> = nodes.iter().map(|node| wait(&stage.control, node, WAIT_S)).collect();
    until_waiting(&stage, 1000).await;
    stage.rollout(json!({"bundle_id": bundle, "strategy": "all_at_once"})).await;
    for waiting in waiting {
        assert_eq!(soon(waiting).await.as_ref(), Some(&bundle));
    }
    assert_eq!(stage.control.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_between_the_look_and_the_wait() {
    let stage = Stage::start().await;
    let node = online(&stage, "a").await;
    for round in 0..40 {
        let bundle = stage.bundle(&format!("v{round}")).await;
        let selector = json!({"type": "node_ids", "node_ids": [node.id.to_string()]});
        let rollout = stage.rollout(json!({"bundle_id": bundle, "target_selector": selector}));
        // Both at once, and the question a little later from round to round.
        let asked = async {
            for _ in 0..round * 10 {
                tokio::task::yield_now().await;
            }
            soon(wait(&stage.control, &node, WAIT_S)).await
        };
        let (_, offered) = tokio::join!(rollout, asked);
        assert_eq!(offered, Some(bundle.clone()), "round {round}");
        stage.beat(&node, json!({"active_bundle_id": bundle, "health": {"status": "healthy"}})).await.unwrap();
        stage.until("the rollout ends", || stage.control.views().read().rollouts.live().next().is_none()).await;
    }
}

#[tokio::test]
async fn a_resumed_rollout_offers_to_those_who_wait() {
    let stage = Stage::start().await;
    let node = online(&stage, "a").await;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    assert_eq!(soon(wait(&stage.control, &node, WAIT_S)).await.as_ref(), Some(&bundle));
    assert_eq!(stage.ask(Operation::RolloutPause).id(&rollout).send().await.status, 200);
    let waiting = wait(&stage.control, &node, WAIT_S);
    until_waiting(&stage, 1).await;
    assert_eq!(stage.ask(Operation::RolloutResume).id(&rollout).send().await.status, 200);
    assert_eq!(soon(waiting).await.as_ref(), Some(&bundle));
}

#[tokio::test]
async fn a_cancelled_rollout_offers_what_was_before() {
    let stage = Stage::start().await;
    let node = online(&stage, "a").await;
    let (first, second) = (stage.bundle("v1").await, stage.bundle("v2").await);
    stage.rollout(json!({"bundle_id": first})).await;
    assert_eq!(soon(wait(&stage.control, &node, WAIT_S)).await.as_ref(), Some(&first));
    stage.beat(&node, json!({"active_bundle_id": first, "health": {"status": "healthy"}})).await.unwrap();
    stage.until("the first is over", || stage.control.views().read().rollouts.live().next().is_none()).await;
    let rollout = stage.rollout(json!({"bundle_id": second})).await;
    assert_eq!(soon(wait(&stage.control, &node, WAIT_S)).await.as_ref(), Some(&second));
    // Something else runs there by now, and the second rollout's offer is held back.
    assert_eq!(stage.ask(Operation::RolloutPause).id(&rollout).send().await.status, 200);
    let other = stage.bundle("v3").await;
    stage.beat(&node, json!({"active_bundle_id": other, "health": {"status": "healthy"}})).await.unwrap();
    let waiting = wait(&stage.control, &node, WAIT_S);
    until_waiting(&stage, 1).await;
    assert_eq!(stage.ask(Operation::RolloutCancel).id(&rollout).send().await.status, 200);
    assert_eq!(soon(waiting).await.as_ref(), Some(&first));
}

#[tokio::test]
async fn a_wait_ends_by_time_replacement_deletion_and_going_away() {
    let stage = Stage::start().await;
    let node = online(&stage, "a").await;
    let began = Instant::now();
    assert_eq!(soon(wait(&stage.control, &node, 1)).await, None);
    assert!(began.elapsed() >= Duration::from_secs(1));

    let older = wait(&stage.control, &node, WAIT_S);
    until_waiting(&stage, 1).await;
    let newer = wait(&stage.control, &node, WAIT_S);
    assert_eq!(soon(older).await, None);
    until_waiting(&stage, 1).await;
    newer.abort();
    until_waiting(&stage, 0).await;

    let waiting = wait(&stage.control, &node, WAIT_S);
    until_waiting(&stage, 1).await;
    assert_eq!(stage.ask(Operation::NodeDelete).id(&node.id.to_string()).send().await.status, 204);
    assert_eq!(soon(waiting).await, None);
}

#[tokio::test]
async fn those_beyond_the_bound_are_answered_at_once() {
    let stage = Stage::with(ControlSettings { waiting_max: 1, ..ControlSettings::default() }).await;
    let (first, second) = (online(&stage, "a").await, online(&stage, "b").await);
    let waiting = wait(&stage.control, &first, WAIT_S);
    until_waiting(&stage, 1).await;
    assert_eq!(soon(wait(&stage.control, &second, WAIT_S)).await, None);
    let bundle = stage.bundle("v1").await;
    stage.rollout(json!({"bundle_id": bundle, "strategy": "all_at_once"})).await;
    assert_eq!(soon(waiting).await.as_ref(), Some(&bundle));
    assert_eq!(soon(wait(&stage.control, &second, WAIT_S)).await.as_ref(), Some(&bundle), "what is due needs no place");
}

#[tokio::test]
async fn a_stopping_replica_answers_all_and_asks_them_back_soon() {
    let stage = Stage::start().await;
    let node = online(&stage, "a").await;
    let waiting = wait(&stage.control, &node, WAIT_S);
    until_waiting(&stage, 1).await;
    stage.control.stop_waiting();
    for waiting in [waiting, wait(&stage.control, &node, WAIT_S)] {
        let LatestBundle::NoUpdate(answer) = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap() else {
            panic!("there is nothing to offer")
        };
        assert!((1..=5).contains(&answer.poll_after_s), "{}", answer.poll_after_s);
    }
}

/// Another replica stores the fact; this one's waiters hear of it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_another_replica_wakes_too() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let node = online(&stage, "a").await;
    let bundle = stage.bundle("v1").await;
    let knows = |stage: &Stage, id: NodeId| stage.control.views().read().nodes.get(id).is_some();
    other.until("the other replica knows the node", || knows(&other, node.id)).await;
    let waiting = wait(&other.control, &node, WAIT_S);
    until_waiting(&other, 1).await;
    let answer = stage.ask(Operation::RolloutCreate).by(&operator()).body(json!({"bundle_id": bundle})).send().await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(soon(waiting).await.as_ref(), Some(&bundle));
}
