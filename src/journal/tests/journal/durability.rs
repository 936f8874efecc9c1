//! The durability contract is what the server says.

use crate::permissions::accounts;
use journal::durability::Sync;
use journal::testing::TestServer;
use journal::{Durability, JetStream, Role, StoreError, provision};
use std::time::Duration;

#[tokio::test]
async fn the_sync_setting_and_the_replicas_are_read() {
    for (setting, sync) in [
        ("", Sync::Interval(Duration::from_secs(120))),
        ("sync_interval: 10s", Sync::Interval(Duration::from_secs(10))),
        ("sync_interval: always", Sync::Always),
    ] {
        let server = TestServer::start_with(setting, &accounts());
        provision(&server.client_as("provisioning", Role::Provisioning).await, 1).await.unwrap();
        let journal = JetStream::new(server.client_as("runtime", Role::Runtime).await);
        let system = server.client_as("monitor", Role::Monitor).await;
        let read = Durability::read(&system, &journal).await.unwrap();
        assert_eq!(read, Durability { replicas: 1, sync }, "{setting}");
    }
}

#[tokio::test]
async fn a_user_outside_the_system_account_learns_nothing() {
    let server = TestServer::start();
    let client = server.client(Role::Provisioning).await;
    provision(&client, 1).await.unwrap();
    let read = Durability::read(&client, &JetStream::new(client.clone())).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
}
