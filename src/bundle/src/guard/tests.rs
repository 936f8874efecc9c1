#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::thread;

fn guarded(source: &str) -> Result<(), Problem> {
    check(source, &Limits::default())
}

fn place(source: &str) -> (String, Option<u32>, Option<u32>) {
    let problem = guarded(source).expect_err("the guard refuses it");
    (problem.code, problem.line, problem.column)
}

/// Whether the parser accepts a text that the guard let through, on a stack of the given size.
fn parses(source: &str, stack_bytes: usize) -> bool {
    let text = source.to_owned();
    let parse = move || text.parse::<kdl::KdlDocument>().is_ok();
    thread::Builder::new().stack_size(stack_bytes).spawn(parse).unwrap().join().unwrap()
}

#[test]
fn the_kdl_that_people_write_is_let_through_and_parses() {
    let accepted = [
        "",
        "\u{feff}a",
        "a",
        "a 1 -2 +3 0x1f 0o17 0b1_0 1_000 1.5 -1.5e-3 1e10",
        "a #true #false #null #nan #inf #-inf",
        "a b=1 \"c\" = 2 #\"d\"#=#true",
        "(t)a (u)1 b=(v)\"x\"",
        "a; b; c { d; e }\nf {}",
        "a { b { c } }",
        "a \\\n  1 \\ // why\n 2",
        "// one\na // two\n/* three /* four */ */ b /* five */ 1",
        "/-a 1 { b }\nc /-1 2 /-d=3 4",
        "a /-{ b } { c } /-{ d }",
        "a {\n  b\n  /-c\n}\n",
        "\"quoted name\" #\"raw\"# 'x'",
        "a \"\\u{e9} \\n \\s \\\" \\\\ \\b \\f \\r \\t\" \"x\\   \n  y\"",
        "a \"\"\"\n  one\n    two \"\" \\t\n\n  \"\"\"",
        "a #\"\"\"\n  one\n  \"\"\" two\n  \"\"\"#",
        "a ##\"one \"# two\"##",
        "a\r\nb\rc\u{2028}d\u{85}e",
        "a-b.c_d+e!@$%^&*:<>?|,~` 1",
        "- + a -x .y",
        "a{b}",
    ];
    for source in accepted {
        let result = guarded(source);
        let parsed = parses(source, 8 << 20);
        assert!(result.is_ok() == parsed, "{source:?}: guard {result:?}, parser {parsed}");
    }
}

#[test]
fn faults_have_their_place() {
    let syntax = |line, column| ("syntax".to_owned(), Some(line), Some(column));
    let deep = |line, column| ("too_deep".to_owned(), Some(line), Some(column));
    let dashes = format!("ü {{\n{}", "é { /- ".repeat(4));
    let cases = [
        ("a {\n  b {\n  }\n", syntax(1, 3)),
        ("ö \"é\n", syntax(1, 3)),
        ("a\n  }", syntax(2, 3)),
        ("é { b } c", syntax(1, 9)),
        ("a 30s", syntax(1, 3)),
        ("a true", syntax(1, 3)),
        ("a #yes", syntax(1, 3)),
        ("a [1]", syntax(1, 3)),
        ("a \"x\"y", syntax(1, 6)),
        ("a \"\\d\"", syntax(1, 4)),
        ("a \"\\u{d800}\"", syntax(1, 4)),
        ("a \"\\u{}\"", syntax(1, 4)),
        ("{ a }", syntax(1, 1)),
        ("12 a", syntax(1, 1)),
        ("a\0", syntax(1, 2)),
        ("a \"\u{202e}\"", syntax(1, 4)),
        ("a = 1", syntax(1, 3)),
        ("a b=", syntax(1, 5)),
        ("(t a", syntax(1, 1)),
        ("/- /- a", syntax(1, 4)),
        ("a /* b", syntax(1, 3)),
        ("a \"\"\"\n  x\n y\n  \"\"\"", syntax(3, 1)),
        ("a \"\"\"\n x\"\"\"", syntax(1, 3)),
        ("a \"\"\"x\"\"\"", syntax(1, 3)),
        ("a #\"x", syntax(1, 3)),
        ("a #\"\"\"#", syntax(1, 3)),
        ("a \\ b", syntax(1, 3)),
        (dashes.as_str(), deep(2, 26)),
    ];
    for (source, expected) in cases {
        assert_eq!(place(source), expected, "{source:?}");
    }
    let nested = "a {\n".repeat(33);
    assert_eq!(place(&nested), deep(33, 3));
    assert_eq!(guarded(&"a {\n".repeat(32)).unwrap_err().code, "syntax", "32 levels are allowed");
}

#[test]
fn a_text_that_is_too_large_is_refused_unread() {
    let limits = Limits { source_bytes_max: 10, ..Limits::default() };
    assert!(check("0123456789", &limits).is_err_and(|p| p.code == "syntax"));
    assert_eq!(check("a123456789x", &limits).unwrap_err().code, "too_large");
}

/// Each of these overflows the parser's stack, keeps it busy for hours, or both, when it is given to it directly.
#[test]
fn what_hurts_the_parser_is_refused_at_once() {
    let many = 1 << 16;
    let hostile = [
        "{".repeat(many),
        "}".repeat(many),
        "a {".repeat(many),
        "a {} ".repeat(many),
        "/- ".repeat(many),
        "a /-{ ".repeat(many),
        "a\n/- b { ".repeat(many),
        "/*".repeat(many),
        format!("/*{}*/ a", "*".repeat(many)),
        format!("/*{}*/ a", " / ".repeat(many)),
        "(".repeat(many),
        "a (".repeat(many),
        "a ##\"\"\"\n".repeat(many),
        "a #\"x ".repeat(many),
        "a \"\"\"\n".repeat(many),
        "[".repeat(many),
        "\\".repeat(many),
        "=".repeat(many),
        ";".repeat(many),
        "\0".repeat(many),
        "n".repeat(many),
        "a=1 ".repeat(many),
        "\u{feff}".repeat(many),
    ];
    for source in hostile {
        let shown: String = source.chars().take(12).collect();
        assert!(guarded(&source).is_err_and(|p| p.line.is_some()), "{shown:?}");
    }
}

/// The deepest texts that pass fit on a stack of 2 MiB, which is what the proxy itself may have, also without optimisation.
#[test]
fn what_passes_fits_on_a_small_stack() {
    let deep = format!("{}{}", "a { ".repeat(32), "} ".repeat(32));
    let comment = format!("/*{}*/ a", "* ".repeat(499));
    let comments = format!("{}{} a", "/*".repeat(32), "*/".repeat(32));
    let dashed = format!("{}{}", "a;\n/-b { ".repeat(3), "} ".repeat(3));
    let long = format!(
        "a \"{}\" {} // {}\nb #\"{}\"#",
        "é".repeat(9999),
        "1 ".repeat(999),
        "/*".repeat(9999),
        "/*".repeat(999)
    );
    for source in [deep, comment, comments, dashed, long] {
        guarded(&source).unwrap();
        assert!(parses(&source, 2 << 20), "{}", &source[..12]);
    }
}

/// Pieces whose combinations are often, but not always, valid.
const PIECES: [&str; 62] = [
    "a",
    "b ",
    " c",
    "1",
    " 2",
    " -3",
    " 0x1f",
    " 1.5",
    " 1e3",
    " #true",
    " #nan",
    " true",
    "\"s\"",
    " \"s\"",
    " \"\\n\"",
    "\"\\u{41}\"",
    " \"\\ \n x\"",
    "#\"r\"#",
    " ##\"r\"#\"##",
    " \"\"\"\n x\n \"\"\"",
    " #\"\"\"\n x\n \"\"\"#",
    " \"\"\"\n \"\"\"",
    "=",
    " = ",
    "b=1",
    " b=\"c\"",
    "(t)",
    " (t)",
    "( t )",
    "{",
    " {",
    "}",
    " }",
    "{}",
    "\n",
    "\r\n",
    ";",
    "; ",
    " ",
    "\t",
    "\\\n",
    " \\ // c\n",
    "// c\n",
    "/* c */",
    " /* /* * */ / */ ",
    "/-",
    "/- ",
    " /-",
    "\n/-",
    " /-1 ",
    " /-{",
    "\n/-a {",
    "/-\n",
    "a {\n",
    "\n}\n",
    "a\n",
    "b 1\n",
    "'",
    ".",
    "-",
    "#",
    "é",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..24).prop_map(|pieces| pieces.concat())
}

/// Mostly valid documents, of bounded depth.
fn document() -> impl Strategy<Value = String> {
    let entry =
        prop::sample::select(vec![" 1", " \"x\"", " k=#true", " /-1", " (t)2", " \\\n 3", " /* * */ 4", " #\"}\"#"]);
    let head = (prop::sample::select(vec!["", "/-", "/- ", "(t)"]), prop::collection::vec(entry, 0..3));
    let head = head.prop_map(|(before, entries)| format!("{before}n{}", entries.concat()));
    let leaf = head.clone().boxed();
    let node = leaf.prop_recursive(5, 40, 4, move |inner| {
        let block = prop::collection::vec(inner, 0..4).prop_map(|nodes| nodes.join("\n"));
        let dash = prop::sample::select(vec![" ", " /-", " /-{} ", "\t"]);
        (head.clone(), dash, block).prop_map(|(head, dash, block)| format!("{head}{dash}{{\n{block}\n}}"))
    });
    let end = prop::sample::select(vec!["\n", ";", " // c\n", "\n\n", "\r\n"]);
    prop::collection::vec((node, end), 0..5).prop_map(|nodes| nodes.into_iter().map(|(n, e)| n + e).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    /// The property that everything else rests on: the parser never sees a text that is not valid to it.
    #[test]
    fn what_the_guard_lets_through_the_parser_accepts(source in prop_oneof![pieces(), document(), ".{0,60}"]) {
        if guarded(&source).is_ok() {
            prop_assert!(parses(&source, 2 << 20), "{source:?}");
        }
    }

    #[test]
    fn no_text_makes_the_guard_panic(source in "\\PC{0,80}|[\\x00-\\x20\"#{}/*\\\\;=()é-]{0,80}") {
        let _ = guarded(&source);
    }
}
