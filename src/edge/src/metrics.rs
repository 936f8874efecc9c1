//! `/metrics` in the text format of OpenMetrics 1.0, names after the conventions of Prometheus. Labels come from the table of
//! routes and from enums, never from a request, so that their number is fixed: no ids, no names, no secrets. Every series is
//! there from the start, so that a rate of something rare is no gap.

mod fleet;

use crate::base_url::Scheme;
use crate::listener::Dropped;
use contract::{Limiter, ROUTES, Route};
use control::{Control, StoreMetrics};
use fleet::Fleet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::time::Duration;

type Labels = [(&'static str, &'static str); 3];
type RouteLabels = [(&'static str, &'static str); 2];
type ClassLabels = [(&'static str, &'static str); 1];

const DURATIONS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];
const LIMITED: [Limiter; 4] = [Limiter::Registration, Limiter::Node, Limiter::Enrollment, Limiter::Api];
const DROPPED: [Dropped; 5] =
    [Dropped::MalformedHead, Dropped::LargeHead, Dropped::SlowHead, Dropped::SlowReader, Dropped::Tls];
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    limited: Family<ClassLabels, Counter>,
    connections: Family<ClassLabels, Counter>,
    dropped: Family<ClassLabels, Counter>,
    open_connections: Gauge,
    fleet: Fleet,
}

/// The series of one route, looked up once.
pub(crate) struct RouteMeter {
    by_status: [Counter; 5],
    duration: Histogram,
}

impl RouteMeter {
    pub fn observe(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.by_status[class].inc();
        self.duration.observe(took.as_secs_f64());
    }
}

impl Metrics {
    pub fn new(store: &StoreMetrics) -> Metrics {
        let mut registry = Registry::with_prefix("pilothouse");
        let requests = Family::<Labels, Counter>::default();
        let durations = Family::<RouteLabels, Histogram>::new_with_constructor(|| Histogram::new(DURATIONS_S));
        let limited = Family::<ClassLabels, Counter>::default();
        let connections = Family::<ClassLabels, Counter>::default();
        let dropped = Family::<ClassLabels, Counter>::default();
        let open_connections = Gauge::default();
        registry.register("http_requests", "Requests by route, method and class of status", requests.clone());
        let help = "Time from a request's head to its answer's";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations.clone());
        registry.register("http_rate_limited", "Requests refused because a bucket was empty", limited.clone());
        registry.register("http_open_connections", "Open connections of both listeners", open_connections.clone());
        registry.register("http_connections", "Connections accepted", connections.clone());
        let help = "Connections ended before or between requests because of what the client did";
        registry.register("http_connections_dropped", help, dropped.clone());
        let fleet = Fleet::register(&mut registry);
        store.register(&mut registry);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", version);
        let metrics = Metrics { registry, requests, durations, limited, connections, dropped, open_connections, fleet };
        metrics.create_all();
        metrics
    }

    fn create_all(&self) {
        for class in LIMITED {
            drop(self.limited.get_or_create(&[("class", class_name(class))]));
        }
        for scheme in [Scheme::Http, Scheme::Https] {
            drop(self.connections.get_or_create(&[("scheme", scheme.as_str())]));
        }
        for reason in DROPPED {
            drop(self.dropped.get_or_create(&[("reason", reason_name(reason))]));
        }
    }

    pub fn route(&self, route: &Route) -> Arc<RouteMeter> {
        self.meter(route.path, route.method.as_str())
    }

    /// For requests that no route serves.
    pub fn unmatched(&self) -> Arc<RouteMeter> {
        self.meter("unmatched", "any")
    }

    pub fn limited(&self, class: Limiter) {
        self.limited.get_or_create(&[("class", class_name(class))]).inc();
    }

    pub fn dropped(&self, reason: Dropped) {
        self.dropped.get_or_create(&[("reason", reason_name(reason))]).inc();
    }

    /// Counts a connection for as long as the answer lives.
    pub fn connection(&self, scheme: Scheme) -> OpenConnection {
        self.connections.get_or_create(&[("scheme", scheme.as_str())]).inc();
        self.open_connections.inc();
        OpenConnection(self.open_connections.clone())
    }

    /// What `/metrics` says, with the fleet as `control` sees it now.
    pub fn scrape(&self, control: &Control) -> String {
        self.fleet.look(control);
        self.text()
    }

    pub fn text(&self) -> String {
        let mut text = String::with_capacity(64 * 1024 + ROUTES.len() * 64);
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }

    fn meter(&self, path: &'static str, method: &'static str) -> Arc<RouteMeter> {
        let series =
            |class| self.requests.get_or_create_owned(&[("method", method), ("route", path), ("status", class)]);
        Arc::new(RouteMeter {
            by_status: STATUS_CLASSES.map(series),
            duration: self.durations.get_or_create_owned(&[("method", method), ("route", path)]),
        })
    }
}

fn class_name(class: Limiter) -> &'static str {
    match class {
        Limiter::None => "none",
        Limiter::Registration => "registration",
        Limiter::Node => "node",
        Limiter::Enrollment => "enrollment",
        Limiter::Api => "api",
    }
}

fn reason_name(reason: Dropped) -> &'static str {
    match reason {
        Dropped::MalformedHead => "malformed_head",
        Dropped::LargeHead => "large_head",
        Dropped::SlowHead => "slow_head",
        Dropped::SlowReader => "slow_reader",
        Dropped::Tls => "tls",
    }
}

pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
