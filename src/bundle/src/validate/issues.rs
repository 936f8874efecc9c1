//! The library's own checks, its one text split into one problem each.

use crate::problem::{PROBLEMS_MAX, Problem};
use crate::source::Source;
use zentinel_config::Config;
use zentinel_config::validation::validate_config_semantics;

/// Everything that the library refuses. The references of `config` must be resolved already: for each dangling one the
/// library lists all names that exist, which for thousands of both is gigabytes.
pub(super) fn check(config: &Config, source: &Source<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(error) = config.check_schema_version().error() {
        let place = source.top().iter().find(|n| n.name().value() == "schema-version").map(|n| source.place(n));
        found.push(Problem::new("invalid", error).at(place));
    }
    if let Err(error) = config.limits.validate() {
        found.push(problem(&error.to_string(), source));
    }
    if let Err(error) = validate_config_semantics(config) {
        let text = error.message.as_deref().unwrap_or("the configuration is not valid");
        let mut issues = split(text);
        // The library keeps some things in maps without an order.
        issues.sort_unstable();
        found.extend(issues.into_iter().take(PROBLEMS_MAX + 1).map(|issue| problem(issue, source)));
    }
    if found.is_empty()
        && let Err(error) = config.validate()
    {
        found.push(problem(&error.to_string(), source));
    }
    found
}

/// The first line says what is wrong; the others, what to do.
pub(super) fn problem(text: &str, source: &Source<'_>) -> Problem {
    let text = text.trim();
    let text = text.strip_prefix("Configuration error: ").unwrap_or(text);
    let (message, help) = text.split_once('\n').unwrap_or((text, ""));
    Problem::new("invalid", message).at(source.mentioned(message)).help(help)
}

/// "Configuration has 2 issues:\n\n1. …\n\n2. …" to its issues; any other text is one issue.
fn split(text: &str) -> Vec<&str> {
    let Some((_, mut rest)) =
        text.strip_prefix("Configuration has ").and_then(|text| text.split_once(" issues:\n\n1. "))
    else {
        return vec![text];
    };
    let mut issues = Vec::new();
    for number in 2.. {
        let Some((issue, after)) = rest.split_once(&format!("\n\n{number}. ")) else { break };
        issues.push(issue);
        rest = after;
    }
    issues.push(rest);
    issues
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn several_issues_are_told_apart() {
        assert_eq!(split("Route 'a' is bad.\nHint: x"), ["Route 'a' is bad.\nHint: x"]);
        let text = "Configuration has 3 issues:\n\n1. one\nhelp\n\n2. two\n\n3. three 4. x";
        assert_eq!(split(text), ["one\nhelp", "two", "three 4. x"]);
    }
}
