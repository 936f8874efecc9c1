//! The one door for operators, over every operation of the table.

use super::stage::{Stage, code, operator};
use super::world::{World, another_org};
use crate::{Caller, Grants};
use contract::{Access, Operation, Route};
use domain::api_key::Scope;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn with_scopes(scopes: impl IntoIterator<Item = Scope>) -> Caller {
    Caller { grants: Grants::Scopes(scopes.into_iter().collect()), ..operator() }
}

/// Operations whose path names a project.
fn in_project(operation: Operation) -> bool {
    Route::of(operation).path.contains("{slug}")
}

#[tokio::test]
async fn every_operation_succeeds_with_the_status_of_its_route() {
    let stage = Stage::start().await;
    let world = World::of(&stage).await;
    for operation in Operation::ALL {
        let answer = stage.ask(operation).request(&world.request(operation)).send().await;
        assert_eq!(answer.status, Route::of(operation).success, "{}: {}", operation.name(), answer.body);
        assert!(answer.position > 0 && answer.error().is_none(), "{}", operation.name());
    }
}

#[tokio::test]
async fn a_missing_scope_is_403_whatever_else_is_there() {
    let stage = Stage::start().await;
    let world = World::of(&stage).await;
    let facts = stage.facts().await.len();
    for operation in Operation::ALL {
        let (callers, required) = match Route::of(operation).access {
            Access::Scope(scope) => {
                let others = Scope::ALL.into_iter().filter(|other| *other != scope);
                (vec![with_scopes(others), with_scopes([])], scope.as_str())
            }
            Access::FullAccess => {
                let confined = Caller { project: Some("demo".parse().unwrap()), ..operator() };
                (vec![with_scopes(Scope::ALL), confined], "full access")
            }
            _ => (vec![], ""),
        };
        for caller in callers {
            let answer = stage.ask(operation).request(&world.request(operation)).by(&caller).send().await;
            assert_eq!((answer.status, code(&answer)), (403, "insufficient_scope"), "{}", operation.name());
            assert_eq!(answer.body["error"], format!("Insufficient scope. Required: {required}"));
        }
    }
    assert_eq!(stage.facts().await.len(), facts);
}

#[tokio::test]
async fn one_scope_is_enough() {
    let stage = Stage::start().await;
    let world = World::of(&stage).await;
    for operation in Operation::ALL {
        let Access::Scope(scope) = Route::of(operation).access else { continue };
        let mut request = world.request(operation);
        if operation == Operation::ApiKeyCreate {
            request.body["scopes"] = json!([scope.as_str()]);
        }
        let answer = stage.ask(operation).request(&request).by(&with_scopes([scope])).send().await;
        assert_eq!(answer.status, Route::of(operation).success, "{}: {}", operation.name(), answer.body);
    }
}

/// Another org's, another project's and a confined key's: all alike, and as if there were nothing.
#[tokio::test]
async fn what_is_not_yours_does_not_exist() {
    let stage = Stage::start().await;
    another_org(&stage, "foreign", "abroad").await;
    let other = stage.ask(Operation::ProjectCreate).body(json!({"slug": "other"})).send().await;
    assert_eq!(other.status, 201);
    let world = World::of(&stage).await;
    let facts = stage.facts().await.len();
    let foreigner = Caller { org: "foreign".parse().unwrap(), ..operator() };
    let confined = Caller { project: Some("other".parse().unwrap()), ..operator() };
    for operation in Operation::ALL {
        let request = world.request(operation);
        let mut tries = Vec::new();
        if in_project(operation) || request.id.is_some() {
            tries.extend([(foreigner.clone(), request.clone()), (confined.clone(), request.clone())]);
        }
        if in_project(operation) {
            for slug in ["abroad", "nowhere", "Not A Slug", ""] {
                tries.push((operator(), contract::Request { project: Some(slug.to_owned()), ..request.clone() }));
            }
        }
        if in_project(operation) && (request.id.is_some() || operation == Operation::RolloutCreate) {
            tries.push((operator(), contract::Request { project: Some("other".to_owned()), ..request.clone() }));
        }
        if request.id.is_some() {
            for id in ["nobody", "", "01890000-0000-7000-8000-000000000000", "\u{0}"] {
                tries.push((operator(), contract::Request { id: Some(id.to_owned()), ..request.clone() }));
            }
            tries.push((operator(), contract::Request { id: None, ..request.clone() }));
        }
        for (caller, request) in tries {
            let answer = stage.ask(operation).by(&caller).request(&request).send().await;
            let told = format!("{} {:?} {:?}: {}", operation.name(), request.project, request.id, answer.body);
            assert_eq!((answer.status, code(&answer)), (404, "not_found"), "{told}");
            assert!(answer.body["error"].as_str().unwrap().ends_with(" not found"), "{told}");
        }
    }
    assert_eq!(stage.facts().await.len(), facts);
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see() {
    let stage = Stage::start().await;
    another_org(&stage, "foreign", "abroad").await;
    stage.ask(Operation::ProjectCreate).body(json!({"slug": "other", "name": "Other"})).send().await;
    let confined = Caller { project: Some("other".parse().unwrap()), ..operator() };
    let foreigner = Caller { org: "foreign".parse().unwrap(), ..operator() };
    let key = json!({"name": "k", "project": "other"});
    let created = stage.ask(Operation::ApiKeyCreate).body(key).send().await;
    assert_eq!(created.status, 201);
    stage.ask(Operation::ApiKeyCreate).body(json!({"name": "wide"})).send().await;
    let of = |list: &Value, field: &str| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap().to_owned()).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    for (caller, slugs, keys) in [
        (operator(), set(&["demo", "other"]), set(&["k", "wide"])),
        (confined, set(&["other"]), set(&["k"])),
        (foreigner, set(&["abroad"]), set(&[])),
    ] {
        let projects = stage.ask(Operation::ProjectList).by(&caller).send().await.body;
        assert_eq!((of(&projects["projects"], "slug"), &projects["total"]), (slugs.clone(), &json!(slugs.len())));
        let listed = stage.ask(Operation::ApiKeyList).by(&caller).send().await.body;
        assert_eq!(of(&listed["api_keys"], "name"), keys);
    }
}

#[tokio::test]
async fn a_project_slug_is_taken_for_every_org() {
    let stage = Stage::start().await;
    another_org(&stage, "foreign", "abroad").await;
    for slug in ["abroad", "demo"] {
        let answer = stage.ask(Operation::ProjectCreate).body(json!({"slug": slug})).send().await;
        assert_eq!((answer.status, &answer.body["error"]), (422, &json!({"slug": ["has already been taken"]})));
    }
}

#[tokio::test]
async fn a_position_that_is_reached_is_served_and_one_beyond_the_journal_is_the_callers_mistake() {
    let stage = Stage::start().await;
    let created = stage.ask(Operation::ProjectCreate).body(json!({"slug": "p"})).send().await;
    let read = stage.ask(Operation::ProjectList).min_position(created.position).send().await;
    assert_eq!(read.body["total"], 2);
    assert!(read.position >= created.position);
    let never = stage.ask(Operation::ProjectList).min_position(u64::MAX).send().await;
    assert_eq!((never.status, code(&never)), (400, "malformed_request"));
}
