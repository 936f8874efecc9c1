//! Credentials files (`.creds`): a user's JWT and its seed in one text, as every NATS client reads it.

use super::NatsError;
use super::claims::decode;
use super::key::{KeyKind, NatsKey};

/// A credentials file's contents. `seed` is a secret.
pub struct Creds {
    pub jwt: String,
    pub seed: String,
    /// The user's public key, `U…`.
    pub public_key: String,
}

/// The text of a credentials file.
pub fn creds(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         The seed below is a private key. Whoever has it is this user.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// Reads a credentials file of whatever origin. The seed must belong to the user that the JWT names; whether the server
/// believes the JWT shows at login.
pub fn parse_creds(text: &str) -> Result<Creds, NatsError> {
    let jwt = block(text, "NATS USER JWT")?;
    let seed = block(text, "USER NKEY SEED")?;
    let public_key = NatsKey::from_seed(KeyKind::User, seed)?.public_key();
    if decode(jwt)?.sub != public_key {
        return Err(NatsError::OtherKey);
    }
    Ok(Creds { jwt: jwt.into(), seed: seed.into(), public_key })
}

/// The JWT in a credentials file of which only that is wanted, or alone as it stands.
pub fn user_jwt(text: &str) -> Result<&str, NatsError> {
    if text.contains("---") { block(text, "NATS USER JWT") } else { Ok(text.trim_ascii()) }
}

/// The one line between `---BEGIN <what>---` and `---END <what>---`.
fn block<'a>(text: &'a str, what: &str) -> Result<&'a str, NatsError> {
    let is_mark = |line: &str, word: &str| {
        let inner = line.trim_matches('-');
        line.starts_with("---") && line.ends_with("---") && inner.strip_prefix(word).map(str::trim_start) == Some(what)
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.find(|line| is_mark(line, "BEGIN ")).ok_or(NatsError::Creds)?;
    match (lines.next(), lines.next()) {
        (Some(value), Some(end)) if is_mark(end, "END ") => Ok(value),
        _ => Err(NatsError::Creds),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::claims::{Body, Mint, UserClaims, sign};
    use super::*;

    fn user() -> (String, NatsKey) {
        let (account, user) = (NatsKey::generate(KeyKind::Account), NatsKey::generate(KeyKind::User));
        let mint = Mint { name: "n", issued_at: 0, expires_at: None };
        (sign(&account, &user.public_key(), mint, Body::User(UserClaims::scoped("A1"))), user)
    }

    #[test]
    fn what_was_written_is_read() {
        let (jwt, user) = user();
        let text = creds(&jwt, &user.seed());
        for text in [text.clone(), text.replace('\n', "\r\n"), format!("\n  \n{text}rest"), text.trim_end().into()] {
            let read = parse_creds(&text).unwrap();
            assert_eq!((read.jwt, read.seed, read.public_key), (jwt.clone(), user.seed(), user.public_key()));
        }
        async_nats::ConnectOptions::with_credentials(&text).unwrap();
    }

    #[test]
    fn a_jwt_is_found_in_a_file_and_alone() {
        let (jwt, user) = user();
        assert_eq!(user_jwt(&creds(&jwt, &user.seed())), Ok(jwt.as_str()));
        assert_eq!(user_jwt(&format!("{jwt}\n")), Ok(jwt.as_str()));
        assert_eq!(user_jwt(&creds("", &user.seed())), Err(NatsError::Creds));
    }

    #[test]
    fn what_is_not_a_pair_is_refused() {
        let ((jwt, user), (other_jwt, _)) = (self::user(), self::user());
        let text = creds(&jwt, &user.seed());
        let refused = |text: &str| parse_creds(text).err();
        assert_eq!(refused(&creds(&other_jwt, &user.seed())), Some(NatsError::OtherKey));
        assert_eq!(refused(&creds(&jwt, "SUAA")), Some(NatsError::Seed));
        assert_eq!(refused(&creds("a.b.c", &user.seed())), Some(NatsError::Jwt));
        let (half, _) = text.split_once("The seed").unwrap();
        for wrong in ["", half, &text.replace("---", ""), &text.replace("END", "BEGIN"), &creds("", &user.seed())] {
            assert_eq!(refused(wrong), Some(NatsError::Creds), "{wrong}");
        }
    }
}
