//! `bundle create|list|show|download|verify|revoke|delete`

use super::{Call, Place};
use crate::execute::{Decision, Fact, store_error, unavailable, unix_ms};
use crate::reactors::compile;
use contract::{
    Answer, ApiError, BundleBody, BundleDownload, BundleVerification, CreateBundle, ErrorCode, FieldErrors, Page,
    RevokeBundle,
};
use domain::bundle::{self, Bundle, Command, Created, Rejection};
use domain::{Aggregate, BundleId, BundleVersion, Position};
use serde_json::{Value, json};
use std::str::FromStr;
use views::State;

const STATUSES: [&str; 4] = ["compiling", "compiled", "failed", "revoked"];

impl Call<'_> {
    /// Stores the source as a blob, then the fact that starts the compiler. Nothing is uploaded for a repeat, nor for a version
    /// that is known to be taken.
    pub(super) async fn create_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let wanted = CreateBundle::parse(self.request.body.clone())?;
        // Looked at before the repeat is: a version that a twin of this call took shows up with the twin.
        let taken = self.control.views().read().bundles.versioned(&place.project, &wanted.version).is_some();
        if let Some(answer) = self.replay(render)? {
            return Ok(answer);
        }
        if taken {
            return Err(rejected(Rejection::VersionTaken));
        }
        let source = bytes::Bytes::from(wanted.config_source);
        let bytes_max = self.control.settings().source_bytes_max;
        if source.len() > bytes_max {
            return Err(ApiError::field("config_source", format!("should be at most {bytes_max} byte(s)")));
        }
        let source_bytes = source.len() as u64;
        let digest = self.control.put_blob(source).await.map_err(store_error)?;
        let source_digest = digest.parse().map_err(|_| store_error(journal::StoreError::Corrupt(digest)))?;
        let created = Created { version: wanted.version, source_digest, source_bytes };
        let id = BundleId::from_parts(unix_ms(), trust::random_bytes());
        let _turn = self.control.naming().lock().await;
        let decide = |state: &State| {
            let taken = state.bundles.versioned(&place.project, &created.version).is_some();
            let event = bundle::create(created.clone(), taken).map_err(rejected)?;
            let aggregate = place.bundle(id);
            let expected = state.bundles.created_position(&place.project);
            let fact = Fact::first(aggregate.clone(), expected, domain::Event::Bundle(event));
            Ok(Decision::Append(Box::new(fact), aggregate))
        };
        let answer = self.mutate(decide, render).await?;
        compile::begin(self.control, id);
        Ok(answer)
    }

    pub(super) fn list_bundles(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let page = Page::from_query(&self.request.query)?;
        let before = position_after(&page)?;
        let status = one_of(&self.request.query, "status", &STATUSES)?;
        self.read(|state| {
            let fits = |bundle: &Bundle| status.is_none_or(|status| status == bundle.state.as_str());
            let all = state.bundles.newest_first(&place.project, None);
            let total = all.filter(|(_, bundle)| fits(bundle)).count();
            let rest = state.bundles.newest_first(&place.project, before);
            let mut shown: Vec<_> = rest.filter(|(_, bundle)| fits(bundle)).take(page.limit + 1).collect();
            let next = cut(&mut shown, page.limit).map(|(position, _)| position.to_string());
            let bundles: Vec<BundleBody> = shown.iter().map(|(_, bundle)| BundleBody::from(*bundle)).collect();
            Ok(json!({"bundles": bundles, "total": total, "next": next}))
        })
    }

    pub(super) fn show_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let bundle = find(state, &place, self.id()).ok_or_else(not_found)?;
            Ok(json!({"bundle": BundleBody::from(bundle)}))
        })
    }

    pub(super) fn download_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let archive = deployable(find(state, &place, self.id()).ok_or_else(not_found)?)?;
            Ok(json!(BundleDownload {
                download_url: self.control.download_url(self.base_url, archive.digest.as_str()),
                checksum: format!("sha256:{}", archive.digest),
                size: archive.size_bytes,
            }))
        })
    }

    /// Reads the archive back from the store and checks its digest, its signature and every file against the manifest.
    pub(super) async fn verify_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let (archive, public_key) = {
            let state = self.control.views().read();
            let archive = deployable(find(&state, &place, self.id()).ok_or_else(not_found)?)?.clone();
            let key = state.orgs.org(&place.org).and_then(|org| org.signing_keys.get(&archive.key_id));
            (archive, key.map(|key| key.public_key.clone()))
        };
        let problem = match self.control.read_blob(archive.digest.as_str(), None).await {
            Ok(Some(bytes)) => {
                // Unpacking an archive takes longer than a runtime thread may be held.
                let signature = archive.signature;
                let checking = tokio::task::spawn_blocking(move || check(&bytes, &signature, public_key.as_deref()));
                checking.await.map_err(|e| unavailable(&format!("the check stopped: {e}")))?
            }
            Ok(None) => Some("the archive is not in the store".to_owned()),
            Err(journal::StoreError::Corrupt(what)) => Some(what),
            Err(e) => return Err(store_error(e)),
        };
        let key_id = Some(archive.key_id);
        let body = BundleVerification { verified: problem.is_none(), signed: true, key_id, problem };
        self.read(|_| Ok(json!(body)))
    }

    pub(super) async fn revoke_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let reason = RevokeBundle::parse(self.request.body.clone())?.reason;
        let decide = |state: &State| self.decide_bundle(state, &place, Command::Revoke { reason: reason.clone() });
        let render = |state: &State, aggregate: &Aggregate, replayed| {
            render(state, aggregate, replayed).map(|bundle| json!({"bundle": bundle}))
        };
        self.mutate(decide, render).await
    }

    /// The blobs stay: they are named by digest and may belong to another bundle too.
    pub(super) async fn delete_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = |state: &State| {
            let bundle = find(state, &place, self.id()).ok_or_else(not_found)?;
            let running = || state.nodes.of_project(&place.project).any(|node| node.active_bundle == Some(bundle.id));
            let deployed = state.bundles.is_deployed(bundle.id) || running();
            self.decide_bundle(state, &place, Command::Delete { deployed })
        };
        self.mutate(decide, |_, aggregate, _| Some(json!({"id": aggregate.id()}))).await
    }

    fn decide_bundle(&self, state: &State, place: &Place, command: Command) -> Result<Decision<Aggregate>, ApiError> {
        let bundle = find(state, place, self.id()).ok_or_else(not_found)?;
        let aggregate = place.bundle(bundle.id);
        Ok(match bundle::decide(bundle, command).map_err(rejected)? {
            Some(event) => {
                let fact = Fact::next(aggregate.clone(), bundle.position, domain::Event::Bundle(event));
                Decision::Append(Box::new(fact), aggregate)
            }
            None => Decision::Nothing(aggregate),
        })
    }
}

impl Place {
    fn bundle(&self, id: BundleId) -> Aggregate {
        Aggregate::Bundle { org: self.org.clone(), project: self.project.clone(), id }
    }
}

pub(super) fn not_found() -> ApiError {
    ApiError::not_found("Bundle")
}

/// By id, or by version, which is as unique within the project.
pub(super) fn find<'a>(state: &'a State, place: &Place, id_or_version: &str) -> Option<&'a Bundle> {
    if let Ok(id) = BundleId::from_str(id_or_version) {
        return state.bundles.get(id).filter(|b| b.project == place.project && b.org == place.org);
    }
    let version: BundleVersion = id_or_version.parse().ok()?;
    state.bundles.versioned(&place.project, &version)
}

fn render(state: &State, aggregate: &Aggregate, _replayed: bool) -> Option<Value> {
    let bundle = state.bundles.get(aggregate.id().parse().ok()?)?;
    serde_json::to_value(BundleBody::from(bundle)).ok()
}

fn deployable(bundle: &Bundle) -> Result<&bundle::Compiled, ApiError> {
    let message = match &bundle.state {
        bundle::State::Compiled(compiled) => return Ok(compiled),
        bundle::State::Revoked(_) => "Bundle has been revoked",
        bundle::State::Compiling | bundle::State::Failed(_) => "Bundle is not yet compiled",
    };
    Err(ApiError::new(ErrorCode::Conflict, message))
}

fn check(archive: &[u8], signature: &str, public_key: Option<&str>) -> Option<String> {
    let key = public_key.and_then(|key| key.parse::<trust::PublicKey>().ok());
    let (Some(key), Ok(signature)) = (key, signature.parse()) else {
        return Some("the key that signed it is not known".to_owned());
    };
    if !key.verify(archive, &signature) {
        return Some("the signature does not fit the archive".to_owned());
    }
    ::bundle::read(archive, &::bundle::UnpackLimits::default()).err().map(|e| e.to_string())
}

fn rejected(rejection: Rejection) -> ApiError {
    match rejection {
        Rejection::VersionTaken => ApiError::field("version", rejection.to_string()),
        Rejection::NotCompiled | Rejection::Deployed | Rejection::StillCompiling => {
            ApiError::new(ErrorCode::Conflict, rejection.to_string())
        }
    }
}

/// Cuts a list that was read one entry further than it shows: the last entry shown, if another one follows.
pub(super) fn cut<T>(read: &mut Vec<T>, limit: usize) -> Option<&T> {
    let more = read.len() > limit;
    read.truncate(limit);
    read.last().filter(|_| more)
}

/// `after` of a list that runs from new to old: the position at which the page before ended.
pub(super) fn position_after(page: &Page) -> Result<Option<Position>, ApiError> {
    let wrong = |_| ApiError::field("after", "must be what an earlier page gave as next");
    page.after.as_deref().map(|text| text.parse().map(Position).map_err(wrong)).transpose()
}

pub(super) fn one_of<'a>(
    query: &'a std::collections::BTreeMap<String, String>,
    field: &str,
    words: &[&str],
) -> Result<Option<&'a str>, FieldErrors> {
    match query.get(field).map(String::as_str) {
        Some(word) if !words.contains(&word) => {
            Err(FieldErrors::one(field, format!("is invalid; must be one of: {}", words.join(", "))))
        }
        word => Ok(word),
    }
}
