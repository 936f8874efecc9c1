#![allow(clippy::unwrap_used)]

use super::*;
use crate::run::execute;
use crate::testing::{Root, console, creds_text};
use clap::Parser;
use expect_test::expect;
use std::path::Path;

/// A home with the credential `ops.creds` in it.
fn home() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ops.creds"), creds_text()).unwrap();
    dir
}

/// Exit, data, talk; the home is called HOME in both.
fn run(home: &Path, line: &str) -> (Exit, String, String) {
    let words = std::iter::once("pilothouse").chain(line.split_whitespace());
    let Root { globals, command } = Root::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let around = Surroundings::of_test(home, &[("HOME", home.to_str().unwrap())]);
    let (console, data, talk) = console(globals.output, "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exit = runtime.block_on(execute(command, &globals, &around, console));
    let home = home.to_str().unwrap();
    (exit, data.text().replace(home, "HOME"), talk.text().replace(home, "HOME"))
}

#[test]
fn contexts_are_kept_used_shown_and_forgotten() {
    let home = home();
    let run = |line: &str| run(home.path(), line);
    assert_eq!(run("context list"), (Exit::Ok, String::new(), "no contexts\n".to_owned()));
    let (exit, data, talk) = run("context add prod --server tls://control.example --creds ops.creds -p edge");
    assert_eq!((exit, talk.as_str()), (Exit::Ok, ""));
    expect![[r#"
        name:     prod
        in use:   yes
        server:   tls://control.example
        creds:    HOME/ops.creds
        project:  edge
    "#]]
    .assert_eq(&data);
    assert_eq!(run("context add stage --server nats://stage --creds ops.creds").0, Exit::Ok);
    expect![[r#"
        NAME   IN USE  SERVER                 PROJECT  CREDS
        prod   *       tls://control.example  edge     HOME/ops.creds
        stage  -       nats://stage           -        HOME/ops.creds
    "#]]
    .assert_eq(&run("context list").1);
    assert_eq!(run("context use stage").0, Exit::Ok);
    let shown: Value = serde_json::from_str(&run("context show -o json").1).unwrap();
    let wanted = json!({"context": {"name": "stage", "current": true, "server": "nats://stage",
        "creds": "HOME/ops.creds", "ca_file": null, "project": null}});
    assert_eq!(shown, wanted);
    assert_eq!(run("context remove stage").0, Exit::Usage, "nobody is there to ask");
    assert_eq!(run("context remove stage --yes").2, "context stage is removed\n");
    let (exit, _, talk) = run("context show");
    assert_eq!((exit, talk.starts_with("error: no context is in use")), (Exit::NotFound, true), "{talk}");
    assert_eq!(run("context use stage").0, Exit::NotFound);
}

#[test]
fn only_what_can_work_is_kept() {
    let home = home();
    let run = |line: &str| run(home.path(), line);
    let add = "context add prod --server nats://a --creds ops.creds";
    assert_eq!(run("context add prod --server nats://a").0, Exit::Usage);
    assert_eq!(run("context add prod --server nats://a --creds nowhere.creds").0, Exit::Auth);
    assert_eq!(run("context add prod --server nats://me:pass@a --creds ops.creds").0, Exit::Usage);
    assert_eq!(run(&format!("{add} -p No.Slug")).0, Exit::Usage);
    assert_eq!(run(&format!("{add} --ca-file nowhere.pem")).0, Exit::Usage);
    assert_eq!(run("context list -o json").1, "{\n  \"contexts\": []\n}\n");
    assert_eq!(run(add).0, Exit::Ok);
    assert_eq!(run(add).0, Exit::Ok, "a repeat changes nothing");
    assert_eq!(run(&format!("{add} -p edge")).0, Exit::Conflict);
    let text = std::fs::read_to_string(home.path().join(".config/pilothouse/contexts.toml")).unwrap();
    assert!(!text.contains("SEED") && !text.contains("eyJ"), "{text}");
}

#[test]
fn what_the_file_says_is_not_believed_blindly() {
    let home = home();
    let file = home.path().join(".config/pilothouse/contexts.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "current = \"gone\"\n").unwrap();
    let (exit, _, talk) = run(home.path(), "context show");
    assert_eq!((exit, talk.contains("there is no context \"gone\"")), (Exit::NotFound, true), "{talk}");
    assert_eq!(run(home.path(), "project list").0, Exit::NotFound);
    std::fs::write(&file, "nonsense").unwrap();
    let (exit, data, _) = run(home.path(), "context list");
    assert_eq!((exit, data.as_str()), (Exit::Usage, ""));
}
