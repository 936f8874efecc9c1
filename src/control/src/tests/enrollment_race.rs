//! Hosts with rival keys and operators at odds, over replicas whose store lies: whatever happens, an id has one live enrollment,
//! credentials are given to one key once, and nothing is left that cannot go on.

use super::enrollment::told;
use super::hosts::{Host, approve, host, revoke};
use super::stage::{Stage, until};
use contract::{CredsAnswer, Operation};
use domain::enrollment::{Event as HostEvent, Host as Known};
use domain::{Aggregate, Event, HostId, Recorded};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const ROUNDS: usize = 8;
const LISTENING: Duration = Duration::from_millis(300);

/// Picks without a state of its own, so that tasks share it.
fn pick(seed: u64, step: usize, of: usize) -> usize {
    let mut x = seed.wrapping_add(step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 29)) as usize) % of
}

/// Asks to be let in and for its credentials, again and again, wherever.
async fn live(replicas: &[Stage], id: &str, seed: u64) -> Vec<(String, String, CredsAnswer)> {
    let (mut given, mut me) = (Vec::new(), host(id));
    for round in 0..ROUNDS {
        let replica = &replicas[pick(seed, round, replicas.len())];
        let Ok(challenge) = replica.control.challenge(&me.id, &me.public()).await else { continue };
        let asked = replica.control.enroll(me.request(&challenge), super::hosts::FROM, None).await;
        let enrollment = match asked {
            Ok((_, answer, _)) => answer.id,
            // Its key is blocked: it makes another one.
            Err(e) if e.code.status() == 403 => {
                me = host(id);
                continue;
            }
            Err(e) => {
                assert!(matches!(e.code.status(), 401 | 409 | 503), "{e}");
                continue;
            }
        };
        decided(replica, &enrollment).await;
        let replica = &replicas[pick(seed, round + 100, replicas.len())];
        let key = (pick(seed, round, 2) == 0).then_some("k");
        match me.creds(replica, &enrollment, key).await {
            Ok(creds) => given.push((enrollment, me.public(), creds)),
            Err(e) => assert!(matches!(e.code.status(), 403 | 404 | 409 | 503), "{e}"),
        }
    }
    given
}

/// Listens for a while, as hosts do.
async fn decided(replica: &Stage, enrollment: &str) {
    let Ok(mut watch) = replica.control.watch_enrollment(enrollment, super::hosts::FROM, true).await else { return };
    let heard = async { while watch.next().await.is_some() {} };
    // Whether it was decided by then shows at the next step.
    let _ = tokio::time::timeout(LISTENING, heard).await;
}

/// Decides about whatever it sees, in one way or another, until `over`.
async fn decide(replicas: &[Stage], seed: u64, over: &AtomicBool) {
    let mut round = 0;
    while !over.load(SeqCst) {
        round += 1;
        // A round without anything to decide waits for nobody.
        tokio::task::yield_now().await;
        let replica = &replicas[pick(seed, round, replicas.len())];
        let listed = replica.ask(Operation::EnrollList).query("state", "all").send().await;
        for (n, found) in listed.body["enrollments"].as_array().into_iter().flatten().enumerate() {
            let id = found["id"].as_str().unwrap();
            let answer = match (found["state"].as_str().unwrap(), pick(seed, round + n, 6)) {
                ("pending", 0) => replica.ask(Operation::EnrollReject).id(id).send().await,
                ("pending", 1) => approve(replica, id, json!({"project": "demo"})).await,
                ("pending", _) => approve(replica, id, json!({})).await,
                ("approved" | "issued" | "active", 5) => revoke(replica, id).await,
                _ => continue,
            };
            assert!(matches!(answer.status, 200 | 404 | 409 | 422 | 503), "{answer:?}");
        }
    }
}

/// Folds the facts as a reader would, and looks after each.
fn check(facts: &[Recorded]) -> BTreeMap<String, String> {
    let (mut hosts, mut issued) = (BTreeMap::<HostId, Known>::new(), BTreeMap::new());
    for fact in facts {
        let (Aggregate::Enrollment { org, host }, Event::Enrollment(event)) = (&fact.aggregate, &fact.envelope.event)
        else {
            continue;
        };
        let (time, position) = (fact.envelope.time, fact.position);
        match (hosts.get_mut(host), event) {
            (Some(known), event) => known.evolve(org, event, &fact.envelope.actor, time, position),
            (None, HostEvent::Submitted(first)) => {
                hosts.insert(host.clone(), Known::submitted((org.clone(), host.clone()), first, time, position));
            }
            (None, other) => panic!("{other:?} of nobody"),
        }
        let known = &hosts[host];
        let live: Vec<_> = known.enrollments.iter().filter(|one| one.state.is_live()).collect();
        assert!(live.len() <= 1 && live.iter().all(|one| one.id == known.current().id), "{known:?}");
        if let HostEvent::Issued(fact) = event {
            let before = issued.insert(fact.enrollment_id.to_string(), known.current().public_key.clone());
            assert_eq!(before, None, "{} got credentials twice", fact.enrollment_id);
        }
    }
    issued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_and_a_store_that_lies_leave_one_live_host_per_id() {
    let mut count = 0;
    for seed in [1, 2] {
        let honest = Stage::start().await;
        let replicas = [honest.beside_faulty(seed), honest.beside_faulty(seed + 10), honest.beside().await];
        until("all have begun", || replicas.iter().all(|replica| replica.control.is_caught_up())).await;
        let ids = ["web-01", "web-01", "web-02", "web-02", "web-03"];
        let hosts = join_all(ids.iter().enumerate().map(|(n, id)| live(&replicas, id, seed * 100 + n as u64)));
        let over = AtomicBool::new(false);
        let hosts = async {
            let given = hosts.await;
            over.store(true, SeqCst);
            given
        };
        let operators = (decide(&replicas, seed, &over), decide(&replicas, seed + 50, &over));
        let (given, (), ()) = tokio::join!(hosts, operators.0, operators.1);

        let issued = check(&honest.facts().await);
        count += issued.len();
        let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
        for (enrollment, key, creds) in given.into_iter().flatten() {
            assert_eq!(issued.get(&enrollment), Some(&key), "to the key that the fact names");
            texts.entry(enrollment).or_default().insert(creds.creds_data);
        }
        assert!(texts.values().all(|texts| texts.len() == 1), "one JWT for each");

        for id in BTreeSet::from(ids) {
            let state = honest.control.views().read().enrollments.host(&id.parse().unwrap()).map(|known| {
                let current = known.current();
                (current.id.to_string(), current.state.as_str())
            });
            if let Some((current, state)) = state {
                let ended = match state {
                    "pending" => honest.ask(Operation::EnrollReject).id(&current).send().await.status,
                    "rejected" | "revoked" => 200,
                    _ => revoke(&honest, &current).await.status,
                };
                assert_eq!(ended, 200, "{id} {state}");
            }
            let fresh: Host = host(id);
            let again = fresh.try_enroll(&honest, None).await.map_err(told);
            assert!(again.as_ref().is_ok_and(|(is_new, _)| *is_new), "{id} is wedged: {again:?}");
        }
    }
    assert!(count > 0, "nobody got that far");
}
