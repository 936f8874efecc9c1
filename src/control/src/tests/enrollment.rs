//! Enrollment: who is let in, what an approval is bound to, and that credentials are given out once.

use super::hosts::{CURVE, FROM, Host, approve, host, revoke, shown};
use super::stage::{Stage, code};
use crate::enrollment::{AutoApproval, EnrollmentNews, EnrollmentSettings};
use crate::{Caller, ControlSettings, Grants};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use contract::{ApiError, EnrollRequest, ErrorCode, Operation};
use domain::Event;
use domain::enrollment::Event as HostEvent;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use trust::nats::{Body, decode};

pub(super) async fn with(enrollment: EnrollmentSettings) -> Stage {
    Stage::with(ControlSettings { enrollment, ..ControlSettings::default() }).await
}

pub(super) fn told(error: ApiError) -> (u16, String) {
    (error.code.status(), error.to_string())
}

async fn refused(stage: &Stage, request: EnrollRequest) -> (u16, String) {
    told(stage.control.enroll(request, FROM, None).await.map(drop).unwrap_err())
}

pub(super) fn words(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn a_host_enrolls_is_approved_and_gets_its_jwt_once() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    assert_eq!(
        told(web.creds(&stage, &id, None).await.map(drop).unwrap_err()),
        words(403, "enrollment not in approved state")
    );
    let listed = stage.ask(Operation::EnrollList).send().await.body;
    let item = &listed["enrollments"][0];
    assert_eq!(
        (&item["peel_id"], &item["remote_addr"], &listed["total"]),
        (&json!("web-01"), &json!("10.1.2.3"), &json!(1))
    );
    assert_eq!((&item["hostname"], &item["metadata"]["os"]), (&json!("web-01.internal"), &json!("linux")));
    let approved = approve(&stage, &id, json!({"fingerprint": item["fingerprint"]})).await;
    assert_eq!((approved.status, &approved.body["state"]), (200, &json!("approved")));
    assert!(approved.body["decided_by"].as_str().unwrap().starts_with("operator:U"));
    assert_eq!(stage.control.enrollment_status(&id).await.unwrap().state, "approved");
    let creds = web.creds(&stage, &id, None).await.unwrap();
    let claims = decode(std::str::from_utf8(&BASE64_STANDARD.decode(&creds.creds_data).unwrap()).unwrap()).unwrap();
    assert_eq!(
        (claims.sub, claims.name, claims.exp),
        (web.public(), "web-01".into(), Some(creds.expires_at.as_second()))
    );
    assert!(
        matches!(claims.nats, Body::User(user) if user.publish.allow.is_empty()),
        "a scoped user has no rights of its own"
    );
    assert!(creds.node.is_none());
    let again = web.creds(&stage, &id, None).await.map(drop).unwrap_err();
    assert_eq!(told(again), words(403, "enrollment not in approved state"));
    crate::logins::seen(&stage.control, &web.public()).await.unwrap();
    crate::logins::seen(&stage.control, &web.public()).await.unwrap();
    assert_eq!(shown(&stage, &id).await["state"], "active");
    assert_eq!(approve(&stage, &id, json!({})).await.body["error"], "cannot approve: state is active");
    let events = ["submitted", "approved", "issued", "activated"].map(|name| format!("enrollment.{name}"));
    for event in events {
        assert_eq!(stage.count(&event).await, 1, "{event}");
    }
}

#[tokio::test]
async fn every_refusal_has_the_documents_words_and_order() {
    let stage = Stage::start().await;
    let (web, other) = (host("web-01"), host("web-02"));
    let good = web.request(&web.challenge(&stage).await);
    let asks = |peel_id: &'static str, key: String| {
        let stage = &stage;
        async move { told(stage.control.challenge(peel_id, &key).await.unwrap_err()) }
    };
    assert_eq!(asks("", web.public()).await, words(400, "peel_id and public_key are required"));
    assert_eq!(asks("a", String::new()).await, words(400, "peel_id and public_key are required"));
    assert_eq!(asks("_a", String::new()).await, words(400, "peel_id and public_key are required"));
    assert_eq!(asks("_a", web.public()).await.1, "invalid peel_id: peel ID must not start with '_' (reserved)");
    assert_eq!(asks("a", "UABC".into()).await, words(400, "invalid public_key"));
    let empty = EnrollRequest::default();
    assert_eq!(refused(&stage, empty.clone()).await, words(400, "invalid peel_id: peel ID is required"));
    let named = EnrollRequest { peel_id: "web-01".into(), ..empty };
    assert_eq!(refused(&stage, named.clone()).await, words(400, "invalid public_key"));
    let keyed = EnrollRequest { public_key: web.public(), ..named };
    assert_eq!(refused(&stage, keyed.clone()).await, words(400, "invalid curve_public_key"));
    let x = EnrollRequest { curve_public_key: "Xgarbage".into(), ..keyed.clone() };
    assert_eq!(refused(&stage, x).await, words(400, "invalid curve_public_key"));
    let curved = EnrollRequest { curve_public_key: CURVE.into(), ..keyed };
    assert_eq!(refused(&stage, curved.clone()).await, words(400, "challenge_id is required"));
    let asked = EnrollRequest { challenge_id: good.challenge_id.clone(), ..curved };
    assert_eq!(refused(&stage, asked).await, words(400, "signature is required"));
    let unknown = EnrollRequest { challenge_id: format!("chl-{}", "0".repeat(27)), ..good.clone() };
    assert_eq!(refused(&stage, unknown).await, words(401, "challenge verification failed"));
    let odd = EnrollRequest { challenge_id: "*".into(), ..good.clone() };
    assert_eq!(refused(&stage, odd).await, words(401, "challenge verification failed"));
    assert!(stage.control.enroll(good.clone(), FROM, None).await.is_ok(), "none of these has used the challenge");
    assert_eq!(refused(&stage, good).await, words(401, "challenge verification failed"));

    let foreign = EnrollRequest { peel_id: "web-02".into(), ..web.request(&web.challenge(&stage).await) };
    assert_eq!(refused(&stage, foreign).await, words(400, "challenge binding mismatch"));
    let theirs = web.challenge(&stage).await;
    let stolen = EnrollRequest { peel_id: "web-01".into(), ..other.request(&theirs) };
    assert_eq!(refused(&stage, stolen).await, words(400, "challenge binding mismatch"));
    let again = web.request(&theirs);
    assert_eq!(refused(&stage, again).await, words(401, "challenge verification failed"), "the attempt has used it up");
    let challenge = web.challenge(&stage).await;
    let bare = BASE64_STANDARD.decode(&challenge.challenge).unwrap();
    let without_curve = EnrollRequest { signature: web.key.sign(&bare), ..web.request(&challenge) };
    assert_eq!(refused(&stage, without_curve).await, words(401, "signature verification failed"));
    assert_eq!(stage.count("enrollment.submitted").await, 1);
}

#[tokio::test]
async fn a_challenge_is_used_once_whoever_is_first() {
    let stage = Stage::start().await;
    let replica = stage.beside().await;
    let web = host("web-01");
    let request = web.request(&web.challenge(&stage).await);
    let both = [&stage, &replica, &stage, &replica];
    let tries = join_all(both.map(|stage| stage.control.enroll(request.clone(), FROM, None))).await;
    assert_eq!(tries.iter().filter(|tried| tried.is_ok()).count(), 1);
}

#[tokio::test]
async fn an_outage_of_the_store_burns_nothing() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let request = web.request(&web.challenge(&stage).await);
    stage.store.days.records_fail.store(true, SeqCst);
    assert_eq!(
        stage.control.enroll(request.clone(), FROM, None).await.map(drop).unwrap_err().code,
        ErrorCode::Unavailable
    );
    let nonce = told(stage.control.challenge("web-01", &web.public()).await.unwrap_err());
    assert_eq!(nonce, words(503, "failed to issue challenge"));
    stage.store.days.records_fail.store(false, SeqCst);
    assert!(stage.control.enroll(request, FROM, None).await.is_ok());
}

#[tokio::test]
async fn one_host_id_has_one_live_enrollment_under_any_race() {
    let stage = Stage::start().await;
    let replica = stage.beside().await;
    let hosts: Vec<Host> = (0..8).map(|_| host("web-01")).collect();
    let tries = hosts.iter().enumerate().map(|(i, host)| host.try_enroll([&stage, &replica][i % 2], None));
    let tried = join_all(tries).await;
    assert_eq!(tried.iter().filter(|tried| tried.as_ref().is_ok_and(|(is_new, _)| *is_new)).count(), 1);
    let others: Vec<ErrorCode> = tried.iter().filter_map(|tried| tried.as_ref().err().map(|e| e.code)).collect();
    assert_eq!(others, [ErrorCode::Conflict; 7]);
    let winner = &hosts[tried.iter().position(Result::is_ok).unwrap()];
    let again = join_all((0..6).map(|i| winner.try_enroll([&stage, &replica][i % 2], None))).await;
    let ids: Vec<_> = again.into_iter().map(|tried| tried.unwrap()).collect();
    assert!(ids.iter().all(|(is_new, answer)| !is_new && answer.message == "Enrollment already pending."), "{ids:?}");
    assert_eq!(stage.count("enrollment.submitted").await, 1);
}

#[tokio::test]
async fn another_key_learns_nothing_of_a_live_host() {
    let stage = Stage::start().await;
    let (web, thief) = (host("web-01"), host("web-01"));
    let id = web.enroll(&stage).await;
    let (status, text) = told(thief.try_enroll(&stage, None).await.map(drop).unwrap_err());
    assert!(status == 409 && !text.contains(&id) && !text.contains(&web.public()), "{text}");
    approve(&stage, &id, json!({})).await;
    assert_eq!(thief.try_enroll(&stage, None).await.map(drop).unwrap_err().code, ErrorCode::Conflict);
    let elsewhere = Host { id: "web-02".into(), ..web };
    assert_eq!(told(elsewhere.try_enroll(&stage, None).await.map(drop).unwrap_err()).0, 409);
    assert_eq!(told(thief.creds(&stage, &id, None).await.map(drop).unwrap_err()), words(401, "authentication failed"));
}

#[tokio::test]
async fn an_approval_is_bound_to_the_key_that_was_looked_at() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    let wrong = approve(&stage, &id, json!({"fingerprint": "SHA256:x"})).await;
    assert_eq!((wrong.status, code(&wrong)), (409, "conflict"));
    let right = shown(&stage, &id).await["fingerprint"].clone();
    assert!(wrong.body["error"].as_str().unwrap().contains(right.as_str().unwrap()));
    assert_eq!(approve(&stage, &id, json!({"fingerprint": web.public()})).await.status, 200);
}

#[tokio::test]
async fn a_name_that_is_taken_refuses_the_approval_whole() {
    let stage = Stage::start().await;
    stage.node("web-01").await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    let refused = approve(&stage, &id, json!({"project": "demo"})).await;
    assert_eq!((refused.status, code(&refused)), (422, "validation_failed"));
    assert_eq!(approve(&stage, &id, json!({"project": "none"})).await.status, 404);
    assert_eq!(shown(&stage, &id).await["state"], "pending");
}

#[tokio::test]
async fn a_revoked_key_never_comes_back_and_a_new_one_may() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let (id, _) = web.issued(&stage).await;
    let revoked = revoke(&stage, &id).await;
    assert_eq!((&revoked.body["state"], &revoked.body["revoke_reason"]), (&json!("revoked"), &json!("gone")));
    let moved = Host { id: "web-09".into(), key: web.key };
    assert_eq!(told(moved.try_enroll(&stage, None).await.map(drop).unwrap_err()).0, 403);
    let web = Host { id: "web-01".into(), key: moved.key };
    let (status, text) = told(web.try_enroll(&stage, None).await.map(drop).unwrap_err());
    assert_eq!((status, text.as_str()), (403, "public_key was revoked; generate a new key"));
    let id = host("web-01").enroll(&stage).await;
    assert_eq!(shown(&stage, &id).await["revoked_before"], true);
    assert!(stage.control.enrollment_status(&id).await.is_ok(), "old records are retained");
}

#[tokio::test]
async fn rules_approve_and_never_whom_an_operator_revoked() {
    let rule = |text: &str| AutoApproval::parse(text).unwrap();
    let rules = vec![rule("id=web-* cidr=10.0.0.0/8 project=demo"), rule("id=db-* cidr=192.0.2.0/24")];
    let stage = with(EnrollmentSettings { auto_approve: rules, ..EnrollmentSettings::default() }).await;
    let replica = stage.beside().await;
    let state = |id: &str| {
        let id = id.parse().unwrap();
        replica.control.views().read().enrollments.get(&id).map(|(_, enrollment)| enrollment.state.as_str())
    };
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    stage.until("a rule approves", || state(&id) == Some("approved")).await;
    let body = shown(&stage, &id).await;
    assert_eq!((&body["decided_by"], &body["project"]), (&json!("system"), &json!("demo")));
    web.creds(&stage, &id, None).await.unwrap();
    revoke(&stage, &id).await;
    let waiting = [host("web-01").enroll(&stage).await, host("db-01").enroll(&stage).await];
    let last = host("web-02").enroll(&stage).await;
    stage.until("the next one is approved", || state(&last) == Some("approved")).await;
    for id in &waiting {
        assert_eq!(state(id), Some("pending"));
    }
    assert_eq!(stage.count("enrollment.approved").await, 2, "two replicas are one");
}

#[tokio::test]
async fn what_nobody_decides_expires() {
    let stage = with(EnrollmentSettings { pending_s: 0, ..EnrollmentSettings::default() }).await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    let rejected = || {
        let state = stage.control.views().read();
        state.enrollments.get(&id.parse().unwrap()).is_some_and(|(_, found)| found.state.as_str() == "rejected")
    };
    stage.until("it expires", rejected).await;
    let body = shown(&stage, &id).await;
    assert_eq!((&body["decided_by"], &body["reject_reason"]), (&json!("system"), &json!("expired")));
    assert!(web.try_enroll(&stage, None).await.unwrap().0, "it may ask again");
}

#[tokio::test]
async fn strangers_that_wait_are_bounded_and_token_holders_are_not_strangers() {
    let settings = EnrollmentSettings { pending_max: 4, pending_per_site_max: 2, ..EnrollmentSettings::default() };
    let stage = with(settings).await;
    let (_, token) = stage.join_token(json!({"name": "rack"})).await;
    for id in ["a", "b"] {
        host(id).enroll(&stage).await;
    }
    let full = host("c").try_enroll(&stage, None).await.map(drop).unwrap_err();
    assert_eq!(told(full), words(429, "rate limit exceeded"));
    for id in ["c", "d"] {
        assert!(host(id).try_enroll(&stage, Some(&token)).await.is_ok());
    }
    assert_eq!(told(host("e").try_enroll(&stage, Some(&token)).await.map(drop).unwrap_err()).0, 503);
    let unknown = host("e").try_enroll(&stage, Some("pjt_x")).await.map(drop).unwrap_err();
    assert_eq!(told(unknown), words(401, "Invalid or expired join token"));
    assert!(stage.control.known_join_token(&token).is_some() && stage.control.known_join_token("pjt_x").is_none());
}

#[tokio::test]
async fn a_listener_hears_the_state_and_its_end() {
    let settings = EnrollmentSettings {
        stream_quiet: Duration::from_millis(20),
        streams_per_enrollment_max: 1,
        ..EnrollmentSettings::default()
    };
    let stage = with(settings).await;
    let replica = stage.beside().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    let mut listening = replica.control.watch_enrollment(&id, FROM, false).await.unwrap();
    let state = |news: Option<EnrollmentNews>| match news {
        Some(EnrollmentNews::State(status)) => status.state,
        other => format!("{other:?}"),
    };
    assert_eq!(state(listening.next().await), "pending");
    assert_eq!(listening.next().await, Some(EnrollmentNews::Quiet));
    assert_eq!(told(replica.control.watch_enrollment(&id, FROM, false).await.map(drop).unwrap_err()).0, 429);
    approve(&stage, &id, json!({})).await;
    let mut news = listening.next().await;
    while news == Some(EnrollmentNews::Quiet) {
        news = listening.next().await;
    }
    assert_eq!(state(news), "approved");
    assert_eq!(listening.next().await, None);
    drop(listening);
    assert_eq!(replica.control.enrollment_streams(), 0);
    let unknown = stage.control.watch_enrollment("enr-x", FROM, false).await.map(drop).unwrap_err();
    assert_eq!(told(unknown), words(404, "enrollment not found"));
    let short = EnrollmentSettings { stream_time_max: Duration::ZERO, ..EnrollmentSettings::default() };
    let stage = with(short).await;
    let id = web.enroll(&stage).await;
    let mut listening = stage.control.watch_enrollment(&id, FROM, false).await.unwrap();
    assert_eq!(state(listening.next().await), "pending");
    assert_eq!((listening.next().await, listening.next().await), (Some(EnrollmentNews::Timeout), None));
}

#[tokio::test]
async fn enrollments_are_the_orgs_and_no_projects() {
    let stage = Stage::start().await;
    let id = host("web-01").enroll(&stage).await;
    let caller = |org: &str, project: Option<&str>| Caller {
        actor: domain::Actor::ApiKey("k".into()),
        org: org.parse().unwrap(),
        project: project.map(|slug| slug.parse().unwrap()),
        grants: Grants::Everything,
    };
    let (confined, foreign) = (caller("default", Some("demo")), caller("other", None));
    for operation in [Operation::EnrollShow, Operation::EnrollApprove, Operation::EnrollReject, Operation::EnrollRevoke]
    {
        let asked = async |by: &Caller| stage.ask(operation).id(&id).by(by).send().await;
        assert_eq!((asked(&confined).await.status, asked(&foreign).await.status), (404, 404), "{}", operation.name());
    }
    let list =
        async |by: &Caller, state: &str| stage.ask(Operation::EnrollList).by(by).query("state", state).send().await;
    assert_eq!(list(&foreign, "all").await.body["total"], 0);
    assert_eq!(list(&confined, "all").await.body["total"], 0);
    let odd = list(&caller("default", None), "odd").await;
    assert_eq!((odd.status, &odd.body["error"]), (400, &json!("invalid state")));
    let rejected = stage.ask(Operation::EnrollReject).id(&id).body(json!({"reason": "who?"})).send().await;
    assert_eq!((&rejected.body["state"], &rejected.body["reject_reason"]), (&json!("rejected"), &json!("who?")));
    let late = stage.ask(Operation::EnrollRevoke).id(&id).send().await;
    assert_eq!((late.status, &late.body["error"]), (409, &Value::from("cannot revoke: state is rejected")));
    let text: String = stage.events().await.iter().map(|event| format!("{event:?}")).collect();
    assert!(!text.contains("eyJ"), "no JWT is in a fact");
    assert!(stage.events().await.iter().any(|event| matches!(event, Event::Enrollment(HostEvent::Rejected(_)))));
}
