//! The command line as a whole: every help text, every example, every verb's arguments.

use crate::testing::Root;
use clap::{CommandFactory, Parser};
use expect_test::expect_file;

/// Every command with its path, nouns included.
fn all() -> Vec<clap::Command> {
    let mut root = Root::command().term_width(100);
    root.build();
    let mut found = Vec::new();
    for noun in root.get_subcommands().filter(|command| command.get_name() != "help") {
        found.push(noun.clone());
        found.extend(noun.get_subcommands().filter(|command| command.get_name() != "help").cloned());
    }
    found
}

fn parse(line: &str) -> Result<Root, clap::Error> {
    // Quoted text of the examples becomes one word.
    let words = line.split('"').enumerate().flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    Root::try_parse_from(words)
}

#[test]
fn the_definition_is_consistent() {
    Root::command().debug_assert();
}

#[test]
fn help_is_what_the_file_says() {
    let text: String = all()
        .into_iter()
        .map(|mut command| {
            format!("== {}\n{}\n", command.get_bin_name().unwrap_or("").to_owned(), command.render_help())
        })
        .collect();
    expect_file!["../../help.txt"].assert_eq(&text);
}

#[test]
fn every_verb_has_an_example_that_parses() {
    for command in all().iter().filter(|command| !command.has_subcommands()) {
        let path = command.get_bin_name().unwrap_or("").to_owned();
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(help.starts_with("Example:\n") && !examples.is_empty(), "{path} has no example");
        for example in examples {
            assert!(example.starts_with(&path), "{path}: {example}");
            parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for line in [
        "pilothouse rollout create",
        "pilothouse rollout create --bundle a --batch-size 1 --batch-percentage 10",
        "pilothouse rollout create --bundle a --batch-percentage 101",
        "pilothouse rollout create --bundle a --label a=b --node n",
        "pilothouse rollout create --bundle a --label ab",
        "pilothouse rollout create --bundle a --strategy blue_green",
        "pilothouse bundle create 1.0.0",
        "pilothouse node list --status sleeping",
        "pilothouse node list --limit 0",
        "pilothouse node list --limit 1001",
        "pilothouse project create No.Slug",
        "pilothouse apikey create --name a --scope nodes:everything",
        "pilothouse apikey create --name a --expires tomorrow",
        "pilothouse node stats --timeout 0",
        "pilothouse node stats -o yaml",
        "pilothouse events watch --count 0",
        "pilothouse events watch --subject-filter a/b/c/d",
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was accepted"));
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn options_stand_before_or_after_the_verb() {
    let before = parse("pilothouse -p demo -o json --timeout 3 node stats").expect("accepted").globals;
    let after = parse("pilothouse node stats -p demo -o json --timeout 3").expect("accepted").globals;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!((after.project.as_deref(), after.timeout), (Some("demo"), 3));
}
