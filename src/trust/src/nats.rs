//! Identities of NATS: operator, accounts and users as nkeys and JWTs (claims version 2), and the files made from them.
//!
//! Invariant: identity keys sign nothing after the installation was made; signing keys do, and a user that a role's key signed
//! carries no rights of its own. Absent on purpose: connecting.

mod account;
mod claims;
mod creds;
mod curve;
mod host;
mod installation;
mod key;
mod roles;
mod shared;

pub use account::AccountSigner;
pub use claims::{
    AccountClaims, AccountSigningKey, Body, Claims, Export, Import, JWT_BYTES_MAX, Limits, Mint, OperatorClaims,
    ResponseType, ScopedKey, ShareKind, SubjectRule, UserClaims, UserTemplate, decode, next_issue_time, sign, verify,
};
pub use creds::{Creds, creds, parse_creds, user_jwt};
pub use curve::curve_public_key;
pub use host::{HostKey, HostSigner, is_curve_key};
pub use installation::{Installation, NewInstallation, NewSubscriber, operator_user, subscriber_user};
pub use key::{KeyKind, NatsKey};
pub use roles::{Permissions, inbox_prefix, node_template, operator_template, subscriber_template};

use thiserror::Error;

/// Why a key, a JWT or a credentials file is refused. Never shows what was read: it may be a secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NatsError {
    #[error("is not an nkey seed of the expected kind")]
    Seed,
    #[error("is not a NATS JWT")]
    Jwt,
    #[error("is signed by a key that is not trusted here")]
    Issuer,
    #[error("the signature is wrong")]
    Signature,
    #[error("is not a NATS credentials file")]
    Creds,
    #[error("the key of the credentials file is not the one its JWT names")]
    OtherKey,
}
