//! Enrollment on the wire: what the document fixes to the letter.

use super::bench::{Answered, Asking, Bench};
use crate::{EdgeConfig, LimitsConfig};
use axum::http::Method;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use contract::{ErrorCode, ROUTES};
use serde_json::{Value, json};
use trust::nats::{KeyKind, NatsKey};

const CURVE: &str = "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7";
const UNKNOWN: &str = "enr-2JFKABCD1234567890abcdefghi";
const PATH: &str = "/api/v1/enroll";

async fn roomy() -> Bench {
    let limits = LimitsConfig { enrollment_burst: 1_000, ..LimitsConfig::default() };
    Bench::with(EdgeConfig { limits, ..EdgeConfig::default() }).await
}

fn error(answered: &Answered) -> (u16, String) {
    (answered.status, answered.json()["error"].as_str().unwrap_or_default().to_owned())
}

fn words(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

fn nonce_path(id: &str, key: &NatsKey) -> String {
    format!("{PATH}/nonce?peel_id={id}&public_key={}", key.public_key())
}

/// A body that answers a fresh challenge.
async fn body(bench: &Bench, id: &str, key: &NatsKey) -> Value {
    let nonce = bench.ask("GET", &nonce_path(id, key)).send().await;
    assert_eq!(nonce.status, 200, "{nonce:?}");
    let nonce = nonce.json();
    let challenge = BASE64_STANDARD.decode(nonce["challenge"].as_str().unwrap()).unwrap();
    assert_eq!(challenge.len(), 32);
    let signature = BASE64_STANDARD.encode(key.sign(&[&challenge, CURVE.as_bytes()].concat()));
    json!({"peel_id": id, "public_key": key.public_key(), "curve_public_key": CURVE,
        "challenge_id": nonce["challenge_id"], "signature": signature, "hostname": "h"})
}

fn post<'a>(bench: &'a Bench, body: &Value) -> Asking<'a> {
    bench.ask("POST", PATH).raw(body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_has_the_documents_bodies() {
    let bench = roomy().await;
    let key = NatsKey::generate(KeyKind::User);
    let first = body(&bench, "web-01", &key).await;
    // The type of the body is not looked at.
    let made = post(&bench, &first).header("content-type", "text/plain").send().await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let expected = json!({"id": id, "peel_id": "web-01", "state": "pending",
        "message": "Enrollment submitted. Awaiting operator approval."});
    assert_eq!((made.status, made.json()), (201, expected));
    let again = post(&bench, &body(&bench, "web-01", &key).await).send().await;
    assert_eq!(
        (again.status, &again.json()["id"], &again.json()["message"]),
        (200, &json!(id), &json!("Enrollment already pending."))
    );
    let status = bench.ask("GET", &format!("{PATH}/{id}/status")).header("accept", "text/html").send().await;
    assert_eq!((status.status, status.json()), (200, json!({"id": id, "peel_id": "web-01", "state": "pending"})));
    assert_eq!(status.header("content-type"), "application/json");

    let listed = bench.operator("GET", "/api/v1/enrollments").send().await.json();
    assert_eq!((&listed["enrollments"][0]["id"], &listed["total"]), (&json!(id), &json!(1)));
    let approve = format!("/api/v1/enrollments/{id}/approve");
    assert_eq!(bench.operator("POST", &approve).send().await.json()["state"], "approved");
    let late = bench.operator("POST", &approve).send().await;
    assert_eq!((error(&late), late.code().as_str()), (words(409, "cannot approve: state is approved"), "conflict"));
    let stream = bench.ask("GET", &format!("{PATH}/{id}/stream")).send().await;
    let frame = format!("event: state\ndata: {{\"id\":\"{id}\",\"peel_id\":\"web-01\",\"state\":\"approved\"}}\n\n");
    assert_eq!((stream.status, String::from_utf8_lossy(&stream.body)), (200, frame.into()));
    let heads = ["content-type", "cache-control", "connection"].map(|name| stream.header(name).to_owned());
    assert_eq!(heads, ["text/event-stream", "no-cache", "keep-alive"]);

    let path = format!("{PATH}/{id}/creds");
    let proof = BASE64_URL_SAFE_NO_PAD.encode(key.sign(id.as_bytes()));
    let proof = format!("Nkey {}:{proof}", key.public_key());
    let refused = bench.ask("GET", &path).send().await;
    assert_eq!((error(&refused), refused.header("www-authenticate")), (words(401, "authentication failed"), "Nkey"));
    let head = bench.ask("HEAD", &path).header("authorization", proof.as_str()).send().await;
    assert_eq!((head.status, head.header("allow")), (405, "GET"), "a HEAD gives nothing out");
    let creds =
        bench.ask("GET", &path).header("authorization", proof.as_str()).header("idempotency-key", "k").send().await;
    assert_eq!(creds.status, 200, "{creds:?}");
    let fields: Vec<String> = creds.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        (fields, &creds.json()["peel_id"]),
        (vec!["creds_data".into(), "expires_at".into(), "peel_id".into()], &json!("web-01"))
    );
    let repeat =
        bench.ask("GET", &path).header("authorization", proof.as_str()).header("idempotency-key", "k").send().await;
    assert_eq!(repeat.json(), creds.json());
    let second = bench.ask("GET", &path).header("authorization", proof.as_str()).send().await;
    assert_eq!(
        (error(&second), second.code().as_str()),
        (words(403, "enrollment not in approved state"), "not_approved")
    );
    let revoked = bench
        .operator("POST", &format!("/api/v1/enrollments/{id}/revoke"))
        .json(json!({"reason": "gone"}))
        .send()
        .await;
    assert_eq!((&revoked.json()["state"], &revoked.json()["revoke_reason"]), (&json!("revoked"), &json!("gone")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_security_headers_and_errors_are_one_field() {
    let bench = roomy().await;
    let key = NatsKey::generate(KeyKind::User);
    let good = body(&bench, "web-01", &key).await;
    let answers = [
        bench.ask("GET", &nonce_path("web-01", &key)).send().await,
        bench.ask("GET", &format!("{PATH}/nonce")).send().await,
        bench.ask("GET", &format!("{PATH}/{UNKNOWN}/status")).send().await,
        bench.ask("GET", &format!("{PATH}/{UNKNOWN}/stream")).send().await,
        bench.ask("GET", &format!("{PATH}/a/b/c")).send().await,
        bench.ask("DELETE", PATH).send().await,
        bench.ask("HEAD", &format!("{PATH}/nonce")).send().await,
        bench.ask("GET", "/api/v1/enrollments").send().await,
        bench.operator("GET", "/api/v1/enrollments?state=odd").send().await,
        bench.operator("GET", "/api/v1/enrollments?limit=0").send().await,
        bench
            .operator("POST", &format!("/api/v1/enrollments/{UNKNOWN}/approve"))
            .json(json!({"force": 1}))
            .send()
            .await,
        bench.operator("POST", &format!("/api/v1/enrollments/{UNKNOWN}/reject")).text("{").send().await,
        post(&bench, &good).send().await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answered| answered.status).collect();
    assert_eq!(statuses, [200, 400, 404, 404, 404, 405, 405, 401, 400, 422, 422, 400, 201]);
    for answered in &answers {
        for (name, value) in [
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answered.header(name), value, "{answered:?}");
        }
        if answered.status >= 400 && !answered.body.is_empty() {
            let code = answered.code();
            assert!(ErrorCode::ALL.iter().any(|known| known.as_str() == code), "{code}");
        }
    }
    assert_eq!(error(&answers[1]), words(400, "peel_id and public_key are required"));
    assert_eq!(error(&answers[2]), words(404, "enrollment not found"));
    assert_eq!(error(&answers[8]), words(400, "invalid state"));
    assert_eq!(error(&answers[11]), words(400, "invalid JSON body"));
    assert_eq!(answers[7].header("www-authenticate"), "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_as_the_document_says() {
    let bench = roomy().await;
    let key = NatsKey::generate(KeyKind::User);
    let bad = words(400, "invalid request body");
    for text in ["", "{", "[]", "x", r#"{"signature":"a_-b"}"#, &format!("{{\"hostname\":\"{}\"}}", "x".repeat(4096))] {
        assert_eq!(error(&bench.ask("POST", PATH).raw(text.to_owned()).send().await), bad, "{text:.40}");
    }
    let mut padded = body(&bench, "web-01", &key).await;
    let size = padded.to_string().len();
    padded["hostname"] = json!("x".repeat(4096 - size + 1));
    assert_eq!(padded.to_string().len(), 4096);
    assert_eq!(post(&bench, &padded).send().await.status, 201);
    for odd in ["peel.web-01", "*", "%3E", "..%2f", &"x".repeat(1024), &UNKNOWN.to_lowercase()] {
        let answered = bench.ask("GET", &format!("{PATH}/{odd}/status")).send().await;
        assert_eq!(error(&answered), words(404, "enrollment not found"), "{odd:.40}");
    }
    let first_counts = format!("{}&peel_id=*", nonce_path("web-02", &key));
    assert_eq!(bench.ask("GET", &first_counts).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_is_served_without_tls() {
    let bench = roomy().await;
    for route in ROUTES.iter().filter(|route| route.path.starts_with(PATH)) {
        let path = route.path.replace("{id}", UNKNOWN);
        let answered = bench.operator(route.method.as_str(), &path).plain().send().await;
        assert_eq!((answered.status, answered.code().as_str()), (404, "not_found"), "{path}");
        let method: Method = route.method.as_str().parse().unwrap();
        assert_ne!(bench.operator(method.as_str(), &path).send().await.json()["error"], answered.json()["error"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_counted_by_site_and_token_holders_by_token() {
    let bench = Bench::start().await;
    let key = NatsKey::generate(KeyKind::User);
    let path = nonce_path("web-01", &key);
    for n in 0..11 {
        let answered = bench.ask("GET", &path).send_from("2001:db8::1").await;
        assert_eq!(answered.status, if n < 10 { 200 } else { 429 }, "{n}");
        if n == 10 {
            assert_eq!(
                (answered.json(), answered.code().as_str()),
                (json!({"error": "rate limit exceeded"}), "rate_limited")
            );
            let seconds: u64 = answered.header("retry-after").parse().unwrap();
            assert!((1..=10).contains(&seconds), "{seconds}");
        }
    }
    assert_eq!(bench.ask("GET", &path).send_from("2001:db8::ffff").await.status, 429, "the same site");
    assert_eq!(bench.ask("GET", &path).send_from("2001:db8:0:1::1").await.status, 200);
    let token = bench.operator("POST", "/api/v1/projects/demo/join-tokens").json(json!({"name": "rack"})).send().await;
    let token = token.json()["token"].as_str().unwrap().to_owned();
    for _ in 0..50 {
        let shown = bench.ask("GET", &path).header("x-pilothouse-join-token", token.as_str());
        assert_eq!(shown.send_from("2001:db8::1").await.status, 200);
    }
    let invented = bench.ask("GET", &path).header("x-pilothouse-join-token", "pjt_invented");
    assert_eq!(invented.send_from("2001:db8::1").await.status, 429);
    assert_eq!(bench.operator("GET", "/api/v1/enrollments").send_from("2001:db8::1").await.status, 200);
}
