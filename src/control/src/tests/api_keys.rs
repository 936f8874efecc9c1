//! API keys: shown once, never more than their maker, and dead the moment they are revoked or expire.

use super::stage::{Stage, code, operator};
use crate::{Caller, Grants};
use contract::{ErrorCode, Operation};
use domain::Position;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

async fn create(stage: &Stage, by: &Caller, body: Value) -> Result<(Caller, Value), Value> {
    let answer = stage.ask(Operation::ApiKeyCreate).by(by).body(body).send().await;
    if answer.status != 201 {
        return Err(answer.body["error"].clone());
    }
    let caller = stage.control.authenticate_api_key(answer.body["key"].as_str().unwrap()).await.unwrap();
    Ok((caller, answer.body))
}

#[tokio::test]
async fn a_key_is_what_it_was_made_to_be() {
    let stage = Stage::start().await;
    let body = json!({"name": "ci", "scopes": ["nodes:read", "bundles:write"], "project": "demo"});
    let (caller, shown) = create(&stage, &operator(), body).await.unwrap();
    assert_eq!(caller.actor.to_string(), format!("api_key:{}", shown["id"].as_str().unwrap()));
    assert_eq!((caller.org.as_str(), caller.project.as_ref().unwrap().as_str()), ("default", "demo"));
    assert!(matches!(&caller.grants, Grants::Scopes(scopes) if scopes.len() == 2));
    let key = shown["key"].as_str().unwrap();
    assert_eq!((key.len(), &shown["key_prefix"]), (43, &json!(key[..8])));
    let again = stage.ask(Operation::ApiKeyShow).id(shown["id"].as_str().unwrap()).send().await.body;
    assert!(!again.to_string().contains(key));
    assert!(!stage.facts().await.iter().any(|fact| format!("{fact:?}").contains(key)));
    let (full, _) = create(&stage, &operator(), json!({"name": "all"})).await.unwrap();
    assert_eq!((full.grants, full.project), (Grants::Everything, None));
    for stranger in ["", "x", &key.to_lowercase(), &trust::new_secret()] {
        let refused = stage.control.authenticate_api_key(stranger).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.to_string().as_str()),
            (ErrorCode::InvalidCredential, "Invalid or expired API key")
        );
    }
}

#[tokio::test]
async fn a_key_never_may_more_than_its_maker() {
    let stage = Stage::start().await;
    stage.ask(Operation::ProjectCreate).body(json!({"slug": "other"})).send().await;
    let scopes = json!(["api_keys:admin", "nodes:read"]);
    let in_an_hour = Timestamp::now() + SignedDuration::from_hours(1);
    let body = json!({"name": "maker", "scopes": scopes, "project": "demo", "expires_at": in_an_hour});
    let (maker, _) = create(&stage, &operator(), body).await.unwrap();
    let field =
        |error: Result<_, Value>| error.map(drop).unwrap_err().as_object().unwrap().keys().next().unwrap().clone();
    for (body, refused) in [
        (json!({"name": "n"}), "scopes"),
        (json!({"name": "n", "scopes": []}), "scopes"),
        (json!({"name": "n", "scopes": ["nodes:read", "nodes:write"]}), "scopes"),
        (json!({"name": "n", "scopes": ["nodes:read"], "project": "other"}), "project"),
        (json!({"name": "n", "scopes": ["nodes:read"], "project": "nowhere"}), "project"),
        (json!({"name": "n", "scopes": ["nodes:read"], "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "n", "scopes": ["nodes:read"], "expires_at": "2999-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "", "scopes": ["nodes:read"]}), "name"),
        (json!({"name": "n", "scopes": ["everything"]}), "scopes"),
    ] {
        assert_eq!(field(create(&stage, &maker, body.clone()).await), refused, "{body}");
    }
    let (made, shown) = create(&stage, &maker, json!({"name": "n", "scopes": ["nodes:read"]})).await.unwrap();
    assert_eq!(made.project, maker.project, "confined as its maker is");
    let expires_at: Timestamp = shown["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires_at.as_second(), in_an_hour.as_second(), "and no longer alive");
    let confined = Caller { project: maker.project.clone(), ..operator() };
    let (made, _) = create(&stage, &confined, json!({"name": "n"})).await.unwrap();
    assert_eq!((made.grants, made.project), (Grants::Everything, maker.project));
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_on_every_replica() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (_, shown) = create(&stage, &operator(), json!({"name": "k"})).await.unwrap();
    let (id, key) = (shown["id"].as_str().unwrap(), shown["key"].as_str().unwrap());
    assert!(other.control.authenticate_api_key(key).await.is_ok(), "known there without waiting");
    let revoked = stage.ask(Operation::ApiKeyRevoke).id(id).send().await;
    assert!(revoked.body["api_key"]["revoked_at"].is_string());
    other.control.wait_for(Position(revoked.position)).await.unwrap();
    for replica in [&stage, &other] {
        let refused = replica.control.authenticate_api_key(key).await.map(drop);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidCredential);
    }
    let again = stage.ask(Operation::ApiKeyRevoke).id(id).send().await;
    assert_eq!((again.status, stage.count("api_key.revoked").await), (200, 1));
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let stage = Stage::start().await;
    let soon = Timestamp::now() + SignedDuration::from_millis(400);
    let (_, shown) = create(&stage, &operator(), json!({"name": "k", "expires_at": soon})).await.unwrap();
    stage.until("the key expires", || Timestamp::now() > soon + SignedDuration::from_millis(2)).await;
    let refused = stage.control.authenticate_api_key(shown["key"].as_str().unwrap()).await.map(drop);
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidCredential);
}

#[tokio::test]
async fn a_confined_key_sees_no_key_beyond_its_project() {
    let stage = Stage::start().await;
    let (_, wide) = create(&stage, &operator(), json!({"name": "wide"})).await.unwrap();
    let confined = Caller { project: Some("demo".parse().unwrap()), ..operator() };
    for operation in [Operation::ApiKeyShow, Operation::ApiKeyRevoke] {
        let answer = stage.ask(operation).by(&confined).id(wide["id"].as_str().unwrap()).send().await;
        assert_eq!((answer.status, code(&answer)), (404, "not_found"));
    }
}
