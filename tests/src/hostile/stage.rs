//! A control plane with one of everything, so that a hostile request meets what a real one would.

use super::neighbour::Neighbour;
use super::raw::{Answer, talk};
use crate::harness::{Dev, Host, SAMPLE, TlsDoor};
use contract::{Access, ROUTES, Route};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// High enough that no test meets them: what is looked for lies behind the limiters.
const NO_LIMITS: [(&str, &str); 8] = [
    ("PILOTHOUSE_LIMITS_API_PER_S", "100000"),
    ("PILOTHOUSE_LIMITS_API_BURST", "1000000"),
    ("PILOTHOUSE_LIMITS_NODE_PER_S", "100000"),
    ("PILOTHOUSE_LIMITS_NODE_BURST", "1000000"),
    ("PILOTHOUSE_LIMITS_REGISTRATION_PER_S", "100000"),
    ("PILOTHOUSE_LIMITS_REGISTRATION_BURST", "1000000"),
    ("PILOTHOUSE_LIMITS_ENROLLMENT_PER_MIN", "100000"),
    ("PILOTHOUSE_LIMITS_ENROLLMENT_BURST", "1000000"),
];
/// How much the control plane may grow while it is abused, at its peak, in KiB: one parsed body for each core, the bodies that
/// arrive meanwhile, and the facts that harmless variants leave behind.
const GROWTH_MAX_KIB: u64 = 256 * 1024;

pub struct Node {
    pub id: String,
    pub key: String,
}

pub struct Stage {
    pub dev: Dev,
    pub http: SocketAddr,
    node: Node,
    /// Of what a request may destroy.
    spare_node: String,
    spare_bundle: String,
    spare_key: String,
    spare_token: String,
    /// Not started, and for the nodes of the other one.
    spare_rollout: String,
    bundle: String,
    rollout: String,
    download: String,
    /// Waits, is refused, is let in, and has its credentials.
    waiting: (Host, String),
    refused: String,
    let_in: String,
    enrolled: (Host, String),
    door: TlsDoor,
    before_kib: u64,
}

/// A request that would be served as it is.
#[derive(Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    /// Whole header lines.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Call {
    pub fn bytes(&self) -> Vec<u8> {
        self.with("")
    }

    /// With more header lines.
    pub fn with(&self, lines: &str) -> Vec<u8> {
        self.with_bytes(lines.as_bytes())
    }

    pub fn with_bytes(&self, lines: &[u8]) -> Vec<u8> {
        let length = format!("Content-Length: {}\r\n", self.body.len());
        let length = if self.body.is_empty() { "" } else { &length };
        let head =
            format!("{} {} HTTP/1.1\r\nHost: control.example\r\n{}{length}", self.method, self.path, self.headers);
        [head.as_bytes(), lines, b"\r\n", &self.body].concat()
    }

    /// Without its own length, with these lines and this body.
    pub fn framed(&self, lines: &str, body: &[u8]) -> Vec<u8> {
        [Call { body: Vec::new(), ..self.clone() }.with(lines), body.to_vec()].concat()
    }

    pub fn to(&self, path: impl Into<String>) -> Call {
        Call { path: path.into(), ..self.clone() }
    }

    pub fn holding(&self, body: impl Into<Vec<u8>>) -> Call {
        Call { body: body.into(), ..self.clone() }
    }
}

impl Stage {
    pub fn set(settings: &[(&str, &str)]) -> Stage {
        let dev = Dev::start_with(&[&NO_LIMITS, settings].concat());
        let http = dev.file.get("http_url").strip_prefix("http://").unwrap().parse().unwrap();
        let (node, spare) = (register(&dev, "target"), register(&dev, "spare"));
        let beat = ["-X", "POST", "-H", &format!("X-Zentinel-Node-Key: {}", node.key)].map(str::to_owned);
        let beat = dev.curl(&beat.each_ref().map(String::as_str), &format!("/api/v1/nodes/{}/heartbeat", node.id));
        assert_eq!(beat.status, 200, "a node that is offline is not waited for: {}", beat.text);
        let config =
            ["-H", "Content-Type: application/json", "-H", &format!("X-Zentinel-Node-Key: {}", node.key), "-d"];
        let config = [&config[..], &[r#"{"config_kdl": "x"}"#]].concat();
        let config = dev.curl(&config, &format!("/api/v1/nodes/{}/config", node.id));
        assert_eq!(config.status, 200, "{}", config.text);
        let (bundle, spare_bundle) = (compile(&dev, "v1"), compile(&dev, "spare"));
        let download = created(&dev, "GET", &format!("/api/v1/projects/demo/bundles/{bundle}/download"), None);
        let download =
            download["download_url"].as_str().unwrap().strip_prefix(dev.file.get("http_url")).unwrap().to_owned();
        let mut rollout = json!({"bundle_id": bundle, "progress_deadline_seconds": 3600});
        let running = created(&dev, "POST", "/api/v1/projects/demo/rollouts", Some(&rollout));
        rollout["start"] = json!(false);
        let held = created(&dev, "POST", "/api/v1/projects/demo/rollouts", Some(&rollout));
        let key = created(&dev, "POST", "/api/v1/api-keys", Some(&json!({"name": "spare", "scopes": ["nodes:read"]})));
        let token = created(&dev, "POST", "/api/v1/projects/demo/join-tokens", Some(&json!({"name": "spare"})));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (spare_key, spare_token) = (text(&key["id"]), text(&token["id"]));
        let (rollout, spare_rollout) = (text(&running["id"]), text(&held["id"]));
        let door = dev.file.get("https_url").strip_prefix("https://").unwrap().parse().unwrap();
        let door = TlsDoor::open(door, dev.file.get("ca_cert").as_ref());
        let [waiting, refused, let_in, enrolled] = ["host-1", "host-2", "host-3", "host-4"].map(|id| {
            let host = Host::new(id);
            let enrollment = host.enroll(&dev);
            (host, enrollment)
        });
        for (_, id) in [&let_in, &enrolled] {
            let approved = dev.tls_api("POST", &format!("/api/v1/enrollments/{id}/approve"), None);
            assert_eq!(approved.status, 200, "{}", approved.text);
        }
        let mut stage = Stage {
            waiting,
            refused: refused.1,
            let_in: let_in.1,
            enrolled,
            door,
            dev,
            http,
            node,
            spare_node: spare.id,
            spare_bundle,
            spare_key,
            spare_token,
            spare_rollout,
            bundle,
            rollout,
            download,
            before_kib: 0,
        };
        // Whatever is set up at the first use of a route is there before the memory is looked at.
        for route in ROUTES.iter().filter(|route| !route.is_mutation()) {
            let answers = talk(stage.address(route), &stage.call(route).bytes()).answers;
            assert!(answers[0].status < 300, "{}: {}", route.path, answers[0].head);
        }
        stage.before_kib = stage.memory_kib("VmRSS");
        std::fs::write(format!("/proc/{}/clear_refs", stage.dev.pid()), "5").unwrap();
        stage
    }

    /// A neighbour for as long as `work` takes, and what must hold afterwards.
    pub fn abuse(&self, work: impl FnOnce()) {
        let neighbour = Neighbour::move_in(self);
        work();
        neighbour.move_out();
        let log = std::fs::read_to_string(self.dev.dir.path().join("dev.log")).unwrap();
        assert!(!log.contains("panicked"), "{}", self.dev.log_tail());
        let peak_kib = self.memory_kib("VmHWM");
        let grown = peak_kib.saturating_sub(self.before_kib);
        assert!(grown < GROWTH_MAX_KIB, "{} KiB before, {peak_kib} KiB at the peak", self.before_kib);
    }

    /// Where the route is served.
    pub fn address(&self, route: &Route) -> SocketAddr {
        if route.path.starts_with("/api/v1/enroll") { self.door.address } else { self.http }
    }

    pub fn call(&self, route: &Route) -> Call {
        let method = route.method.as_str();
        let destroys = route.path.ends_with("/revoke") || route.path.ends_with("/rotate-key");
        let (node, bundle, key) = match (method, destroys) {
            ("DELETE", _) | (_, true) => (&self.spare_node, &self.spare_bundle, &self.spare_key),
            _ => (&self.node.id, &self.bundle, &self.spare_key),
        };
        let id = match route.path {
            path if path.starts_with("/api/v1/enroll") => self.enrollment(path),
            path if path.contains("/bundles/{id}") => bundle,
            path if path.contains("/join-tokens/") => &self.spare_token,
            path if path.ends_with("/start") || path.ends_with("/rollback") => &self.spare_rollout,
            path if path.contains("/rollouts/") => &self.rollout,
            path if path.contains("/api-keys/") => key,
            path if path.starts_with("/api/v1/nodes/") => &self.node.id,
            _ => node,
        };
        let slug = if route.path.contains("/orgs/") { "default" } else { "demo" };
        let path = match route.access {
            Access::SignedUrl => self.download.clone(),
            _ if route.path == "/api/v1/enroll/nonce" => self.waiting.0.nonce_path(),
            _ => route.path.replace("{slug}", slug).replace("{id}", id),
        };
        let headers = match route.access {
            Access::Public | Access::SignedUrl | Access::Challenge => String::new(),
            // Under its key the first call's answer is given again.
            Access::HostKey => {
                format!("Authorization: {}\r\nIdempotency-Key: k\r\n", self.enrolled.0.proof(&self.enrolled.1))
            }
            Access::Node | Access::NodeKey => format!("X-Zentinel-Node-Key: {}\r\n", self.node.key),
            _ => format!("Authorization: Bearer {}\r\n", self.dev.file.get("api_key")),
        };
        let (headers, body) = match matches!(route.method, contract::Method::Post | contract::Method::Patch) {
            true => (headers + "Content-Type: application/json\r\n", self.body(route.path).to_string()),
            false => (headers, String::new()),
        };
        Call { method: method.to_owned(), path, headers, body: body.into() }
    }

    /// The enrollment that a route's step can be taken with.
    fn enrollment(&self, path: &str) -> &String {
        match path.rsplit('/').next().unwrap_or_default() {
            "creds" => &self.enrolled.1,
            "reject" => &self.refused,
            "revoke" => &self.let_in,
            _ => &self.waiting.1,
        }
    }

    /// A body that the route takes, with every field that decides.
    pub fn body(&self, path: &str) -> Value {
        let measured = json!({"service_id": "s", "project_id": "demo", "period_start": "2026-02-23T10:00:00Z",
            "period_seconds": 60, "request_count": 1});
        match path.rsplit('/').next().unwrap_or_default() {
            "register" => json!({"name": "target"}),
            "heartbeat" => json!({"version": "1.0.0"}),
            "events" => json!({"event_type": "startup", "severity": "info", "message": "up"}),
            "config" => json!({"config_kdl": "x"}),
            "metrics" => json!({"metrics": [measured]}),
            "waf-events" => {
                json!({"events": [{"rule_type": "crs", "rule_id": "1", "action": "blocked", "severity": "high"}]})
            }
            "projects" => json!({"slug": "demo"}),
            "bundles" => json!({"version": "v1", "config_source": SAMPLE}),
            "assign" => json!({"node_ids": [self.node.id]}),
            "rollouts" => json!({"bundle_id": self.bundle}),
            "join-tokens" => json!({"name": "made"}),
            // A challenge is used once, so this one never is.
            "enroll" => json!({"peel_id": "host-1", "public_key": self.waiting.0.key.public_key(),
                "curve_public_key": crate::harness::CURVE, "challenge_id": "chl-1", "signature": "AQID"}),
            "api-keys" => json!({"name": "made", "scopes": ["nodes:read"]}),
            _ => json!({}),
        }
    }

    fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.dev.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// The only answer, checked.
pub fn one(address: SocketAddr, what: &str, bytes: &[u8]) -> Answer {
    let talk = talk(address, bytes);
    let answer = talk.answers.first().unwrap_or_else(|| panic!("{what}: closed without an answer"));
    answer.check(what);
    answer.clone()
}

pub fn register(dev: &Dev, name: &str) -> Node {
    let path = "/api/v1/projects/demo/nodes/register";
    let node = created(dev, "POST", path, Some(&json!({"name": name})));
    let text = |field: &str| node[field].as_str().unwrap().to_owned();
    Node { id: text("node_id"), key: text("node_key") }
}

/// A compiled bundle's id.
pub fn compile(dev: &Dev, version: &str) -> String {
    crate::rollout::compile(dev, version, SAMPLE);
    dev.cli_json(&["bundle", "show", version])["bundle"]["id"].as_str().unwrap().to_owned()
}

fn created(dev: &Dev, method: &str, path: &str, body: Option<&Value>) -> Value {
    let reply = dev.api(method, path, body);
    assert!(reply.status < 300, "{path}: {} {}", reply.status, reply.text);
    reply.body
}
