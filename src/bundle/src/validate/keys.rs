//! Settings that no part of the proxy reads: misspelt, misplaced, or run together with another on one line. The proxy
//! ignores them in silence, so that a limit or a protection that was written down does not exist.

use super::Findings;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::source::{Place, Source};
use std::collections::HashMap;
use zentinel_config::validate::ValidationResult;
use zentinel_config::validate::unknown_keys::check_unknown_keys;

const COMMAND_KEYS: [&str; 4] = ["command", "args", "env", "working-dir"];
/// How far a name may be from a known one to be that one, misspelt. The documentation of the proxy itself, in places, has
/// settings that it does not know; those are further away.
const TYPO_DISTANCE_MAX: usize = 2;

/// Misspelt, misplaced and swallowed settings are errors; those that the proxy does not have at all are warnings.
pub(super) fn check(text: &str, source: &Source<'_>, findings: &mut Findings) {
    findings.errors.extend(commands(source));
    let mut result = ValidationResult::new();
    check_unknown_keys(text, &mut result);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for warning in &result.warnings {
        let message = warning.message.as_str();
        let list = if is_mistake(message) { &mut findings.errors } else { &mut findings.warnings };
        let repeat = seen.entry(message).or_default();
        if list.len() <= PROBLEMS_MAX {
            let place = place(message, *repeat, source);
            list.push(Problem::new("unknown_setting", message).at(place));
        }
        *repeat += 1;
    }
}

/// As opposed to a setting of another proxy, or of another version of this one.
fn is_mistake(message: &str) -> bool {
    if !message.contains("is not a setting in") {
        return true;
    }
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let suggested = || message.contains("Did you mean").then(|| message.rsplit('\'').nth(1)).flatten();
    quoted.next().zip(suggested()).is_some_and(|(key, known)| strsim::osa_distance(key, known) <= TYPO_DISTANCE_MAX)
}

/// The proxy ignores these, but its launcher runs them on the node.
fn commands(source: &Source<'_>) -> Vec<Problem> {
    let within_agent = |parent: Option<&kdl::KdlNode>| parent.is_some_and(|parent| parent.name().value() == "agent");
    let found = source.nodes().iter().filter(|(node, parent)| {
        let name = node.name().value();
        within_agent(*parent) && (COMMAND_KEYS.contains(&name) || name.starts_with("restart-"))
    });
    let problem = |node: &kdl::KdlNode| {
        let message =
            format!("{} in an agent makes the launcher of the proxy run a program on the node", node.name().value());
        Problem::new("agent_command", message)
            .at(source.place(node))
            .help("start the agent by other means, and remove it here")
    };
    found.take(PROBLEMS_MAX).map(|(node, _)| problem(node)).collect()
}

/// Where the setting is that `message` names first; the same message can come several times, in the order of the file.
fn place(message: &str, repeat: usize, source: &Source<'_>) -> Option<Place> {
    let parts: Vec<&str> = message.split('\'').collect();
    let (key, blocks) = (parts.get(1)?, parts.get(2..)?);
    // A setting that the line of another swallowed is an argument there, not a node.
    let swallowed = message.contains("read as an argument");
    let found = source.nodes().iter().filter(|(node, parent)| {
        if swallowed {
            let holds = node.entries().iter().any(|entry| entry.value().as_string() == Some(key));
            blocks.contains(&node.name().value()) && holds
        } else {
            node.name().value() == *key && parent.is_some_and(|parent| blocks.contains(&parent.name().value()))
        }
    });
    found.map(|(node, _)| source.place(node)).nth(repeat)
}
