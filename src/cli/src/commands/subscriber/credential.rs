//! The credential of a subscriber: made and signed here, where the signing key is, and kept in a file of its owner's own.

use crate::error::CliError;
use crate::files::{read_small, write_whole};
use crate::session::Session;
use domain::Slug;
use jiff::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};
use trust::nats::{Body, Claims, NewSubscriber, UserClaims, decode, parse_creds, subscriber_user};

/// Beside the operator's credential, as `pilothouse init` leaves it.
const SIGNING_KEY: &str = "clients-subscribers.nk";

/// What the credential will say.
pub(super) struct Wanted<'a> {
    pub name: &'a Slug,
    pub org: &'a str,
    pub project: Option<&'a Slug>,
    pub now: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// No Debug: `text` is a secret.
pub(super) struct Credential {
    /// The subscriber's public key.
    pub id: String,
    pub text: String,
    pub expires_at: Option<Timestamp>,
    /// The file that was written for it just now.
    new_file: Option<PathBuf>,
}

pub(super) fn signing_seed(session: &Session<'_>, named: Option<PathBuf>) -> Result<String, CliError> {
    let path = named.unwrap_or_else(|| session.target.creds_file.with_file_name(SIGNING_KEY));
    read_small(&path).map_err(|error| {
        let path = path.display();
        CliError::Credential(format!(
            "could not read the key that signs subscribers, {path} ({error}): use --signing-key"
        ))
    })
}

impl Credential {
    pub fn mint(session: &Session<'_>, seed: &str, wanted: &Wanted<'_>) -> Result<Credential, CliError> {
        let account = account(session)?;
        let subscriber = NewSubscriber {
            name: wanted.name.as_str(),
            org: wanted.org,
            project: wanted.project.map(Slug::as_str),
            now: wanted.now,
            expires_at: wanted.expires_at,
        };
        let (id, text) = subscriber_user(seed, &account, &subscriber)
            .map_err(|error| CliError::Credential(format!("the key that signs subscribers {error}")))?;
        Ok(Credential { id, text, expires_at: wanted.expires_at, new_file: None })
    }

    /// The one in the file, where an earlier attempt at the same subscriber left it; else a new one, written there.
    pub fn at(path: &Path, session: &Session<'_>, seed: &str, wanted: &Wanted<'_>) -> Result<Credential, CliError> {
        let minted = Credential::mint(session, seed, wanted)?;
        if path.exists() {
            return Credential::kept(path, &minted)
                .ok_or_else(|| CliError::Taken(format!("{} exists already and is another one's", path.display())));
        }
        let failed = |error| CliError::Usage(format!("could not write {} ({error})", path.display()));
        write_whole(path, &minted.text).map_err(failed)?;
        Ok(Credential { new_file: Some(path.to_owned()), ..minted })
    }

    /// The contents of the file, if they say what `minted` says, for another key or another time.
    fn kept(path: &Path, minted: &Credential) -> Option<Credential> {
        let text = read_small(path).ok()?;
        let (kept, new) = (parse_creds(&text).ok()?, parse_creds(&minted.text).ok()?);
        let (found, new) = (decode(&kept.jwt).ok()?, decode(&new.jwt).ok()?);
        let says =
            |claims: &Claims| (claims.name.clone(), claims.iss.clone(), claims.nats.clone(), claims.exp.is_some());
        if says(&found) != says(&new) {
            return None;
        }
        let expires_at = found.exp.map(Timestamp::from_second).transpose().ok()?;
        Some(Credential { id: kept.public_key, text, expires_at, new_file: None })
    }

    /// Removes the file that was written for nothing. False: what became of the question is not known, so it stays.
    pub fn withdraw_if_refused(&self, error: &CliError) -> bool {
        let is_refused = matches!(error, CliError::Answered(body) if body.code.status() < 500);
        if is_refused && let Some(path) = &self.new_file {
            // A file that cannot be removed opens nothing.
            let _ = fs::remove_file(path);
        }
        is_refused
    }
}

/// The account of clients, which is the operator's own.
fn account(session: &Session<'_>) -> Result<String, CliError> {
    match decode(&session.target.credential.jwt).map(|claims| claims.nats) {
        Ok(Body::User(UserClaims { issuer_account, .. })) => Ok(issuer_account),
        _ => Err(CliError::Credential("the operator's credential does not name its account".to_owned())),
    }
}
