//! The run-time user adds facts and reads them; every way to lose one is closed to it.

use crate::suite::{last, settle, stored};
use crate::suite_durables::durables;
use crate::suite_records::{pulse, records, storage};
use crate::{fact, suite, take};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use domain::Position;
use futures_util::StreamExt;
use futures_util::future::join_all;
use journal::testing::TestServer;
use journal::{JetStream, JournalReader, Permissions, Role, provision};
use std::time::Duration;

/// How long to wait for an answer that must not come.
const DENIED_AFTER: Duration = Duration::from_millis(300);

/// The server's accounts: the three users with exactly the permissions that this crate lists, and `admin` with all.
pub fn accounts() -> String {
    let user = |role: Role| {
        let Permissions { publish, subscribe } = role.permissions();
        let name = role.name();
        format!(
            "{{ user: {name}, password: {name}, permissions: {{ publish: {{ allow: {publish:?} }}, \
             subscribe: {{ allow: {subscribe:?} }} }} }}"
        )
    };
    let (runtime, provisioning, monitor) = (user(Role::Runtime), user(Role::Provisioning), user(Role::Monitor));
    format!(
        "accounts {{\n APP {{ jetstream: enabled, users: [ {runtime}, {provisioning}, {{ user: admin, password: admin }} ] }}\n \
         SYS {{ users: [ {monitor} ] }}\n}}\nsystem_account: SYS\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runtime_user_can_do_all_its_work() {
    let (_server, _, backend) = server().await;
    suite::journal(&backend).await;
    records(&backend).await;
    pulse(&backend).await;
    storage(&backend).await;
    durables(&backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runtime_user_cannot_lose_a_fact() {
    let (server, client, backend) = server().await;
    let kept = stored(settle(&backend, fact("keep", "n1", "registered", Position::START, "a.0")).await);
    let fleet = r#"{"name":"FLEET","subjects":["append.>"],"storage":"file","retention":"limits","num_replicas":1"#;
    let copy = r#"{"name":"COPY","storage":"file","retention":"limits","num_replicas":1"#;
    let calls = [
        ("STREAM.DELETE.FLEET", String::new()),
        ("STREAM.PURGE.FLEET", String::new()),
        ("STREAM.MSG.DELETE.FLEET", r#"{"seq":1}"#.to_owned()),
        ("STREAM.UPDATE.FLEET", format!(r#"{fleet},"max_msgs":1}}"#)),
        ("STREAM.UPDATE.FLEET", format!(r#"{fleet},"max_age":1000000000}}"#)),
        ("STREAM.UPDATE.FLEET", format!(r#"{fleet},"deny_delete":false,"deny_purge":false}}"#)),
        ("STREAM.CREATE.COPY", format!(r#"{copy},"subjects":["fleet.>"]}}"#)),
        ("STREAM.CREATE.COPY", format!(r#"{copy},"mirror":{{"name":"FLEET"}}}}"#)),
        ("STREAM.CREATE.COPY", format!(r#"{copy},"sources":[{{"name":"FLEET"}}]}}"#)),
        ("STREAM.RESTORE.FLEET", "{}".to_owned()),
        ("STREAM.SNAPSHOT.FLEET", r#"{"deliver_subject":"_INBOX.runtime.x"}"#.to_owned()),
        ("STREAM.LEADER.STEPDOWN.FLEET", String::new()),
        ("STREAM.PURGE.KV_credentials", String::new()),
        ("STREAM.DELETE.BLOBS", String::new()),
        ("ACCOUNT.PURGE.APP", String::new()),
        ("CONSUMER.DURABLE.CREATE.FLEET.d", "{}".to_owned()),
        ("CONSUMER.DELETE.KV_credentials.x", String::new()),
        ("CONSUMER.MSG.NEXT.FLEET.d", String::new()),
    ];
    join_all(calls.map(|(call, body)| denied(&client, format!("$JS.API.{call}"), body))).await;
    let others = ["fleet.keep.p.node.n1.seen", "$JS.ACK.FLEET.c.1.1.1.1.0", "$SYS.REQ.SERVER.PING.JSZ"];
    join_all(others.map(|subject| denied(&client, subject.to_owned(), String::new()))).await;
    for (header, value) in
        [("Nats-Rollup", "all"), ("Nats-Rollup", "sub"), ("Nats-TTL", "1s"), ("Nats-Schedule", "@every 1s")]
    {
        refused(&client, "append.keep.p.node.n1.registered", (header, value)).await;
    }
    // A consumer moves and changes nothing in the stream, and cannot feed the stream from itself.
    let consumer = |deliver: &str, ack: &str| {
        let config =
            format!(r#"{{"name":"c","deliver_subject":"{deliver}","ack_policy":"{ack}","deliver_policy":"all"}}"#);
        format!(r#"{{"stream_name":"FLEET","action":"create","config":{config}}}"#)
    };
    let cycle = client.request("$JS.API.CONSUMER.CREATE.FLEET.c", consumer("append.x", "none").into()).await.unwrap();
    assert!(text(&cycle.payload).contains("10081"), "{}", text(&cycle.payload));

    assert_eq!(last(&backend).await, kept);
    let second = stored(settle(&backend, fact("keep", "n1", "seen", kept, "b.0")).await);
    let facts = take(&mut JournalReader::follow(&backend, Position::START), 2).await;
    assert_eq!(facts.iter().map(|fact| fact.position).collect::<Vec<_>>(), [kept, second]);
    let admin = server.client_as("admin", Role::Provisioning).await;
    let streams = admin.request("$JS.API.STREAM.NAMES", Bytes::new()).await.unwrap();
    assert!(!text(&streams.payload).contains("COPY"));
}

#[tokio::test]
async fn not_even_an_administrator_deletes_a_fact_while_the_stream_stands() {
    let (server, _, backend) = server().await;
    stored(settle(&backend, fact("keep", "n1", "registered", Position::START, "a.0")).await);
    let admin = server.client_as("admin", Role::Provisioning).await;
    for (call, body) in [("STREAM.PURGE.FLEET", ""), ("STREAM.MSG.DELETE.FLEET", r#"{"seq":1}"#)] {
        let answer = admin.request(format!("$JS.API.{call}"), body.into()).await.unwrap();
        assert!(text(&answer.payload).contains("\"error\""), "{call}: {}", text(&answer.payload));
    }
    assert_eq!(last(&backend).await, Position(1));
}

#[tokio::test]
async fn a_subscriber_sees_committed_facts_alone() {
    let (server, client, backend) = server().await;
    let admin = server.client_as("admin", Role::Provisioning).await;
    let mut facts = admin.subscribe("fleet.>").await.unwrap();
    // The answer comes after the server has seen the subscription, which was sent before.
    admin.request("$JS.API.INFO", Bytes::new()).await.unwrap();
    let first = stored(settle(&backend, fact("sub", "n1", "registered", Position::START, "a.0")).await);
    settle(&backend, fact("sub", "n1", "registered", Position::START, "b.0")).await;
    client.publish("fleet.sub.p.node.n1.forged", Bytes::new()).await.unwrap();
    stored(settle(&backend, fact("sub", "n1", "seen", first, "c.0")).await);
    for (subject, sequence) in [("fleet.sub.p.node.n1.registered", "1"), ("fleet.sub.p.node.n1.seen", "2")] {
        let message = tokio::time::timeout(crate::PATIENCE, facts.next()).await.unwrap().unwrap();
        let told = message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence")).map(ToString::to_string);
        assert_eq!((message.subject.as_str(), told.as_deref()), (subject, Some(sequence)));
    }
}

#[tokio::test]
async fn the_other_users_can_do_their_own_work_alone() {
    let (server, _, _) = server().await;
    let provisioning = server.client_as("provisioning", Role::Provisioning).await;
    let calls = ["STREAM.UPDATE.FLEET", "STREAM.DELETE.FLEET", "STREAM.PURGE.BLOBS", "STREAM.MSG.GET.KV_secrets"];
    join_all(calls.map(|call| denied(&provisioning, format!("$JS.API.{call}"), "{}".to_owned()))).await;
    denied(&provisioning, "append.x.p.node.n1.seen".to_owned(), "{}".to_owned()).await;
    let monitor = server.client_as("monitor", Role::Monitor).await;
    denied(&monitor, "$SYS.REQ.CLAIMS.UPDATE".to_owned(), String::new()).await;
}

/// The run-time user's connection and backend on a server with users.
async fn server() -> (TestServer, Client, JetStream) {
    let server = TestServer::start_with("", &accounts());
    provision(&server.client_as("provisioning", Role::Provisioning).await, 1).await.unwrap();
    let client = server.client_as("runtime", Role::Runtime).await;
    let backend = JetStream::new(client.clone());
    (server, client, backend)
}

/// The server drops what a user may not publish: there is no answer at all.
async fn denied(client: &Client, subject: String, body: String) {
    let request = async_nats::Request::new().payload(body.into()).timeout(Some(DENIED_AFTER));
    let answer = client.send_request(subject.clone(), request).await;
    assert!(answer.is_err(), "{subject} was answered: {answer:?}");
}

/// The user may publish there, but the stream refuses the header.
async fn refused(client: &Client, subject: &str, header: (&'static str, &str)) {
    let mut headers = HeaderMap::new();
    headers.insert(header.0, header.1);
    let request = async_nats::Request::new().headers(headers).payload(Bytes::from_static(b"{}"));
    let answer = client.send_request(subject.to_owned(), request).await.unwrap();
    assert!(text(&answer.payload).contains("\"error\""), "{header:?}: {}", text(&answer.payload));
}

fn text(payload: &Bytes) -> String {
    String::from_utf8_lossy(payload).into_owned()
}
