//! Bearer tokens of nodes: JWT (RFC 7519) signed with EdDSA (RFC 8037).
//!
//! Invariant: the algorithm is fixed; the header chooses nothing but the key, and the claims repeat which one. The claims are
//! not looked at before the signature was found good.

use crate::signing::{PublicKey, Signature, SigningKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The largest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 4096;
const ALGORITHM: &str = "EdDSA";

/// Whose token it is and how long it counts. Times are seconds since 1970.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// The node's id.
    pub sub: String,
    /// The project's id or slug, as the issuer writes it.
    pub prj: String,
    pub org: String,
    /// The id of the key that signed; the header says the same.
    pub kid: String,
    /// From this second on the token counts no more.
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    pub aud: String,
    pub jti: String,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token's algorithm is not EdDSA")]
    Algorithm,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is from the future")]
    NotYetValid,
    #[error("the token is for somebody else")]
    Audience,
}

#[derive(Serialize)]
struct NewHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// RFC 7515 §4.1.11: who does not know a critical extension refuses the token, and we know none.
    crit: Option<IgnoredAny>,
}

/// A token taken apart; nothing of it is verified.
struct Parts<'a> {
    key_id: String,
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

/// The token with the header `{"alg":"EdDSA","typ":"JWT","kid":<claims.kid>}`.
pub fn sign_token(key: &SigningKey, claims: &TokenClaims) -> String {
    let header = encode(&NewHeader { alg: ALGORITHM, typ: "JWT", kid: &claims.kid });
    let signed = format!("{header}.{}", encode(claims));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{signature}")
}

/// Which key the token says it was signed with. Reads the header alone and verifies nothing.
pub fn token_key_id(token: &str) -> Result<String, TokenError> {
    take_apart(token).map(|parts| parts.key_id)
}

/// The claims of a token that `key` signed for `audience` and that counts at `now`, clocks differing by up to `leeway_s`
/// seconds.
pub fn verify_token(
    token: &str,
    key: &PublicKey,
    audience: &str,
    now: Timestamp,
    leeway_s: i64,
) -> Result<TokenClaims, TokenError> {
    let parts = take_apart(token)?;
    let signature: Signature = parts.signature.parse().map_err(|_| TokenError::Malformed)?;
    if !key.verify(parts.signed.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }
    let claims: TokenClaims = decode(parts.claims)?;
    if claims.kid != parts.key_id {
        return Err(TokenError::Malformed);
    }
    if claims.aud != audience {
        return Err(TokenError::Audience);
    }
    let now_s = now.as_second();
    if claims.exp.saturating_add(leeway_s) <= now_s {
        return Err(TokenError::Expired);
    }
    if claims.iat.saturating_sub(leeway_s) > now_s {
        return Err(TokenError::NotYetValid);
    }
    Ok(claims)
}

fn take_apart(token: &str) -> Result<Parts<'_>, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = decode(header)?;
    if header.alg != ALGORITHM {
        return Err(TokenError::Algorithm);
    }
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    let key_id = header.kid.ok_or(TokenError::Malformed)?;
    Ok(Parts { key_id, signed, claims, signature })
}

fn encode(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("a struct of strings and integers is always JSON");
    BASE64_URL_SAFE_NO_PAD.encode(json)
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ring::hmac;
    use serde_json::{Value, json};

    const NOW_S: i64 = 1_800_000_000;

    fn key() -> SigningKey {
        SigningKey::from_seed([9; 32])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claims() -> TokenClaims {
        TokenClaims {
            sub: "0190d2c8-0000-7000-8000-000000000001".into(),
            prj: "demo".into(),
            org: "default".into(),
            kid: key().public().key_id("sk"),
            exp: NOW_S + 3600,
            iat: NOW_S,
            iss: "pilothouse".into(),
            aud: "nodes".into(),
            jti: "j1".into(),
        }
    }

    fn verify(token: &str) -> Result<TokenClaims, TokenError> {
        verify_token(token, &key().public(), "nodes", at(NOW_S), 30)
    }

    fn signed_with_header(header: &Value, claims: &impl Serialize) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", key().sign(signed.as_bytes()))
    }

    /// RFC 8037 appendix A.4: a JWS that is no JWT, so the parts are checked one by one.
    #[test]
    fn signs_as_the_standard_says() {
        let seed = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::from_seed(seed.try_into().unwrap());
        assert_eq!(key.public().to_string(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
        let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode("Example of Ed25519 signing"));
        assert_eq!(signed, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(key.sign(signed.as_bytes()).to_string(), signature);
    }

    #[test]
    fn what_was_signed_comes_back() {
        let token = sign_token(&key(), &claims());
        assert_eq!(verify(&token), Ok(claims()));
        assert_eq!(token_key_id(&token), Ok(claims().kid));
        let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let expected = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{}"}}"#, claims().kid);
        assert_eq!(String::from_utf8(header).unwrap(), expected);
    }

    #[test]
    fn every_part_counts() {
        let token = sign_token(&key(), &claims());
        let dots: Vec<_> = token.match_indices('.').map(|(at, _)| at).collect();
        let ends = [0, dots[0] - 1, dots[0], dots[0] + 1, dots[1] - 1, dots[1], dots[1] + 1, token.len() - 1];
        for at in (0..token.len()).step_by(41).chain(ends) {
            for new in ["A", ".", "="] {
                let mut other = token.clone();
                other.replace_range(at..=at, if token[at..=at] == *new { "B" } else { new });
                assert!(verify(&other).is_err(), "character {at}: {other}");
            }
            assert!(verify(&token[..at]).is_err(), "cut at {at}");
        }
        for longer in [format!("{token}A"), format!("{token}."), format!(".{token}"), format!(" {token}")] {
            assert!(verify(&longer).is_err(), "{longer}");
        }
    }

    #[test]
    fn another_key_is_refused() {
        let token = sign_token(&SigningKey::from_seed([8; 32]), &claims());
        assert_eq!(verify(&token), Err(TokenError::Signature));
    }

    #[test]
    fn the_header_cannot_choose_the_algorithm() {
        let kid = claims().kid;
        for alg in ["none", "None", "HS256", "eddsa", "EdDSA ", "ES256", ""] {
            let token = signed_with_header(&json!({"alg": alg, "typ": "JWT", "kid": kid}), &claims());
            assert_eq!(verify(&token), Err(TokenError::Algorithm), "{alg}");
            assert_eq!(token_key_id(&token), Err(TokenError::Algorithm), "{alg}");
        }
        let unsigned = format!("{}.{}.", encode(&json!({"alg": "none"})), encode(&claims()));
        assert_eq!(verify(&unsigned), Err(TokenError::Algorithm));
        // The public key as the secret of an HMAC.
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "kid": kid})), encode(&claims()));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key().public().as_bytes());
        let tag = hmac::sign(&secret, signed.as_bytes());
        let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(verify(&token), Err(TokenError::Algorithm));
    }

    #[test]
    fn headers_that_say_too_little_or_too_much_are_refused() {
        let kid = claims().kid;
        let headers = [
            json!({"alg": "EdDSA"}),
            json!({"alg": "EdDSA", "kid": 5}),
            json!({"alg": "EdDSA", "kid": kid, "crit": ["b64"], "b64": false}),
            json!({"alg": ["EdDSA"], "kid": kid}),
            json!(["EdDSA", kid]),
            json!({"alg": "EdDSA", "kid": "sk_0000000000000000"}),
        ];
        for header in headers {
            let token = signed_with_header(&header, &claims());
            assert_eq!(verify(&token), Err(TokenError::Malformed), "{header}");
        }
        let twice = format!(r#"{{"alg":"none","alg":"EdDSA","kid":"{kid}"}}"#);
        let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(twice), encode(&claims()));
        let token = format!("{signed}.{}", key().sign(signed.as_bytes()));
        assert_eq!(verify(&token), Err(TokenError::Malformed));
    }

    #[test]
    fn claims_that_are_not_ours_are_refused() {
        let header = json!({"alg": "EdDSA", "kid": claims().kid});
        let mut without_exp = serde_json::to_value(claims()).unwrap();
        without_exp.as_object_mut().unwrap().remove("exp");
        let mut two_audiences = serde_json::to_value(claims()).unwrap();
        two_audiences["aud"] = json!(["nodes", "others"]);
        let mut fraction = serde_json::to_value(claims()).unwrap();
        fraction["exp"] = json!(4e9);
        for wrong in [without_exp, two_audiences, fraction, json!("text"), json!(null)] {
            let token = signed_with_header(&header, &wrong);
            assert_eq!(verify(&token), Err(TokenError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn the_audience_is_compared_whole() {
        for aud in ["node", "nodes2", "NODES", ""] {
            let token = sign_token(&key(), &TokenClaims { aud: aud.into(), ..claims() });
            assert_eq!(verify(&token), Err(TokenError::Audience), "{aud}");
        }
    }

    #[test]
    fn time_counts_to_the_second() {
        let verdict = |exp, iat| verify(&sign_token(&key(), &TokenClaims { exp, iat, ..claims() })).map(|_| ());
        assert_eq!(verdict(NOW_S - 30, 0), Err(TokenError::Expired));
        assert_eq!(verdict(NOW_S - 29, 0), Ok(()));
        assert_eq!(verdict(i64::MAX, NOW_S + 30), Ok(()));
        assert_eq!(verdict(i64::MAX, NOW_S + 31), Err(TokenError::NotYetValid));
        assert_eq!(verdict(i64::MIN, i64::MIN), Err(TokenError::Expired));
        assert_eq!(verdict(i64::MAX, i64::MAX), Err(TokenError::NotYetValid));
        let token = sign_token(&key(), &claims());
        let without_leeway = |now| verify_token(&token, &key().public(), "nodes", now, 0).map(|_| ());
        assert_eq!(without_leeway(at(NOW_S + 3600)), Err(TokenError::Expired));
        let last_moment = Timestamp::new(NOW_S + 3599, 999_999_999).unwrap();
        assert_eq!(without_leeway(last_moment), Ok(()));
        assert_eq!(without_leeway(at(NOW_S - 1)), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_huge_token_is_not_looked_at() {
        let token = sign_token(&key(), &TokenClaims { jti: "x".repeat(TOKEN_BYTES_MAX), ..claims() });
        assert_eq!(verify(&token), Err(TokenError::Malformed));
        assert_eq!(token_key_id(&token), Err(TokenError::Malformed));
        for wrong in ["", ".", "..", "...", "a.b.c", "a.b", "\u{fc}.\u{fc}.\u{fc}", &"[".repeat(4000)] {
            assert_eq!(token_key_id(wrong), Err(TokenError::Malformed), "{wrong}");
        }
    }
}
