//! All Rust files, found as the compiler finds them: from the root of each target along `mod`. What is not found is dead.

use super::rust::{Split, modules, split, tests_begin};
use super::{files, members, none, root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// One Rust file.
pub struct Source {
    /// The package that it belongs to.
    pub package: String,
    /// Relative to the root of the workspace.
    pub path: String,
    pub text: String,
    pub split: Split,
    /// Where in `split.code` the code of tests begins: at the start for a file that is compiled for tests alone.
    tests_at: usize,
}

impl Source {
    /// What is in the product: without comments, literals and tests.
    pub fn product(&self) -> &str {
        &self.split.code[..self.tests_at]
    }

    /// The code of tests in this file.
    pub fn tests(&self) -> &str {
        &self.split.code[self.tests_at..]
    }

    /// Where a word of a text that begins at `start` stands.
    pub fn place(&self, code: &str, at: usize) -> String {
        let before = if code.len() == self.product().len() { 0 } else { self.tests_at };
        let line = self.split.code[..before + at].matches('\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// Every file that some target reaches, in order of paths. Read once.
pub fn all() -> &'static [Source] {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(find);
    &ALL
}

fn find() -> Vec<Source> {
    let mut found: BTreeMap<PathBuf, (String, bool)> = BTreeMap::new();
    for package in members() {
        let name = package["name"].as_str().unwrap();
        for target in package["targets"].as_array().unwrap() {
            let is_test = target["kind"].as_array().unwrap().contains(&Value::from("test"));
            let path = PathBuf::from(target["src_path"].as_str().unwrap());
            walk(&path, path.parent().unwrap(), name, is_test, &mut found);
        }
    }
    found.into_iter().map(|(path, (package, is_test))| source(&path, package, is_test)).collect()
}

fn source(path: &Path, package: String, is_test: bool) -> Source {
    let text = std::fs::read_to_string(path).unwrap();
    let split = split(&text);
    let tests_at = if is_test { 0 } else { tests_begin(&split.code) };
    let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    Source { package, path, text, split, tests_at }
}

/// `directory` is where the modules of `path` lie.
fn walk(path: &Path, directory: &Path, package: &str, is_test: bool, found: &mut BTreeMap<PathBuf, (String, bool)>) {
    // A module without a file is the compiler's to complain about.
    let Ok(text) = std::fs::read_to_string(path) else { return };
    found.insert(path.to_owned(), (package.to_owned(), is_test));
    for module in modules(&text) {
        // Modules of a file with a `#[path]` lie beside it, those of any other file in a directory of its name.
        let (place, below) = match &module.path {
            Some(given) => {
                (path.parent().unwrap().join(given), path.parent().unwrap().join(given).parent().unwrap().to_owned())
            }
            None => (directory.join(format!("{}.rs", module.name)), directory.join(&module.name)),
        };
        walk(&place, &below, package, is_test || module.is_test, found);
    }
}

#[test]
fn every_rust_file_is_compiled() {
    let reached: Vec<String> = all().iter().map(|source| source.path.clone()).collect();
    let there = ["src", "tests"].into_iter().flat_map(files).filter(|path| path.ends_with(".rs"));
    let dead: Vec<String> = there.filter(|path| !reached.contains(path)).collect();
    assert!(reached.len() > 200, "the walk along `mod` ended early: {} files", reached.len());
    none("no `mod` leads to these files", &dead);
}

#[test]
fn every_declaration_and_setting_file_is_used() {
    let sources = all();
    let embeds = |package: &str, path: &str| {
        let name = format!("{path}\")");
        sources.iter().any(|s| s.package == package && s.text.contains("include_str!(\"") && s.text.contains(&name))
    };
    let mut unused: Vec<String> = files("streams").into_iter().filter(|path| !embeds("journal", path)).collect();
    let compose = super::read("compose.yaml");
    let settings = files("config").into_iter();
    unused.extend(settings.filter(|path| !embeds("runtime", path) && !compose.contains(&format!("./{path}:"))));
    none("nothing reads these files", &unused);
}
