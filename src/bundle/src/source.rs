//! A configuration as a KDL document whose nodes know their places.

use crate::position::Lines;
use crate::problem::Problem;
use kdl::{KdlDocument, KdlNode};
use std::collections::HashMap;

/// Line and column, both from 1; the column in characters.
pub(crate) type Place = (u32, u32);

/// Messages name few things; the rest of a longer one is a list of what is allowed.
const QUOTES_MAX: usize = 8;

/// `text` must have passed the guard.
pub(crate) fn parse(text: &str) -> Result<KdlDocument, Vec<Problem>> {
    let error = match text.parse::<KdlDocument>() {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    let lines = Lines::new(text);
    let problem = |diagnostic: &kdl::KdlDiagnostic| {
        let message = diagnostic.message.as_deref().unwrap_or("the text is not valid KDL");
        let problem = Problem::new("syntax", message).at(lines.place(diagnostic.span.offset()));
        diagnostic.help.iter().fold(problem, Problem::help)
    };
    let problems: Vec<_> = error.diagnostics.iter().take(crate::problem::PROBLEMS_MAX).map(problem).collect();
    Err(if problems.is_empty() { vec![Problem::new("syntax", "the text is not valid KDL")] } else { problems })
}

pub(crate) struct Source<'d> {
    lines: Lines<'d>,
    document: &'d KdlDocument,
    nodes: Vec<(&'d KdlNode, Option<&'d KdlNode>)>,
    /// The first of each kind and id.
    by_id: HashMap<(&'d str, &'d str), &'d KdlNode>,
}

impl<'d> Source<'d> {
    /// `document` is what `text` was parsed to.
    pub(crate) fn new(text: &'d str, document: &'d KdlDocument) -> Source<'d> {
        let mut nodes = Vec::new();
        for node in document.nodes() {
            collect(node, None, &mut nodes);
        }
        let mut by_id = HashMap::new();
        for (node, _) in &nodes {
            if let Some(id) = first_text(node) {
                by_id.entry((node.name().value(), id)).or_insert(*node);
            }
        }
        Source { lines: Lines::new(text), document, nodes, by_id }
    }

    pub(crate) fn top(&self) -> &'d [KdlNode] {
        self.document.nodes()
    }

    /// Every node with the one around it, in the order of the file.
    pub(crate) fn nodes(&self) -> &[(&'d KdlNode, Option<&'d KdlNode>)] {
        &self.nodes
    }

    /// Where the node's name is.
    pub(crate) fn place(&self, node: &KdlNode) -> Place {
        self.lines.place(node.name().span().offset())
    }

    /// The first `kind "id"`.
    pub(crate) fn find(&self, kind: &str, id: &str) -> Option<&'d KdlNode> {
        self.by_id.get(&(kind, id)).copied()
    }

    /// The place that a message of the library speaks of: of the first thing in single quotes that names a node, by kind and
    /// id ("Route 'api' …"), else by id, else by its name; and within that node, of what the rest of the message names.
    pub(crate) fn mentioned(&self, message: &str) -> Option<Place> {
        let parts: Vec<&str> = message.split('\'').take(QUOTES_MAX).collect();
        let (at, outer) = (1..parts.len()).step_by(2).find_map(|at| {
            let kind = parts[at - 1].split_whitespace().next_back().unwrap_or("").to_lowercase();
            let nodes = || self.nodes.iter().map(|(node, _)| *node);
            let found = self.find(&kind, parts[at]);
            let found = found.or_else(|| nodes().find(|node| first_text(node) == Some(parts[at])));
            let found = found.or_else(|| nodes().find(|node| node.name().value() == parts[at]));
            found.map(|node| (at, node))
        })?;
        let mut within = Vec::new();
        children(outer).iter().for_each(|node| collect(node, None, &mut within));
        let inner = (at + 2..parts.len()).step_by(2).find_map(|at| {
            let named = |node: &&KdlNode| node.name().value() == parts[at] || first_text(node) == Some(parts[at]);
            within.iter().map(|(node, _)| *node).find(named)
        });
        Some(self.place(inner.unwrap_or(outer)))
    }
}

/// The node's first argument, if that is a text.
pub(crate) fn first_text(node: &KdlNode) -> Option<&str> {
    node.entries().iter().find(|entry| entry.name().is_none()).and_then(|entry| entry.value().as_string())
}

/// The node's child of that name.
pub(crate) fn child<'n>(node: &'n KdlNode, name: &str) -> Option<&'n KdlNode> {
    node.children().and_then(|block| block.get(name))
}

/// What is in the node's block.
pub(crate) fn children(node: &KdlNode) -> &[KdlNode] {
    node.children().map(KdlDocument::nodes).unwrap_or_default()
}

// Recursion is as deep as the blocks, which the guard bounds.
fn collect<'d>(node: &'d KdlNode, parent: Option<&'d KdlNode>, found: &mut Vec<(&'d KdlNode, Option<&'d KdlNode>)>) {
    found.push((node, parent));
    for inner in children(node) {
        collect(inner, Some(node), found);
    }
}
