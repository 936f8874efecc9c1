use super::*;
use crate::color::unpainted;
use crate::globals::Output;
use crate::testing::{Fake, noon, on_server};
use contract::{ApiError, ErrorCode};
use expect_test::expect;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use trust::nats::{Body, decode, parse_creds};

pub(crate) fn subscriber(name: &str, extra: Value) -> Value {
    let mut subscriber = json!({"id": format!("U{}", "A".repeat(55)), "name": name, "org": "default", "project": "demo",
        "start": {"position": 17}, "stream": "FLEET", "durable": "sub-UA", "domain": "fleet", "inbox_prefix": "_INBOX_UA",
        "filter": "fleet.default.demo.>", "progress": null, "expires_at": "2026-01-03T12:00:00Z",
        "inserted_at": "2026-01-02T11:00:00Z"});
    subscriber.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    subscriber
}

pub(crate) fn list(subscribers: &[Value]) -> Value {
    json!({"org": "default", "total": subscribers.len(), "subscribers": subscribers})
}

#[test]
fn a_list_shows_who_lags() {
    let progress = |delivered: u64, pending: u64| json!({"progress": {"delivered": delivered, "acknowledged": delivered - 2, "unacknowledged": 2, "pending": pending}});
    let all = [
        subscriber("audit", progress(40, 1200)),
        subscriber("billing", json!({"filter": "fleet.default.>", "expires_at": null})),
        subscriber("old", json!({"expires_at": "2026-01-02T11:30:00Z", "progress": progress(9, 0)["progress"]})),
    ];
    expect![[r#"
        NAME     FACTS                 STATE    LAG   DELIVERED  ACKNOWLEDGED  OPEN  EXPIRES  CREATED
        audit    fleet.default.demo.>  live     1200  40         38            2     in 24h   1h ago
        billing  fleet.default.>       missing  -     -          -             -     -        1h ago
        old      fleet.default.demo.>  expired  0     9          7             2     30m ago  1h ago
    "#]]
    .assert_eq(&unpainted(&table(&list(&all), noon()).unwrap()));
}

#[test]
fn the_credential_is_for_what_was_asked_and_is_not_printed() {
    on_server(async |server| {
        let mut fake = Fake::start(&server, |operation, request, _| match operation {
            Operation::SubscriberList => Fake::ok(200, list(&[]), 1),
            _ => {
                assert_eq!(request.body["start"], json!({"position": 17}));
                assert_eq!(request.body["expires_at"], json!("2026-01-03T12:00:00Z"));
                Fake::ok(201, subscriber("billing", json!({"id": request.body["public_key"]})), 1)
            }
        })
        .await;
        let line = "subscriber add billing -p demo --from-position 17 --expires 1d";
        let ran = fake.run(Output::Json, line, "").await;
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.talk);
        let path = fake.home.path().join("billing.creds");
        let (text, mode) = (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode());
        let creds = parse_creds(&text).unwrap();
        assert!(!ran.data.contains(&creds.seed) && !ran.talk.contains(&creds.seed));
        assert_eq!(mode & 0o777, 0o600);
        let claims = decode(&creds.jwt).unwrap();
        assert_eq!((claims.name.as_str(), claims.exp), ("billing", Some(1_767_441_600)));
        let Body::User(user) = claims.nats else { panic!("not a user") };
        assert_eq!(
            (user.issuer_account.as_str(), user.tags),
            ("ACLIENTS", vec!["org:default".into(), "project:demo".into()])
        );
        let asked = || fake.asked.lock().unwrap().last().unwrap().1.body["public_key"].clone();
        assert_eq!(asked(), json!(creds.public_key));

        // The same again goes on with the same key; another subscriber does not get it.
        assert_eq!(fake.run(Output::Table, line, "").await.exit, Exit::Ok);
        let last = fake.asked.lock().unwrap().last().unwrap().1.body["public_key"].clone();
        assert_eq!(last, json!(creds.public_key));
        let other = fake.run(Output::Table, "subscriber add other -p demo --expires 1d --out billing.creds", "").await;
        assert_eq!(other.exit, Exit::Conflict, "{}", other.talk);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    });
}

#[test]
fn it_is_printed_where_that_is_asked_for() {
    on_server(async |server| {
        let mut fake = Fake::start(&server, |operation, request, _| match operation {
            Operation::SubscriberList => Fake::ok(200, list(&[]), 1),
            _ => {
                assert_eq!((&request.body["start"], request.body.get("project")), (&json!("new"), None));
                Fake::ok(201, subscriber("billing", json!({})), 1)
            }
        })
        .await;
        let ran = fake.run(Output::Table, "subscriber add billing --new --out -", "").await;
        let claims = decode(&parse_creds(&ran.data).unwrap().jwt).unwrap();
        let Body::User(user) = claims.nats else { panic!("not a user") };
        assert_eq!((claims.exp, user.tags), (None, vec!["org:default".into(), "project:*".into()]));
        assert_eq!(fs::read_dir(fake.home.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_refusal_leaves_no_file_and_silence_keeps_it() {
    on_server(async |server| {
        for (status, kept) in [(422, false), (503, true)] {
            let mut fake = Fake::start(&server, move |operation, _, _| match operation {
                Operation::SubscriberList => Fake::ok(200, list(&[]), 1),
                _ if status == 422 => Fake::fail(ApiError::field("name", "has already been taken")),
                _ => Fake::fail(ApiError::new(ErrorCode::Unavailable, "the store did not answer")),
            })
            .await;
            let ran = fake.run(Output::Table, "subscriber add billing --out sub/billing.creds", "").await;
            assert_ne!(ran.exit, Exit::Ok);
            assert_eq!(fake.home.path().join("sub/billing.creds").exists(), kept, "{}", ran.talk);
        }
    });
}

#[test]
fn without_the_signing_key_nothing_is_asked() {
    on_server(async |server| {
        let mut fake = Fake::start(&server, |_, _, _| panic!("asked")).await;
        let ran = fake.run(Output::Table, "subscriber add billing --signing-key nowhere.nk", "").await;
        assert_eq!(ran.exit, Exit::Auth);
        assert!(ran.talk.contains("nowhere.nk") && ran.talk.contains("--signing-key"), "{}", ran.talk);
    });
}
