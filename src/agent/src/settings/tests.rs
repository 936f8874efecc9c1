#![allow(clippy::unwrap_used)]
use super::file::KEYS;
use super::*;
use clap::{Args, Command, FromArgMatches};
use std::collections::BTreeSet;

fn command() -> Command {
    Flags::augment_args(Command::new("run"))
}

fn flags(arguments: &[&str]) -> Flags {
    let words = std::iter::once("run").chain(arguments.iter().copied());
    Flags::from_arg_matches(&command().try_get_matches_from(words).unwrap()).unwrap()
}

fn resolve(arguments: &[&str]) -> Result<Settings, String> {
    Settings::resolve(flags(arguments)).map_err(|e| e.to_string())
}

/// Resolves a file and the flags over it.
fn with_file(text: &str, arguments: &[&str]) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    resolve(&[&["--config", path.as_str()], arguments].concat()).map_err(|e| e.replace(&path, "F"))
}

const FULL: &str = r#"
    server_url = "https://control.example.net:8443"
    ca_file = "/etc/ca.pem"
    allow_plain_http = false
    project = "demo"
    name = "edge-1"
    data_dir = "/tmp/d"
    join_token_file = "/etc/token"
    enroll_urls = ["https://a.example.net:8443", " ", "https://b.example.net:8443/"]
    host_id = "web-03"
    enroll_again = true
    enroll_timeout_s = 600
    proxy_version = "0.6.45"
    command = ["systemctl", "reload", "my proxy"]
    check_command = "zentinel test"
    command_timeout_s = 5
    poll_interval_s = 7
    wait_s = 20
    heartbeat_interval_s = 9
    keep_bundles = 4
    log_level = "debug"
    log_format = "json"
    [labels]
    env = "production"
"#;

#[test]
fn every_setting_is_key_flag_variable_and_documented() {
    let command = command();
    let names: BTreeSet<String> = command.get_arguments().map(|a| a.get_id().to_string()).collect();
    assert_eq!(names, KEYS.into_iter().chain(["config"]).map(str::to_owned).collect());
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        assert_eq!(argument.get_long(), Some(flag(id).as_str()));
        assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable(id).as_str()));
        assert!(argument.get_help().is_some(), "{id}");
        let shown = FULL.contains(id) || ["config", "ca_fingerprint", "ca_system"].contains(&id);
        assert!(shown, "{id} is not in the file of the tests");
    }
}

#[test]
fn the_file_says_everything_and_flags_win() {
    let settings = with_file(FULL, &[]).unwrap();
    assert_eq!(settings.server_url.host(), Some("control.example.net"));
    assert_eq!(settings.labels.as_map().get("env").map(String::as_str), Some("production"));
    assert_eq!(
        settings.command.unwrap(),
        CommandLine::new(["systemctl", "reload", "my proxy"].map(str::to_owned).into())
    );
    assert_eq!(settings.check_command.unwrap().split().unwrap().0, "zentinel");
    assert_eq!(
        (settings.poll_interval, settings.wait),
        (Some(Duration::from_secs(7)), None),
        "a fixed interval decides"
    );
    let settings = with_file(
        FULL,
        &["--poll-interval-s", "0", "--labels", "a=b=c", "--label", "d=", "--command", r#"["a b"]"#, "--name", "x"],
    );
    let settings = settings.unwrap();
    assert_eq!((settings.poll_interval, settings.wait), (None, Some(Duration::from_secs(20))));
    assert_eq!(settings.labels.as_map().len(), 2);
    assert_eq!(settings.labels.as_map().get("a").map(String::as_str), Some("b=c"));
    assert_eq!(settings.command.unwrap().split(), Some(("a b", [].as_slice())));
    assert_eq!(settings.name.as_str(), "x");
}

#[test]
fn unknown_keys_are_refused_with_advice() {
    let refused = |text| with_file(text, &[]).unwrap_err();
    assert_eq!(refused("server_uri = 'x'"), "unknown setting `server_uri` in F: did you mean `server_url`?");
    assert!(refused("qqq = 1").starts_with("unknown setting `qqq` in F: known are server_url, ca_file"));
    assert!(refused("config = 'x'").starts_with("unknown setting `config`"));
    assert!(refused("project = 1").contains("project = 1"), "the line is shown");
    assert!(refused("project = ").starts_with("the settings file F is not valid"));
    assert!(resolve(&["--config", "/nowhere"]).unwrap_err().contains("/nowhere"));
}

#[test]
fn what_is_missing_is_named_in_all_its_spellings() {
    assert_eq!(
        resolve(&[]).unwrap_err(),
        "the setting server_url is missing: give --server-url, PILOTHOUSE_AGENT_SERVER_URL or `server_url` in the file"
    );
}

#[test]
fn servers_are_not_trusted_silently() {
    let with = |url: &str, more: &[&str]| {
        resolve(&[&["--server-url", url, "--project", "demo", "--name", "n"], more].concat())
    };
    for loopback in ["http://127.0.0.1:4000", "http://localhost", "http://[::1]:4000/", "http://127.9.9.9"] {
        assert!(with(loopback, &[]).is_ok(), "{loopback}");
    }
    let elsewhere = with("http://10.0.0.1:4000", &[]).unwrap_err();
    assert!(elsewhere.contains("--allow-plain-http"), "{elsewhere}");
    assert!(with("http://10.0.0.1:4000", &["--allow-plain-http"]).is_ok());
    assert!(with("http://localhost.example.net", &[]).is_err());
    let without_ca = with("https://127.0.0.1:8443", &[]).unwrap_err();
    assert!(without_ca.contains("ca_file") && without_ca.contains("PEM"), "{without_ca}");
    assert!(with("https://127.0.0.1:8443", &["--ca-file", "/ca.pem"]).is_ok());
    for wrong in
        ["control", "ftp://x", "https://", "http://u:p@localhost", "http://localhost/api", "http://localhost?x"]
    {
        assert!(with(wrong, &["--ca-file", "/ca.pem"]).unwrap_err().contains("must look like"), "{wrong}");
    }
}

#[test]
fn values_are_bounded_and_checked_before_anything_runs() {
    let with = |more: &[&str]| {
        let given = |name: &str| more.iter().any(|word| word.starts_with(name));
        let mut words = vec!["--server-url", "http://localhost"];
        [["--project", "demo"], ["--name", "n"]]
            .iter()
            .filter(|pair| !given(pair[0]))
            .for_each(|pair| words.extend(pair));
        resolve(&[&words, more].concat()).unwrap_err()
    };
    assert!(with(&["--keep-bundles", "0"]).contains("from 1 to 100"));
    assert!(with(&["--wait-s", "61"]).contains("from 0 to 60"));
    assert!(with(&["--command-timeout-s", "0"]).contains("command_timeout_s"));
    assert!(with(&["--name=-x"]).contains("name"));
    assert!(with(&["--labels", "a b=c"]).contains("labels"));
    assert!(with(&["--proxy-version", &"9".repeat(300)]).contains("proxy_version"));
    assert!(with(&["--project", "../x"]).contains("project"));
}

#[test]
fn a_command_that_needs_a_shell_is_refused_with_the_way_to_write_it() {
    for text in ["sh -c \"reload now\"", "reload 'now'", "a && b", "echo $HOME"] {
        let error = text.parse::<CommandLine>().unwrap_err().to_string();
        assert!(error.contains("write it as a JSON array"), "{error}");
    }
    assert!("zentinel test -c current/zentinel.kdl".parse::<CommandLine>().is_ok());
}

const ENROLL: [&str; 4] = ["--enroll-url", "https://a.example.net:8443", "--ca-file", "/ca.pem"];

fn enrollment(arguments: &[&str]) -> Result<EnrollSettings, String> {
    EnrollSettings::resolve(flags(arguments)).map_err(|e| e.to_string())
}

#[test]
fn enrolling_needs_servers_and_whom_to_trust_and_nothing_else() {
    let settings = enrollment(&ENROLL).unwrap();
    assert_eq!((settings.urls.len(), settings.host, settings.again, settings.timeout), (1, None, false, None));
    assert_eq!(settings.trust, Trust::File("/ca.pem".into()));
    assert!(enrollment(&[]).unwrap_err().contains("--enroll-urls"));
    assert!(enrollment(&ENROLL[..2]).unwrap_err().contains("never trusted blindly"));
    for wrong in ["http://127.0.0.1:8443", "http://a.example.net", "https://a/api", "a", "ftp://a"] {
        assert!(enrollment(&["--enroll-url", wrong, "--ca-system"]).unwrap_err().contains("enroll_urls"), "{wrong}");
    }
    let settings = enrollment(&["--enroll-urls", "https://a:1, ,https://b:1,https://a:1", "--ca-system"]).unwrap();
    assert_eq!((settings.urls.len(), settings.trust), (2, Trust::System));
    let settings = with_file(FULL, &[]).unwrap().enrollment.unwrap();
    assert_eq!((settings.urls.len(), settings.host.unwrap().as_str(), settings.again), (2, "web-03", true));
    assert_eq!(settings.timeout, Some(Duration::from_secs(600)));
    let plain = ["--server-url", "http://127.0.0.1:4000", "--project", "demo", "--name", "n"];
    assert!(resolve(&plain).unwrap().enrollment.is_none());
}

#[test]
fn one_kind_of_trust_is_named() {
    let pin = format!("sha256:{}", "0f".repeat(32));
    let settings = enrollment(&["--enroll-url", "https://a:1", "--ca-fingerprint", &pin]).unwrap();
    assert!(matches!(settings.trust, Trust::Pinned(fingerprint) if fingerprint.to_string() == pin));
    assert!(enrollment(&["--enroll-url", "https://a:1", "--ca-fingerprint", "0f"]).unwrap_err().contains("64 hex"));
    for more in [["--ca-system", "--name=n"], ["--ca-fingerprint", &pin]] {
        assert!(enrollment(&[&ENROLL[..], &more].concat()).unwrap_err().contains("give one of them"));
    }
    assert!(enrollment(&[&ENROLL[..], &["--ca-system=false"]].concat()).is_ok());
}

#[test]
fn a_host_id_that_is_no_word_is_refused_and_not_shown() {
    for wrong in ["a\u{1b}[31m", "a\nb", "web.03", "_x", ""] {
        let refused = enrollment(&[&ENROLL[..], &["--host-id", wrong]].concat()).unwrap_err();
        assert!(refused.starts_with("the setting host_id is not 1 to 128 letters"), "{refused}");
    }
}
