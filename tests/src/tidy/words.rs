//! What does not stand in finished code.

use super::sources::{Source, all};
use super::{has_word, none};

/// Libraries speak through `tracing`; these packages speak to people.
const MAY_PRINT: [&str; 4] = ["cli", "pilothouse", "sim", "xtask"];
/// Programs beside a library, for the same reason.
const MAY_PRINT_FILES: [&str; 2] = ["src/agent/src/main.rs", "src/runtime/src/bin/runtime-fixture.rs"];
/// The places where tests wait: each waits for a predicate, with a deadline, and says what it saw last.
const MAY_WAIT: [(&str, &str); 5] = [
    ("src/agent/src/testing.rs", "until"),
    ("src/cli/src/testing/fake.rs", "a server and a service that are starting"),
    ("src/journal/src/testing.rs", "a server that is starting"),
    ("src/trust/tests/installation.rs", "servers that take a revocation over"),
    ("tests/src/harness.rs", "eventually"),
];

fn places(source: &Source, code: &str, word: &str) -> Vec<String> {
    let at = code.match_indices(word).map(|(at, _)| at);
    let begins = |at: &usize| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    at.filter(begins).map(|at| format!("{}: {word}", source.place(code, at))).collect()
}

#[test]
fn nothing_is_left_to_do() {
    let macros =
        ["todo!", "dbg!", "unimplemented!", "#[ignore", "#[allow(dead_code", "#[allow(unused", "#[expect(dead_code"];
    let notes = ["TODO", "FIXME", "XXX", "HACK"];
    let mut found = Vec::new();
    for source in all() {
        for word in macros {
            found.extend(places(source, &source.split.code, word));
        }
        for (index, line) in source.split.comments.lines().enumerate() {
            if let Some(note) = notes.iter().find(|note| has_word(line, note, "")) {
                found.push(format!("{}:{}: {note}", source.path, index + 1));
            }
        }
    }
    none("these belong into work in progress", &found);
}

#[test]
fn libraries_do_not_print() {
    let mut found = Vec::new();
    for source in all() {
        if MAY_PRINT.contains(&source.package.as_str()) || MAY_PRINT_FILES.contains(&source.path.as_str()) {
            continue;
        }
        for word in ["println!", "eprintln!", "print!", "eprint!"] {
            found.extend(places(source, source.product(), word));
        }
    }
    none("libraries log, they do not print", &found);
}

#[test]
fn tests_wait_for_a_predicate() {
    let mut found = Vec::new();
    for source in all() {
        if MAY_WAIT.iter().any(|(path, _)| *path == source.path) {
            continue;
        }
        for word in ["thread::sleep", "time::sleep", "sleep_until", "park_timeout", "sleep("] {
            found.extend(places(source, source.tests(), word));
        }
    }
    none("a sleep is too short on a slow machine and too long on a fast one", &found);
    let sources = all();
    for (path, what) in MAY_WAIT {
        let waits = sources
            .iter()
            .any(|s| s.path == path && (s.tests().contains("sleep(") || s.tests().contains("park_timeout(")));
        assert!(waits, "{path} ({what}) does not wait any more: take it off the list");
    }
}

#[test]
fn errors_are_not_recognised_by_their_text() {
    let mut found = Vec::new();
    for source in all() {
        for method in ["contains(", "starts_with(", "ends_with(", "eq("] {
            // A chain may be broken over lines.
            let code: String = source.product().split_whitespace().collect();
            if code.contains(&format!(".to_string().{method}")) {
                found.push(format!("{}: .to_string().{method}", source.path));
            }
        }
    }
    none("match the error's kind or code", &found);
}
