#![allow(clippy::unwrap_used)]
use super::*;
use crate::progress::INTERRUPTED_MAX;
use crate::testing::{archive, runs, target, until};
use bundle::UnpackLimits;
use std::fs;
use tempfile::TempDir;

/// An agent with the bundles 1, 2 and 3 unpacked and this script as its command.
struct Given {
    dir: TempDir,
    activation: Activation,
}

fn given(script: &str) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(DataDir::open(dir.path()).unwrap());
    let store = Store::open(data.path()).unwrap();
    for n in 1..=3 {
        let (bytes, digest) = archive(n);
        store.install(&bytes, &digest, &UnpackLimits::default()).unwrap();
    }
    let command = CommandLine::new(["/bin/sh", "-c", script].map(str::to_owned).into());
    let commands = Commands { activate: Some(command), check: None, limit: Duration::from_secs(20) };
    Given { dir, activation: Activation { data, store, commands, keep_bundles: 3 } }
}

/// Writes down each version it is run for, through `current`, and fails for the version v2.
const FAILS_FOR_2: &str = r#"
    cd "$PILOTHOUSE_BUNDLE_DIR/../.."
    echo "$PILOTHOUSE_BUNDLE_VERSION $(head -n 1 current/zentinel.kdl)" >> runs
    [ "$PILOTHOUSE_BUNDLE_VERSION" != v2 ] || { echo "no such upstream" >&2; exit 1; }
"#;

impl Given {
    async fn activate(&self, n: u8, before: Progress) -> Progress {
        let outcome = self.activation.activate(&target(n), before).await;
        assert_eq!(outcome.postponed, None);
        assert_eq!(self.on_disk(), outcome.progress);
        outcome.progress
    }

    fn on_disk(&self) -> Progress {
        self.activation.data.progress().unwrap().unwrap()
    }

    fn current(&self) -> Option<u8> {
        let current = self.activation.store.current()?;
        (1..=3).find(|n| archive(*n).1 == current)
    }

    fn runs(&self) -> String {
        fs::read_to_string(self.dir.path().join("runs")).unwrap_or_default()
    }
}

#[tokio::test]
async fn the_command_sees_the_new_bundle_at_current() {
    let given = given(FAILS_FOR_2);
    let progress = given.activate(1, Progress::default()).await;
    assert_eq!((progress.active, progress.switching), (Some(target(1).bundle), false));
    assert_eq!(given.current(), Some(1));
    assert_eq!(given.runs(), "v1 // configuration 1\n");
}

#[tokio::test]
async fn a_failure_leads_back_to_the_old_bundle_and_runs_its_command() {
    let given = given(FAILS_FOR_2);
    let progress = given.activate(1, Progress::default()).await;
    let progress = given.activate(2, progress).await;
    assert_eq!(progress.active, Some(target(1).bundle));
    let failed = progress.failed.clone().unwrap();
    assert_eq!(
        (failed.target, failed.error.as_str()),
        (target(2), "/bin/sh failed (exit status: 1): no such upstream")
    );
    assert_eq!(progress.accepted, Some(target(2)), "its counter is taken all the same");
    assert!(!progress.switching);
    assert_eq!(given.current(), Some(1));
    assert_eq!(given.runs(), "v1 // configuration 1\nv2 // configuration 2\nv1 // configuration 1\n");
    let progress = given.activate(3, progress).await;
    assert_eq!((progress.previous, progress.failed), (Some(target(1).bundle), None));
}

#[tokio::test]
async fn the_first_bundle_that_fails_leaves_no_current() {
    let given = given(FAILS_FOR_2);
    let progress = given.activate(2, Progress::default()).await;
    assert_eq!((progress.active, given.current(), progress.switching), (None, None, false));
}

#[tokio::test]
async fn a_way_back_that_fails_is_told_too() {
    let given = given("echo $PILOTHOUSE_BUNDLE_VERSION is broken >&2; exit 1");
    let mut progress = Progress::default();
    progress.succeed(&target(1));
    let progress = given.activate(2, progress).await;
    assert_eq!(progress.active, Some(target(1).bundle));
    let error = progress.failed.unwrap().error;
    assert!(error.contains("v2 is broken; going back failed too: ") && error.ends_with("v1 is broken"), "{error}");
    assert_eq!((given.current(), progress.switching), (Some(1), false));
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_its_children_and_the_old_bundle_stays() {
    let mut given = given(
        r#"[ "$PILOTHOUSE_BUNDLE_VERSION" = v2 ] || exit 0
           sleep 1000 & echo $! > "$PILOTHOUSE_BUNDLE_DIR/../../child"; wait"#,
    );
    given.activation.commands.limit = Duration::from_millis(1500);
    let progress = given.activate(1, Progress::default()).await;
    let progress = given.activate(2, progress).await;
    let error = progress.failed.unwrap().error;
    assert!(error.contains("did not end within"), "{error}");
    assert_eq!(given.current(), Some(1));
    let child = given.dir.path().join("child");
    assert!(child.exists());
    until(|| !runs(&child), || "the child still runs".into()).await;
}

#[tokio::test]
async fn an_activation_that_was_cut_off_is_undone_and_not_tried_for_ever() {
    let given = given(
        r#"[ "$PILOTHOUSE_BUNDLE_VERSION" = v1 ] || { touch "$PILOTHOUSE_BUNDLE_DIR/../../begun"; sleep 1000; }"#,
    );
    let begun = given.dir.path().join("begun");
    let mut progress = given.activate(1, Progress::default()).await;
    for attempt in 1..=INTERRUPTED_MAX {
        let (activation, before) = (given.activation.clone(), progress);
        let task = tokio::spawn(async move { activation.activate(&target(2), before).await });
        until(|| begun.exists(), || "not begun".into()).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        fs::remove_file(&begun).unwrap();
        progress = given.on_disk();
        assert!(progress.switching && given.current() == Some(2), "as a crash leaves it");
        given.activation.abandon(&progress).unwrap();
        assert_eq!(given.current(), Some(1), "as a stop leaves it");
        given.activation.recover(&mut progress).await;
        assert_eq!((given.current(), &given.on_disk()), (Some(1), &progress));
        assert_eq!(progress.is_failed(&target(2)), attempt == INTERRUPTED_MAX);
    }
}

#[tokio::test]
async fn nothing_is_switched_before_the_assignment_is_on_disk() {
    let given = given("exit 0");
    let before = given.activate(1, Progress::default()).await;
    // A directory in the place of the file cannot be replaced by a file.
    fs::remove_file(given.dir.path().join("state.json")).unwrap();
    fs::create_dir_all(given.dir.path().join("state.json/full")).unwrap();
    let outcome = given.activation.activate(&target(2), before.clone()).await;
    assert_eq!(outcome.progress, before);
    assert!(outcome.postponed.unwrap().contains("could not keep the assignment"));
    assert_eq!(given.current(), Some(1));
}
