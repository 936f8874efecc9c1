//! A dependency is a decision: declared once with its reason, and used.

use super::sources::{Source, all};
use super::{has_word, members, none, read};
use std::collections::BTreeSet;

/// Used by no line of source, and why it is there all the same.
const SILENT: &[(&str, &str)] = &[];

/// Lines of a section of the root manifest.
fn section(title: &str) -> Vec<String> {
    let text = read("Cargo.toml");
    let lines = text.lines().skip_while(|line| *line != title).skip(1).take_while(|line| !line.starts_with('['));
    lines.map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

/// The declared dependencies: name and line.
fn declared() -> Vec<(String, String)> {
    let lines = section("[workspace.dependencies]").into_iter().filter(|line| !line.starts_with('#'));
    let declared: Vec<_> = lines
        .map(|line| (line.split_once(" = ").unwrap_or_else(|| panic!("not on one line: {line}")).0.to_owned(), line))
        .collect();
    assert!(declared.len() > 30, "the section was not read");
    declared
}

#[test]
fn every_declared_dependency_says_why() {
    let silent = declared().into_iter().filter(|(_, line)| !line.contains("path = \"") && !line.contains(" # "));
    none("a comment says why", &silent.map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn every_declared_dependency_is_some_members() {
    let members = members();
    let all = members.iter().flat_map(|member| member["dependencies"].as_array().unwrap());
    let used: BTreeSet<&str> = all.map(|dependency| dependency["name"].as_str().unwrap()).collect();
    let unused = declared().into_iter().map(|(name, _)| name).filter(|name| !used.contains(name.as_str()));
    // The agent is linked by nobody: it is a program of its own.
    let unused: Vec<String> = unused.filter(|name| name != "agent").collect();
    none("in [workspace.dependencies] and used by no member", &unused);
}

#[test]
fn members_take_versions_from_the_root() {
    let mut own = Vec::new();
    for member in members() {
        let manifest = std::fs::read_to_string(member["manifest_path"].as_str().unwrap()).unwrap();
        let lines = manifest.lines().filter(|line| !line.starts_with('#') && line.contains("version = \""));
        own.extend(lines.map(|line| format!("{}: {line}", member["name"].as_str().unwrap())));
    }
    none("versions stand in the root manifest", &own);
}

#[test]
fn every_dependency_of_a_member_is_used() {
    let sources = all();
    let mut unused = Vec::new();
    for member in members() {
        let package = member["name"].as_str().unwrap();
        let own: Vec<&Source> = sources.iter().filter(|source| source.package == package).collect();
        for dependency in member["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            let is_dev = dependency["kind"] == "dev";
            // A crate names itself to switch a feature on for its tests.
            let is_known = name == package || SILENT.iter().any(|(silent, _)| *silent == name);
            let word = name.replace('-', "_");
            let uses = |code: &str| has_word(code, &word, "::") || has_word(code, &format!("use {word}"), "");
            let used = own.iter().any(|source| uses(source.product()) || (is_dev && uses(source.tests())));
            if !used && !is_known {
                unused.push(format!("{package}: {name}{}", if is_dev { " (dev)" } else { "" }));
            }
        }
    }
    none("no line of source names these; what tests alone use is a dev-dependency", &unused);
}
