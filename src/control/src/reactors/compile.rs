//! Compiling: the source of every bundle that waits for it becomes a signed archive, or a list of problems.
//!
//! The replica that took the bundle begins at once. What a replica left behind when it stopped is found by the others, which
//! look whenever a fact of a bundle arrives and once in a while.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now, store_error, unavailable};
use crate::org_keys::no_signing_key;
use ::bundle::{Limits, PROXY_VERSION};
use contract::ApiError;
use domain::bundle::{self, Bundle, Command, Compiled, Failed, File, Problem};
use domain::org::KeyUse;
use domain::{Aggregate, BundleId, Event};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use views::State;

/// After this long a bundle that still compiles is taken over: its replica has stopped, or the store was away.
const TAKE_OVER_AFTER: SignedDuration = SignedDuration::from_secs(20);
/// What could not be compiled for so long, for a reason outside of its source, has failed: nothing waits forever.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Begins with what was just created here; the answer does not wait for it.
pub(crate) fn begin(control: &Control, id: BundleId) {
    let control = control.clone();
    tokio::spawn(async move { compile_in_turn(&control, id).await });
}

/// Takes over what others left behind, for as long as the replica runs.
pub(crate) async fn run(control: Control) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if control.is_caught_up() {
            compile_all(&control, TAKE_OVER_AFTER).await;
        }
    }
}

pub(crate) async fn compile_all(control: &Control, older_than: SignedDuration) {
    let limit = now().saturating_sub(older_than).unwrap_or(Timestamp::MIN);
    let waiting: Vec<BundleId> = {
        let state = control.views().read();
        state.bundles.compiling().filter(|bundle| bundle.created_at <= limit).map(|bundle| bundle.id).collect()
    };
    for id in waiting {
        compile_in_turn(control, id).await;
    }
}

async fn compile_in_turn(control: &Control, id: BundleId) {
    let Ok(_turn) = control.compiling().acquire().await else { return };
    if let Err(e) = compile(control, id).await {
        tracing::warn!(bundle = %id, error = &e as &dyn std::error::Error, "bundle not compiled yet");
    }
}

async fn compile(control: &Control, id: BundleId) -> Result<(), ApiError> {
    let Some(bundle) = control.views().read().bundles.get(id).cloned() else { return Ok(()) };
    if !matches!(bundle.state, bundle::State::Compiling) {
        return Ok(());
    }
    let outcome = match outcome(control, &bundle).await {
        Ok(outcome) => outcome,
        Err(e) if now().duration_since(bundle.created_at) > GIVE_UP_AFTER => Err(given_up(&e)),
        Err(e) => return Err(e),
    };
    let meta = Meta::system(&["compile", &id.to_string()]);
    let decide = |state: &State| {
        let Some(bundle) = state.bundles.get(id) else { return Ok(Decision::Nothing(())) };
        let event = bundle::decide(bundle, Command::Finish(outcome.clone()));
        Ok(match event {
            Ok(Some(event)) => {
                let aggregate = Aggregate::Bundle { org: bundle.org.clone(), project: bundle.project.clone(), id };
                Decision::Append(Box::new(Fact::next(aggregate, bundle.position, Event::Bundle(event))), ())
            }
            Ok(None) | Err(_) => Decision::Nothing(()),
        })
    };
    control.commit(&meta, decide).await.map(drop)
}

async fn outcome(control: &Control, bundle: &Bundle) -> Result<Result<Compiled, Failed>, ApiError> {
    let source = control.read_blob(bundle.source_digest.as_str(), None).await.map_err(store_error)?;
    let source = source.ok_or_else(|| unavailable("the source of the bundle is not in the store"))?;
    let limits = Limits { source_bytes_max: control.settings().source_bytes_max, ..Limits::default() };
    let compiled = tokio::task::spawn_blocking(move || match std::str::from_utf8(&source) {
        Ok(text) => ::bundle::compile(text, &limits),
        Err(_) => Err(vec![not_text()]),
    });
    let compiled = match compiled.await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(problems)) => return Ok(Err(Failed { problems: problems.into_iter().map(problem).collect() })),
        Err(e) => return Err(unavailable(&format!("the compiler stopped: {e}"))),
    };
    let key = control.active_key(&bundle.org, KeyUse::Bundle).await?.ok_or_else(no_signing_key)?;
    let signature = key.key.sign(&compiled.archive).to_string();
    let size_bytes = compiled.archive.len() as u64;
    control.put_blob(compiled.archive.into()).await.map_err(store_error)?;
    let files: Option<Vec<File>> = compiled.files.into_iter().map(file).collect();
    let (Some(files), Ok(digest)) = (files, compiled.digest.parse()) else {
        return Err(unavailable("the compiler gave a digest that is none"));
    };
    Ok(Ok(Compiled {
        digest,
        size_bytes,
        files,
        signature,
        key_id: key.id,
        proxy_version: PROXY_VERSION.to_owned(),
        warnings: compiled.warnings.into_iter().map(problem).collect(),
    }))
}

pub(crate) fn given_up(cause: &ApiError) -> Failed {
    let message = format!("could not be compiled for {} minutes: {cause}", GIVE_UP_AFTER.as_mins());
    let help = "create the bundle again under another version, or delete this one first".to_owned();
    let code = "not_compiled".to_owned();
    Failed { problems: vec![Problem { code, message, line: None, column: None, help: Some(help) }] }
}

fn file(entry: ::bundle::FileEntry) -> Option<File> {
    Some(File { path: entry.path, sha256: entry.sha256.parse().ok()?, bytes: entry.bytes })
}

fn problem(found: ::bundle::Problem) -> Problem {
    Problem { code: found.code, message: found.message, line: found.line, column: found.column, help: found.help }
}

fn not_text() -> ::bundle::Problem {
    let message = "the configuration is not UTF-8 text".to_owned();
    ::bundle::Problem { code: "not_utf8".to_owned(), message, line: None, column: None, help: None }
}
