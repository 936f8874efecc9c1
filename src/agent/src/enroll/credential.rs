//! NATS credentials: what the control plane hands out, looked at before it is kept. No IO.
//!
//! Invariant: what is kept is a user JWT for this host's key that has not ended, with the seed of this host; a seed that came
//! from elsewhere is never used. Whether the account's key signed it shows at the login. Absent: opening sealed answers, which
//! the wire contract does not have.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use trust::nats::{Body, Claims, NatsError, NatsKey, creds, decode, parse_creds, user_jwt, verify};

/// No JWT of a user without rights of its own comes near it.
const DATA_CHARS_MAX: usize = 64 * 1024;

/// Of the answer's parts none is shown: they are near to a secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialError {
    #[error("are no text in base64 of a sensible length")]
    Encoding,
    #[error("{0}")]
    Nats(#[from] NatsError),
    #[error("are not for a user")]
    Kind,
    #[error("are for another key than this host's")]
    OtherKey,
    #[error("have ended at {0}, if this host's clock is right")]
    Ended(Timestamp),
}

/// What is known of credentials without their secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub public_key: String,
    issued_at: Timestamp,
    ends_at: Option<Timestamp>,
}

impl Credential {
    /// Of a credentials file.
    pub fn read(text: &str) -> Result<Credential, NatsError> {
        let read = parse_creds(text)?;
        Credential::of(&decode(&read.jwt)?)
    }

    fn of(claims: &Claims) -> Result<Credential, NatsError> {
        let time = |second| Timestamp::from_second(second).map_err(|_| NatsError::Jwt);
        let ends_at = claims.exp.map(time).transpose()?;
        Ok(Credential { public_key: claims.sub.clone(), issued_at: time(claims.iat)?, ends_at })
    }

    pub fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        self.ends_at.filter(|ends| *ends <= now)
    }

    /// In the last third of the lifetime, `spread` of 1000 into the first half of that. None: they do not end.
    pub fn renew_at(&self, spread: u16) -> Option<Timestamp> {
        let lifetime_s = self.ends_at?.duration_since(self.issued_at).as_secs().max(0);
        let spread_s = lifetime_s / 6 * i64::from(spread.min(1000)) / 1000;
        self.issued_at.checked_add(SignedDuration::from_secs(lifetime_s - lifetime_s / 3 + spread_s)).ok()
    }

    /// How long to wait after a renewal that failed.
    pub fn retry_after(&self) -> SignedDuration {
        let lifetime = self.ends_at.map_or(SignedDuration::ZERO, |ends| ends.duration_since(self.issued_at));
        (lifetime / 24).clamp(SignedDuration::from_mins(1), SignedDuration::from_hours(24))
    }
}

/// The text of the credentials file out of the answer's `creds_data`: base64 of a bare JWT, or of a whole credentials file of
/// which the JWT is taken.
pub fn open(creds_data: &str, key: &NatsKey, now: Timestamp) -> Result<String, CredentialError> {
    if creds_data.len() > DATA_CHARS_MAX {
        return Err(CredentialError::Encoding);
    }
    let bytes = BASE64_STANDARD.decode(creds_data).map_err(|_| CredentialError::Encoding)?;
    let text = String::from_utf8(bytes).map_err(|_| CredentialError::Encoding)?;
    let jwt = user_jwt(&text)?;
    // By whatever key: it shows that nothing was lost on the way.
    let claims = verify(jwt, &[&decode(jwt)?.iss])?;
    if !matches!(claims.nats, Body::User(_)) {
        return Err(CredentialError::Kind);
    }
    if claims.sub != key.public_key() {
        return Err(CredentialError::OtherKey);
    }
    if let Some(ended) = Credential::of(&claims)?.ended(now) {
        return Err(CredentialError::Ended(ended));
    }
    Ok(creds(jwt, &key.seed()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use trust::nats::{AccountClaims, KeyKind, Limits, Mint, UserClaims, sign};

    const ISSUED_S: i64 = 1_800_000_000;
    const DAY_S: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn jwt(account: &NatsKey, subject: &str, ends_s: Option<i64>) -> String {
        let mint = Mint { name: "web-03", issued_at: ISSUED_S, expires_at: ends_s };
        sign(account, subject, mint, Body::User(UserClaims::scoped(&account.public_key())))
    }

    fn keys() -> (NatsKey, NatsKey) {
        (NatsKey::generate(KeyKind::Account), NatsKey::generate(KeyKind::User))
    }

    #[test]
    fn a_bare_jwt_and_a_whole_file_become_our_file() {
        let (account, key) = keys();
        let jwt = jwt(&account, &key.public_key(), Some(ISSUED_S + 180 * DAY_S));
        let stranger = NatsKey::generate(KeyKind::User);
        for sent in [jwt.clone(), format!("{jwt}\n"), creds(&jwt, &stranger.seed()), creds(&jwt, &key.seed())] {
            let text = open(&BASE64_STANDARD.encode(&sent), &key, at(ISSUED_S)).unwrap();
            let read = parse_creds(&text).unwrap();
            assert_eq!((read.jwt, read.seed), (jwt.clone(), key.seed()), "the seed is this host's");
        }
    }

    #[test]
    fn what_is_not_this_hosts_or_of_no_use_is_refused() {
        let (account, key) = keys();
        let own = key.public_key();
        let refused = |text: &str, at_s: i64| open(&BASE64_STANDARD.encode(text), &key, at(at_s)).unwrap_err();
        let good = jwt(&account, &own, Some(ISSUED_S + 10));
        assert_eq!(refused(&good, ISSUED_S + 10), CredentialError::Ended(at(ISSUED_S + 10)));
        let foreign = jwt(&account, &NatsKey::generate(KeyKind::User).public_key(), None);
        assert_eq!(refused(&foreign, ISSUED_S), CredentialError::OtherKey);
        let mint = Mint { name: "x", issued_at: ISSUED_S, expires_at: None };
        let claims = Body::Account(AccountClaims::new(Limits::unlimited(false), vec![]));
        assert_eq!(refused(&sign(&account, &own, mint, claims), ISSUED_S), CredentialError::Kind);
        let cut = &good[..good.len() - 8];
        assert!(matches!(refused(cut, ISSUED_S), CredentialError::Nats(_)));
        let (head, signature) = good.rsplit_once('.').unwrap();
        let other = jwt(&account, &own, Some(ISSUED_S + 11));
        let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_ne!(head, swapped);
        assert_eq!(refused(&swapped, ISSUED_S), CredentialError::Nats(NatsError::Signature));
        for data in ["", "%%%", &BASE64_STANDARD.encode([0xff, 0xfe]), &"A".repeat(DATA_CHARS_MAX + 4)] {
            assert!(open(data, &key, at(ISSUED_S)).is_err(), "{data:.20}");
        }
    }

    #[test]
    fn renewal_lies_in_the_last_third_and_is_spread() {
        let (account, key) = keys();
        let read = |ends_s| {
            let text = creds(&jwt(&account, &key.public_key(), ends_s), &key.seed());
            Credential::read(&text).unwrap()
        };
        let half_a_year = read(Some(ISSUED_S + 180 * DAY_S));
        assert_eq!(half_a_year.renew_at(0), Some(at(ISSUED_S + 120 * DAY_S)));
        assert_eq!(half_a_year.renew_at(1000), Some(at(ISSUED_S + 150 * DAY_S)));
        assert_eq!(half_a_year.retry_after(), SignedDuration::from_hours(24));
        assert_eq!(read(Some(ISSUED_S + 3600)).renew_at(0), Some(at(ISSUED_S + 2400)));
        assert_eq!(read(Some(ISSUED_S - 1)).renew_at(1000), Some(at(ISSUED_S)));
        let endless = read(None);
        assert_eq!((endless.renew_at(5), endless.ended(at(ISSUED_S * 2))), (None, None));
        assert_eq!(half_a_year.ended(at(ISSUED_S + 180 * DAY_S)), Some(at(ISSUED_S + 180 * DAY_S)));
    }

    proptest! {
        #[test]
        fn no_answer_is_taken_for_credentials(data in any::<Vec<u8>>(), text in any::<String>()) {
            let key = NatsKey::generate(KeyKind::User);
            prop_assert!(open(&BASE64_STANDARD.encode(&data), &key, at(ISSUED_S)).is_err());
            prop_assert!(open(&text, &key, at(ISSUED_S)).is_err());
        }
    }
}
