//! The claims as JSON, and what is refused.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::nats::key::KeyKind;
use crate::nats::roles::operator_template;
use serde_json::{Value, json};

fn account_key() -> NatsKey {
    NatsKey::generate(KeyKind::Account)
}

fn mint() -> Mint<'static> {
    Mint { name: "n", issued_at: 1_800_000_000, expires_at: None }
}

fn user_jwt(issuer: &NatsKey, account: &str) -> String {
    sign(issuer, &NatsKey::generate(KeyKind::User).public_key(), mint(), Body::User(UserClaims::scoped(account)))
}

fn as_json(body: &Body) -> Value {
    serde_json::to_value(body).unwrap()
}

#[test]
fn a_jwt_is_what_servers_expect() {
    let issuer = account_key();
    let subject = NatsKey::generate(KeyKind::User).public_key();
    let expiring = Mint { expires_at: Some(1_800_000_060), ..mint() };
    let jwt = sign(&issuer, &subject, expiring, Body::User(UserClaims::scoped("A1")));
    let parts: Vec<_> = jwt.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    assert_eq!(parts[0], br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let mut claims: Claims = serde_json::from_slice(&parts[1]).unwrap();
    let expected = json!({
        "jti": claims.jti, "iat": 1_800_000_000, "exp": 1_800_000_060, "iss": issuer.public_key(), "name": "n",
        "sub": subject, "nats": {"type": "user", "version": 2, "issuer_account": "A1", "pub": {}, "sub": {}},
    });
    assert_eq!(serde_json::from_slice::<Value>(&parts[1]).unwrap(), expected);
    assert_eq!(verify(&jwt, &[&issuer.public_key()]), Ok(claims.clone()));
    let jti = std::mem::take(&mut claims.jti);
    assert_eq!(jti, BASE32_NOPAD.encode(&Sha256::digest(json(&claims))));
    assert_eq!(jti.len(), 52);
}

#[test]
fn bodies_have_the_names_of_the_servers() {
    let operator = Body::Operator(OperatorClaims::new(vec!["O2".into()], "A1".into()));
    let expected = json!({
        "type": "operator", "version": 2, "signing_keys": ["O2"], "system_account": "A1", "strict_signing_key_usage": true,
    });
    assert_eq!(as_json(&operator), expected);

    let keys = vec![
        AccountSigningKey::Plain("A2".into()),
        AccountSigningKey::scoped("A3".into(), "operator", operator_template()),
    ];
    let mut account = AccountClaims::new(Limits::unlimited(true), keys);
    account.revocations.insert("U1".into(), 5);
    let (subject, kind) = ("s.>".to_owned(), ShareKind::Service);
    let response_type = Some(ResponseType::Stream);
    account.exports = vec![Export { name: "e".into(), subject: subject.clone(), kind, response_type }];
    account.imports = vec![Import {
        name: "i".into(),
        subject,
        account: "A9".into(),
        local_subject: Some("a.$1".into()),
        kind: ShareKind::Stream,
    }];
    let value = as_json(&Body::Account(account.clone()));
    assert_eq!(value["signing_keys"][0], "A2");
    let scoped = &value["signing_keys"][1];
    assert_eq!(
        (&scoped["kind"], &scoped["key"], &scoped["role"]),
        (&json!("user_scope"), &json!("A3"), &json!("operator"))
    );
    assert_eq!(value["revocations"], json!({"U1": 5}));
    let export = json!({"name": "e", "subject": "s.>", "type": "service", "response_type": "Stream"});
    assert_eq!(value["exports"], json!([export]));
    let import = json!({"name": "i", "subject": "s.>", "account": "A9", "local_subject": "a.$1", "type": "stream"});
    assert_eq!(value["imports"], json!([import]));
    assert_eq!(value["limits"]["disk_storage"], -1);
    assert_eq!(serde_json::from_value::<Body>(value).unwrap(), Body::Account(account));

    let allow = |subject: &str| SubjectRule { allow: vec![subject.into()], deny: vec![] };
    let user = Body::User(UserClaims::plain("A1", allow("p.>"), allow("s.>")));
    let expected = json!({
        "type": "user", "version": 2, "issuer_account": "A1", "pub": {"allow": ["p.>"]}, "sub": {"allow": ["s.>"]},
        "subs": -1, "data": -1, "payload": -1,
    });
    assert_eq!(as_json(&user), expected);
}

#[test]
fn the_system_account_has_no_jetstream() {
    let limits = serde_json::to_value(Limits::unlimited(false)).unwrap();
    for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
        assert_eq!(limits[name], 0, "{name}");
    }
}

#[test]
fn a_replacement_is_always_newer() {
    let now = Timestamp::from_second(100).unwrap();
    assert_eq!(next_issue_time(50, now), 100);
    assert_eq!(next_issue_time(100, now), 101);
    assert_eq!(next_issue_time(200, now), 201);
}

#[test]
fn only_named_issuers_are_believed() {
    let (issuer, other) = (account_key(), account_key());
    let jwt = user_jwt(&issuer, "A1");
    assert!(verify(&jwt, &[&other.public_key(), &issuer.public_key()]).is_ok());
    assert_eq!(verify(&jwt, &[&other.public_key()]), Err(NatsError::Issuer));
    assert_eq!(verify(&jwt, &[]), Err(NatsError::Issuer));
    // The claims name a trusted issuer, but another key signed.
    let (signed, _) = jwt.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(other.sign(signed.as_bytes())));
    assert_eq!(verify(&forged, &[&issuer.public_key()]), Err(NatsError::Signature));
    assert!(decode(&forged).is_ok(), "decoding verifies nothing");
    let short = format!("{signed}.AAAA");
    assert_eq!(verify(&short, &[&issuer.public_key()]), Err(NatsError::Signature));
}

#[test]
fn every_part_of_a_jwt_counts() {
    let issuer = account_key();
    let jwt = user_jwt(&issuer, "A1");
    for (at, old) in jwt.char_indices().step_by(29) {
        let mut other = jwt.clone();
        other.replace_range(at..=at, if old == 'A' { "B" } else { "A" });
        assert!(verify(&other, &[&issuer.public_key()]).is_err(), "character {at}");
    }
}

#[test]
fn other_algorithms_and_nonsense_are_refused() {
    let jwt = user_jwt(&account_key(), "A1");
    let (_, rest) = jwt.split_once('.').unwrap();
    for alg in ["none", "ed25519", "EdDSA", "HS256"] {
        let header = BASE64_URL_SAFE_NO_PAD.encode(json!({"typ": "JWT", "alg": alg}).to_string());
        assert_eq!(decode(&format!("{header}.{rest}")), Err(NatsError::Jwt), "{alg}");
    }
    let huge = format!("{jwt}{}", "A".repeat(JWT_BYTES_MAX));
    for wrong in ["", "..", "a.b.c", &jwt[..jwt.len() / 2], &huge, &format!("{jwt}.")] {
        assert_eq!(decode(wrong), Err(NatsError::Jwt));
    }
}
