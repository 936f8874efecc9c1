//! Credentials of hosts: once, to the key's owner, renewed and taken back.

use super::enrollment::{told, with, words};
use super::hosts::{approve, host, revoke, shown};
use super::stage::Stage;
use crate::NodeCredential;
use crate::enrollment::EnrollmentSettings;
use contract::{ErrorCode, Operation};
use domain::enrollment::Renewal;
use futures_util::future::join_all;
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;

#[tokio::test]
async fn only_the_keys_owner_gets_credentials() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    approve(&stage, &id, json!({})).await;
    let proof = web.proof(&id);
    let (key, signature) = proof.strip_prefix("Nkey ").unwrap().split_once(':').unwrap();
    let of_another_id = web.proof("enr-2JFKABCD1234567890abcdefghi");
    let other = host("web-01");
    let wrong = [
        None,
        Some("Bearer x".to_owned()),
        Some("Nkey".to_owned()),
        Some(format!("Nkey {key}")),
        Some(format!("Nkey {key}:")),
        Some(format!("Nkey {key}:{signature}:x")),
        Some(format!("nkey {key}:{signature}")),
        Some(format!("Nkey {key}:{}", &signature[..80])),
        Some(format!("Nkey {key}:!{signature}")),
        Some(other.proof(&id)),
        Some(of_another_id),
    ];
    for text in wrong {
        let error = stage.control.issue_credentials(&id, text.as_deref(), None).await.map(drop).unwrap_err();
        assert_eq!(told(error), words(401, "authentication failed"), "{text:?}");
    }
    for unknown in ["enr-2JFKABCD1234567890abcdefghi", "*", "peel.web-01", "", &"x".repeat(1024)] {
        let error = stage.control.issue_credentials(unknown, Some(&proof), None).await.map(drop).unwrap_err();
        assert_eq!(told(error), words(404, "enrollment not found"));
    }
    let padded = format!("Nkey {key}:{signature}==");
    assert!(stage.control.issue_credentials(&id, Some(&padded), None).await.is_ok());
}

#[tokio::test]
async fn credentials_are_given_out_once_under_any_race() {
    let stage = Stage::start().await;
    let replica = stage.beside().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    approve(&stage, &id, json!({})).await;
    let tries = join_all((0..8).map(|i| web.creds([&stage, &replica][i % 2], &id, None))).await;
    assert_eq!(tries.iter().filter(|tried| tried.is_ok()).count(), 1);
    for error in tries.into_iter().filter_map(|tried| tried.map(drop).err()) {
        assert!(matches!(error.code.status(), 403 | 409), "{error}");
    }
    assert_eq!(stage.count("enrollment.issued").await, 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_under_its_key() {
    let stage = Stage::start().await;
    let replica = stage.beside().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    approve(&stage, &id, json!({})).await;
    stage.store.days.answers_lost.store(1, SeqCst);
    let both = join_all((0..4).map(|i| web.creds([&stage, &replica][i % 2], &id, Some("k")))).await;
    let texts: Vec<String> = both.into_iter().map(|creds| creds.unwrap().creds_data).collect();
    assert!(texts.iter().all(|text| *text == texts[0]));
    let other = web.creds(&stage, &id, Some("other")).await.map(drop).unwrap_err();
    assert_eq!(told(other).0, 403);
    assert_eq!(stage.count("enrollment.issued").await, 1);
    revoke(&stage, &id).await;
    let gone = web.creds(&stage, &id, Some("k")).await.map(drop).unwrap_err();
    assert_eq!(told(gone), words(403, "enrollment not in approved state"));
}

#[tokio::test]
async fn an_approval_makes_a_node_and_a_revocation_ends_it() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let id = web.enroll(&stage).await;
    let body = json!({"project": "demo", "labels": {"env": "prod"}});
    let approved = approve(&stage, &id, body.clone()).await;
    assert_eq!((approved.status, &approved.body["project"]), (200, &json!("demo")), "{}", approved.body);
    let shown = stage.ask(Operation::NodeShow).id("web-01").send().await.body["node"].clone();
    assert_eq!((&shown["id"], &shown["labels"]), (&approved.body["node_id"], &json!({"env": "prod"})));
    let creds = web.creds(&stage, &id, Some("k")).await.unwrap();
    let again = web.creds(&stage, &id, Some("k")).await.unwrap();
    let (node, key) = (creds.node.as_ref().unwrap(), creds.node.as_ref().unwrap().node_key.clone().unwrap());
    assert_eq!(again.node.unwrap().node_key.as_ref(), Some(&key));
    assert!(!node.bundle_keys.is_empty());
    let replica = stage.beside().await;
    let login =
        async |stage: &Stage, key: &str| stage.control.authenticate_node(&node.node_id, NodeCredential::Key(key)).await;
    assert!(login(&stage, &key).await.is_ok() && login(&replica, &key).await.is_ok());
    let position = revoke(&stage, &id).await.position;
    replica.control.wait_for(domain::Position(position)).await.unwrap();
    for stage in [&stage, &replica] {
        assert_eq!(login(stage, &key).await.unwrap_err().code, ErrorCode::InvalidCredential);
    }

    let fresh = host("web-01");
    let id = fresh.enroll(&stage).await;
    assert_eq!(approve(&stage, &id, body).await.status, 200);
    let creds = fresh.creds(&stage, &id, None).await.unwrap().node.unwrap();
    assert_ne!(creds.node_id, node.node_id, "another key is another node, under the same name");
    let shown = stage.ask(Operation::NodeShow).id("web-01").send().await.body["node"].clone();
    assert_eq!((&shown["id"], &shown["public_key"]), (&json!(creds.node_id), &json!(fresh.public())));
    let new_key = creds.node_key.unwrap();
    let new_login = NodeCredential::Key(&new_key);
    assert!(stage.control.authenticate_node(&creds.node_id, new_login).await.is_ok());
    assert!(login(&stage, &key).await.is_err(), "what it had before opens nothing");

    let id = fresh.enroll(&stage).await;
    assert_eq!(approve(&stage, &id, json!({"project": "demo"})).await.status, 200);
    let again = fresh.creds(&stage, &id, None).await.unwrap().node.unwrap();
    assert_eq!(again.node_id, creds.node_id, "the same key is the same node");
    assert!(stage.control.authenticate_node(&creds.node_id, new_login).await.is_err());
    let newest = again.node_key.unwrap();
    assert!(stage.control.authenticate_node(&creds.node_id, NodeCredential::Key(&newest)).await.is_ok());
}

#[tokio::test]
async fn credentials_are_renewed_without_an_operator() {
    let settings = EnrollmentSettings { lifetime_s: 3, ..EnrollmentSettings::default() };
    let stage = with(settings).await;
    let web = host("web-01");
    let (id, first) = web.issued(&stage).await;
    let until = first.expires_at.as_second() - 1;
    stage.until("the last third", || jiff::Timestamp::now().as_second() >= until).await;
    let (is_new, answer) = web.try_enroll(&stage, None).await.unwrap();
    assert_eq!((is_new, &answer.id, answer.state.as_str()), (false, &id, "approved"));
    assert_eq!(stage.control.enrollment_status(&id).await.unwrap().state, "approved");
    let second = web.creds(&stage, &id, None).await.unwrap();
    assert!(second.expires_at > first.expires_at);
    assert_eq!(told(web.creds(&stage, &id, None).await.map(drop).unwrap_err()).0, 403);
    let state = stage.control.enrollment_status(&id).await.unwrap().state;
    assert_eq!((state.as_str(), stage.count("enrollment.renewed").await), ("issued", 1));
}

#[tokio::test]
async fn a_host_that_lost_its_credentials_waits_for_an_operator_again() {
    let stage = Stage::start().await;
    let web = host("web-01");
    let (old, _) = web.issued(&stage).await;
    let id = web.enroll(&stage).await;
    assert_eq!(shown(&stage, &old).await["state"], "revoked");
    assert_eq!(shown(&stage, &old).await["revoked_by"], "system");
    let revocations = stage.control.views().read().enrollments.revocations(jiff::Timestamp::now());
    assert_eq!(revocations.keys().collect::<Vec<_>>(), [&web.public()]);
    approve(&stage, &id, json!({})).await;
    assert!(web.creds(&stage, &id, None).await.is_ok());
    let never = EnrollmentSettings { renewal: Renewal::Never, ..EnrollmentSettings::default() };
    let stage = with(never).await;
    web.issued(&stage).await;
    assert_eq!(told(web.try_enroll(&stage, None).await.map(drop).unwrap_err()).0, 409);
}
