#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{runs, target, until};

fn shell(script: &str) -> CommandLine {
    CommandLine::new(["/bin/sh", "-c", script].map(str::to_owned).into())
}

async fn run_for(script: &str, limit: Duration, directory: &Path) -> Result<(), String> {
    run(&shell(script), &target(1).bundle, directory, limit).await
}

async fn run_here(script: &str) -> Result<(), String> {
    run_for(script, Duration::from_secs(20), Path::new("/b")).await
}

#[tokio::test]
async fn the_program_is_told_which_bundle_it_is_about() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"echo "$PILOTHOUSE_BUNDLE_DIR $PILOTHOUSE_BUNDLE_ID $PILOTHOUSE_BUNDLE_VERSION" > "$PILOTHOUSE_BUNDLE_DIR/seen""#;
    run_for(script, Duration::from_secs(20), dir.path()).await.unwrap();
    let seen = std::fs::read_to_string(dir.path().join("seen")).unwrap();
    assert_eq!(seen, format!("{} {} v1\n", dir.path().display(), target(1).bundle.id));
}

#[tokio::test]
async fn a_failure_says_why_from_its_end_without_control_characters() {
    let error = run_here(r"printf 'bad\033[31m\tline 7\n' >&2; exit 3").await.unwrap_err();
    assert_eq!(error, "/bin/sh failed (exit status: 3): bad [31m line 7");
    let error = run_here("head -c 300000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 1").await.unwrap_err();
    assert!(error.ends_with("xEND"), "{error}");
    assert_eq!(
        error.chars().filter(|c| *c == 'x').count(),
        REASON_CHARS_MAX - "END".len() + "exit".matches('x').count()
    );
    assert_eq!(run_here("kill -9 $$").await.unwrap_err(), "/bin/sh failed (signal: 9 (SIGKILL))");
    let missing = CommandLine::new(vec!["/nowhere/zentinel".into()]);
    let error = run(&missing, &target(1).bundle, Path::new("/"), Duration::from_secs(1)).await.unwrap_err();
    assert!(error.starts_with("could not start /nowhere/zentinel: "), "{error}");
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"sleep 1000 & echo $! > "$PILOTHOUSE_BUNDLE_DIR/child"; echo waiting >&2; wait"#;
    let error = run_for(script, Duration::from_millis(1500), dir.path()).await.unwrap_err();
    assert_eq!(error, "/bin/sh did not end within 1.5 s: waiting");
    let child = dir.path().join("child");
    assert!(child.exists());
    until(|| !runs(&child), || "the child still runs".into()).await;
}

#[tokio::test]
async fn a_program_that_is_given_up_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let child = dir.path().join("child");
    let path = dir.path().to_owned();
    let script = r#"sleep 1000 & echo $! > "$PILOTHOUSE_BUNDLE_DIR/child.tmp"; mv "$PILOTHOUSE_BUNDLE_DIR/child.tmp" "$PILOTHOUSE_BUNDLE_DIR/child"; wait"#;
    let task = tokio::spawn(async move { run_for(script, Duration::from_secs(60), &path).await });
    until(|| runs(&child), || "no child".into()).await;
    task.abort();
    until(|| !runs(&child), || "the child still runs".into()).await;
}

#[tokio::test]
async fn what_a_success_left_running_is_left_alone_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"sleep 1000 & echo $! > "$PILOTHOUSE_BUNDLE_DIR/child""#;
    run_for(script, Duration::from_secs(20), dir.path()).await.unwrap();
    let child = dir.path().join("child");
    assert!(runs(&child));
    let pid: i32 = std::fs::read_to_string(&child).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn no_words_are_no_command() {
    let nothing: CommandLine = "  ".parse().unwrap();
    run(&nothing, &target(1).bundle, Path::new("/"), Duration::from_secs(1)).await.unwrap();
}
