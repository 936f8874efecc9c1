//! JWT claims of NATS, version 2: what `nsc` would write, minted over nkeys.
//!
//! Invariant: the caller gives the issue time. Servers keep the account JWT with the newer one and let an equal one overwrite,
//! so whoever replaces an account's JWT takes [`next_issue_time`]; otherwise a server that rejoins can undo a revocation.
//! A user of a scoped signing key has neither limits nor rights in its JWT: the server refuses the login otherwise.

use super::NatsError;
use super::key::NatsKey;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The largest JWT that is looked at: what a server takes in one message by default.
pub const JWT_BYTES_MAX: usize = 1024 * 1024;
const ALGORITHM: &str = "ed25519-nkey";
const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
/// The version of all claims here.
const VERSION: u8 = 2;
/// In NATS claims: no limit.
const UNLIMITED: i64 = -1;

/// Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// base32 of the SHA-256 of the claims without it.
    #[serde(default)]
    pub jti: String,
    pub iat: i64,
    /// Public key of the signer.
    pub iss: String,
    #[serde(default)]
    pub name: String,
    /// Public key of whom the claims are about.
    pub sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    pub nats: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Body {
    Operator(OperatorClaims),
    Account(AccountClaims),
    User(UserClaims),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorClaims {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_account: Option<String>,
    /// Servers then refuse what the identity key signed itself.
    #[serde(default)]
    pub strict_signing_key_usage: bool,
    pub version: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClaims {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
    pub limits: Limits,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<AccountSigningKey>,
    /// Public key of a user (`*`: all) to a time: JWTs of that user issued until then count no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revocations: BTreeMap<String, i64>,
    pub version: u8,
}

/// What another account of the same operator may import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    pub name: String,
    pub subject: String,
    #[serde(rename = "type")]
    pub kind: ShareKind,
    /// Of a service: whether one request may have several answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_type: Option<ResponseType>,
}

/// What an account sees of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    pub name: String,
    pub subject: String,
    /// Public key of the exporting account.
    pub account: String,
    /// The subject here, where it is another one; `$1` is what the first wildcard stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_subject: Option<String>,
    #[serde(rename = "type")]
    pub kind: ShareKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareKind {
    /// Messages flow from the exporter to the importer.
    Stream,
    /// Requests flow to the exporter and answers back. The server replaces the reply subject by one of its own
    /// (`_R_.<random>`), so the importer cannot name a subject of the exporter's account.
    Service,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseType {
    Singleton,
    Stream,
}

/// −1 is no limit, 0 is nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub subs: i64,
    pub data: i64,
    pub payload: i64,
    pub imports: i64,
    pub exports: i64,
    pub wildcards: bool,
    pub conn: i64,
    pub leaf: i64,
    #[serde(default)]
    pub mem_storage: i64,
    #[serde(default)]
    pub disk_storage: i64,
    #[serde(default)]
    pub streams: i64,
    #[serde(default)]
    pub consumer: i64,
}

impl Limits {
    /// No limits. The system account cannot have JetStream.
    pub fn unlimited(jetstream: bool) -> Self {
        let stored = if jetstream { UNLIMITED } else { 0 };
        Self {
            subs: UNLIMITED,
            data: UNLIMITED,
            payload: UNLIMITED,
            imports: UNLIMITED,
            exports: UNLIMITED,
            wildcards: true,
            conn: UNLIMITED,
            leaf: UNLIMITED,
            mem_storage: stored,
            disk_storage: stored,
            streams: stored,
            consumer: stored,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AccountSigningKey {
    /// Signs users with any rights.
    Plain(String),
    /// Signs users with the rights of one role.
    Scoped(Box<ScopedKey>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopedKey {
    /// Always `user_scope`.
    pub kind: String,
    pub key: String,
    pub role: String,
    pub template: UserTemplate,
}

/// The rights of a role. The server fills in `{{subject()}}` (the user's public key) and `{{tag(<key>)}}` at login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTemplate {
    #[serde(rename = "pub", default)]
    pub publish: SubjectRule,
    #[serde(rename = "sub", default)]
    pub subscribe: SubjectRule,
    pub subs: i64,
    pub data: i64,
    pub payload: i64,
}

/// Empty lists mean no rule, that is: everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectRule {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// `None` is what the users of a scoped key have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserClaims {
    /// The account, because a signing key of it signs.
    pub issuer_account: String,
    #[serde(rename = "pub", default)]
    pub publish: SubjectRule,
    #[serde(rename = "sub", default)]
    pub subscribe: SubjectRule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subs: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<i64>,
    /// `<key>:<value>`, lower case: what a role's template is filled in with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    pub version: u8,
}

impl OperatorClaims {
    /// Of a strict operator.
    pub fn new(signing_keys: Vec<String>, system_account: String) -> Self {
        Self { signing_keys, system_account: Some(system_account), strict_signing_key_usage: true, version: VERSION }
    }
}

impl AccountClaims {
    pub fn new(limits: Limits, signing_keys: Vec<AccountSigningKey>) -> Self {
        Self { imports: vec![], exports: vec![], limits, signing_keys, revocations: BTreeMap::new(), version: VERSION }
    }
}

impl AccountSigningKey {
    pub fn scoped(key: String, role: &str, template: UserTemplate) -> Self {
        Self::Scoped(Box::new(ScopedKey { kind: "user_scope".into(), key, role: role.into(), template }))
    }
}

impl UserClaims {
    /// Of a user whose role's key signs; the rights stand in the account.
    pub fn scoped(issuer_account: &str) -> Self {
        Self {
            issuer_account: issuer_account.into(),
            publish: SubjectRule::default(),
            subscribe: SubjectRule::default(),
            subs: None,
            data: None,
            payload: None,
            tags: vec![],
            version: VERSION,
        }
    }

    /// Of a user with rights of its own and no limits.
    pub fn plain(issuer_account: &str, publish: SubjectRule, subscribe: SubjectRule) -> Self {
        let unlimited = Some(UNLIMITED);
        Self {
            publish,
            subscribe,
            subs: unlimited,
            data: unlimited,
            payload: unlimited,
            ..Self::scoped(issuer_account)
        }
    }
}

/// What a JWT says beside its subject and body.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    pub name: &'a str,
    /// Seconds since 1970; servers accept a time in the future.
    pub issued_at: i64,
    /// Seconds since 1970.
    pub expires_at: Option<i64>,
}

/// The JWT about `subject`, signed by `issuer`.
pub fn sign(issuer: &NatsKey, subject: &str, mint: Mint<'_>, body: Body) -> String {
    let mut claims = Claims {
        jti: String::new(),
        iat: mint.issued_at,
        iss: issuer.public_key(),
        name: mint.name.into(),
        sub: subject.into(),
        exp: mint.expires_at,
        nats: body,
    };
    claims.jti = BASE32_NOPAD.encode(&Sha256::digest(json(&claims)));
    let header = BASE64_URL_SAFE_NO_PAD.encode(HEADER);
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(json(&claims)));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The issue time of the JWT that replaces one issued at `previous`: always a later one.
pub fn next_issue_time(previous: i64, now: Timestamp) -> i64 {
    now.as_second().max(previous.saturating_add(1))
}

/// What a JWT says, unverified: for showing it, or because the server has verified it.
pub fn decode(jwt: &str) -> Result<Claims, NatsError> {
    take_apart(jwt).map(|parts| parts.claims)
}

/// What a JWT says when one of `issuers` (public keys) signed it. Expiry is the server's to judge.
pub fn verify(jwt: &str, issuers: &[&str]) -> Result<Claims, NatsError> {
    let Parts { claims, signed, signature } = take_apart(jwt)?;
    if !issuers.contains(&claims.iss.as_str()) {
        return Err(NatsError::Issuer);
    }
    let issuer = KeyPair::from_public_key(&claims.iss).map_err(|_| NatsError::Issuer)?;
    issuer.verify(signed.as_bytes(), &signature).map_err(|_| NatsError::Signature)?;
    Ok(claims)
}

struct Parts<'a> {
    claims: Claims,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

fn take_apart(jwt: &str) -> Result<Parts<'_>, NatsError> {
    if jwt.len() > JWT_BYTES_MAX {
        return Err(NatsError::Jwt);
    }
    let (signed, signature) = jwt.rsplit_once('.').ok_or(NatsError::Jwt)?;
    let (header, claims) = signed.split_once('.').ok_or(NatsError::Jwt)?;
    let bytes = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| NatsError::Jwt);
    let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| NatsError::Jwt)?;
    if header.alg != ALGORITHM {
        return Err(NatsError::Jwt);
    }
    let claims = serde_json::from_slice(&bytes(claims)?).map_err(|_| NatsError::Jwt)?;
    Ok(Parts { claims, signed, signature: bytes(signature)? })
}

fn json(claims: &Claims) -> Vec<u8> {
    serde_json::to_vec(claims).expect("claims are structs, lists and maps with text keys")
}

#[cfg(test)]
mod tests;
