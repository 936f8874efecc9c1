//! What stands between a stranger's text and the parser: a complete recogniser of KDL that needs no stack.
//!
//! The parser recurses on blocks, on comments within comments, on every `*` of a comment and on every stray `}`; it searches
//! the whole rest of the text for the end of each unclosed raw string; and every `/-` around a block doubles its work. So it
//! is given only texts that are valid KDL and whose nesting is bounded. Linear in the text, without recursion.
//!
//! Deviations from KDL 2, all refusals: white space escapes in strings over several lines, a `;` after a node that `/-`
//! switches off, and the bounds below.

mod cursor;
#[cfg(test)]
mod tests;
mod tokens;

use crate::Limits;
use crate::position::Lines;
use crate::problem::Problem;
use cursor::{Cursor, Fault, Scan};
use tokens::unexpected;

/// No setting can raise the nesting above this; the validator's stack holds thirty times as much.
const NESTING_CEILING: usize = 64;
/// How many `/-` may be open at one place; each doubles the parser's work on what is inside.
const SLASHDASH_NESTING_MAX: usize = 3;
/// The library compares an unknown name with all known ones, at a price that grows with its length.
const NODE_NAME_BYTES_MAX: usize = 1_024;

/// The first reason not to hand `source` to the parser.
pub(crate) fn check(source: &str, limits: &Limits) -> Result<(), Problem> {
    if source.len() > limits.source_bytes_max {
        let (bytes, max) = (source.len(), limits.source_bytes_max);
        return Err(Problem::new("too_large", format!("the configuration has {bytes} bytes, more than {max}")));
    }
    scan(source, limits.nesting_max.min(NESTING_CEILING)).map_err(|fault| {
        let problem = Problem::new(fault.code, fault.message).at(Lines::new(source).place(fault.offset));
        fault.help.into_iter().fold(problem, Problem::help)
    })
}

/// How many `/-` are around a node, and around what is in its block.
#[derive(Clone, Copy)]
struct Node {
    outside: usize,
    own: usize,
}

/// A block whose `}` has not come yet.
struct Open {
    /// Where its `{` is.
    offset: usize,
    /// Belongs to the node, as opposed to one that `/-` takes away.
    real: bool,
    node: Node,
}

/// What the part of a node that was read last allows next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Anything,
    /// A block that `/-` takes away was read: only blocks may follow.
    Blocks,
    /// The node's block was read: only blocks that `/-` takes away may follow.
    DashedBlocks,
}

struct Scanner<'s> {
    cursor: Cursor<'s>,
    nesting_max: usize,
    open: Vec<Open>,
    /// How many `/-` are around the current place.
    dashed: usize,
}

fn scan(source: &str, nesting_max: usize) -> Scan<()> {
    let cursor = Cursor::new(source, nesting_max);
    let mut scanner = Scanner { cursor, nesting_max, open: Vec::new(), dashed: 0 };
    scanner.cursor.eat("\u{feff}");
    while let Some((allowed, node)) = scanner.next_node()? {
        scanner.rest_of_node(allowed, node)?;
    }
    match scanner.open.last() {
        Some(open) => Err(Fault::syntax(open.offset, "the block is not closed").help("a } is missing")),
        None => Ok(()),
    }
}

impl Scanner<'_> {
    /// Reads the name of the next node, or the `}` that continues the node around. `None` at the end of the text.
    fn next_node(&mut self) -> Scan<Option<(Allowed, Node)>> {
        self.cursor.eat_line_space()?;
        let at = self.cursor.at;
        let mut node = Node { outside: self.dashed, own: self.dashed };
        match self.cursor.peek() {
            None => return Ok(None),
            Some('}') => return self.close().map(Some),
            Some('/') if self.cursor.eat("/-") => {
                node.own = dash(node.outside, at)?;
                self.cursor.eat_line_space()?;
            }
            _ => {}
        }
        self.node_name()?;
        Ok(Some((Allowed::Anything, node)))
    }

    fn node_name(&mut self) -> Scan<()> {
        if self.cursor.looks_at("{") {
            return Err(Fault::syntax(self.cursor.at, "a block stands where the name of a node must be"));
        }
        self.annotation()?;
        let at = self.cursor.at;
        if !self.cursor.eat_string()? {
            return Err(match self.cursor.peek() {
                Some(c) if c.is_ascii_digit() || "+-.#".contains(c) => {
                    Fault::syntax(at, "a value stands where the name of a node must be")
                }
                found => unexpected(at, found),
            });
        }
        if self.cursor.at - at > NODE_NAME_BYTES_MAX {
            return Err(Fault::syntax(at, format!("the name is longer than {NODE_NAME_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// `(type)` with the space after it, if there is one.
    fn annotation(&mut self) -> Scan<bool> {
        let at = self.cursor.at;
        if !self.cursor.eat("(") {
            return Ok(false);
        }
        self.cursor.eat_node_space()?;
        let named = self.cursor.eat_string()?;
        self.cursor.eat_node_space()?;
        if !named || !self.cursor.eat(")") {
            return Err(Fault::syntax(at, "the type in parentheses must be one name"));
        }
        self.cursor.eat_node_space()?;
        Ok(true)
    }

    /// Reads arguments, properties and blocks up to the end of the node, or into its next block.
    fn rest_of_node(&mut self, allowed: Allowed, node: Node) -> Scan<()> {
        loop {
            let spaced = self.cursor.eat_node_space()?;
            let at = self.cursor.at;
            match self.cursor.peek() {
                None | Some('}') => break,
                Some('{') if allowed != Allowed::DashedBlocks => return self.enter(true, node.own, node),
                Some('/') if self.cursor.looks_at("//") => break,
                Some('/') if self.cursor.eat("/-") => {
                    self.cursor.eat_line_space()?;
                    if self.cursor.looks_at("{") && (spaced || allowed != Allowed::Anything) {
                        let inside = dash(node.own, at)?;
                        return self.enter(false, inside, node);
                    }
                    self.entry(spaced, allowed)?;
                }
                Some(';') => {
                    if node.own > node.outside {
                        let message = "the parser does not take a ; after a node that /- switches off";
                        return Err(Fault::syntax(at, message).help("begin a new line instead"));
                    }
                    self.cursor.step();
                    break;
                }
                Some(_) if self.cursor.eat_newline() => break,
                Some(_) => self.entry(spaced, allowed)?,
            }
        }
        self.dashed = node.outside;
        Ok(())
    }

    /// An argument or a property.
    fn entry(&mut self, spaced: bool, allowed: Allowed) -> Scan<()> {
        let at = self.cursor.at;
        if allowed != Allowed::Anything {
            let message = "a block ends its node: what follows must begin on a new line or after a ;";
            return Err(Fault::syntax(at, message));
        }
        if !spaced {
            return Err(unexpected(at, self.cursor.peek()));
        }
        if self.annotation()? {
            return self.value();
        }
        if !self.cursor.eat_string()? {
            return self.cursor.eat_number_or_keyword();
        }
        let after = self.cursor.at;
        self.cursor.eat_node_space()?;
        if self.cursor.eat("=") {
            self.cursor.eat_node_space()?;
            self.annotation()?;
            return self.value();
        }
        self.cursor.at = after;
        Ok(())
    }

    fn value(&mut self) -> Scan<()> {
        if self.cursor.eat_string()? { Ok(()) } else { self.cursor.eat_number_or_keyword() }
    }

    fn enter(&mut self, real: bool, dashed_inside: usize, node: Node) -> Scan<()> {
        let offset = self.cursor.at;
        if self.open.len() == self.nesting_max {
            let message = format!("blocks are nested deeper than {} levels", self.nesting_max);
            return Err(Fault::too_deep(offset, message));
        }
        self.open.push(Open { offset, real, node });
        self.dashed = dashed_inside;
        self.cursor.step();
        Ok(())
    }

    fn close(&mut self) -> Scan<(Allowed, Node)> {
        let Some(open) = self.open.pop() else {
            return Err(Fault::syntax(self.cursor.at, "there is no block that this } could close"));
        };
        self.cursor.step();
        Ok((if open.real { Allowed::DashedBlocks } else { Allowed::Blocks }, open.node))
    }
}

/// One more `/-` around a place that has `around` of them.
fn dash(around: usize, at: usize) -> Scan<usize> {
    if around < SLASHDASH_NESTING_MAX {
        return Ok(around + 1);
    }
    let message = format!("more than {SLASHDASH_NESTING_MAX} slashdashes (/-) are around one place");
    Err(Fault::too_deep(at, message).help("remove what is switched off, or comment it out with //"))
}
