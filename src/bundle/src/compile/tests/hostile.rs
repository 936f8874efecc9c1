//! Input that means harm, or might.

use super::*;
use std::fmt::Write;
use std::time::Instant;

#[test]
fn a_panic_of_the_parser_is_a_problem() {
    let target = "load-balancing \"sticky\" {\n cookie-name \"s\"\n cookie-ttl \"€s\"\n }";
    let source = sample("two-routes").replacen("load-balancing \"least_connections\"", target, 1);
    let problems = refused(&source);
    assert_eq!(shorts(&problems), ["parser_panic -"]);
    assert!(problems[0].message.contains("char boundary"), "{problems:?}");
    compiled(sample("minimal"));
}

#[test]
fn nesting_of_every_kind_is_refused_before_the_parser() {
    for opening in ["a {", "/*", "/- a {", "a /-{", "/-", "}", "(", "a #\"\"\"\n"] {
        let source = opening.repeat(50_000);
        let problems = refused(&source);
        assert!(matches!(problems[0].code.as_str(), "too_deep" | "syntax"), "{opening}: {problems:?}");
        assert!(problems[0].line.is_some());
    }
}

#[test]
fn a_raised_limit_does_not_reach_the_stack() {
    let limits = Limits { nesting_max: usize::MAX, source_bytes_max: usize::MAX };
    let problems = compile(&"a {".repeat(200_000), &limits).unwrap_err();
    assert_eq!(shorts(&problems), ["too_deep 1:195"]);
    let deepest = format!("{}{}", "a { ".repeat(64), "} ".repeat(64));
    assert_eq!(compile(&deepest, &limits).unwrap_err()[0].code, "invalid", "the stack holds 64 levels");
}

#[test]
fn garbage_is_refused_in_little_time() {
    let mut state = 7_u32;
    let mut noise = String::new();
    while noise.len() < Limits::default().source_bytes_max - 4 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push(char::from_u32(state >> 16).unwrap_or('\u{fffd}'));
    }
    assert_eq!(refused(&noise).len(), 1);
    assert_eq!(shorts(&refused(&"\0".repeat(1 << 20))), ["syntax 1:1"]);
    assert_eq!(shorts(&refused("system {\0}")), ["syntax 1:9"]);
    assert_eq!(refused(&"x".repeat((1 << 20) + 1))[0].code, "too_large");
}

#[test]
fn thousands_of_mistakes_are_told_in_bounded_space() {
    let mut bad = String::from("system {\n");
    (0..4_000).for_each(|n| writeln!(bad, "worker-thread{} 1", n % 10).unwrap());
    bad.push_str("}\nlisteners { listener \"a\" { address \"127.0.0.1:1\"; }; }\n");
    let problems = refused(&bad);
    assert_eq!(problems.len(), 100);
    assert_eq!(short(&problems[0]), "unknown_setting 2:1");
    assert_eq!(problems[99].code, "more");
    assert!(problems.iter().all(|problem| problem.message.chars().count() <= 500));
    let lines = "30s 40s\n".repeat(4_000);
    assert_eq!(shorts(&refused(&lines)), ["syntax 1:1"]);
}

/// The library's own answer to this holds every name once per route, which grows with the product of both.
#[test]
fn many_dangling_names_among_many_others_stay_small() {
    let mut source =
        String::from("system {}\nlisteners { listener \"a\" { address \"127.0.0.1:1\"; }; }\nupstreams {\n");
    (0..500).for_each(|n| writeln!(source, "upstream u{n}{} {{ target h:1; }}", "x".repeat(40)).unwrap());
    source.push_str("}\nroutes {\n");
    (0..500).for_each(|n| writeln!(source, "route r{n} {{ matches {{ path \"/\"; }}; upstream z; }}").unwrap());
    source.push('}');
    let start = Instant::now();
    let problems = refused(&source);
    assert_eq!(problems.len(), 100);
    assert_eq!(problems[0].code, "invalid_reference");
    assert!(start.elapsed() < VALIDATE_TIME_MAX / 2);
}

#[test]
fn slashdashes_within_each_other_cost_little() {
    let source =
        format!("{}\nx\n{}", sample("minimal"), "/-a {\nx\n".repeat(3) + &"b\n".repeat(200) + &"}\n".repeat(3));
    assert_eq!(shorts(&refused(&source)), ["invalid 7:1"]);
}

#[test]
fn messages_carry_no_control_characters() {
    let source = "system {}\nlisteners { listener \"a\" { address \"127.0.0.1:1\"; }; }\n\"\\u{1b}[2J\" {}";
    let problems = refused(source);
    assert!(problems.iter().all(|problem| !problem.message.contains('\u{1b}')), "{problems:?}");
}

#[test]
fn of_more_than_can_be_shown_the_same_are_shown_each_time() {
    let mut source = sample("minimal").to_owned() + "upstreams {\n";
    (0..150).for_each(|n| writeln!(source, "upstream u{n} {{ target \"h:1\"; }}").unwrap());
    source.push_str("}\n");
    let warnings = compiled(&source).warnings;
    assert_eq!(warnings.len(), 100);
    assert_eq!(compiled(&source).warnings, warnings);
    let wrong = source.replace("h:1", "h");
    let problems = refused(&wrong);
    assert_eq!(problems.len(), 100);
    assert_eq!(refused(&wrong), problems);
}
