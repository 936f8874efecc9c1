//! Hosts that enroll, and how they go about it.

use super::stage::Stage;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use contract::{Answer, ApiError, CredsAnswer, EnrollAnswer, EnrollRequest, NonceAnswer, Operation};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use trust::nats::{KeyKind, NatsKey};

/// The public half of some X25519 key.
pub(crate) const CURVE: &str = "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7";
pub(crate) const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));

pub(crate) struct Host {
    pub id: String,
    pub key: NatsKey,
}

pub(crate) fn host(id: &str) -> Host {
    Host { id: id.to_owned(), key: NatsKey::generate(KeyKind::User) }
}

impl Host {
    pub fn public(&self) -> String {
        self.key.public_key()
    }

    pub async fn challenge(&self, stage: &Stage) -> NonceAnswer {
        stage.control.challenge(&self.id, &self.public()).await.unwrap()
    }

    /// The answer to a challenge.
    pub fn request(&self, challenge: &NonceAnswer) -> EnrollRequest {
        let bytes = BASE64_STANDARD.decode(&challenge.challenge).unwrap();
        EnrollRequest {
            peel_id: self.id.clone(),
            public_key: self.public(),
            curve_public_key: CURVE.to_owned(),
            challenge_id: challenge.challenge_id.clone(),
            signature: self.key.sign(&[&bytes, CURVE.as_bytes()].concat()),
            hostname: format!("{}.internal", self.id),
            metadata: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
        }
    }

    pub async fn try_enroll(&self, stage: &Stage, token: Option<&str>) -> Result<(bool, EnrollAnswer), ApiError> {
        let request = self.request(&self.challenge(stage).await);
        stage.control.enroll(request, FROM, token).await.map(|(is_new, answer, _)| (is_new, answer))
    }

    /// The id of a new enrollment that waits.
    pub async fn enroll(&self, stage: &Stage) -> String {
        let (is_new, answer) = self.try_enroll(stage, None).await.unwrap();
        assert_eq!((is_new, answer.state.as_str()), (true, "pending"));
        answer.id
    }

    pub fn proof(&self, enrollment: &str) -> String {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(enrollment.as_bytes()));
        format!("Nkey {}:{signature}", self.public())
    }

    pub async fn creds(&self, stage: &Stage, id: &str, key: Option<&str>) -> Result<CredsAnswer, ApiError> {
        stage.control.issue_credentials(id, Some(&self.proof(id)), key).await
    }

    /// Approved, with credentials.
    pub async fn issued(&self, stage: &Stage) -> (String, CredsAnswer) {
        let id = self.enroll(stage).await;
        assert_eq!(approve(stage, &id, json!({})).await.status, 200);
        let creds = self.creds(stage, &id, None).await.unwrap();
        (id, creds)
    }
}

pub(crate) async fn approve(stage: &Stage, id: &str, body: Value) -> Answer {
    stage.ask(Operation::EnrollApprove).id(id).body(body).send().await
}

pub(crate) async fn revoke(stage: &Stage, id: &str) -> Answer {
    stage.ask(Operation::EnrollRevoke).id(id).body(json!({"reason": "gone"})).send().await
}

pub(crate) async fn shown(stage: &Stage, id: &str) -> Value {
    stage.ask(Operation::EnrollShow).id(id).send().await.body
}
