//! Who may know whom. A crate exists to forbid an import; here is which.

use super::sources::all;
use super::{cargo, has_word, members, none};
use serde_json::Value;
use std::collections::BTreeSet;

/// Each member with the members that its product is built on.
const LAYERS: &[(&str, &[&str])] = &[
    ("agent", &["bundle", "contract", "domain", "runtime", "trust"]),
    ("bundle", &[]),
    ("cli", &["contract", "domain", "trust"]),
    ("contract", &["domain"]),
    ("control", &["bundle", "contract", "domain", "journal", "trust", "views"]),
    ("domain", &[]),
    ("e2e", &[]),
    ("edge", &["contract", "control", "domain", "trust"]),
    ("journal", &["domain"]),
    ("pilothouse", &["cli", "contract", "control", "domain", "edge", "journal", "runtime", "sim", "trust", "views"]),
    ("runtime", &[]),
    ("sim", &["domain", "journal", "runtime", "trust", "views"]),
    ("trust", &[]),
    ("views", &["domain", "journal"]),
    ("xtask", &[]),
];

/// Libraries that would give a crate what it must not have: IO, a runtime, the store.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("agent", &["async-nats", "axum"]),
    ("bundle", &["tokio", "async-nats", "hyper", "ring", "ed25519-dalek"]),
    ("cli", &["hyper", "axum"]),
    ("contract", &["tokio", "async-nats", "axum", "hyper"]),
    ("control", &["axum", "hyper", "rustls"]),
    ("edge", &["async-nats"]),
    ("trust", &["tokio", "async-nats", "hyper"]),
    ("views", &["async-nats"]),
];

/// All that the domain is built from, its own dependencies' included. Nothing in here has a clock, a socket or a file.
const DOMAIN: &[&str] = &[
    "domain",
    "dyn-clone",
    "itoa",
    "jiff",
    "jiff-core",
    "memchr",
    "proc-macro2",
    "quote",
    "ref-cast",
    "ref-cast-impl",
    "schemars",
    "schemars_derive",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_derive_internals",
    "serde_json",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
    "uuid",
    "zmij",
];

/// A second provider of cryptography beside ring, or a C library in its place.
const BANNED: [&str; 6] = ["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "openssl", "openssl-sys", "native-tls"];

/// Packages of which more than one version is linked into the product. Each is somebody else's old dependency; a new one costs
/// build time in every clean build and is worth a look before this number grows.
const DUPLICATES_MAX: usize = 8;

/// Names of the dependencies that are built into the product.
fn normal(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect()
}

/// First words of the lines of `cargo tree`: names of packages.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let text = cargo(&[&["tree", "--edges", "normal", "--prefix", "none"], arguments].concat());
    text.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn crates_know_only_the_layers_below() {
    let members = members();
    let names: Vec<&str> = members.iter().map(|member| member["name"].as_str().unwrap()).collect();
    let mut wrong = Vec::new();
    for member in &members {
        let name = member["name"].as_str().unwrap();
        let known: Vec<&str> = normal(member).into_iter().filter(|name| names.contains(name)).collect();
        match LAYERS.iter().find(|(layer, _)| *layer == name) {
            Some((_, allowed)) if **allowed == known => {}
            Some((_, allowed)) => wrong.push(format!("{name} is built on {known:?}, declared is {allowed:?}")),
            None => wrong.push(format!("{name} has no layer")),
        }
    }
    wrong
        .extend(LAYERS.iter().filter(|(layer, _)| !names.contains(layer)).map(|(layer, _)| format!("{layer} is gone")));
    none("layers", &wrong);
}

#[test]
fn crates_do_without_what_they_must_not_have() {
    let mut wrong = Vec::new();
    for member in members() {
        let name = member["name"].as_str().unwrap();
        let forbidden = FORBIDDEN.iter().filter(|(layer, _)| *layer == name).flat_map(|(_, forbidden)| *forbidden);
        let known = normal(&member);
        wrong.extend(forbidden.filter(|library| known.contains(*library)).map(|library| format!("{name}: {library}")));
    }
    none("libraries in the wrong layer", &wrong);
}

#[test]
fn the_domain_is_pure() {
    let found = tree(&["--package", "domain"]);
    let expected: BTreeSet<String> = DOMAIN.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, expected, "what the domain is built from changed: may the new one ask the time, or do IO?");
    let mut clocks = Vec::new();
    for source in all().iter().filter(|source| source.package == "domain") {
        let words =
            ["std::fs", "std::net", "std::env", "std::thread", "std::process", "async fn", "Timestamp::now", "tracing"];
        clocks.extend(words.iter().filter(|w| source.product().contains(*w)).map(|w| format!("{}: {w}", source.path)));
    }
    none("the domain does IO", &clocks);
}

#[test]
fn one_place_appends() {
    let mut wrong = Vec::new();
    for source in all() {
        let code = source.product();
        if ["views", "edge", "cli", "agent"].contains(&source.package.as_str()) && has_word(code, "JournalWriter", "") {
            wrong.push(format!("{} names JournalWriter", source.path));
        }
        let may = ["journal", "sim"].contains(&source.package.as_str()) || source.path == "src/control/src/execute.rs";
        // `OpenOptions::append(true)` is another thing.
        let appends = code.replace(".append(true)", "");
        if !may && (appends.contains(".append(") || appends.contains(".append_batch(")) {
            wrong.push(format!("{} appends", source.path));
        }
    }
    none("only src/control/src/execute.rs appends to the journal", &wrong);
    let execute = super::read("src/control/src/execute.rs");
    assert!(execute.contains(".append(") && execute.contains(".append_batch("), "it appends under other names now");
}

#[test]
fn one_library_encrypts() {
    let linked = tree(&["--workspace"]);
    assert!(linked.contains("ring"), "ring is the provider");
    let banned: Vec<String> = linked.into_iter().filter(|name| BANNED.contains(&name.as_str())).collect();
    none("ring is the only provider of cryptography under TLS", &banned);
}

#[test]
fn duplicate_versions_do_not_grow() {
    let text = cargo(&["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--duplicates", "--depth", "0"]);
    let versions: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let names: BTreeSet<&str> = versions.iter().filter_map(|line| line.split(' ').next()).collect();
    let extra = versions.len() - names.len();
    assert!(extra <= DUPLICATES_MAX, "{extra} second versions, {DUPLICATES_MAX} are known: {versions:#?}");
}
