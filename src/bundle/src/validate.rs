//! What the proxy would say of a configuration, and what it would not say but suffer from.
//!
//! Absent: this machine. Paths that must exist are demanded of the node, in warnings, and are not looked at here.

mod issues;
mod keys;
mod machine;
mod patterns;
mod references;
mod traps;

use crate::problem::{PROBLEMS_MAX, Problem};
use crate::source::{self, Source};
use zentinel_config::Config;

/// Not bounded in number yet.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Any of them refuses the configuration.
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// `text` must have passed the guard. May panic where the library does.
pub(crate) fn validate(text: &str) -> Findings {
    // The library logs each finding; they are answered, and a stranger's text does not belong into the log.
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || examine(text))
}

fn examine(text: &str) -> Findings {
    let mut findings = Findings::default();
    let document = match source::parse(text) {
        Ok(document) => document,
        Err(errors) => return Findings { errors, ..findings },
    };
    let source = Source::new(text, &document);
    findings.errors.extend(includes(&source));
    keys::check(text, &source, &mut findings);
    traps::check(&source, &mut findings);
    if findings.errors.iter().any(|problem| problem.code == "include") {
        return findings;
    }
    match Config::from_kdl(text) {
        Ok(config) => examine_config(config, &source, &mut findings),
        Err(error) => findings.errors.push(issues::problem(&error.to_string(), &source)),
    }
    findings
}

fn examine_config(mut config: Config, source: &Source<'_>, findings: &mut Findings) {
    let advice = zentinel_config::validate::lint::lint_config(&config);
    findings.errors.extend(patterns::check(&config, source));
    findings.warnings.extend(machine::detach(&mut config, source));
    references::check(&mut config, source, findings);
    findings.errors.extend(issues::check(&config, source));
    // Advice never displaces a warning; it comes out of maps without an order.
    let room = PROBLEMS_MAX.saturating_sub(findings.warnings.len());
    let mut advice: Vec<&str> = advice.warnings.iter().map(|warning| warning.message.as_str()).collect();
    advice.sort_unstable();
    let advice = advice.into_iter().take(room);
    findings.warnings.extend(advice.map(|text| Problem::new("advice", text).at(source.mentioned(text))));
}

/// The proxy replaces these by files of the node, which nobody signed.
fn includes(source: &Source<'_>) -> Vec<Problem> {
    let found = source.top().iter().filter(|node| node.name().value() == "include").take(PROBLEMS_MAX);
    let problem = |node: &kdl::KdlNode| {
        Problem::new("include", "include is not allowed: a bundle holds its whole configuration")
            .at(source.place(node))
            .help("put the text of the file in its place")
    };
    found.map(problem).collect()
}
