//! Short files and short functions, under names that say what is inside.
//!
//! Not left to `clippy::too_many_lines`: clippy reads one `clippy.toml`, the nearest, so the domain's would hide one at the root.

use super::none;
use super::rust::functions;
use super::sources::all;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 10] =
    ["mod", "util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "prelude"];

#[test]
fn files_are_short() {
    let sources = all();
    let lines = |text: &str| text.lines().count();
    let long = sources.iter().filter(|source| lines(&source.text) > FILE_LINES_MAX);
    let long: Vec<String> = long.map(|source| format!("{}: {} lines", source.path, lines(&source.text))).collect();
    none("files may have 400 lines; give a part a file of its own", &long);
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for source in all() {
        for function in functions(&source.split.code) {
            if function.lines > FUNCTION_LINES_MAX {
                let (path, line, name) = (&source.path, function.line, &function.name);
                long.push(format!("{path}:{line}: {name} has {} lines", function.lines));
            }
        }
    }
    none("functions may have 70 lines", &long);
}

#[test]
fn files_have_names_that_say_something() {
    let stem = |path: &str| path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or("").to_owned();
    let empty = all().iter().filter(|source| EMPTY_NAMES.contains(&stem(&source.path).as_str()));
    none("name these files after what is in them", &empty.map(|source| source.path.clone()).collect::<Vec<_>>());
}
