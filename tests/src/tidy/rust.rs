//! Just enough of Rust's grammar to tell code from comments and literals, and to find functions and modules.

/// One text twice, line for line: the code without what stands in comments and literals, and the comments without the code.
pub struct Split {
    pub code: String,
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

pub fn split(text: &str) -> Split {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while at < bytes.len() {
        let (length, kind) = token(&bytes[at..]);
        for &byte in &bytes[at..at + length] {
            let blank = if byte == b'\n' { b'\n' } else { b' ' };
            code.push(if kind == Kind::Code { byte } else { blank });
            comments.push(if kind == Kind::Comment { byte } else { blank });
        }
        at += length;
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Split { code: text(code), comments: text(comments) }
}

fn token(rest: &[u8]) -> (usize, Kind) {
    if rest.starts_with(b"//") {
        return (rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with(b"/*") {
        return (block_comment(rest), Kind::Comment);
    }
    if let Some(length) = raw_string(rest) {
        return (length, Kind::Literal);
    }
    match rest[0] {
        b'"' => (string(rest), Kind::Literal),
        b'\'' => character(rest).map_or((1, Kind::Code), |length| (length, Kind::Literal)),
        // A word at a time, so that the `r` at the end of one does not begin a raw string.
        byte if is_word(byte) => (rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len()), Kind::Code),
        _ => (1, Kind::Code),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        match &rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|prefix| rest.starts_with(prefix))?.len();
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let body = prefix + hashes + 1;
    if rest.get(body - 1) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let length = rest[body..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| body + length + end.len()))
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; none for the quote of a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(rest[3..].iter().position(|b| *b == b'\'')? + 4);
    }
    let width = std::str::from_utf8(&rest[1..rest.len().min(5)]).map_or_else(|e| e.valid_up_to(), str::len);
    let first = std::str::from_utf8(&rest[1..1 + width]).ok()?.chars().next()?.len_utf8();
    (rest.get(1 + first) == Some(&b'\'')).then_some(first + 2)
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// From `fn` to the closing brace.
    pub lines: usize,
}

/// All functions of a text that went through [`split`].
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let rest = &code[at + 3..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        if let Some(length) = body_end(rest) {
            let lines = rest[..length].matches('\n').count() + 1;
            found.push(Function { name, line: code[..at].matches('\n').count() + 1, lines });
        }
    }
    found
}

/// Where the body closes; none for a declaration without one.
fn body_end(rest: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (at, char) in rest.char_indices() {
        match char {
            '(' | '[' if braces == 0 => brackets += 1,
            ')' | ']' if braces == 0 => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// `mod name;`, with the place that a `#[path]` gives it.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub path: Option<String>,
    /// Compiled for tests alone.
    pub is_test: bool,
}

/// The modules that a file declares and that lie in files of their own.
pub fn modules(text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut attributes = String::new();
    let code = split(text).code;
    for (line, raw) in code.lines().zip(text.lines()) {
        if raw.starts_with("#[") {
            attributes.push_str(raw);
            continue;
        }
        let declared = line.trim_end().strip_suffix(';').and_then(|line| {
            let line =
                ["pub ", "pub(crate) ", "pub(super) "].iter().find_map(|pub_| line.strip_prefix(pub_)).unwrap_or(line);
            line.strip_prefix("mod ")
        });
        if let Some(name) = declared {
            let path = attributes.split_once("path = \"").and_then(|(_, rest)| rest.split('"').next());
            found.push(Module {
                name: name.to_owned(),
                path: path.map(str::to_owned),
                is_test: attributes.contains("cfg(test)") || attributes.contains("feature = \"testing\""),
            });
        }
        if !line.trim().is_empty() {
            attributes.clear();
        }
    }
    found
}

/// Where the tests at the end of a file begin: `#[cfg(test)]` before a module with a body.
pub fn tests_begin(code: &str) -> usize {
    let mut at = 0;
    let mut begin = None;
    for line in code.split_inclusive('\n') {
        match line.trim_end() {
            "#[cfg(test)]" => begin = Some(at),
            line if line.starts_with("#[") || line.is_empty() => {}
            line if line.starts_with("mod ") && line.ends_with('{') && begin.is_some() => break,
            _ => begin = None,
        }
        at += line.len();
    }
    begin.unwrap_or(code.len())
}

#[test]
fn literals_and_comments_are_told_from_code() {
    let text = "let a = \"// \\\" {\"; // b }\nlet c = r#\"x\" \\\"#; /* d /* e */ f */ let g = ['{', '\\'', 'ä'];\nfn h<'i>() {}";
    let split = split(text);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&split.code), "let a = ; let c = ; let g = [ , , ]; fn h<'i>() {}");
    assert_eq!(squeezed(&split.comments), "// b } /* d /* e */ f */");
    assert_eq!(split.code.lines().count(), text.lines().count());
}

#[test]
fn functions_are_measured_whole() {
    let code = "trait T { fn a(&self); }\nfn b(x: [u8; 3]) -> u8 {\n    if true {\n    }\n}\nlet c: fn (u8);\nimpl fn_like { }";
    let expected = [Function { name: "b".to_owned(), line: 2, lines: 4 }];
    assert_eq!(functions(code), expected);
}

#[test]
fn modules_are_found_with_what_they_are_for() {
    let text = "mod a;\n#[cfg(test)]\n#[allow(dead)]\nmod tests;\npub(crate) mod b;\n#[cfg(test)]\n#[path = \"x/y.rs\"]\nmod c;\nmod d {}\n";
    let module = |name: &str, path: Option<&str>, is_test| Module {
        name: name.to_owned(),
        path: path.map(str::to_owned),
        is_test,
    };
    let expected = [
        module("a", None, false),
        module("tests", None, true),
        module("b", None, false),
        module("c", Some("x/y.rs"), true),
    ];
    assert_eq!(modules(text), expected);
    assert_eq!(tests_begin("a\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[b]\nmod tests {\n}\n"), 26);
    assert_eq!(tests_begin("a\n#[cfg(test)]\nfn b() {\n}\n"), 26);
}
