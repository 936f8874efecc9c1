#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replica.toml");
    std::fs::write(&path, text).unwrap();
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    // The directory differs from run to run; what is shown is relative to it.
    let shown = format!("{}/", dir.path().display());
    Settings::load(Some(&path), environment).map_err(|error| error.to_string().replace(&shown, ""))
}

fn refusal(text: &str) -> String {
    load(text, &[]).unwrap_err()
}

fn refused_variable(name: &str, value: &str) -> String {
    load("", &[(name, value)]).unwrap_err()
}

#[test]
fn the_defaults_are_what_the_documents_promise() {
    let expected = Settings {
        http: Http { listen: "127.0.0.1:4000".parse().unwrap(), public_url: String::new() },
        https: Https { listen: Some("127.0.0.1:8443".parse().unwrap()), certificate: None, private_key: None },
        nats: Nats {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            runtime_creds: None,
            provisioning_creds: None,
            monitor_creds: None,
            accounts_creds: None,
        },
        storage: Storage {
            replicas: 1,
            profile: Profile::Dev,
            expected_sync: ExpectedSync::Any,
            expected_replicas: 1,
            snapshot_every_facts: 50_000,
        },
        keys: Keys { master_key: None, clients_account: None, node_signing_key: None, operator_signing_key: None },
        nodes: Nodes { poll_interval_s: 30, heartbeat_interval_s: 30, offline_after_s: 120, token_ttl_s: 43_200 },
        enrollment: Enrollment {
            credentials_ttl_s: 15_552_000,
            renewal: Renewal::Renew,
            pending_s: 86_400,
            pending_max: 10_000,
            pending_per_address_max: 100,
            auto_approve: Vec::new(),
        },
        bundles: Bundles {
            source_bytes_max: 1_048_576,
            download_url_ttl_s: 3_600,
            assignment_ttl_s: 86_400,
            compile_concurrency: 1,
        },
        rollouts: Rollouts { paused_max_s: 604_800, pending_max_s: 2_592_000 },
        pulse: Pulse { linger_ms: 1, batch_beats_max: 2_000 },
        limits: Limits {
            connections_max: 20_000,
            request_bytes_max: 1_572_864,
            request_timeout_s: 30,
            header_timeout_s: 10,
            node_per_s: 20,
            node_burst: 60,
            api_per_s: 100,
            api_burst: 300,
            registration_per_s: 20,
            registration_burst: 200,
            enrollment_per_min: 6,
            enrollment_burst: 10,
            enrollment_token_per_s: 100,
            enrollment_token_burst: 1_000,
            enrollment_streams_max: 2_000,
            waiting_max: 20_000,
            streams_max: 1_000,
            streams_per_key_max: 16,
        },
        log: Log { level: "info".to_owned(), format: LogFormat::Text },
    };
    assert_eq!(Settings::load(None, []).unwrap(), expected);
}

#[test]
fn each_field_stands_in_the_default_file_with_a_comment_and_nothing_else_does() {
    let layers = Layers::defaults().unwrap();
    let reader = Reader::new(&layers);
    Settings::read(&reader).unwrap();
    let reads = reader.reads.borrow();
    let declared: BTreeSet<&str> = layers.names().collect();
    assert_eq!(reads.keys().map(String::as_str).collect::<BTreeSet<_>>(), declared);

    let mut section = "";
    let mut comment = String::new();
    let mut commented = BTreeSet::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push_str(text);
            comment.push(' ');
            continue;
        } else if let Some((key, _)) = line.split_once(" = ") {
            let name = format!("{section}.{key}");
            assert!(comment.len() > 10, "{name} has no comment of its own");
            if let Some(Some(range)) = reads.get(&name) {
                let plain = name == "storage.replicas" || comment.contains(range.as_str());
                assert!(plain, "the comment of {name} does not give its range, {range}: {comment}");
            }
            commented.insert(name);
        }
        comment.clear();
    }
    assert_eq!(commented.iter().map(String::as_str).collect::<BTreeSet<_>>(), declared);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file =
        "[http]\nlisten = \"0.0.0.0:80\"\npublic_url = \"https://control.example/\"\n[nodes]\npoll_interval_s = 1_0\n";
    let environment = [
        ("PILOTHOUSE_HTTP_LISTEN", "[::1]:81"),
        ("PILOTHOUSE_NATS_SERVERS", "nats://a:1, tls://b:2"),
        ("PILOTHOUSE_HTTPS_LISTEN", ""),
        ("HTTP_LISTEN", "not ours"),
    ];
    let settings = load(file, &environment).unwrap();
    assert_eq!(settings.http.listen, "[::1]:81".parse().unwrap());
    assert_eq!(settings.http.public_url, "https://control.example", "the slash at the end is taken off");
    assert_eq!(settings.nats.servers, ["nats://a:1", "tls://b:2"]);
    assert_eq!(settings.https.listen, None);
    assert_eq!(
        settings.nodes,
        Nodes { poll_interval_s: 10, heartbeat_interval_s: 30, offline_after_s: 120, token_ttl_s: 43_200 }
    );
}

#[test]
fn a_path_in_a_file_is_relative_to_it_and_one_in_a_variable_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replica.toml");
    std::fs::write(&path, "[keys]\nmaster_key = \"keys/master\"\n[nats]\nruntime_creds = \"/run/service.creds\"\n")
        .unwrap();
    let environment = [("PILOTHOUSE_NATS_MONITOR_CREDS".to_owned(), "monitor.creds".to_owned())];
    let settings = Settings::load(Some(&path), environment).unwrap();
    assert_eq!(settings.keys.master_key, Some(dir.path().join("keys/master")));
    assert_eq!(settings.nats.runtime_creds, Some("/run/service.creds".into()));
    assert_eq!(settings.nats.monitor_creds, Some("monitor.creds".into()));
}

#[test]
fn a_misspelt_name_in_a_file_is_refused_with_its_line_and_the_name_that_was_meant() {
    let cases = [
        ("[http]\n\nlisen = \"x\"", "replica.toml:3: there is no setting `http.lisen`: did you mean `http.listen`?"),
        ("[htp]\nlisten = \"x\"", "replica.toml:2: there is no setting `htp.listen`: did you mean `http.listen`?"),
        (
            "[http]\npoll_interval_s = 3",
            "replica.toml:2: there is no setting `http.poll_interval_s`: did you mean `nodes.poll_interval_s`?",
        ),
        ("token_ttl_s = 3", "replica.toml:1: there is no setting `token_ttl_s`: did you mean `nodes.token_ttl_s`?"),
        (
            "[pulse]\ncolour = 1",
            "replica.toml:2: there is no setting `pulse.colour`: [pulse] has batch_beats_max, linger_ms",
        ),
        ("[whatever]\ncolour = 1", "replica.toml:2: there is no setting `whatever.colour` in config/default.toml"),
        // The first of two, whatever their names.
        (
            "[pulse]\nzzz = 1\naaa = 1",
            "replica.toml:2: there is no setting `pulse.zzz`: [pulse] has batch_beats_max, linger_ms",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn a_misspelt_variable_is_refused_and_a_foreign_one_is_not() {
    assert_eq!(
        refused_variable("PILOTHOUSE_HTTP_LISTN", "x"),
        "the environment: there is no setting `PILOTHOUSE_HTTP_LISTN`: did you mean `PILOTHOUSE_HTTP_LISTEN`?"
    );
    assert_eq!(
        refused_variable("PILOTHOUSE_HTPP_LISTEN", "x"),
        "the environment: there is no setting `PILOTHOUSE_HTPP_LISTEN`: did you mean `PILOTHOUSE_HTTP_LISTEN`?"
    );
    assert_eq!(
        refused_variable("PILOTHOUSE_LOG_COLOUR", "x"),
        "the environment: there is no setting `PILOTHOUSE_LOG_COLOUR` in config/default.toml"
    );
    let foreign = [
        ("PILOTHOUSE_NATS_SERVER", "/usr/bin/nats-server"),
        ("PILOTHOUSE_SERVER", "nats://127.0.0.1:4222"),
        ("PILOTHOUSE_CREDS", "admin.creds"),
        ("PILOTHOUSE_PROJECT", "demo"),
        ("PILOTHOUSE_AGENT_SERVER_URL", "https://x"),
        ("PILOTHOUSE_TEST_LONG", "1"),
        ("PILOTHOUSE_SERVICE_HOST", "10.0.0.1"),
        ("PILOTHOUSE_PORT", "tcp://10.0.0.1:4000"),
        ("PILOTHOUSE_NATS_SERVICE_HOST", "10.0.0.2"),
        ("PILOTHOUSE_NATS_PORT_4222_TCP_ADDR", "10.0.0.2"),
        ("PILOTHOUSE_NATS_PORT", "tcp://10.0.0.2:4222"),
    ];
    assert_eq!(load("", &foreign), Ok(Settings::load(None, []).unwrap()));
}

#[test]
fn a_value_of_the_wrong_kind_or_out_of_range_is_refused_by_name() {
    let cases = [
        ("[nodes]\npoll_interval_s = 0", "replica.toml:2: `nodes.poll_interval_s` is 0, which is not in 1 to 3600"),
        ("[nodes]\npoll_interval_s = -1", "replica.toml:2: `nodes.poll_interval_s` is -1, which is not in 1 to 3600"),
        (
            "[nodes]\npoll_interval_s = \"9\"",
            "replica.toml:2: `nodes.poll_interval_s` is a text where a number is expected",
        ),
        ("[nodes]\npoll_interval_s = 1.5", "replica.toml:2: `nodes.poll_interval_s` is a float, which no setting is"),
        ("[log]\nformat = \"xml\"", "replica.toml:2: `log.format` is \"xml\", which is neither \"text\" nor \"json\""),
        (
            "[log]\nlevel = \"info,journal=loud\"",
            "replica.toml:2: `log.level` is \"info,journal=loud\": \"loud\" is not one of off, error, warn, info, debug, trace",
        ),
        ("[storage]\nreplicas = 2", "replica.toml:2: `storage.replicas` is 2, which is not one of 1, 3, 5"),
        ("[nats]\nservers = []", "replica.toml:2: `nats.servers` has 0 entries, which is not in 1 to 16"),
        (
            "[nats]\nservers = [\"127.0.0.1:4222\"]",
            "replica.toml:2: `nats.servers` has \"127.0.0.1:4222\", which is not a URL such as \"nats://127.0.0.1:4222\"",
        ),
        (
            "[nats]\nservers = [\"nats://user:hunter2@a:4222\"]",
            "replica.toml:2: `nats.servers` holds credentials: name a file in `nats.runtime_creds` instead",
        ),
        (
            "[http]\nlisten = \"4000\"",
            "replica.toml:2: `http.listen` is \"4000\", which is not an address and a port such as \"0.0.0.0:8443\"",
        ),
        (
            "[http]\npublic_url = \"https://control.example/pilothouse\"",
            "replica.toml:2: `http.public_url` is \"https://control.example/pilothouse\", which is not a scheme and a host such \
             as \"https://control.example\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected);
    }
    assert_eq!(
        refused_variable("PILOTHOUSE_PULSE_LINGER_MS", "3ms"),
        "PILOTHOUSE_PULSE_LINGER_MS: `pulse.linger_ms` is \"3ms\" where a number is expected"
    );
    assert_eq!(
        refused_variable("PILOTHOUSE_PULSE_LINGER_MS", "2000"),
        "PILOTHOUSE_PULSE_LINGER_MS: `pulse.linger_ms` is 2000, which is not in 0 to 1000"
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cases = [
        (
            "[https]\ncertificate = \"a.pem\"",
            "the defaults: `https.private_key` is empty although `https.certificate` is given: both or neither",
        ),
        (
            "[nodes]\nheartbeat_interval_s = 61",
            "the defaults: `nodes.offline_after_s` is 120, less than twice `nodes.heartbeat_interval_s` (61): one late heartbeat \
             would make a node offline",
        ),
        (
            "[limits]\nrequest_bytes_max = 65536",
            "replica.toml:2: `limits.request_bytes_max` is 65536, less than `bundles.source_bytes_max` (1048576): no request \
             could carry such a source",
        ),
        (
            "[storage]\nexpected_replicas = 3",
            "replica.toml:2: `storage.expected_replicas` is 3, more than `storage.replicas` (1): streams are created with fewer \
             copies than expected",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn a_file_that_is_no_settings_file_is_refused_in_one_line() {
    let syntax = refusal("[http]\nlisten = 127.0.0.1:4000\n");
    assert!(syntax.starts_with("replica.toml:2: ") && !syntax.contains('\n'), "{syntax}");
    let twice = refusal("[log]\nlevel = \"info\"\nlevel = \"warn\"\n");
    assert!(twice.starts_with("replica.toml:3: "), "{twice}");
    assert_eq!(
        refusal("[[http]]\nlisten = \"x\""),
        "replica.toml:1: there is no setting `http` in config/default.toml"
    );
    let missing = Settings::load(Some(Path::new("/nonexistent/replica.toml")), []).unwrap_err();
    assert_eq!(missing.to_string(), "could not read the settings file /nonexistent/replica.toml");
}

#[test]
fn signing_keys_need_what_they_work_with() {
    for (given, missing) in [
        ("PILOTHOUSE_KEYS_NODE_SIGNING_KEY", "keys.clients_account"),
        ("PILOTHOUSE_KEYS_OPERATOR_SIGNING_KEY", "keys.clients_account"),
        ("PILOTHOUSE_NATS_ACCOUNTS_CREDS", "keys.operator_signing_key"),
    ] {
        let error = Settings::load(None, [(given.to_owned(), "x".to_owned())]).unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
    }
    let rules = "PILOTHOUSE_ENROLLMENT_AUTO_APPROVE".to_owned();
    let settings = Settings::load(None, [(rules.clone(), "id=a cidr=::/0, id=b cidr=::/0".to_owned())]).unwrap();
    assert_eq!(settings.enrollment.auto_approve, ["id=a cidr=::/0", "id=b cidr=::/0"]);
    let many = vec!["id=a cidr=::/0"; 65].join(",");
    assert!(Settings::load(None, [(rules, many)]).unwrap_err().to_string().contains("0 to 64"));
}
