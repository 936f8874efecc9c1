//! Provisioning creates, compares, and never changes.

use crate::permissions::accounts;
use bytes::Bytes;
use journal::testing::TestServer;
use journal::{Declaration, JetStream, JournalReader, ProvisionError, Role, diff, provision};

#[tokio::test]
async fn what_is_declared_is_what_the_server_keeps() {
    let server = TestServer::start_with("", &accounts());
    let client = server.client_as("provisioning", Role::Provisioning).await;
    let missing = diff(&client, 1).await.unwrap();
    assert_eq!(missing.len(), Declaration::all().len());
    assert_eq!(missing[0].to_string(), "FLEET is missing");
    provision(&client, 1).await.unwrap();
    provision(&client, 1).await.unwrap();
    assert_eq!(diff(&client, 1).await.unwrap(), []);
    let replicas = diff(&client, 3).await.unwrap();
    assert_eq!(replicas[0].to_string(), "FLEET has num_replicas = 1, declared is 3");
}

#[tokio::test]
async fn a_stream_that_is_not_as_declared_is_refused_and_left_alone() {
    let server = TestServer::start();
    let admin = server.client(Role::Provisioning).await;
    let other = r#"{"name":"FLEET","subjects":["append.>"],"storage":"file","retention":"limits","discard":"old",
        "num_replicas":1,"max_age":3600000000000,"allow_rollup_hdrs":true}"#;
    admin.request("$JS.API.STREAM.CREATE.FLEET", other.into()).await.unwrap();
    let error = provision(&admin, 1).await.unwrap_err();
    let ProvisionError::Drift(differences) = &error else { panic!("{error}") };
    let fields: Vec<&str> = differences.iter().map(|difference| difference.field.as_str()).collect();
    assert!(differences.iter().all(|difference| difference.stream == "FLEET"));
    for field in
        ["allow_rollup_hdrs", "deny_delete", "deny_purge", "discard", "max_age", "republish", "subject_transform"]
    {
        assert!(fields.contains(&field), "{field} is missing in {fields:?}");
    }
    assert!(error.to_string().contains("FLEET has max_age = 3600000000000, declared is 0"), "{error}");
    let info = admin.request("$JS.API.STREAM.INFO.FLEET", Bytes::new()).await.unwrap();
    assert!(String::from_utf8_lossy(&info.payload).contains("\"max_age\":3600000000000"), "unchanged");
}

#[tokio::test]
async fn replicas_that_cannot_be_had_are_an_error() {
    let server = TestServer::start();
    let client = server.client(Role::Provisioning).await;
    let error = provision(&client, 3).await.unwrap_err();
    assert!(matches!(&error, ProvisionError::Refused { stream, .. } if stream == "FLEET"), "{error}");
    let journal = JetStream::new(client);
    assert!(journal.last_position().await.is_err());
}
