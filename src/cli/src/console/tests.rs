#![allow(clippy::unwrap_used)]

use super::*;
use crate::color::{heading, state};
use crate::exit::Exit;
use crate::testing::console;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::json;

#[test]
fn nothing_destructive_without_a_yes() {
    let (mut silent, ..) = console(Output::Table, "y\n");
    assert_eq!(silent.confirm("Delete node a", false).unwrap_err().exit(), Exit::Usage);
    assert!(silent.confirm("Delete node a", true).is_ok());
    for (typed, accepted) in [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("n\n", false)] {
        let (mut console, _, talk) = console(Output::Table, typed);
        console.asks = true;
        assert_eq!(console.confirm("Delete node a", false).is_ok(), accepted, "{typed:?}");
        assert_eq!(talk.text(), "Delete node a? [y/N] ");
    }
}

#[test]
fn talk_cannot_steer_the_terminal() {
    let (mut console, _, talk) = console(Output::Table, "");
    console.say("name \u{1b}]0;x\u{7} taken");
    assert_eq!(talk.text(), "name \\u{1b}]0;x\\u{7} taken\n");
}

#[test]
fn errors_are_a_sentence_or_a_body() {
    let error = CliError::NobodyAnswers { url: "nats://x".to_owned() };
    let (mut table, data, talk) = console(Output::Table, "");
    table.complain(&error);
    assert!(talk.text().starts_with("error: no control plane answers at nats://x: "));
    let (mut json, _, talk) = console(Output::Json, "");
    json.complain(&error);
    let body: contract::ErrorBody = serde_json::from_str(&talk.text()).unwrap();
    assert_eq!((body, data.text()), (error.body(), String::new()));
    let (mut yaml, _, talk) = console(Output::Yaml, "");
    yaml.complain(&error);
    assert_eq!(read_yaml(&talk.text()), vec![serde_json::to_value(error.body()).unwrap()]);
}

#[test]
fn colours_are_marks_that_can_be_left_out() {
    let text = format!("{}\n{}\n", heading("STATE"), state("failed"));
    let (mut plain, data, _) = console(Output::Table, "");
    plain.print(&text).unwrap();
    assert_eq!(data.text(), "STATE\nfailed\n");
    let (mut painted, data, talk) = console(Output::Table, "");
    painted.colors = (true, true);
    painted.print(&text).unwrap();
    assert_eq!(data.text(), "\u{1b}[1mSTATE\u{1b}[0m\n\u{1b}[31mfailed\u{1b}[0m\n");
    painted.complain(&CliError::Declined);
    assert_eq!(talk.text(), "\u{1b}[1;31merror:\u{1b}[0m nothing was changed\n");
}

#[test]
fn a_screen_holds_what_fits() {
    let (mut console, data, _) = console(Output::Table, "");
    (console.rows, console.columns) = (4, 5);
    console.redraw_screen("123456\n2\n3\n4\n").unwrap();
    assert_eq!(data.text(), "\u{1b}[H\u{1b}[2J12345\n2\n… 2 more\n");
}

/// What no serialiser of YAML may let be read as something else.
const PITFALLS: &[&str] = &[
    "",
    " ",
    "yes",
    "No",
    "on",
    "null",
    "~",
    "true",
    "1.0",
    "1e3",
    "0x10",
    "0o7",
    "1_000",
    ".inf",
    ".nan",
    "-",
    "- a",
    "a: b",
    "a:",
    ": a",
    "#x",
    "a #b",
    "@x",
    "`x",
    "%x",
    "*a",
    "&a",
    "!t",
    "|",
    ">",
    "?",
    "? a",
    "'",
    "\"",
    "\\",
    "{a}",
    "[a]",
    ",",
    "two\nlines",
    "ends\n",
    "\n",
    "\t",
    "tab\there",
    " lead",
    "trail ",
    "---",
    "...",
    "<<",
    "=",
    "2026-01-02",
    "2026-01-02T12:00:00Z",
    "12:30:00",
    "größe",
    "a\u{1b}[31m",
    "a\u{7}",
    "a\u{85}b",
    "a\u{2028}b",
    "a\r\nb",
    "a\u{feff}",
    "a\u{9b}b",
    "a\u{202e}b",
];

#[test]
fn yaml_says_what_json_says() {
    let strings: Vec<Value> = PITFALLS.iter().map(|text| json!(text)).collect();
    let keys: serde_json::Map<String, Value> =
        PITFALLS.iter().filter(|text| !text.is_empty()).map(|text| ((*text).to_owned(), json!(text))).collect();
    let body = json!({
        "strings": strings, "keys": keys, "empty": [{}, [], null], "nested": [[1], [{"a": {"b": []}}]],
        "numbers": [0, -1, 1.5, u64::MAX / 4, true, false], "long": "word ".repeat(60)
    });
    let (mut console, data, _) = console(Output::Yaml, "");
    console.print_body(&body).unwrap();
    assert_eq!(read_yaml(&data.text()), vec![body]);
}

#[test]
fn a_stream_of_yaml_is_one_document_after_the_other() {
    let (mut console, data, _) = console(Output::Yaml, "");
    let items = vec![json!({"a": 1}), json!({"a": [2]})];
    items.iter().for_each(|item| console.print_item(item).unwrap());
    assert_eq!(read_yaml(&data.text()), items);
    assert!(data.text().starts_with("---\na: 1\n---\n"), "{}", data.text());
}

#[test]
fn bodies_cannot_steer_the_terminal() {
    let body = json!({"a\u{1b}]0;x\u{7}": "b\u{1b}[2J\u{9b}2J\u{202e}"});
    for output in [Output::Json, Output::Yaml] {
        let (mut console, data, _) = console(output, "");
        console.print_body(&body).unwrap();
        assert!(!data.text().contains(|c: char| c.is_control() && c != '\n'), "{:?}", data.text());
    }
    let (mut console, data, _) = console(Output::Json, "");
    console.print_item(&body).unwrap();
    assert_eq!(data.text(), "{\"a\\u001b]0;x\\u0007\":\"b\\u001b[2J\\u009b2J\\u202e\"}\n");
    assert_eq!(serde_json::from_str::<Value>(&data.text()).unwrap(), body);
}

/// Read by another library than the one that wrote.
fn read_yaml(text: &str) -> Vec<Value> {
    fn value(node: &Yaml<'_>) -> Value {
        match node {
            Yaml::Value(Scalar::Null) => Value::Null,
            Yaml::Value(Scalar::Boolean(truth)) => json!(truth),
            Yaml::Value(Scalar::Integer(number)) => json!(number),
            Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
            Yaml::Value(Scalar::String(text)) => json!(text),
            Yaml::Sequence(items) => items.iter().map(value).collect(),
            Yaml::Mapping(pairs) => {
                Value::Object(pairs.iter().map(|(key, item)| (key.as_str().unwrap().to_owned(), value(item))).collect())
            }
            other => panic!("{other:?}"),
        }
    }
    Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")).iter().map(value).collect()
}
