//! Who a node is. The messages are the authentication document's.

use super::stage::Stage;
use super::world::another_org;
use crate::execute::{Decision, Fact, Meta, now};
use crate::nodes::AUDIENCE;
use crate::tokens::token_hash;
use crate::{Control, NodeCredential, NodeIdentity};
use contract::{ApiError, ErrorCode, Operation};
use domain::org::{self, KeyUse};
use domain::{Actor, Aggregate, Slug};
use futures_util::future::join_all;
use std::sync::atomic::Ordering::SeqCst;
use trust::TokenClaims;

async fn shown(
    control: &Control,
    id: &str,
    credential: NodeCredential<'_>,
) -> Result<NodeIdentity, (ErrorCode, String)> {
    control.authenticate_node(id, credential).await.map_err(|e| (e.code, e.to_string()))
}

fn refused(message: &str) -> Result<NodeIdentity, (ErrorCode, String)> {
    Err((ErrorCode::InvalidCredential, message.to_owned()))
}

/// A token as the org's key signs it, changed by the test.
async fn token(control: &Control, org: &str, node: &NodeIdentity, change: impl FnOnce(&mut TokenClaims)) -> String {
    let org: Slug = org.parse().unwrap();
    let key = control.active_key(&org, KeyUse::NodeToken).await.unwrap().unwrap();
    let now_s = now().as_second();
    let mut claims = TokenClaims {
        sub: node.id.to_string(),
        prj: node.project.to_string(),
        org: org.to_string(),
        kid: key.id.clone(),
        exp: now_s + 60,
        iat: now_s,
        iss: AUDIENCE.to_owned(),
        aud: AUDIENCE.to_owned(),
        jti: "j".to_owned(),
    };
    change(&mut claims);
    trust::sign_token(&key.key, &claims)
}

#[tokio::test]
async fn a_key_opens_its_own_node_alone() {
    let stage = Stage::start().await;
    let ((node, key), (other, _)) = (stage.node("a").await, stage.node("b").await);
    let (id, other_id) = (node.id.to_string(), other.id.to_string());
    let control = &stage.control;
    assert_eq!(shown(control, &id, NodeCredential::Key(&key)).await, Ok(node));
    for wrong in ["", "x", &trust::new_secret(), &key.to_uppercase()] {
        assert_eq!(shown(control, &id, NodeCredential::Key(wrong)).await, refused("Invalid node key"), "{wrong:?}");
    }
    let mismatch = shown(control, &other_id, NodeCredential::Key(&key)).await.unwrap_err();
    assert_eq!(mismatch.0, ErrorCode::NodeMismatch);
    for nonsense in ["", "..", "not-a-uuid", "00000000-0000-0000-0000-00000000000g"] {
        let answer = control.authenticate_node(nonsense, NodeCredential::Key(&key)).await;
        assert_eq!(answer, Err(ApiError::not_found("Node")), "{nonsense:?}");
    }
    let stranger = "01890000-0000-7000-8000-000000000000";
    let unknown = shown(control, stranger, NodeCredential::Key(&trust::new_secret())).await;
    assert_eq!(unknown, refused("Invalid node key"));
}

#[tokio::test]
async fn every_wrong_token_is_told_apart() {
    let stage = Stage::start().await;
    another_org(&stage, "foreign", "abroad").await;
    let ((node, _), (other, _)) = (stage.node("a").await, stage.node("b").await);
    let control = &stage.control;
    let id = node.id.to_string();
    let good = token(control, "default", &node, |_| ()).await;
    for _ in 0..2 {
        assert_eq!(shown(control, &id, NodeCredential::Token(&good)).await, Ok(node.clone()));
    }
    let strange_key = trust::SigningKey::from_seed([9; 32]);
    let mut claims = trust::verify_token(&good, &good_key(control), AUDIENCE, now(), 0).unwrap();
    let forged = trust::sign_token(&strange_key, &claims);
    claims.kid = strange_key.public().key_id("sk");
    let cases = [
        (forged, "Invalid token signature"),
        (token(control, "default", &node, |claims| claims.exp -= 120).await, "Token expired"),
        (trust::sign_token(&strange_key, &claims), "Unknown signing key"),
        (String::new(), "Authentication failed"),
        ("a.b.c".to_owned(), "Authentication failed"),
        (token(control, "default", &node, |claims| claims.aud = "others".to_owned()).await, "Authentication failed"),
        (token(control, "default", &node, |claims| claims.iat += 3600).await, "Authentication failed"),
        (token(control, "default", &node, |claims| claims.prj = "other".to_owned()).await, "Authentication failed"),
        (token(control, "default", &node, |claims| claims.org = "foreign".to_owned()).await, "Authentication failed"),
        // Another org's key, which signs what it likes.
        (token(control, "foreign", &node, |_| ()).await, "Authentication failed"),
        (token(control, "foreign", &node, |claims| claims.org = "default".to_owned()).await, "Authentication failed"),
    ];
    for (token, message) in cases {
        let answer = shown(control, &id, NodeCredential::Token(&token)).await.unwrap_err();
        assert_eq!((answer.1.as_str(), answer.0.status()), (message, 401));
    }
    let mismatch = shown(control, &other.id.to_string(), NodeCredential::Token(&good)).await;
    assert_eq!(mismatch.unwrap_err().0, ErrorCode::NodeMismatch);
}

fn good_key(control: &Control) -> trust::PublicKey {
    let state = control.views().read();
    let org = state.orgs.org(control.default_org()).unwrap();
    org.active_key(KeyUse::NodeToken).unwrap().1.public_key.parse().unwrap()
}

#[tokio::test]
async fn a_bundle_key_signs_no_tokens() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let good = token(&stage.control, "default", &node, |_| ()).await;
    let mut claims = trust::verify_token(&good, &good_key(&stage.control), AUDIENCE, now(), 0).unwrap();
    let key = stage.control.active_key(&node.org, KeyUse::Bundle).await.unwrap().unwrap();
    claims.kid = key.id.clone();
    let token = trust::sign_token(&key.key, &claims);
    let answer = shown(&stage.control, &node.id.to_string(), NodeCredential::Token(&token)).await;
    assert_eq!(answer, refused("Authentication failed"));
}

/// Only the signature is remembered.
#[tokio::test]
async fn a_remembered_token_expires_and_ends_with_its_key() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let (control, id) = (&stage.control, node.id.to_string());
    let short = token(control, "default", &node, |_| ()).await;
    let mut claims = trust::verify_token(&short, &good_key(control), AUDIENCE, now(), 0).unwrap();
    claims.exp = now().as_second() - 30;
    control.tokens().keep(token_hash(&short), claims);
    let expired = shown(control, &id, NodeCredential::Token(&short)).await;
    assert_eq!(expired, Err((ErrorCode::TokenExpired, "Token expired".to_owned())));

    let remembered = token(control, "default", &node, |claims| claims.jti = "other".to_owned()).await;
    assert_eq!(shown(control, &id, NodeCredential::Token(&remembered)).await, Ok(node.clone()));
    let fresh = token(control, "default", &node, |claims| claims.jti = "fresh".to_owned()).await;
    let deactivate = |state: &views::State| {
        let org = state.orgs.org(&node.org).unwrap();
        let key_id = org.active_key(KeyUse::NodeToken).unwrap().0.clone();
        let event = org::Event::SigningKeyDeactivated(org::SigningKeyDeactivated { key_id });
        let aggregate = Aggregate::Org(org.slug.clone());
        Ok(Decision::Append(Box::new(Fact::next(aggregate, org.position, domain::Event::Org(event))), ()))
    };
    control.commit(&Meta::once(Actor::System), deactivate).await.unwrap();
    for token in [remembered, fresh] {
        let answer = shown(control, &id, NodeCredential::Token(&token)).await;
        assert_eq!(answer, refused("Signing key has been deactivated"));
    }
    let issued = control.issue_token(&node).await.map(drop).unwrap_err();
    assert_eq!(issued.code, ErrorCode::NoSigningKey);
}

#[tokio::test]
async fn a_deleted_node_is_nobody_on_every_replica() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (node, key) = stage.node("a").await;
    let id = node.id.to_string();
    let token = stage.control.issue_token(&node).await.unwrap().token;
    for replica in [&stage, &other] {
        assert_eq!(shown(&replica.control, &id, NodeCredential::Key(&key)).await, Ok(node.clone()));
        assert_eq!(shown(&replica.control, &id, NodeCredential::Token(&token)).await, Ok(node.clone()));
    }
    let answer = stage.ask(Operation::NodeDelete).id(&id).send().await;
    assert_eq!(answer.status, 204);
    other.control.wait_for(domain::Position(answer.position)).await.unwrap();
    for replica in [&stage, &other] {
        let by_token = shown(&replica.control, &id, NodeCredential::Token(&token)).await;
        assert_eq!(by_token, refused("Node not found"));
        let by_key = shown(&replica.control, &id, NodeCredential::Key(&key)).await.unwrap_err();
        assert!(["Invalid node key", "Node not found"].contains(&by_key.1.as_str()), "{by_key:?}");
    }
    assert!(stage.register(serde_json::json!({"name": "a"}), None).await.is_ok(), "its name is free again");
}

#[tokio::test]
async fn guessing_costs_the_store_next_to_nothing() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let id = node.id.to_string();
    let days = &stage.store.days;
    let before = days.records_read.load(SeqCst);
    join_all((0..200).map(async |_| {
        let guess = trust::new_secret();
        assert_eq!(shown(&stage.control, &id, NodeCredential::Key(&guess)).await, refused("Invalid node key"));
    }))
    .await;
    assert_eq!(days.records_read.load(SeqCst), before, "a known node's key needs no question");

    let before = days.positions_asked.load(SeqCst);
    let nowhere = async || stage.ask(Operation::NodeShow).id("nobody").send().await;
    let answers = join_all((0..200).map(|_| nowhere())).await;
    assert!(answers.iter().all(|answer| answer.status == 404));
    let asked = days.positions_asked.load(SeqCst) - before;
    assert!(asked <= 4, "200 strangers at once share few questions, not {asked}");
}

#[tokio::test]
async fn callers_that_come_together_share_a_failure() {
    let stage = Stage::start().await;
    stage.store.days.reader_fails.store(true, SeqCst);
    let before = stage.store.days.positions_asked.load(SeqCst);
    let asked = join_all((0..50).map(|_| stage.ask(Operation::NodeShow).id("nobody").send())).await;
    assert!(asked.iter().all(|answer| answer.status == 503));
    assert!(stage.store.days.positions_asked.load(SeqCst) - before <= 4);
    stage.store.days.reader_fails.store(false, SeqCst);
    assert_eq!(stage.ask(Operation::NodeShow).id("nobody").send().await.status, 404);
}
