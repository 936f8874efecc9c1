//! With the credentials that a replica runs on, nobody can remove a fact, in any way that JetStream offers; and an operator
//! can ask, watch, and nothing else; a subscriber can follow what is its own.

use crate::harness::{Dev, Facts, PATIENCE, operator_nkey};
use async_nats::{Client, ConnectOptions, HeaderMap, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a refusal takes: NATS answers a forbidden request with silence.
const SILENCE: Duration = Duration::from_millis(400);

async fn connect(dev: &Dev, creds: &str, inbox_prefix: &str) -> Client {
    let text = std::fs::read_to_string(creds).unwrap();
    let options = ConnectOptions::with_credentials(&text).unwrap();
    options.custom_inbox_prefix(inbox_prefix).connect(dev.file.get("nats_url")).await.unwrap()
}

async fn ask(client: &Client, subject: &str, body: &Value) -> Option<Value> {
    let request = client.request(subject.to_owned(), body.to_string().into());
    let reply = tokio::time::timeout(SILENCE, request).await.ok()?.ok()?;
    serde_json::from_slice(&reply.payload).ok()
}

async fn stream_state(client: &Client) -> Value {
    ask(client, "$JS.API.STREAM.INFO.FLEET", &json!({})).await.expect("a replica may look at its stream")["state"]
        .clone()
}

#[test]
fn the_run_time_user_cannot_remove_or_change_a_fact() {
    let dev = Dev::start();
    let mut facts = Facts::subscribe(&dev);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(attempt_everything(&dev, &mut facts));
}

async fn attempt_everything(dev: &Dev, facts: &mut Facts) {
    let creds = dev.data_dir().join("installation/service.creds");
    let client = connect(dev, creds.to_str().unwrap(), "_INBOX.runtime").await;
    let before = stream_state(&client).await;
    assert!(before["messages"].as_u64().unwrap() > 0);

    let without_limits = ask(&client, "$JS.API.STREAM.INFO.FLEET", &json!({})).await.unwrap()["config"].clone();
    let mut shrunk = without_limits.clone();
    (shrunk["max_msgs"], shrunk["deny_delete"], shrunk["deny_purge"]) = (json!(1), json!(false), json!(false));
    let mut aged = without_limits.clone();
    aged["max_age"] = json!(1_000_000_000);
    let attempts = [
        ("$JS.API.STREAM.DELETE.FLEET", json!({})),
        ("$JS.API.STREAM.PURGE.FLEET", json!({})),
        ("$JS.API.STREAM.PURGE.FLEET", json!({"filter": "fleet.>"})),
        ("$JS.API.STREAM.MSG.DELETE.FLEET", json!({"seq": 1})),
        ("$JS.API.STREAM.MSG.DELETE.FLEET", json!({"seq": 1, "no_erase": true})),
        ("$JS.API.STREAM.UPDATE.FLEET", shrunk),
        ("$JS.API.STREAM.UPDATE.FLEET", aged),
        ("$JS.API.STREAM.RESTORE.FLEET", json!({})),
        ("$JS.API.STREAM.CREATE.THIEF", json!({"name": "THIEF", "subjects": ["append.>"]})),
        ("$JS.API.STREAM.LEADER.STEPDOWN.FLEET", json!({})),
        ("$JS.API.STREAM.PEER.REMOVE.FLEET", json!({"peer": "x"})),
        ("$JS.API.ACCOUNT.PURGE.X", json!({})),
    ];
    for (subject, body) in attempts {
        assert_eq!(ask(&client, subject, &body).await, None, "{subject} was answered");
    }
    for (name, value) in [("Nats-Rollup", "all"), ("Nats-Rollup", "sub"), ("Nats-TTL", "1s")] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        let request = client.request_with_headers("append.x._.org.x.created", headers, "{}".into());
        let reply = tokio::time::timeout(SILENCE, request).await.unwrap().unwrap();
        let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert!(reply["error"]["code"].as_u64().is_some(), "{name}: {value} was stored: {reply}");
    }
    // Straight to the stored subject: refused by the server, so that no subscriber is fooled either.
    client.publish("fleet.default.demo.node.x.online", "{}".into()).await.unwrap();
    client.flush().await.unwrap();
    let created = dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "after"})));
    assert_eq!(created.status, 201, "{}", created.text);
    facts.wait_for("project.after.created");
    assert_eq!(facts.seen.len(), 1, "{:?}", facts.subjects());

    let after = stream_state(&client).await;
    assert_eq!(after["first_seq"], before["first_seq"]);
    assert_eq!(after["num_deleted"], before["num_deleted"]);
    assert_eq!(after["messages"], json!(before["messages"].as_u64().unwrap() + 1));
}

#[tokio::test]
async fn an_operator_speaks_for_itself_alone() {
    let dev = Dev::start();
    let creds = std::fs::read_to_string(dev.file.get("operator_creds")).unwrap();
    let own = operator_nkey(&creds);
    let client = connect(&dev, dev.file.get("operator_creds"), &format!("_INBOX_{own}")).await;
    let other = format!("U{}", "A".repeat(55));
    let subject = |nkey: &str| format!("pilothouse.admin.v1.{nkey}.project.list");
    let asked = async |subject: String| {
        let request = client.request(subject, "\u{80}".into());
        tokio::time::timeout(SILENCE, request).await.ok().and_then(Result::ok).is_some()
    };
    assert!(asked(subject(&own)).await, "its own subject is answered");
    assert!(!asked(subject(&other)).await, "another operator's is not");
    assert_eq!(ask(&client, "$JS.API.STREAM.INFO.FLEET", &json!({})).await, None);
    assert_eq!(ask(&client, "$JS.API.STREAM.MSG.GET.KV_credentials", &json!({"seq": 1})).await, None);
    assert_eq!(ask(&client, "append.default._.org.default.created", &json!({})).await, None);
}

/// Whoever answers a request publishes on the reply subject that the request names: a replica, or the server itself.
#[tokio::test]
async fn an_operators_reply_subject_reaches_nothing_that_is_stored() {
    let dev = Dev::start();
    let creds = std::fs::read_to_string(dev.file.get("operator_creds")).unwrap();
    let own = operator_nkey(&creds);
    let operator = connect(&dev, dev.file.get("operator_creds"), &format!("_INBOX_{own}")).await;
    let service = dev.data_dir().join("installation/service.creds");
    let service = connect(&dev, service.to_str().unwrap(), "_INBOX.runtime").await;
    let list = format!("pilothouse.admin.v1.{own}.project.list");
    let streams = ["FLEET", "KV_credentials", "KV_pointers", "BLOBS", "TELEMETRY"];
    let stored = async || {
        let mut last = Vec::new();
        for stream in streams {
            let info = ask(&service, &format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).await.unwrap();
            last.push((stream, info["state"]["last_seq"].clone()));
        }
        last
    };
    let before = stored().await;
    let targets = [
        "append.default.demo.node.x.forged",
        "fleet.default.demo.node.x.forged",
        "$KV.credentials.x",
        "$KV.pointers.x",
        "blob.x.0",
        "telemetry.default.demo.x.events",
        "$JS.API.STREAM.CREATE.THIEF",
        "_INBOX.runtime.x",
    ];
    for reply in targets {
        for subject in [list.as_str(), "$SRV.PING", "$SRV.INFO", "$SRV.STATS.pilothouse-admin"] {
            operator.publish_with_reply(subject.to_owned(), reply, "\u{80}".into()).await.unwrap();
        }
    }
    // Answered in the order of asking, so what was asked before has been answered too.
    for subject in [list.as_str(), "$SRV.PING", "$SRV.INFO", "$SRV.STATS.pilothouse-admin"] {
        operator.request(subject.to_owned(), "\u{80}".into()).await.unwrap();
    }
    let created = dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "after"})));
    assert_eq!(created.status, 201, "{}", created.text);
    let mut expected = before.clone();
    expected[0].1 = json!(before[0].1.as_u64().unwrap() + 1);
    assert_eq!(stored().await, expected);
}

/// Two subscribers of different projects, and their names on NATS.
fn subscribers(dev: &Dev) -> [Value; 2] {
    let made = dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "other"})));
    assert_eq!(made.status, 201, "{}", made.text);
    for slug in ["demo", "other"] {
        let path = format!("/api/v1/projects/{slug}/join-tokens");
        for name in ["a", "b", "c"] {
            assert_eq!(dev.api("POST", &path, Some(&json!({"name": name}))).status, 201);
        }
    }
    ["demo", "other"].map(|slug| dev.cli_json(&["subscriber", "add", &format!("of-{slug}"), "-p", slug]))
}

async fn connect_subscriber(dev: &Dev, subscriber: &Value) -> Client {
    let creds = dev.dir.path().join(format!("{}.creds", subscriber["name"].as_str().unwrap()));
    connect(dev, creds.to_str().unwrap(), subscriber["inbox_prefix"].as_str().unwrap()).await
}

/// A question to the JetStream API as subscribers see it, about the consumer of one.
fn about(what: &str, subscriber: &Value) -> String {
    format!("$JS.fleet.API.CONSUMER.{what}.FLEET.{}", subscriber["durable"].as_str().unwrap())
}

/// A pull that ends at once.
fn one_fact() -> Value {
    json!({"batch": 1, "no_wait": true})
}

#[tokio::test]
async fn a_subscriber_reaches_its_own_facts_and_its_own_consumer() {
    let dev = Dev::start();
    let [own, foreign] = subscribers(&dev);
    let client = connect_subscriber(&dev, &own).await;
    let info = ask(&client, &about("INFO", &own), &json!({})).await.expect("its own consumer");
    assert_eq!(info["name"], own["durable"]);
    assert!(pull(&client, &own).await.subject.starts_with("fleet.default.demo."));

    let (durable, id) = (own["durable"].as_str().unwrap(), own["id"].as_str().unwrap());
    for subject in [
        about("INFO", &foreign),
        about("MSG.NEXT", &foreign),
        about("INFO", &own).replace("$JS.fleet.API", "$JS.API"),
        about("MSG.NEXT", &own).replace("$JS.fleet.API", "$JS.API"),
        about("DELETE", &own),
        "$JS.API.STREAM.INFO.FLEET".to_owned(),
        "$JS.fleet.API.STREAM.INFO.FLEET".to_owned(),
        "$JS.API.STREAM.MSG.GET.FLEET".to_owned(),
        "$JS.API.CONSUMER.LIST.FLEET".to_owned(),
        format!("$JS.API.CONSUMER.DELETE.FLEET.{durable}"),
        format!("$JS.API.CONSUMER.CREATE.FLEET.{durable}"),
        format!("pilothouse.admin.v1.{id}.project.list"),
        "$SRV.PING".to_owned(),
        "append.default.demo.node.x.forged".to_owned(),
        "fleet.default.demo.node.x.forged".to_owned(),
    ] {
        assert_eq!(ask(&client, &subject, &one_fact()).await, None, "{subject} was answered");
    }
    assert_eq!(heard(&dev, &client).await, ["demo"], "what it hears of plain messages");
}

/// The next fact of a subscriber. It bears the subject that it was stored under.
async fn pull(client: &Client, subscriber: &Value) -> Message {
    let inbox = format!("{}.pull", subscriber["inbox_prefix"].as_str().unwrap());
    let mut pulled = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(about("MSG.NEXT", subscriber), inbox, one_fact().to_string().into()).await.unwrap();
    tokio::time::timeout(PATIENCE, pulled.next()).await.unwrap().unwrap()
}

/// The projects whose facts reach a client that subscribes to all that it might want.
async fn heard(dev: &Dev, client: &Client) -> Vec<String> {
    let mut heard = Vec::new();
    for filter in
        ["fleet.>", "fleet.default.>", "fleet.default.other.>", "fleet.*.demo.>", "fleet.default.demo.>", "_INBOX.>"]
    {
        let mut facts = client.subscribe(filter).await.unwrap();
        client.flush().await.unwrap();
        for slug in ["other", "demo"] {
            let path = format!("/api/v1/projects/{slug}/join-tokens");
            assert_eq!(dev.api("POST", &path, Some(&json!({"name": "more"}))).status, 201);
        }
        while let Ok(Some(fact)) = tokio::time::timeout(SILENCE, facts.next()).await {
            heard.push(fact.subject.split('.').nth(2).unwrap().to_owned());
        }
    }
    heard
}

/// The twin of the operator's: the server itself answers a subscriber's pulls, and would publish wherever they point.
#[tokio::test]
async fn a_subscribers_reply_subject_reaches_nothing_that_is_stored_and_acknowledges_for_nobody() {
    let dev = Dev::start();
    let [own, foreign] = subscribers(&dev);
    let (client, victim) = (connect_subscriber(&dev, &own).await, connect_subscriber(&dev, &foreign).await);
    let service = dev.data_dir().join("installation/service.creds");
    let service = connect(&dev, service.to_str().unwrap(), "_INBOX.runtime").await;
    let (its_fact, mine) = (pull(&victim, &foreign).await.reply.unwrap(), pull(&client, &own).await.reply.unwrap());
    assert!(its_fact.starts_with("$JS.ACK.FLEET.") && mine.starts_with("$JS.ACK.FLEET."));
    let before = stream_state(&service).await;
    for reply in [
        its_fact.as_str(),
        "append.default.demo.node.x.forged",
        "fleet.default.demo.node.x.forged",
        "$KV.credentials.x",
        "blob.x.0",
        "$JS.API.STREAM.CREATE.THIEF",
        "_INBOX.runtime.x",
    ] {
        let requests = [
            (about("MSG.NEXT", &own), one_fact().to_string()),
            (about("MSG.NEXT", &own), json!({"batch": 1, "expires": 1_000_000}).to_string()),
            (about("INFO", &own), String::new()),
            (mine.to_string(), "+NXT".to_owned()),
            (mine.to_string(), String::new()),
        ];
        for (subject, body) in requests {
            client.publish_with_reply(subject, reply.to_owned(), body.into()).await.unwrap();
        }
    }
    // Straight to the other's acknowledgement, too.
    client.publish(its_fact.clone(), "".into()).await.unwrap();
    // Answered in the order of asking.
    ask(&client, &about("INFO", &own), &json!({})).await.expect("its own consumer");
    let info = ask(&victim, &about("INFO", &foreign), &json!({})).await.unwrap();
    assert_eq!((&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]), (&json!(1), &json!(0)), "{info}");
    assert_eq!(stream_state(&service).await, before);
    for stream in ["KV_credentials", "BLOBS"] {
        let info = ask(&service, &format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).await.unwrap();
        assert_eq!(info["config"]["name"], stream);
    }
}
