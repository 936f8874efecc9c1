//! Colours: whether they are wanted, and which word has which. They are marks around finished text, so that alignment never
//! depends on them; the console takes them away where they are not wanted.
//!
//! <https://no-color.org>, <https://bixense.com/clicolors>

use crate::globals::Color;
use crate::surroundings::Surroundings;

const BOLD: &str = "\u{1b}[1m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const BOLD_RED: &str = "\u{1b}[1;31m";
const END: &str = "\u{1b}[0m";
const ESCAPE: char = '\u{1b}';

/// Whether a stream gets colours.
pub(crate) fn wanted(choice: Color, around: &Surroundings, is_terminal: bool) -> bool {
    let set = |name: &str| around.text(name);
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR").is_some() => false,
        Color::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        Color::Auto => {
            let refused = set("CLICOLOR").is_some_and(|value| value == "0");
            is_terminal && !refused && set("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

pub(crate) fn heading(text: &str) -> String {
    format!("{BOLD}{text}{END}")
}

pub(crate) fn error(text: &str) -> String {
    format!("{BOLD_RED}{text}{END}")
}

/// The word for a state in the colour of its meaning; any other word as it is.
pub(crate) fn state(word: &str) -> String {
    let color = match word {
        "online" | "compiled" | "completed" | "live" | "yes" => GREEN,
        "pending" | "compiling" | "running" | "paused" | "unknown" => YELLOW,
        "offline" | "failed" | "cancelled" | "revoked" | "expired" | "used up" | "no" => RED,
        _ => return word.to_owned(),
    };
    format!("{color}{word}{END}")
}

/// The text without any marks. No other text of ours holds an escape character: see [`crate::render::plain`].
pub(crate) fn unpainted(text: &str) -> String {
    let mut inside = false;
    text.chars().filter(|c| !is_mark(*c, &mut inside)).collect()
}

/// At most so many visible characters; a mark that was begun is ended.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    let (mut inside, mut seen, mut out) = (false, 0, String::new());
    for c in line.chars() {
        let mark = is_mark(c, &mut inside);
        if mark || seen < columns {
            out.push(c);
        }
        seen += usize::from(!mark);
    }
    out
}

/// Whether the character belongs to a mark; `inside` carries the state from one character to the next.
fn is_mark(c: char, inside: &mut bool) -> bool {
    let mark = *inside || c == ESCAPE;
    *inside = mark && c != 'm';
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn who_decides() {
        let auto = |variables: &[(&str, &str)], terminal: bool| {
            wanted(Color::Auto, &Surroundings::of_test(Path::new(""), variables), terminal)
        };
        assert!(auto(&[], true) && !auto(&[], false));
        assert!(!auto(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true));
        assert!(auto(&[("NO_COLOR", "")], true), "set to nothing is not set");
        assert!(auto(&[("CLICOLOR_FORCE", "1")], false) && !auto(&[("CLICOLOR_FORCE", "0")], false));
        assert!(!auto(&[("CLICOLOR", "0")], true) && !auto(&[("TERM", "dumb")], true));
        assert!(auto(&[("TERM", "xterm")], true));
        let none = Surroundings::of_test(Path::new(""), &[("NO_COLOR", "1")]);
        assert!(wanted(Color::Always, &none, false) && !wanted(Color::Never, &none, true));
    }

    #[test]
    fn marks_take_no_room_and_can_be_taken_away() {
        let painted = format!("a {} b {}", state("failed"), state("fine"));
        assert_eq!(painted, "a \u{1b}[31mfailed\u{1b}[0m b fine");
        assert_eq!(unpainted(&painted), "a failed b fine");
        assert_eq!(cut(&painted, 4), "a \u{1b}[31mfa\u{1b}[0m");
        assert_eq!(cut("größe", 3), "grö");
    }
}
