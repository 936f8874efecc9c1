//! Operators over NATS: request/reply on `pilothouse.admin.v1.<own nkey>.<noun>.<verb>`, answered by any replica and
//! discoverable as a NATS micro service. The server lets an operator publish on its own token only, so that token is the actor;
//! a message on a subject that does not look like that is dropped.

use crate::caller::{Caller, Grants};
use crate::control::Control;
use async_nats::service::{Request as ServiceRequest, ServiceExt};
use bytes::Bytes;
use contract::{Answer, ApiError, ErrorCode, Operation, Request};
use domain::Actor;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use serde::Deserialize;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::Semaphore;

const ROOT: &str = "pilothouse.admin.v1";
const SERVICE_NAME: &str = "pilothouse-admin";
/// Requests in work at once; more wait in the client library's buffers.
const IN_WORK_MAX: usize = 256;
/// An nkey in a subject: 56 characters of base32.
const NKEY_CHARS: usize = 56;
/// As serde_json bounds the nesting of a body over HTTP.
const DEPTH_MAX: usize = 128;

#[derive(Debug, Error)]
pub enum AdminError {
    #[error("the admin service cannot listen on NATS")]
    Listen(#[source] async_nats::Error),
}

/// Serves until the connection ends for good.
pub async fn serve(control: Control, client: async_nats::Client) -> Result<(), AdminError> {
    let service = client
        .service_builder()
        .description("Operations on orgs, projects, nodes, bundles and rollouts")
        .start(SERVICE_NAME, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(AdminError::Listen)?;
    let mut endpoints = Vec::new();
    for operation in Operation::ALL {
        let name = operation.name().replace('.', "-");
        let subject = format!("{ROOT}.*.{}", operation.name());
        let endpoint = service.endpoint_builder().name(name).add(subject).await.map_err(AdminError::Listen)?;
        endpoints.push(endpoint.map(move |request| (operation, request)));
    }
    let bytes_max = client.server_info().max_payload;
    let in_work = Arc::new(Semaphore::new(IN_WORK_MAX));
    let mut requests = select_all(endpoints);
    while let Some((operation, request)) = requests.next().await {
        let Ok(permit) = in_work.clone().acquire_owned().await else { break };
        let control = control.clone();
        tokio::spawn(async move {
            respond(&control, operation, request, bytes_max).await;
            drop(permit);
        });
    }
    Ok(())
}

async fn respond(control: &Control, operation: Operation, request: ServiceRequest, bytes_max: usize) {
    let subject = request.message.subject.as_str();
    let Some(nkey) = operator_of(subject, operation) else {
        tracing::error!(subject, "ALARM: an admin request on a subject that no operator has; dropped");
        return;
    };
    let caller = Caller {
        actor: Actor::Operator(nkey.to_owned()),
        org: control.default_org().clone(),
        project: None,
        grants: Grants::Everything,
    };
    let answer = match read(&request.message.payload) {
        Ok(asked) => control.perform(&caller, operation, asked, &control.settings().public_url).await,
        Err(e) => {
            let message = format!("the payload is not a MessagePack request: {e}");
            refusal(control, ApiError::new(ErrorCode::MalformedRequest, message))
        }
    };
    let mut body = encode(&answer);
    if body.len() > bytes_max {
        let message =
            format!("the answer takes {} bytes, and NATS carries {bytes_max}; ask for less at once", body.len());
        body = encode(&refusal(control, ApiError::new(ErrorCode::PayloadTooLarge, message)));
    }
    if let Err(e) = request.respond(Ok(body)).await {
        tracing::warn!(error = &e as &dyn std::error::Error, "answer to an operator not sent");
    }
}

/// The whole payload is one request, nested no deeper than JSON over HTTP may be.
fn read(payload: &[u8]) -> Result<Request, rmp_serde::decode::Error> {
    let mut from = rmp_serde::Deserializer::from_read_ref(payload);
    from.set_max_depth(DEPTH_MAX);
    Request::deserialize(&mut from)
}

fn encode(answer: &Answer) -> Bytes {
    rmp_serde::to_vec_named(answer).map(Bytes::from).unwrap_or_else(|e| {
        tracing::error!(error = &e as &dyn std::error::Error, "answer not encoded");
        Bytes::new()
    })
}

fn refusal(control: &Control, error: ApiError) -> Answer {
    Answer {
        status: error.code.status(),
        body: serde_json::to_value(error.body()).unwrap_or_default(),
        position: control.position().0,
    }
}

/// The operator's public nkey, if the subject is one that this operation is served on.
fn operator_of(subject: &str, operation: Operation) -> Option<&str> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix('.')?;
    let (nkey, verb) = rest.split_once('.')?;
    let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
    let looks_right = nkey.len() == NKEY_CHARS && nkey.starts_with('U') && nkey.bytes().all(base32);
    (looks_right && verb == operation.name()).then_some(nkey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_operators_own_subject_is_served() {
        let nkey = format!("U{}", "A".repeat(55));
        let subject = format!("pilothouse.admin.v1.{nkey}.node.list");
        assert_eq!(operator_of(&subject, Operation::NodeList), Some(nkey.as_str()));
        assert_eq!(operator_of(&subject, Operation::NodeShow), None);
        for foreign in ["node.list", "U.node.list", "a.b.node.list", &format!("{nkey}.node.list.more")] {
            assert_eq!(operator_of(&format!("pilothouse.admin.v1.{foreign}"), Operation::NodeList), None, "{foreign}");
        }
        assert_eq!(operator_of(&format!("fleet.{nkey}.node.list"), Operation::NodeList), None);
    }
}
