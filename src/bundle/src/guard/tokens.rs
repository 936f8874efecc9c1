//! Reads the tokens of a KDL text: names, strings of every kind, numbers and keywords. Linear, without recursion.

use super::cursor::{Cursor, Fault, Scan, is_disallowed, is_identifier, is_newline, is_space};

const KEYWORDS: [&str; 6] = ["true", "false", "null", "nan", "inf", "-inf"];

impl Cursor<'_> {
    /// A name or a string value; `false` when something else stands here.
    pub(crate) fn eat_string(&mut self) -> Scan<bool> {
        let start = self.at;
        match self.peek() {
            Some('"') if self.eat("\"\"\"") => self.eat_multi_line(start, "\"\"\"", true)?,
            Some('"') => self.eat_quoted(start)?,
            Some('#') if self.rest().trim_start_matches('#').starts_with('"') => self.eat_raw(start)?,
            Some(c) if is_identifier(c) && !self.looks_at_number() => self.eat_identifier()?,
            _ => return Ok(false),
        }
        self.check_terminator(start)?;
        Ok(true)
    }

    /// A value that is not a string: a number or a keyword.
    pub(crate) fn eat_number_or_keyword(&mut self) -> Scan<()> {
        let start = self.at;
        match self.peek() {
            Some('#') => {
                self.step();
                let word = self.eat_word();
                if !KEYWORDS.contains(&word) {
                    return Err(Fault::syntax(start, format!("#{} is not a keyword", clip(word)))
                        .help("there are #true, #false, #null, #nan, #inf and #-inf"));
                }
            }
            Some(_) if self.looks_at_number() => {
                let word = self.eat_word();
                if !is_number(word) {
                    return Err(Fault::syntax(start, format!("{} is not a number", clip(word)))
                        .help("write durations, addresses and sizes with a unit as strings, in quotes"));
                }
            }
            found => return Err(unexpected(start, found)),
        }
        self.check_terminator(start)
    }

    fn check_terminator(&self, start: usize) -> Scan<()> {
        if self.at_terminator() {
            return Ok(());
        }
        let word = clip(&self.text[start..self.at]);
        Err(Fault::syntax(self.at, format!("{word} is followed by something else without a space between")))
    }

    fn looks_at_number(&self) -> bool {
        let unsigned = self.rest().strip_prefix(['+', '-']).unwrap_or(self.rest());
        let undotted = unsigned.strip_prefix('.').unwrap_or(unsigned);
        undotted.starts_with(|c: char| c.is_ascii_digit())
    }

    fn eat_word(&mut self) -> &str {
        let start = self.at;
        self.skip_while(is_identifier);
        &self.text[start..self.at]
    }

    fn eat_identifier(&mut self) -> Scan<()> {
        let start = self.at;
        let word = self.eat_word();
        if KEYWORDS.contains(&word) {
            let fault = Fault::syntax(start, format!("{word} must be written as #{word} or in quotes"));
            return Err(fault);
        }
        Ok(())
    }

    fn eat_quoted(&mut self, start: usize) -> Scan<()> {
        self.step();
        loop {
            match self.peek() {
                Some('"') => {
                    self.step();
                    return Ok(());
                }
                Some('\\') => self.eat_escape()?,
                Some(c) if is_disallowed(c) => return Err(disallowed(self.at, c)),
                Some(c) if !is_newline(c) => self.step(),
                _ => {
                    return Err(Fault::syntax(start, "the string is not closed on its line")
                        .help("a string over several lines begins with \"\"\" and a new line"));
                }
            }
        }
    }

    /// An escape of a quoted string, `\` included. White space after the `\` is skipped with its line ends.
    fn eat_escape(&mut self) -> Scan<()> {
        let start = self.at;
        self.step();
        if self.eat("u{") {
            let digits = self.rest().find('}').map(|end| &self.rest()[..end]);
            let digits = digits.filter(|d| (1..=6).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_hexdigit()));
            let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).and_then(char::from_u32);
            let Some((digits, _)) = digits.zip(code) else {
                return Err(Fault::syntax(start, "\\u{…} must hold the 1 to 6 hex digits of a character"));
            };
            self.at += digits.len() + 1;
            return Ok(());
        }
        match self.peek() {
            Some(c) if "\"\\bfnrts".contains(c) => self.step(),
            Some(c) if is_space(c) || is_newline(c) => self.skip_while(|c| is_space(c) || is_newline(c)),
            _ => {
                return Err(Fault::syntax(start, "the string holds an escape that KDL does not have")
                    .help("there are \\\" \\\\ \\b \\f \\n \\r \\s \\t and \\u{…}; a raw string #\"…\"# needs none"));
            }
        }
        Ok(())
    }

    fn eat_raw(&mut self, start: usize) -> Scan<()> {
        self.skip_while(|c| c == '#');
        let hashes = &self.text[start..self.at];
        if self.looks_at("\"\"\"") && self.rest()[3..].starts_with(is_newline) {
            self.at += 3;
            return self.eat_multi_line(start, &format!("\"\"\"{hashes}"), false);
        }
        self.step();
        let (body, close) = (self.at, format!("\"{hashes}"));
        loop {
            match self.peek() {
                _ if self.looks_at(&close) => break,
                Some(c) if is_disallowed(c) => return Err(disallowed(self.at, c)),
                Some(c) if !is_newline(c) => self.step(),
                _ => return Err(Fault::syntax(start, "the raw string is not closed on its line")),
            }
        }
        if &self.text[body..self.at] == "\"" {
            return Err(Fault::syntax(start, "a raw string of one quote looks like the beginning of a longer one")
                .help("write \"\\\"\""));
        }
        self.at += close.len();
        Ok(())
    }

    /// The rest of a string over several lines, after its opening quotes.
    fn eat_multi_line(&mut self, start: usize, close: &str, escapes: bool) -> Scan<()> {
        if !self.eat_newline() {
            return Err(Fault::syntax(start, "a new line must follow the opening \"\"\""));
        }
        let mut lines = Vec::new();
        let indent = loop {
            let line = self.at;
            if self.eat_line_of_string(start, close, escapes)? {
                break &self.text[line..self.at - close.len()];
            }
            lines.push((line, self.text[line..self.at].trim_end_matches(is_newline)));
        };
        if !indent.chars().all(is_space) {
            return Err(Fault::syntax(start, "the closing quotes of the string must stand on a line of their own"));
        }
        match lines.iter().find(|(_, line)| !line.starts_with(indent) && !line.chars().all(is_space)) {
            Some((at, _)) => Err(Fault::syntax(*at, "the line must begin with the same space as the closing quotes")),
            None => Ok(()),
        }
    }

    /// One line of such a string with its line end; `true` when it ended with the closing quotes instead.
    fn eat_line_of_string(&mut self, start: usize, close: &str, escapes: bool) -> Scan<bool> {
        loop {
            match self.peek() {
                _ if self.eat(close) => return Ok(true),
                _ if self.eat_newline() => return Ok(false),
                Some('\\') if escapes => {
                    let at = self.at;
                    self.eat_escape()?;
                    if self.text[at + 1..self.at].starts_with(|c| is_space(c) || is_newline(c)) {
                        return Err(Fault::syntax(
                            at,
                            "escaped white space is not supported in strings over several lines",
                        ));
                    }
                }
                Some(c) if is_disallowed(c) => return Err(disallowed(self.at, c)),
                Some(_) => self.step(),
                None => return Err(Fault::syntax(start, "the string is not closed")),
            }
        }
    }
}

pub(crate) fn unexpected(at: usize, found: Option<char>) -> Fault {
    match found {
        None => Fault::syntax(at, "the text ends too early"),
        Some(c) if is_disallowed(c) => disallowed(at, c),
        Some(c) if c.is_control() => Fault::syntax(at, format!("the character U+{:04X} is unexpected here", c as u32)),
        Some(c) => Fault::syntax(at, format!("'{c}' is unexpected here")),
    }
}

fn disallowed(at: usize, c: char) -> Fault {
    Fault::syntax(at, format!("the character U+{:04X} is not allowed", c as u32))
        .help("in a quoted string it can be written as \\u{…}")
}

fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let radix = |prefix: [&str; 2], radix| {
        let digits = prefix.into_iter().find_map(|p| unsigned.strip_prefix(p))?;
        let valid =
            digits.starts_with(|c: char| c.is_digit(radix)) && i128::from_str_radix(&plain(digits), radix).is_ok();
        Some(valid)
    };
    let radixes = [radix(["0x", "0X"], 16), radix(["0o", "0O"], 8), radix(["0b", "0B"], 2)];
    if let Some(valid) = radixes.into_iter().flatten().next() {
        return valid;
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    [Some(whole), fraction, exponent].into_iter().flatten().all(is_decimal)
}

fn is_decimal(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    digits && text.starts_with(|c: char| c.is_ascii_digit()) && plain(text).parse::<i128>().is_ok()
}

fn plain(digits: &str) -> String {
    // A sign in the middle must not survive into the conversion, which would accept one at the front.
    digits.replace('_', "").replace(['+', '-'], "?")
}

fn clip(word: &str) -> String {
    let mut short: String = word.chars().take(40).collect();
    if short.len() < word.len() {
        short.push('…');
    }
    short
}
