//! An operator's `.creds` text: a user JWT and the seed of its nkey. The public nkey is the operator's name in every admin
//! subject, so it is checked here that the JWT speaks of the key that the file holds.

use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

const JWT_BEGIN: &str = "-----BEGIN NATS USER JWT-----";
const SEED_BEGIN: &str = "-----BEGIN USER NKEY SEED-----";

/// No Debug: it holds the operator's seed.
pub(crate) struct Credential {
    pub jwt: String,
    pub key: Arc<KeyPair>,
    /// `U…`, 56 characters.
    pub public_key: String,
}

/// Completes "<file> …". Never quotes the file.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum CredentialError {
    #[error("is not a credential: it has no line {0:?}")]
    MissingPart(&'static str),
    #[error("is not a credential: its JWT cannot be read")]
    Jwt,
    #[error("is not a credential: its seed is not that of a user nkey")]
    Seed,
    #[error("is broken: its JWT belongs to another key than its seed")]
    OtherKey,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl FromStr for Credential {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Credential, CredentialError> {
        let jwt = part(text, JWT_BEGIN)?;
        let seed = part(text, SEED_BEGIN)?;
        let claims = jwt.split('.').nth(1).ok_or(CredentialError::Jwt)?;
        let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).map_err(|_| CredentialError::Jwt)?;
        let Claims { sub } = serde_json::from_slice(&claims).map_err(|_| CredentialError::Jwt)?;
        let key = KeyPair::from_seed(seed).map_err(|_| CredentialError::Seed)?;
        if key.key_pair_type() != KeyPairType::User {
            return Err(CredentialError::Seed);
        }
        let public_key = key.public_key();
        if public_key != sub {
            return Err(CredentialError::OtherKey);
        }
        Ok(Credential { jwt: jwt.to_owned(), key: Arc::new(key), public_key })
    }
}

/// The line after the one that begins a part.
fn part<'a>(text: &'a str, begin: &'static str) -> Result<&'a str, CredentialError> {
    let mut lines = text.lines().map(str::trim);
    lines
        .find(|line| *line == begin)
        .and_then(|_| lines.find(|line| !line.is_empty()))
        .filter(|line| !line.starts_with('-'))
        .ok_or(CredentialError::MissingPart(begin))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{creds_of, creds_text};

    fn error(text: &str) -> CredentialError {
        text.parse::<Credential>().err().unwrap()
    }

    #[test]
    fn the_public_key_is_that_of_the_jwt_and_of_the_seed() {
        let key = KeyPair::new_user();
        let text = creds_of(&key.public_key(), &key.seed().unwrap());
        let credential: Credential = text.parse().unwrap();
        assert_eq!(credential.public_key, key.public_key());
        let windows: Credential = text.replace('\n', "\r\n").parse().unwrap();
        assert_eq!(windows.jwt, credential.jwt);
    }

    #[test]
    fn each_broken_part_has_its_own_reason() {
        let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
        assert_eq!(error(""), CredentialError::MissingPart(JWT_BEGIN));
        let cut = creds_text().split("*****").next().unwrap().to_owned();
        assert_eq!(error(&cut), CredentialError::MissingPart(SEED_BEGIN));
        assert_eq!(error(&creds_of(&key.public_key(), &other.seed().unwrap())), CredentialError::OtherKey);
        let account = KeyPair::new_account();
        assert_eq!(error(&creds_of(&account.public_key(), &account.seed().unwrap())), CredentialError::Seed);
        assert_eq!(error(&creds_of(&key.public_key(), "SUAAA")), CredentialError::Seed);
        let torn = creds_text().replace("eyJ", "?yJ");
        assert_eq!(error(&torn), CredentialError::Jwt);
    }
}
