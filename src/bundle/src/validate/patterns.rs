//! Regular expressions. The proxy compiles them when it starts; one that does not compile stops it, and at a reload leaves
//! it with the old routes and the new upstreams.

use crate::problem::Problem;
use crate::source::{Source, child, children, first_text};
use regex::RegexBuilder;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use zentinel_config::{Config, MatchCondition, RouteConfig};

/// The proxy's own limit, which is that of the library.
const COMPILED_BYTES_MAX: usize = 10 * 1024 * 1024;
/// For all of them; the start of the proxy takes as long.
const TIME_MAX: Duration = Duration::from_secs(20);

pub(super) fn check(config: &Config, source: &Source<'_>) -> Vec<Problem> {
    let mut judged: HashMap<&str, Option<String>> = HashMap::new();
    let mut found = Vec::new();
    let start = Instant::now();
    for route in routes(config) {
        for condition in &route.matches {
            let MatchCondition::PathRegex(pattern) = condition else { continue };
            if start.elapsed() > TIME_MAX {
                let message =
                    format!("the regular expressions take more than {} seconds to compile", TIME_MAX.as_secs());
                found.push(Problem::new("too_slow", message).at(place(route, pattern, source)));
                return found;
            }
            if let Some(error) = judged.entry(pattern).or_insert_with(|| judge(pattern)) {
                let message = format!("the regular expression of route '{}' is not usable: {error}", route.id);
                found.push(Problem::new("invalid_regex", message).at(place(route, pattern, source)));
            }
        }
    }
    found
}

fn routes(config: &Config) -> impl Iterator<Item = &RouteConfig> {
    let namespaces = config.namespaces.iter();
    let inner =
        namespaces.flat_map(|ns| ns.routes.iter().chain(ns.services.iter().flat_map(|service| &service.routes)));
    config.routes.iter().chain(inner)
}

fn judge(pattern: &str) -> Option<String> {
    match RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build() {
        Ok(_) => None,
        Err(regex::Error::Syntax(text)) => {
            Some(text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned())
        }
        Err(regex::Error::CompiledTooBig(bytes)) => Some(format!("it compiles to more than {bytes} bytes")),
        Err(error) => Some(error.to_string()),
    }
}

fn place(route: &RouteConfig, pattern: &str, source: &Source<'_>) -> Option<(u32, u32)> {
    let node = source.find("route", &route.id)?;
    let conditions = child(node, "matches").map(children).unwrap_or_default();
    let found = conditions.iter().find(|n| n.name().value() == "path-regex" && first_text(n) == Some(pattern));
    Some(source.place(found.unwrap_or(node)))
}
