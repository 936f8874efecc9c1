//! The commands of the documents exist with the flags that they are shown with. Those of the README are run for real elsewhere.

use super::documents::{documents, parts};
use super::none;
use crate::harness::binary;
use std::process::Command;

/// Commands of ours in a block of shell, one line each, without comments.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| ["pilothouse ", "pilothouse-agent "].iter().any(|ours| line.starts_with(ours))).collect()
}

/// Asks the program for help behind everything that the document gives it: what it does not know, it refuses before.
fn is_understood(command: &str) -> Result<(), String> {
    let directory = binary("pilothouse").parent().unwrap().to_owned();
    let path = std::env::join_paths(
        [&directory].into_iter().cloned().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{command} --help")]).env("PATH", path.unwrap());
    // Where the command's output goes into a file.
    let scratch = tempfile::tempdir().unwrap();
    let output = bash.current_dir(scratch.path()).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn commands_in_documents_are_understood() {
    let mut shown = Vec::new();
    for (document, text) in documents().into_iter().skip(1) {
        let blocks = parts(&document, &text).1.into_iter().filter(|block| block.info == "sh");
        shown.extend(
            blocks.flat_map(|block| commands(&block.text).into_iter().map(move |c| (block.document.clone(), c))),
        );
    }
    assert!(shown.len() > 3, "no commands were found: {shown:?}");
    let refused = shown.iter().filter_map(|(document, command)| {
        is_understood(command).err().map(|error| format!("{document}: {command}\n    {error}"))
    });
    none("commands that the programs do not understand", &refused.collect::<Vec<_>>());
}

#[test]
fn an_unknown_flag_is_noticed() {
    assert!(is_understood("pilothouse init --no-such-flag x").is_err());
    assert!(is_understood("pilothouse no-such-verb").is_err());
    assert_eq!(commands("pilothouse a \\\n  --b c  # d\nls\n"), ["pilothouse a    --b c"]);
}
