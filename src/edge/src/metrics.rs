//! `/metrics`. Labels come from the table of routes, never from a request, so that their number is fixed.

use contract::{Limiter, ROUTES, Route};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::time::Duration;

type Labels = [(&'static str, &'static str); 3];
type RouteLabels = [(&'static str, &'static str); 2];
type ClassLabels = [(&'static str, &'static str); 1];

const DURATIONS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    limited: Family<ClassLabels, Counter>,
    open_connections: Gauge,
    position: Gauge,
    waiting: Gauge,
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
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("pilothouse");
        let requests = Family::<Labels, Counter>::default();
        let durations = Family::<RouteLabels, Histogram>::new_with_constructor(|| Histogram::new(DURATIONS_S));
        let limited = Family::<ClassLabels, Counter>::default();
        let (open_connections, position, waiting) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("http_requests", "Requests by route, method and class of status", requests.clone());
        let help = "Time from a request's head to its answer's";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations.clone());
        registry.register("http_rate_limited", "Requests refused because a bucket was empty", limited.clone());
        registry.register("http_open_connections", "Open connections of both listeners", open_connections.clone());
        registry.register("views_position", "The newest fact that this replica's views hold", position.clone());
        registry.register("nodes_waiting", "Nodes that wait for an offer", waiting.clone());
        registry.register(
            "build",
            "The version that runs",
            prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        Metrics { registry, requests, durations, limited, open_connections, position, waiting }
    }

    pub fn route(&self, route: &Route) -> Arc<RouteMeter> {
        self.meter(route.path, route.method.as_str())
    }

    /// For requests that no route serves.
    pub fn unmatched(&self) -> Arc<RouteMeter> {
        self.meter("unmatched", "any")
    }

    pub fn limited(&self, class: Limiter) {
        let class = match class {
            Limiter::None => "none",
            Limiter::Registration => "registration",
            Limiter::Node => "node",
            Limiter::Api => "api",
        };
        self.limited.get_or_create(&[("class", class)]).inc();
    }

    /// Counts a connection for as long as the answer lives.
    pub fn connection(&self) -> OpenConnection {
        self.open_connections.inc();
        OpenConnection(self.open_connections.clone())
    }

    pub fn waiting(&self, nodes: usize) {
        self.waiting.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    pub fn text(&self, position: u64) -> String {
        self.position.set(i64::try_from(position).unwrap_or(i64::MAX));
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

pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_route_method_and_class() {
        let metrics = Metrics::new();
        let meter = metrics.route(&ROUTES[0]);
        meter.observe(200, Duration::from_millis(2));
        meter.observe(999, Duration::from_millis(2));
        let open = metrics.connection();
        let text = metrics.text(7);
        for line in [
            r#"pilothouse_http_requests_total{method="GET",route="/health",status="2xx"} 1"#,
            r#"pilothouse_http_requests_total{method="GET",route="/health",status="5xx"} 1"#,
            r#"pilothouse_http_request_duration_seconds_count{method="GET",route="/health"} 2"#,
            "pilothouse_http_open_connections 1",
            "pilothouse_views_position 7",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        drop(open);
        assert!(metrics.text(7).contains("pilothouse_http_open_connections 0"));
    }
}
