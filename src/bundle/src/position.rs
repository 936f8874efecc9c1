//! Byte offsets to lines and columns. Columns count characters, so that they are right after text beyond ASCII.

/// Where the lines of a text begin.
pub(crate) struct Lines<'s> {
    text: &'s str,
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    pub(crate) fn new(text: &'s str) -> Lines<'s> {
        let bytes = text.as_bytes();
        let ends_line = |(at, byte): (usize, &u8)| match byte {
            b'\n' => Some(at + 1),
            b'\r' if bytes.get(at + 1) != Some(&b'\n') => Some(at + 1),
            _ => None,
        };
        let starts = std::iter::once(0).chain(bytes.iter().enumerate().filter_map(ends_line)).collect();
        Lines { text, starts }
    }

    /// Line and column, both from 1. An offset inside a character belongs to it; one beyond the end is the end.
    pub(crate) fn place(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        // A byte order mark has no width in any editor.
        let counted = |(at, c): &(usize, char)| start + at < offset && !(start + at == 0 && *c == '\u{feff}');
        let column =
            self.text[start..].char_indices().take_while(|(at, _)| start + at < offset).filter(counted).count();
        (narrow(line), narrow(column + 1))
    }
}

/// Characters that reorder or hide text on a terminal.
pub(crate) fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_whatever_ends_the_lines() {
        let text = "añ😀x\r\ny\rz\n\nw";
        let lines = Lines::new(text);
        let place = |needle: &str| lines.place(text.find(needle).expect("the needle is in the text"));
        assert_eq!(place("a"), (1, 1));
        assert_eq!(place("x"), (1, 4));
        assert_eq!(place("y"), (2, 1));
        assert_eq!(place("z"), (3, 1));
        assert_eq!(place("w"), (5, 1));
        assert_eq!(lines.place(9999), (5, 2));
    }

    #[test]
    fn offsets_inside_a_character_and_after_a_byte_order_mark_are_right() {
        assert_eq!(Lines::new("😀").place(2), (1, 2));
        assert_eq!(Lines::new("\u{feff}a").place(3), (1, 1));
        assert_eq!(Lines::new("").place(0), (1, 1));
    }
}
