//! What connecting says when it fails.

use crate::permissions::accounts;
use async_nats::ConnectOptions;
use journal::connection::connect_with;
use journal::testing::TestServer;
use journal::{ConnectError, Role, connect};
use std::time::Duration;

#[tokio::test]
async fn nobody_there() {
    let mut server = TestServer::start();
    server.kill();
    let error = connect(&[server.url()], None, Role::Runtime, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no NATS server answered at {}", server.url()));
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_waited_for() {
    let mut server = TestServer::start();
    server.kill();
    let (servers, patience) = ([server.url()], Duration::from_secs(20));
    let connecting = connect(&servers, None, Role::Runtime, patience);
    let starting = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let (client, _server) = tokio::join!(connecting, starting);
    client.unwrap().flush().await.unwrap();
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again() {
    let server = TestServer::start_with("", &accounts());
    let options = || Ok(ConnectOptions::with_user_and_password("runtime".to_owned(), "wrong".to_owned()));
    let error = connect_with(&[server.url()], options, Role::Runtime, Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(error.to_string().ends_with("refused the credentials of the runtime user"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_used_is_said_without_the_secret() {
    let address = connect(&["not an address".to_owned()], None, Role::Runtime, Duration::ZERO).await.unwrap_err();
    assert!(matches!(address, ConnectError::Address(_)), "{address:?}");
    let server = ["nats://127.0.0.1:4222".to_owned()];
    let error = connect(&server, Some("SECRETSEED"), Role::Runtime, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, ConnectError::Credentials), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("SECRETSEED"));
}
