//! What the proxy accepts and then does differently from what is written. All warnings: such configurations run today.

use super::Findings;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::source::{Source, child, children, first_text};
use kdl::KdlNode;
use std::net::SocketAddr;

/// The values that the proxy knows; any other means the last column to it.
const CLOSED_VALUES: [(&str, &str, &[&str], &str); 5] = [
    ("route", "priority", &["low", "normal", "high", "critical"], "normal"),
    (
        "route",
        "builtin-handler",
        &[
            "status",
            "health",
            "metrics",
            "not-found",
            "not_found",
            "config",
            "upstreams",
            "cache-purge",
            "cache_purge",
            "cache-stats",
            "cache_stats",
        ],
        "no handler, and the route answers 500",
    ),
    (
        "upstream",
        "load-balancing",
        &[
            "round_robin",
            "roundrobin",
            "least_connections",
            "leastconnections",
            "weighted",
            "weighted_round_robin",
            "weighted-round-robin",
            "ip_hash",
            "iphash",
            "random",
            "consistent_hash",
            "consistenthash",
            "power_of_two_choices",
            "p2c",
            "adaptive",
            "least_tokens_queued",
            "leasttokensqueued",
            "least_tokens",
            "maglev",
            "locality_aware",
            "localityaware",
            "locality",
            "peak_ewma",
            "peakewma",
            "ewma",
            "deterministic_subset",
            "subset",
            "subsetting",
            "weighted_least_connections",
            "weighted_least_conn",
            "wlc",
            "sticky",
            "sticky_session",
            "stickysession",
        ],
        "round_robin",
    ),
    ("filter", "on-limit", &["reject", "delay", "log-only"], "reject"),
    ("agent", "failure-mode", &["open", "closed"], "open"),
];

/// Conditions of which a route can meet one only, since all of a route's conditions must hold.
const SINGLE_CONDITIONS: [&str; 4] = ["path", "path-prefix", "path-regex", "method"];

pub(super) fn check(source: &Source<'_>, findings: &mut Findings) {
    for &(node, parent) in source.nodes() {
        if findings.warnings.len() > PROBLEMS_MAX {
            return;
        }
        let mut found = Vec::new();
        let parent = parent.map(|parent| parent.name().value());
        match (node.name().value(), parent) {
            ("listener", _) => listener(node, &mut found),
            ("matches", Some("route")) => conditions(node, &mut found),
            ("filter", Some("filters")) => filter(node, &mut found),
            ("agent", Some("agents")) => agent(node, &mut found),
            ("expected-status", _) => expected_status(node, &mut found),
            _ => {}
        }
        closed_values(node, &mut found);
        negative(node, &mut found);
        let placed = found.into_iter().map(|(at, problem)| problem.at(source.place(at)));
        findings.warnings.extend(placed);
    }
}

type Found<'n> = Vec<(&'n KdlNode, Problem)>;

fn listener<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    if let Some(address) = child(node, "address")
        && let Some(text) = first_text(address)
        && text.parse::<SocketAddr>().is_err()
    {
        let message = format!("'{text}' is not a socket address: the proxy starts and serves nothing there");
        let problem =
            Problem::new("listener_address", message).help("write IP:PORT, such as 0.0.0.0:8080 or [::]:8080");
        found.push((address, problem));
    }
    if let Some(ignored) = child(node, "default-route") {
        found.push((ignored, Problem::new("setting_ignored", "the proxy ignores default-route and answers 404")));
    }
}

fn conditions<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    for name in SINGLE_CONDITIONS {
        if let Some(second) = children(node).iter().filter(|n| n.name().value() == name).nth(1) {
            let message = format!("a request must meet all conditions of a route, and it never meets two of {name}");
            found.push((second, Problem::new("never_matches", message).help("make a route for each")));
        }
    }
    for condition in children(node) {
        match condition.name().value() {
            "query-param" => {
                found.push((condition, Problem::new("never_matches", "query-param conditions never match")));
            }
            "method" if condition.entries().len() > 1 => {
                let message = "only the first method of the condition counts";
                found.push((condition, Problem::new("setting_ignored", message).help("make a route for each")));
            }
            _ => {}
        }
    }
}

fn filter<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    match child(node, "type").and_then(first_text) {
        Some("compress") => {
            let message = "the compress filter panics on every answer that is large enough for it";
            found.push((node, Problem::new("breaks_requests", message)));
        }
        Some("cors") => {
            if let Some(option) = children(node).iter().find(|n| n.name().value() != "type") {
                let message = "the options of a cors filter are ignored: it allows every origin";
                found.push((option, Problem::new("setting_ignored", message)));
            }
        }
        _ => {}
    }
}

fn agent<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    if child(node, "failure-mode").is_none() {
        let message = "without a failure-mode, requests pass while the agent is down";
        found.push((
            node,
            Problem::new("fails_open", message).help("say failure-mode \"closed\", or \"open\" if that is meant"),
        ));
    }
}

fn expected_status<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    if node.entries().first().is_some_and(|entry| entry.value().is_integer()) {
        let message = "expected-status is read as a text only: this number counts as 200";
        found.push((node, Problem::new("setting_ignored", message).help("put it in quotes")));
    }
}

fn closed_values<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    for (block, setting, known, instead) in CLOSED_VALUES {
        if node.name().value() != block {
            continue;
        }
        let Some(setting) = child(node, setting) else { continue };
        if let Some(value) = first_text(setting)
            && !known.contains(&value.to_lowercase().as_str())
        {
            let message = format!("'{value}' is unknown to the proxy, which takes it for {instead}");
            found.push((setting, Problem::new("setting_ignored", message)));
        }
    }
}

/// Numbers are taken as unsigned ones, so that -1 becomes the largest of all. A priority may be negative.
fn negative<'n>(node: &'n KdlNode, found: &mut Found<'n>) {
    let number = node.entries().first().and_then(|entry| entry.value().as_integer());
    if number.is_some_and(i128::is_negative) && node.name().value() != "priority" {
        let message = format!("{} is negative, which the proxy takes for a very large number", node.name().value());
        found.push((node, Problem::new("negative_number", message)));
    }
}
