//! Hosts that enroll: curl under TLS, and keys of their own.

use super::dev::{Dev, Reply, curl};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::io::Read;

/// The public half of some X25519 key.
pub const CURVE: &str = "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7";

pub struct Host {
    pub id: String,
    pub key: KeyPair,
}

impl Host {
    pub fn new(id: &str) -> Host {
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed)).unwrap();
        Host { id: id.to_owned(), key: KeyPair::new_from_raw(KeyPairType::User, seed).unwrap() }
    }

    pub fn nonce_path(&self) -> String {
        format!("/api/v1/enroll/nonce?peel_id={}&public_key={}", self.id, self.key.public_key())
    }

    /// The answer to a fresh challenge.
    pub fn request(&self, dev: &Dev) -> Value {
        let nonce = dev.tls_curl(&[], &self.nonce_path());
        assert_eq!(nonce.status, 200, "{}", nonce.text);
        let challenge = BASE64_STANDARD.decode(nonce.body["challenge"].as_str().unwrap()).unwrap();
        let signature = self.key.sign(&[&challenge, CURVE.as_bytes()].concat()).unwrap();
        json!({"peel_id": self.id, "public_key": self.key.public_key(), "curve_public_key": CURVE,
            "challenge_id": nonce.body["challenge_id"], "signature": BASE64_STANDARD.encode(signature)})
    }

    pub fn try_enroll(&self, dev: &Dev) -> Reply {
        let body = self.request(dev).to_string();
        dev.tls_curl(&["--data-binary", &body], "/api/v1/enroll")
    }

    /// The id of a new enrollment that waits.
    pub fn enroll(&self, dev: &Dev) -> String {
        let made = self.try_enroll(dev);
        assert_eq!(made.status, 201, "{}", made.text);
        made.body["id"].as_str().unwrap().to_owned()
    }

    /// `Nkey <public key>:<signature>`
    pub fn proof(&self, enrollment: &str) -> String {
        let signature = self.key.sign(enrollment.as_bytes()).unwrap();
        format!("Nkey {}:{}", self.key.public_key(), BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn creds(&self, dev: &Dev, enrollment: &str) -> Reply {
        let proof = format!("Authorization: {}", self.proof(enrollment));
        dev.tls_curl(&["-H", &proof], &format!("/api/v1/enroll/{enrollment}/creds"))
    }

    /// The text of a credentials file.
    pub fn creds_file(&self, answer: &Value) -> String {
        let jwt = BASE64_STANDARD.decode(answer["creds_data"].as_str().unwrap()).unwrap();
        let (jwt, seed) = (String::from_utf8(jwt).unwrap(), self.key.seed().unwrap());
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

impl Dev {
    /// curl to the TLS listener, which trusts the installation's CA.
    pub fn tls_curl(&self, arguments: &[&str], path: &str) -> Reply {
        let mut all = vec!["--cacert", self.file.get("ca_cert")];
        all.extend(arguments);
        curl(&all, &format!("{}{path}", self.file.get("https_url")))
    }

    /// A call as an operator under TLS, with the API key.
    pub fn tls_api(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let bearer = format!("Authorization: Bearer {}", self.file.get("api_key"));
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut arguments = vec!["-X", method, "-H", &bearer];
        if body.is_some() {
            arguments.extend(["-H", "Content-Type: application/json", "--data-binary", &text]);
        }
        self.tls_curl(&arguments, path)
    }
}
