//! Reads what lies between the tokens of a KDL text: space, comments, line ends. Linear, without recursion.

/// Comments within one comment add to the parser's recursion, as does each `*`, each `/` and each stretch of text between.
/// The proxy itself parses on a 2 MiB stack, which holds several times this many.
const COMMENT_STEPS_MAX: usize = 1_000;

/// Why a text is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
}

impl Fault {
    pub(crate) fn syntax(offset: usize, message: impl Into<String>) -> Fault {
        Fault { code: "syntax", offset, message: message.into(), help: None }
    }

    pub(crate) fn too_deep(offset: usize, message: impl Into<String>) -> Fault {
        Fault { code: "too_deep", offset, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: &'static str) -> Fault {
        self.help = Some(help);
        self
    }
}

pub(crate) type Scan<T> = Result<T, Fault>;

/// A place in a text; always at the border of a character.
pub(crate) struct Cursor<'s> {
    pub(crate) text: &'s str,
    pub(crate) at: usize,
    nesting_max: usize,
}

impl<'s> Cursor<'s> {
    pub(crate) fn new(text: &'s str, nesting_max: usize) -> Cursor<'s> {
        Cursor { text, at: 0, nesting_max }
    }

    pub(crate) fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn looks_at(&self, token: &str) -> bool {
        self.rest().starts_with(token)
    }

    pub(crate) fn eat(&mut self, token: &str) -> bool {
        let found = self.looks_at(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Steps over one character; at the end it stays.
    pub(crate) fn step(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    pub(crate) fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    pub(crate) fn eat_newline(&mut self) -> bool {
        if self.eat("\r\n") {
            return true;
        }
        let found = self.peek().is_some_and(is_newline);
        if found {
            self.step();
        }
        found
    }

    /// Space within a node: spaces, comments and line continuations. Answers whether there was any.
    pub(crate) fn eat_node_space(&mut self) -> Scan<bool> {
        let start = self.at;
        loop {
            match self.peek() {
                Some(c) if is_space(c) => self.skip_while(is_space),
                Some('/') if self.looks_at("/*") => self.eat_block_comment()?,
                Some('\\') => self.eat_line_continuation()?,
                _ => return Ok(self.at > start),
            }
        }
    }

    /// Space between nodes: also line ends and comments to the end of the line.
    pub(crate) fn eat_line_space(&mut self) -> Scan<()> {
        while self.eat_node_space()? || self.eat_newline() || self.eat_line_comment() {}
        Ok(())
    }

    pub(crate) fn eat_line_comment(&mut self) -> bool {
        let found = self.eat("//");
        if found {
            self.skip_while(|c| !is_newline(c));
            self.eat_newline();
        }
        found
    }

    /// What may follow a complete name or value.
    pub(crate) fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some('/') => self.looks_at("/*") || self.looks_at("//"),
            Some(c) => is_space(c) || is_newline(c) || "=){};\\".contains(c),
        }
    }

    fn eat_line_continuation(&mut self) -> Scan<()> {
        let start = self.at;
        self.eat("\\");
        self.eat_plain_space()?;
        if self.peek().is_some() && !self.eat_line_comment() && !self.eat_newline() {
            return Err(Fault::syntax(start, "a backslash must be the last character of its line"));
        }
        Ok(())
    }

    fn eat_plain_space(&mut self) -> Scan<()> {
        loop {
            match self.peek() {
                Some(c) if is_space(c) => self.skip_while(is_space),
                Some('/') if self.looks_at("/*") => self.eat_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn eat_block_comment(&mut self) -> Scan<()> {
        let start = self.at;
        let (mut depth, mut steps) = (0_usize, 0_usize);
        loop {
            if self.eat("/*") {
                depth += 1;
            } else if self.eat("*/") {
                depth -= 1;
            } else if self.peek().is_none() {
                return Err(Fault::syntax(start, "the comment is not closed"));
            } else if !self.eat("*") && !self.eat("/") {
                self.skip_while(|c| c != '*' && c != '/');
            }
            steps += 1;
            if depth == 0 {
                return Ok(());
            }
            if depth > self.nesting_max {
                let message = format!("comments are nested deeper than {} levels", self.nesting_max);
                return Err(Fault::too_deep(start, message));
            }
            if steps > COMMENT_STEPS_MAX {
                let message =
                    format!("the comment holds more than {COMMENT_STEPS_MAX} stars, slashes and texts between");
                return Err(
                    Fault::too_deep(start, message).help("begin its lines with //, or make several comments of it")
                );
            }
        }
    }
}

pub(crate) fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}')
}

pub(crate) fn is_space(c: char) -> bool {
    matches!(c, '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Characters that may stand nowhere but in a comment.
pub(crate) fn is_disallowed(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}') || crate::position::is_direction_mark(c)
}

pub(crate) fn is_identifier(c: char) -> bool {
    !(is_space(c) || is_newline(c) || is_disallowed(c) || "\\/(){}[];\"#=".contains(c))
}
