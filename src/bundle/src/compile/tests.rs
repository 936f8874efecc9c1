#![allow(clippy::unwrap_used)]
use super::*;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

mod corpus;
mod hostile;

const SAMPLES: [(&str, &str); 7] = [
    ("minimal", include_str!("../../samples/minimal.kdl")),
    ("two-routes", include_str!("../../samples/two-routes.kdl")),
    ("tls-and-static", include_str!("../../samples/tls-and-static.kdl")),
    ("agent-filter", include_str!("../../samples/agent-filter.kdl")),
    ("strings", include_str!("../../samples/strings.kdl")),
    ("namespaces", include_str!("../../samples/namespaces.kdl")),
    ("traps", include_str!("../../samples/traps.kdl")),
];

fn sample(name: &str) -> &'static str {
    SAMPLES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn compiled(source: &str) -> Compiled {
    compile(source, &Limits::default()).unwrap_or_else(|problems| panic!("{source}\n{problems:#?}"))
}

fn refused(source: &str) -> Vec<Problem> {
    compile(source, &Limits::default()).err().unwrap_or_else(|| panic!("compiles:\n{source}"))
}

/// `code line:column`
fn short(problem: &Problem) -> String {
    let place = problem.line.zip(problem.column).map_or("-".to_owned(), |(line, column)| format!("{line}:{column}"));
    format!("{} {place}", problem.code)
}

fn shorts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(short).collect()
}

fn without_advice(compiled: &Compiled) -> Vec<Problem> {
    compiled.warnings.iter().filter(|problem| problem.code != "advice").cloned().collect()
}

#[test]
fn every_sample_compiles_to_an_archive_of_itself() {
    for (name, source) in SAMPLES {
        let done = compiled(source);
        let contents = crate::read(&done.archive, &crate::UnpackLimits::default()).unwrap();
        assert_eq!(contents.files, BTreeMap::from([(CONFIG_FILE.to_owned(), source.as_bytes().to_vec())]), "{name}");
        assert_eq!(contents.manifest.files, done.files, "{name}");
        assert_eq!(done, compiled(source), "{name} compiles to the same twice, its warnings included");
    }
}

#[test]
fn the_source_is_kept_exactly_also_with_a_byte_order_mark_and_crlf() {
    let source = format!("\u{feff}{}", sample("two-routes").replace('\n', "\r\n"));
    let contents = crate::read(&compiled(&source).archive, &crate::UnpackLimits::default()).unwrap();
    assert_eq!(contents.files[CONFIG_FILE], source.as_bytes());
}

#[test]
fn what_the_node_must_have_is_a_warning_whatever_this_machine_has() {
    let done = without_advice(&compiled(sample("tls-and-static")));
    assert_eq!(shorts(&done), ["node_path 24:13"]);
    assert_eq!(
        done[0].message,
        "the node needs the directory '/srv/pilothouse-sample/assets', from which route 'assets' serves files"
    );
    let here = sample("tls-and-static").replace("/srv/pilothouse-sample/assets", "/");
    assert_eq!(shorts(&without_advice(&compiled(&here))), ["node_path 24:13"], "also for a directory that exists here");
    assert_eq!(shorts(&without_advice(&compiled(sample("agent-filter")))), ["node_path 11:9"]);
}

#[test]
fn what_the_proxy_accepts_and_then_breaks_is_a_warning() {
    let expected = [
        "negative_number 3:5",
        "listener_address 7:9",
        "fails_open 11:5",
        "breaks_requests 17:5",
        "setting_ignored 22:9",
        "setting_ignored 28:9",
        "setting_ignored 32:17",
        "setting_ignored 39:9",
        "never_matches 42:13",
        "setting_ignored 43:13",
        "never_matches 44:13",
        "invalid_reference 47:9",
    ];
    assert_eq!(shorts(&without_advice(&compiled(sample("traps")))), expected);
}

/// Each is the sample with one thing changed.
#[test]
fn mistakes_are_refused_at_their_place() {
    let cases = [
        (
            "two-routes",
            "upstream \"api\"\n    }\n    route",
            "upstream \"nope\"\n    }\n    route",
            "invalid_reference 39:9",
        ),
        ("two-routes", "^/api/v[0-9]+/", "^/api/([0-9]+/", "invalid_regex 37:13"),
        ("two-routes", "^/api/v[0-9]+/", "^/(\\\\w{999}){999}", "invalid_regex 37:13"),
        ("two-routes", "api.internal:4000", "http://api.internal/x", "invalid 29:9"),
        ("two-routes", "worker-threads", "worker-thread", "unknown_setting 6:5"),
        ("two-routes", "schema-version", "schema-verzion", "invalid 4:1"),
        ("two-routes", "path-prefix", "path-prefx", "invalid 43:13"),
        ("two-routes", "protocol \"http\"", "protocol \"http\" \"address\"", "unknown_setting 12:9"),
        ("two-routes", "schema-version \"1.0\"", "include \"/etc/passwd\"", "include 4:1"),
        ("two-routes", "schema-version \"1.0\"", "schema-version \"0.1\"", "invalid 4:1"),
        ("two-routes", "schema-version \"1.0\"", "waf {}", "invalid -"),
        ("two-routes", "schema-version \"1.0\"", "limits { max-body-size 1; }", "invalid -"),
        ("two-routes", "0.0.0.0:8080", "0.0.0.0:9090", "invalid 11:9"),
        ("two-routes", "target \"api.internal:4000\"", "", "invalid 28:5"),
        ("agent-filter", "agent \"login\"\n        fail", "agent \"logn\"\n        fail", "invalid_reference 24:9"),
        ("agent-filter", "\"gentle\" \"signed-in\"", "\"gentle\" \"signedin\"", "invalid_reference 45:9"),
        ("agent-filter", "type \"rate-limit\"", "type \"jwt\"", "invalid 28:9"),
        ("agent-filter", "max-rps 50", "max-rsp 50", "unknown_setting 29:9"),
        ("agent-filter", "timeout-ms 200", "command \"/bin/sh\"", "agent_command 13:9"),
        ("namespaces", "namespace \"admin\"\n    }\n}", "namespace \"admn\"\n    }\n}", "invalid_reference 16:9"),
        ("tls-and-static", "key-file", "key-fil", "invalid 10:13"),
    ];
    for (name, from, to, expected) in cases {
        let source = sample(name).replacen(from, to, 1);
        assert_ne!(source, sample(name), "{from} is in {name}");
        let found = shorts(&refused(&source));
        assert_eq!(found, [expected], "{to}: {:#?}", refused(&source));
    }
}

#[test]
fn settings_that_the_proxy_does_not_have_are_warnings_when_no_known_one_is_meant() {
    let source = sample("two-routes").replacen("worker-threads 2", "green-threads 2", 1);
    assert_eq!(shorts(&without_advice(&compiled(&source))), ["unknown_setting 6:5"]);
    let misplaced =
        sample("two-routes").replacen("upstream \"pages\"\n    }\n}", "cache { disk-path \"/x\"; }\n}\n}", 1);
    assert_eq!(shorts(&refused(&misplaced)), ["unknown_setting 47:17"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let source = sample("two-routes")
        .replacen("upstream \"pages\"\n    }\n}", "upstream \"page\"\n        filters \"x\" \"y\"\n    }\n}", 1)
        .replacen("^/api", "(^/api", 1)
        .replacen("interval-secs", "intervall-secs", 1)
        .replacen("10.0.0.11:3000", "10.0.0.11", 1)
        .replacen("10.0.0.12:3000", "10.0.0.12", 1);
    let problems = refused(&source);
    let expected = [
        "invalid 17:9",
        "invalid 18:9",
        "unknown_setting 25:13",
        "invalid_regex 37:13",
        "invalid_reference 47:9",
        "invalid_reference 48:9",
        "invalid_reference 48:9",
    ];
    assert_eq!(shorts(&problems), expected, "{problems:#?}");
    assert_eq!(problems[4].message, "route 'pages' names the upstream 'page', which does not exist");
    assert_eq!(problems[4].help.as_deref(), Some("there are 'api', 'pages'"));
    assert_eq!(problems, refused(&source), "the order never changes");
}

#[test]
fn routes_of_a_namespace_see_its_names_and_the_global_ones() {
    let source = |upstream: &str| {
        let route = format!("builtin-handler \"status\"\n upstream \"{upstream}\"");
        sample("namespaces").replacen("builtin-handler \"status\"", &route, 1)
    };
    compiled(&source("app"));
    assert_eq!(shorts(&refused(&source("ap"))), ["invalid_reference 26:2"]);
}
