//! The whole command line as a document, and its examples as a list. Both are made of the definition itself, so that neither
//! can say what is not so.

use crate::exit::Exit;
use crate::globals::HEADING;
use crate::surroundings::VARIABLES;
use clap::Command;
use std::fmt::Write;

const COLUMNS: usize = 100;
const INTRODUCTION: &str = "\
# The command line

This file is generated from the definition of the command line (`UPDATE=1 cargo test -p pilothouse`).

Data goes to stdout, talk to stderr. `-o json` and `-o yaml` print the answers of the control plane as they are, and errors as
`{\"error\": …, \"code\": …}` on stderr. What destroys something asks at a terminal, and elsewhere needs `--yes`. What changes
something is sent with an idempotency key, and once more with the same key when no answer comes.

## Where it connects to

Server, credential and project are looked for in this order:

1. options;
2. environment variables;
3. the context of `--context` or `PILOTHOUSE_CONTEXT`, else the one that `pilothouse context use` chose;
4. the dev file, `.pilothouse/dev.json` in the working directory.

A context or dev file that an option names stands before the environment where server and credential are concerned. One that
nothing names is looked at only where neither server nor credential is given.
";

/// The document of a whole program, as Markdown.
pub fn reference(command: Command) -> String {
    let root = built(command);
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n");
    for exit in Exit::ALL {
        line(&mut text, format_args!("| {} | {} |", exit.code(), exit.meaning()));
    }
    text.push_str("\n## Environment\n\n| variable | meaning |\n| --- | --- |\n");
    for (name, meaning) in VARIABLES {
        line(&mut text, format_args!("| `{name}` | {meaning} |"));
    }
    line(&mut text, format_args!("\n## Options of every command\n\n```text\n{}\n```", options_of_all(&root)));
    for command in all(&root) {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        let (mut own, level) = (without_options_of_all(command), name.split(' ').count());
        let help = own.render_help().to_string();
        let marks = "#".repeat(level.min(3));
        let body: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        line(&mut text, format_args!("\n{marks} {name}\n\n```text\n{}\n```", body.join("\n")));
    }
    text
}

/// Every example of every command's help, as the words of a command line, the program's name first.
///
/// In the examples, ids stand for ids of that kind, `prod`, `edge`, `1.0.0` and `proxy-us-east-1` for any context, project,
/// bundle and node, and `zentinel.kdl` and `ops.creds` for files in the working directory.
pub fn examples(command: Command) -> Vec<Vec<String>> {
    let root = built(command);
    let lines = all(&root).into_iter().flat_map(examples_of).collect::<Vec<String>>();
    lines.iter().map(|line| words(line)).collect()
}

/// The lines of a command's help that are examples.
pub(crate) fn examples_of(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| line.starts_with("pilothouse ")).map(str::to_owned).collect()
}

/// As a shell takes a line apart, as far as the examples need it: quoted text is one word.
pub(crate) fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// Every command that is shown, those with subcommands before theirs.
pub(crate) fn all(command: &Command) -> Vec<&Command> {
    let shown = command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set());
    shown.flat_map(|sub| std::iter::once(sub).chain(all(sub))).collect()
}

pub(crate) fn built(command: Command) -> Command {
    let mut root = command.term_width(COLUMNS);
    root.build();
    root
}

fn options_of_all(root: &Command) -> String {
    let of_all = root.get_arguments().filter(|arg| arg.get_help_heading() == Some(HEADING)).cloned();
    let bare = Command::new("options").disable_help_flag(true).help_template("{options}").term_width(COLUMNS);
    let help = bare.args(of_all).render_help().to_string();
    let lines: Vec<&str> = help.trim_end().trim_start_matches('\n').lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn without_options_of_all(command: &Command) -> Command {
    let about = command.get_long_about().or(command.get_about()).cloned().unwrap_or_default();
    let own = command.clone().mut_args(|arg| {
        let of_all = arg.get_help_heading() == Some(HEADING);
        arg.hide(of_all)
    });
    // The short form of the options, one a line, under all that is said about the command.
    own.about(about)
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{arguments}");
}
