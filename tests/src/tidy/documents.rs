//! What documents name exists, and what exists is named.

use super::{files, none, read, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Where a path in a document begins.
const PLACES: [&str; 7] = [".cargo/", ".ci/", "config/", "docs/", "src/", "streams/", "tests/"];

/// A block of code in a document.
pub struct Block {
    pub document: String,
    /// What stands behind the three backquotes.
    pub info: String,
    pub text: String,
}

/// All documents with their texts.
pub fn documents() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    paths.extend(files("docs").into_iter().filter(|path| path.ends_with(".md")));
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// A document without its blocks, and the blocks.
pub fn parts(document: &str, text: &str) -> (String, Vec<Block>) {
    let (mut prose, mut blocks, mut open) = (String::new(), Vec::new(), None::<Block>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { document: document.to_owned(), info: info.to_owned(), text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, None) => prose.extend([line, "\n"]),
        }
    }
    assert!(open.is_none(), "{document}: a block of code is not closed");
    (prose, blocks)
}

/// What stands between single backquotes.
fn quoted(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let slug = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for (document, text) in documents() {
        let (prose, _) = parts(&document, &text);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let directory = Path::new(&document).parent().unwrap();
            let path = if path.is_empty() { Path::new(&document).to_owned() } else { directory.join(path) };
            let there = root().join(&path);
            let found =
                anchor.is_empty() || std::fs::read_to_string(&there).is_ok_and(|t| anchors(&t).contains(anchor));
            if !there.exists() || !found {
                broken.push(format!("{document}: {target}"));
            }
        }
    }
    none("links that lead nowhere", &broken);
}

#[test]
fn paths_in_documents_exist() {
    let (mut missing, mut seen) = (Vec::new(), 0);
    for (document, text) in documents() {
        let (prose, _) = parts(&document, &text);
        for path in quoted(&prose) {
            let is_path = PLACES.iter().any(|place| path.starts_with(place)) && !path.contains(['<', '*', '{', ' ']);
            if is_path {
                seen += 1;
                if !root().join(path).exists() {
                    missing.push(format!("{document}: {path}"));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} paths were recognised");
    none("paths that do not exist", &missing);
}

/// What belongs to the project directly under the root: what git tracks or, where there is no repository, what is there.
fn top_level() -> BTreeSet<String> {
    let tracked = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let tracked = tracked.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let tracked = String::from_utf8(tracked).unwrap();
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = tracked.lines().map(first).collect();
    if !names.is_empty() {
        return names;
    }
    let ignored = read(".gitignore");
    let entries = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name != ".git" && !ignored.contains(&format!("{name}/"))).collect()
}

#[test]
fn the_architecture_names_every_part() {
    let architecture = read("ARCHITECTURE.md");
    let (prose, _) = parts("ARCHITECTURE.md", &architecture);
    let named = quoted(&prose);
    let mut parts: Vec<String> = top_level().into_iter().collect();
    let crates = std::fs::read_dir(root().join("src")).unwrap();
    parts.extend(crates.map(|entry| format!("src/{}", entry.unwrap().file_name().to_str().unwrap())));
    parts.extend(files("streams"));
    assert!(
        parts.iter().any(|part| part == "src/domain") && parts.iter().any(|part| part == "Cargo.toml"),
        "{parts:?}"
    );
    let names = |part: &&String| !named.iter().any(|name| name == part || name.trim_end_matches('/') == *part);
    let silent: Vec<String> = parts.iter().filter(names).cloned().collect();
    none("ARCHITECTURE.md does not name", &silent);
}

#[test]
fn every_document_is_linked() {
    let all = documents();
    let entrances: String = all.iter().take(2).map(|(_, text)| text.as_str()).collect();
    let lost = all.iter().skip(2).filter(|(path, _)| !entrances.contains(&format!("]({path}")));
    none("neither README.md nor ARCHITECTURE.md links", &lost.map(|(path, _)| path.clone()).collect::<Vec<_>>());
}

#[test]
fn the_readme_shows_only_what_is_run() {
    let (_, blocks) = parts("README.md", &read("README.md"));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for block in &blocks {
        *counts.entry(&block.info).or_default() += 1;
    }
    let infos: Vec<&str> = counts.keys().copied().collect();
    assert_eq!(infos, ["sh", "sh curl", "sh first-rollout"], "the test of the README knows these kinds of blocks");
    assert_eq!(counts["sh"], 1, "one block has the two commands, every other one is run by a test");
    let two = &blocks.iter().find(|block| block.info == "sh").unwrap().text;
    let commands: Vec<&str> = two.lines().map(|line| line.split(" #").next().unwrap().trim_end()).collect();
    assert_eq!(commands, ["cargo xtask dev", "cargo xtask test"]);
}

/// Sections of the default settings with their keys.
fn settings() -> BTreeMap<String, BTreeSet<String>> {
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in read("config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            sections.insert(section.clone(), BTreeSet::new());
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            sections.get_mut(&section).unwrap().insert(key.to_owned());
        }
    }
    sections
}

#[test]
fn settings_in_documents_exist_and_every_section_is_explained() {
    let sections = settings();
    assert!(sections.len() >= 10 && sections["http"].contains("listen"), "{sections:?}");
    let deployment = read("docs/deployment.md");
    let silent = sections.keys().filter(|section| !deployment.contains(&format!("| `[{section}]` |")));
    none("docs/deployment.md does not explain", &silent.cloned().collect::<Vec<_>>());
    let mut unknown = Vec::new();
    for (document, text) in documents().into_iter().filter(|(path, _)| path != "docs/events.md") {
        let (prose, _) = parts(&document, &text);
        for name in quoted(&prose) {
            let Some((section, key)) = name.split_once('.') else { continue };
            let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let is_file = ["toml", "yaml", "json", "md", "rs", "conf", "pem", "key", "creds", "nk"].contains(&key);
            if let Some(keys) = sections.get(section).filter(|keys| is_key && !is_file && !keys.contains(key)) {
                unknown.push(format!("{document}: {name}; [{section}] has {keys:?}"));
            }
        }
    }
    none("settings that do not exist", &unknown);
}

#[test]
fn environment_variables_in_documents_exist() {
    let mut known: String = super::sources::all().iter().map(|source| source.text.as_str()).collect();
    for (section, keys) in settings() {
        known.extend(keys.iter().map(|key| format!("PILOTHOUSE_{section}_{key}\n").to_uppercase()));
    }
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut unknown = Vec::new();
    for (document, text) in documents() {
        for word in text.split(|c| !is_part(c)).filter(|word| word.starts_with("PILOTHOUSE_") && !word.ends_with('_')) {
            if !super::has_word(&known, word, "") {
                unknown.push(format!("{document}: {word}"));
            }
        }
    }
    none("environment variables that nothing reads", &unknown);
}
