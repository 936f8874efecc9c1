use super::*;
use control::StoreMetrics;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# Metrics

Every replica serves what it sees itself at `/metrics`, in the text format of OpenMetrics 1.0. Units are seconds and bytes;
counters end in `_total`. Label values come from the lists below, so that the number of series is fixed; ids, names and secrets
are never labels. `route` is a path of `/api/openapi.json`, or `unmatched` for requests that no path serves; `status` is a class
such as `2xx`.

Gauges of the fleet are equal on all replicas that are caught up: show one of them (`max`), do not add them.

This file is generated from `src/edge/src/metrics.rs` (`UPDATE=1 cargo test -p edge metrics`).

| name | type | labels | meaning |
|---|---|---|---|
";

/// A family as its text describes it.
#[derive(Default)]
struct Described {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

fn families(text: &str) -> BTreeMap<String, Described> {
    let mut families: BTreeMap<String, Described> = BTreeMap::new();
    let mut newest = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            newest = name.to_owned();
            families.entry(newest.clone()).or_default().help = help.trim_end_matches('.').to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.rsplit_once("\"}").map_or("", |(labels, _)| labels);
            for pair in labels.split("\",").filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once("=\"").unwrap_or((pair, ""));
                let family = families.entry(newest.clone()).or_default();
                family.labels.entry(name.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    families
}

/// All values, but where the table of routes or the release gives them.
fn shown(name: &str, values: &BTreeSet<String>) -> String {
    let listed: Vec<&str> = values.iter().map(String::as_str).collect();
    match name {
        "route" | "status" if listed.contains(&"unmatched") || listed.contains(&"2xx") => format!("`{name}`"),
        "version" | "method" => format!("`{name}`"),
        _ => format!("`{name}`: {}", listed.join(", ")),
    }
}

fn document(text: &str) -> String {
    let mut document = HEAD.to_owned();
    for (name, family) in families(text) {
        let name = match family.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        let labels = family.labels.iter().filter(|(name, _)| *name != "le");
        let labels: Vec<String> = labels.map(|(name, values)| shown(name, values)).collect();
        let (kind, labels, help) = (family.kind, labels.join("; "), family.help);
        writeln!(document, "| `{name}` | {kind} | {labels} | {help} |").expect("writing to a string does not fail");
    }
    document
}

fn full() -> Metrics {
    let metrics = Metrics::new(&StoreMetrics::default());
    for route in ROUTES {
        metrics.route(route);
    }
    metrics.unmatched();
    metrics
}

#[test]
fn a_request_is_counted_by_route_method_and_class() {
    let metrics = Metrics::new(&StoreMetrics::default());
    let meter = metrics.route(&ROUTES[0]);
    meter.observe(200, Duration::from_millis(2));
    meter.observe(999, Duration::from_millis(2));
    metrics.dropped(Dropped::SlowHead);
    let open = metrics.connection(Scheme::Https);
    let text = metrics.text();
    for line in [
        r#"pilothouse_http_requests_total{method="GET",route="/health",status="2xx"} 1"#,
        r#"pilothouse_http_requests_total{method="GET",route="/health",status="5xx"} 1"#,
        r#"pilothouse_http_request_duration_seconds_count{method="GET",route="/health"} 2"#,
        r#"pilothouse_http_connections_dropped_total{reason="slow_head"} 1"#,
        r#"pilothouse_http_connections_dropped_total{reason="tls"} 0"#,
        r#"pilothouse_http_connections_total{scheme="https"} 1"#,
        "pilothouse_http_open_connections 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    drop(open);
    assert!(metrics.text().contains("pilothouse_http_open_connections 0"));
}

#[test]
fn names_follow_the_conventions() {
    for (name, family) in families(&full().text()) {
        assert!(name.starts_with("pilothouse_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert!(!name.contains("millis") && !name.ends_with("_ms") && !name.ends_with("_kb"), "{name}: base units");
        assert!(
            !name.ends_with("_count") && !name.ends_with("_sum") && !name.ends_with("_bucket"),
            "{name} is reserved"
        );
        assert_eq!(family.kind == "histogram", name.ends_with("_seconds"), "{name}");
        assert!(!family.help.is_empty(), "{name}");
    }
}

#[test]
fn the_document_is_what_is_served() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let expected = document(&full().text());
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &expected)?;
    }
    let kept = std::fs::read_to_string(&path)?;
    anyhow::ensure!(
        kept == expected,
        "docs/metrics.md is not what is served: UPDATE=1 cargo test -p edge metrics rewrites it"
    );
    Ok(())
}
