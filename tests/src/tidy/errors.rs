//! The HTTP interface as it is written down: every error code and every route.

use super::{none, read, root};
use contract::{ErrorCode, ROUTES};
use serde_json::Value;
use std::fmt::Write;

const ERRORS: &str = "docs/errors.md";
const HEAD: &str = "\
# Errors

Every error answer, over HTTP and over NATS, is `{\"error\": …, \"code\": \"…\"}`. `code` is one of these and never changes its
meaning; `error` is a sentence for people or, for `validation_failed`, a map of fields to their messages. Programs look at
`code` alone. Answers with 429 and 503 may be repeated; with the same `Idempotency-Key` a mutation is done once however often
it is repeated.

What is no request has an answer too, and its connection ends: 400 for a head that is not HTTP/1.1 or larger than 32 KiB or 100
headers, 408 for one that does not arrive in time. Closed without an answer are only the preface of HTTP/2, what is no TLS on
the TLS port, and a connection on which nothing was said.

This file is generated from `src/contract/src/code.rs` (`UPDATE=1 cargo test -p e2e tidy`).

| code | status | meaning |
|---|---|---|
";

#[test]
fn every_error_code_is_written_down() {
    let mut expected = HEAD.to_owned();
    for code in ErrorCode::ALL {
        writeln!(expected, "| `{}` | {} | {} |", code.as_str(), code.status(), code.description()).unwrap();
    }
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(root().join(ERRORS), &expected).unwrap();
    }
    assert!(
        read(ERRORS) == expected,
        "{ERRORS} is not what the code says: UPDATE=1 cargo test -p e2e tidy rewrites it"
    );
}

#[test]
fn the_openapi_document_has_every_code_and_every_route() {
    let text = read("src/edge/openapi.json");
    let document: Value = serde_json::from_str(&text).unwrap();
    let codes = ErrorCode::ALL.iter().map(|code| code.as_str());
    let mut missing: Vec<String> =
        codes.filter(|code| !text.contains(&format!("\"{code}\""))).map(str::to_owned).collect();
    for route in ROUTES {
        let method = route.method.as_str();
        if !document["paths"][route.path][method.to_lowercase()].is_object() {
            missing.push(format!("{method} {}", route.path));
        }
    }
    none("src/edge/openapi.json does not have", &missing);
}
