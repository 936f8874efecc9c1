//! What the compiler has to say about a configuration. Bounded: in number, and each message in length, whatever the input.

use std::cmp::Ordering;

/// The most problems, and apart from them the most warnings, that one configuration is given.
pub(crate) const PROBLEMS_MAX: usize = 100;
const MESSAGE_CHARS_MAX: usize = 500;

/// One finding of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, snake_case.
    pub code: String,
    pub message: String,
    /// From 1; absent where no place is known.
    pub line: Option<u32>,
    /// In characters, from 1.
    pub column: Option<u32>,
    pub help: Option<String>,
}

impl Problem {
    /// Both texts are cut to 500 characters and freed of control characters.
    pub(crate) fn new(code: &str, message: impl AsRef<str>) -> Problem {
        Problem { code: code.to_owned(), message: shown(message.as_ref()), line: None, column: None, help: None }
    }

    pub(crate) fn at(mut self, place: impl Into<Option<(u32, u32)>>) -> Problem {
        (self.line, self.column) = place.into().unzip();
        self
    }

    pub(crate) fn help(mut self, help: impl AsRef<str>) -> Problem {
        self.help = Some(shown(help.as_ref())).filter(|text| !text.is_empty());
        self
    }
}

/// At most [`PROBLEMS_MAX`] of `problems`, in the order of the file; those without a place come last. The last one says how
/// many were left out.
pub(crate) fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(in_file_order);
    problems.dedup();
    let count = problems.len();
    if count > PROBLEMS_MAX {
        problems.truncate(PROBLEMS_MAX - 1);
        let more = count - problems.len();
        problems.push(Problem::new("more", format!("{more} more are not shown")));
    }
    problems
}

fn in_file_order(a: &Problem, b: &Problem) -> Ordering {
    let key = |p: &Problem| (p.line.is_none(), p.line, p.column);
    key(a).cmp(&key(b)).then_with(|| (&a.code, &a.message).cmp(&(&b.code, &b.message)))
}

fn shown(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.trim().chars().enumerate() {
        if index == MESSAGE_CHARS_MAX - 1 && text.trim().chars().nth(MESSAGE_CHARS_MAX).is_some() {
            out.push('…');
            break;
        }
        let visible = c == '\n' || !(c.is_control() || crate::position::is_direction_mark(c));
        out.push(if visible { c } else { '\u{fffd}' });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_and_control_characters_are_cut() {
        let long = Problem::new("x", "é".repeat(501));
        assert_eq!(long.message.chars().count(), 500);
        assert!(long.message.ends_with('…'));
        assert_eq!(Problem::new("x", "é".repeat(500)).message, "é".repeat(500));
        assert_eq!(Problem::new("x", "a\u{1b}[2Jb\u{202e}\nc").message, "a\u{fffd}[2Jb\u{fffd}\nc");
        assert_eq!(Problem::new("x", "a").help(" ").help, None);
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_are_bounded() {
        let placeless = Problem::new("a", "nowhere");
        let at = |line| Problem::new("a", "m").at((line, 1));
        let given = vec![placeless.clone(), at(3), at(2), at(3)];
        assert_eq!(bounded(given), vec![at(2), at(3), placeless]);
        let many = bounded((1..=1000).map(at).collect());
        assert_eq!(many.len(), 100);
        assert_eq!(many[99].message, "901 more are not shown");
    }
}
