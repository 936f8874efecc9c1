//! An account's JWT, moved on: the list of users whose JWTs count no more.
//!
//! Invariant: nothing is signed again that the operator's key did not sign before. Where the JWT was kept, others may write.

use super::NatsError;
use super::claims::{Body, Claims, Mint, next_issue_time, sign, verify};
use super::key::{KeyKind, NatsKey};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Replaces the JWT of one account. Holds a secret.
pub struct AccountSigner {
    key: NatsKey,
    account_id: String,
    first: String,
}

impl AccountSigner {
    /// `seed`: the operator's signing key. `account_jwt`: as the account was made.
    pub fn new(seed: &str, account_jwt: &str) -> Result<AccountSigner, NatsError> {
        let key = NatsKey::from_seed(KeyKind::Operator, seed)?;
        let first = account_jwt.trim_ascii().to_owned();
        let claims = verify(&first, &[&key.public_key()])?;
        match claims.nats {
            Body::Account(_) => Ok(AccountSigner { key, account_id: claims.sub, first }),
            Body::Operator(_) | Body::User(_) => Err(NatsError::Jwt),
        }
    }

    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The JWT that the account was made with.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// The one of these JWTs of the account that was issued last; what the operator's key did not sign is none.
    pub fn newest<'a>(&self, known: &[&'a str]) -> Option<&'a str> {
        let issued_at = |jwt: &str| {
            let claims = verify(jwt, &[&self.key.public_key()]).ok()?;
            (claims.sub == self.account_id && matches!(claims.nats, Body::Account(_))).then_some(claims.iat)
        };
        known.iter().filter_map(|jwt| Some((issued_at(jwt)?, *jwt))).max_by_key(|(at, _)| *at).map(|(_, jwt)| jwt)
    }

    /// The JWT after `current` with these revocations (public key to the time until which its JWTs count no more) instead of
    /// those of `replaced`; none when `current` says so already. Revocations of others stay.
    pub fn revoke(
        &self,
        current: &str,
        replaced: &[String],
        revocations: &BTreeMap<String, i64>,
        now: Timestamp,
    ) -> Result<Option<String>, NatsError> {
        let Claims { sub, name, iat, nats: Body::Account(mut account), .. } =
            verify(current, &[&self.key.public_key()])?
        else {
            return Err(NatsError::Jwt);
        };
        if sub != self.account_id {
            return Err(NatsError::Jwt);
        }
        let mut wanted = account.revocations.clone();
        wanted.retain(|key, _| !replaced.contains(key));
        for (key, until) in revocations {
            let known = wanted.entry(key.clone()).or_insert(*until);
            *known = (*known).max(*until);
        }
        if wanted == account.revocations {
            return Ok(None);
        }
        account.revocations = wanted;
        let mint = Mint { name: &name, issued_at: next_issue_time(iat, now), expires_at: None };
        Ok(Some(sign(&self.key, &sub, mint, Body::Account(account))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::claims::{AccountClaims, Limits, decode};
    use super::*;

    fn account() -> (NatsKey, AccountSigner) {
        let (operator, id) = (NatsKey::generate(KeyKind::Operator), NatsKey::generate(KeyKind::Account).public_key());
        let claims = AccountClaims::new(Limits::unlimited(false), vec![]);
        let mint = Mint { name: "CLIENTS", issued_at: 100, expires_at: None };
        let jwt = sign(&operator, &id, mint, Body::Account(claims));
        let signer = AccountSigner::new(&operator.seed(), &format!("{jwt}\n")).unwrap();
        (operator, signer)
    }

    fn list(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
        pairs.iter().map(|(key, until)| ((*key).to_owned(), *until)).collect()
    }

    fn said(jwt: &str) -> (i64, BTreeMap<String, i64>) {
        let Claims { iat, nats: Body::Account(account), .. } = decode(jwt).unwrap() else { panic!("no account") };
        (iat, account.revocations)
    }

    #[test]
    fn each_change_has_a_later_issue_time_and_nothing_else_is_signed() {
        let (_, signer) = account();
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(signer.revoke(signer.first(), &[], &list(&[]), now), Ok(None));
        let one = signer.revoke(signer.first(), &[], &list(&[("UA", 5)]), now).unwrap().unwrap();
        assert_eq!(said(&one), (101, list(&[("UA", 5)])));
        assert_eq!(signer.revoke(&one, &["UA".into()], &list(&[("UA", 5)]), now), Ok(None));
        let two = signer.revoke(&one, &[], &list(&[("UB", 7)]), now).unwrap().unwrap();
        assert_eq!(said(&two), (102, list(&[("UA", 5), ("UB", 7)])), "others' revocations stay");
        assert_eq!(signer.newest(&[&two, "a.b.c", signer.first(), &one]), Some(two.as_str()));
        let three = signer.revoke(&two, &["UB".into()], &list(&[("UA", 3)]), now).unwrap().unwrap();
        assert_eq!(said(&three), (103, list(&[("UA", 5)])), "what has ended goes, and no time goes back");
    }

    #[test]
    fn what_somebody_else_wrote_is_not_signed_again() {
        let ((_, ours), (stranger, theirs)) = (account(), account());
        let now = Timestamp::from_second(100).unwrap();
        let forged = sign(
            &stranger,
            ours.account_id(),
            Mint { name: "CLIENTS", issued_at: 900, expires_at: None },
            Body::Account(AccountClaims::new(Limits::unlimited(true), vec![])),
        );
        for jwt in [forged.as_str(), theirs.first(), "", "a.b.c"] {
            assert_eq!(ours.newest(&[jwt]), None);
            assert!(ours.revoke(jwt, &[], &list(&[("UA", 5)]), now).is_err());
        }
        assert!(AccountSigner::new(&stranger.seed(), ours.first()).is_err());
    }
}
