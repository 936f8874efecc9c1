//! Bodies by route, as JSON Schemas of the contract's own types.

use contract::{
    ApiKeyBody, ApiKeyCreated, ApproveEnrollment, AssignBundle, BundleAssigned, BundleBody, BundleDownload,
    BundleVerification, ConfigAccepted, CreateApiKey, CreateBundle, CreateJoinToken, CreateProject, CreateRollout,
    CredsAnswer, EnrollAnswer, EnrollRequest, EnrollStatus, EnrollmentBody, EnrollmentReason, ErrorBody, EventInput,
    EventsAccepted, Heartbeat, HeartbeatAnswer, JoinTokenBody, JoinTokenCreated, LatestBundle, MetricInput,
    MetricsAccepted, NodeBody, NodeKeyBody, NodeStats, NodeWhy, NonceAnswer, Operation, ProjectBody, Readiness,
    ReceiptBody, Register, Registered, ReplaceKey, ReportedConfig, ReportedEvent, ReportedMetric, ReportedWafEvent,
    RequestLogInput, RevokeBundle, RolloutBody, RolloutDetail, RolloutWhy, Route, TokenAnswer, UpdateProject,
    WafAccepted, WafEventInput,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

pub(super) enum Body {
    Json(Value),
    Other(&'static str),
    Empty,
}

/// Fields that a request must have. The types serve both ways and say what a value has once it was read, so what may be left
/// out of a request is said here.
const REQUIRED: [(&str, &[&str]); 17] = [
    ("Register", &["name"]),
    ("Heartbeat", &[]),
    ("ReplaceKey", &[]),
    ("EventInput", &["event_type", "message"]),
    ("MetricInput", &["service_id", "project_id"]),
    ("RequestLogInput", &["service_id", "project_id"]),
    ("WafEventInput", &["rule_type", "rule_id", "action", "severity"]),
    ("CreateProject", &["slug"]),
    ("UpdateProject", &["registration"]),
    ("CreateJoinToken", &["name"]),
    ("CreateBundle", &["version", "config_source"]),
    ("CreateRollout", &["bundle_id"]),
    ("AssignBundle", &["node_ids"]),
    ("CreateApiKey", &["name"]),
    ("EnrollRequest", &["peel_id", "public_key", "curve_public_key", "challenge_id", "signature"]),
    ("ApproveEnrollment", &[]),
    ("EnrollmentReason", &[]),
];

pub(super) struct Schemas(SchemaGenerator);

impl Schemas {
    pub fn new() -> Schemas {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Schemas(settings.into_generator())
    }

    /// The definitions that the references point to.
    pub fn finish(mut self) -> Map<String, Value> {
        let mut definitions = self.0.take_definitions(true);
        for (name, required) in REQUIRED {
            if let Some(Value::Object(definition)) = definitions.get_mut(name) {
                definition.insert("required".to_owned(), json!(required));
            }
        }
        // What the control plane decides is not the client's to say.
        definitions.remove("JoinTokenId");
        let register = definitions.get_mut("Register").and_then(|register| register["properties"].as_object_mut());
        if let Some(properties) = register {
            properties.retain(|name, _| !["join_token_id", "approval_required"].contains(&name.as_str()));
        }
        // Metrics name their counts directly, beside the fields that are always there.
        if let Some(metric) = definitions.get_mut("MetricInput") {
            if let Some(properties) = metric.get_mut("properties").and_then(Value::as_object_mut) {
                properties.remove("values");
            }
            metric["additionalProperties"] = json!({"type": "integer", "minimum": 0});
        }
        definitions
    }

    pub fn error(&mut self) -> Value {
        self.of::<ErrorBody>()
    }

    /// The body of every error of enrollment.
    pub fn text_error(&self) -> Value {
        json!({"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}})
    }

    /// The body of a 429.
    pub fn limited(&mut self) -> Value {
        let retry = json!({"type": "object", "required": ["retry_after"],
            "properties": {"retry_after": {"type": "integer", "description": "Seconds to wait", "minimum": 1}}});
        json!({"allOf": [self.error(), retry]})
    }

    /// Whether a request without a body is always refused.
    pub fn needs_body(&self, route: &Route) -> bool {
        !route.path.ends_with("/heartbeat")
            && !route.path.ends_with("/metrics")
            && route.path != "/api/v1/nodes/{id}/key"
            && !matches!(
                route.operation,
                Some(
                    Operation::BundleRevoke
                        | Operation::EnrollApprove
                        | Operation::EnrollReject
                        | Operation::EnrollRevoke
                )
            )
    }

    /// None for routes that read nothing from a body.
    pub fn request(&mut self, route: &Route) -> Option<Value> {
        if let Some(operation) = route.operation {
            return match operation {
                Operation::ProjectCreate => Some(self.of::<CreateProject>()),
                Operation::ProjectUpdate => Some(self.of::<UpdateProject>()),
                Operation::TokenCreate => Some(self.of::<CreateJoinToken>()),
                Operation::BundleCreate => Some(self.of::<CreateBundle>()),
                Operation::BundleRevoke => Some(self.of::<RevokeBundle>()),
                Operation::BundleAssign => Some(self.of::<AssignBundle>()),
                Operation::RolloutCreate => Some(self.of::<CreateRollout>()),
                Operation::ApiKeyCreate => Some(self.of::<CreateApiKey>()),
                Operation::EnrollApprove => Some(self.of::<ApproveEnrollment>()),
                Operation::EnrollReject | Operation::EnrollRevoke => Some(self.of::<EnrollmentReason>()),
                _ => None,
            };
        }
        match route.path {
            "/api/v1/projects/{slug}/nodes/register" => Some(self.of::<Register>()),
            "/api/v1/nodes/{id}/heartbeat" => Some(self.of::<Heartbeat>()),
            "/api/v1/enroll" => Some(self.of::<EnrollRequest>()),
            "/api/v1/nodes/{id}/key" => Some(self.of::<ReplaceKey>()),
            "/api/v1/nodes/{id}/events" => {
                let batch = self.wrapped_list::<EventInput>("events");
                Some(json!({"anyOf": [self.of::<EventInput>(), batch]}))
            }
            "/api/v1/nodes/{id}/config" => Some(json!({"type": "object", "required": ["config_kdl"],
                "properties": {"config_kdl": {"type": "string", "description": "Any text up to 1 MiB"}}})),
            "/api/v1/nodes/{id}/metrics" => {
                let (metrics, logs) = (self.of::<MetricInput>(), self.of::<RequestLogInput>());
                Some(json!({"type": "object", "properties": {
                    "metrics": {"type": "array", "items": metrics},
                    "request_logs": {"type": "array", "items": logs}}}))
            }
            "/api/v1/nodes/{id}/waf-events" => Some(self.wrapped_list::<WafEventInput>("events")),
            _ => None,
        }
    }

    /// The body of success.
    pub fn answer(&mut self, route: &Route) -> Body {
        if let Some(operation) = route.operation {
            return self.operation_answer(operation);
        }
        Body::Json(match route.path {
            "/metrics" => return Body::Other("application/openmetrics-text"),
            "/api/v1/projects/{slug}/stream" | "/api/v1/enroll/{id}/stream" => return Body::Other("text/event-stream"),
            "/api/v1/enroll/nonce" => self.of::<NonceAnswer>(),
            "/api/v1/enroll" => self.of::<EnrollAnswer>(),
            "/api/v1/enroll/{id}/status" => self.of::<EnrollStatus>(),
            "/api/v1/enroll/{id}/creds" => self.of::<CredsAnswer>(),
            "/api/v1/downloads/{digest}" => return Body::Other("application/zstd"),
            "/ready" => self.of::<Readiness>(),
            "/health" => json!({"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}),
            "/.well-known/jwks.json" | "/api/v1/orgs/{slug}/jwks.json" => key_set(),
            "/api/v1/projects/{slug}/nodes/register" => self.of::<Registered>(),
            "/api/v1/nodes/{id}/heartbeat" => self.of::<HeartbeatAnswer>(),
            "/api/v1/nodes/{id}/bundles/latest" => self.of::<LatestBundle>(),
            "/api/v1/nodes/{id}/token" => self.of::<TokenAnswer>(),
            "/api/v1/nodes/{id}/key" => self.of::<NodeKeyBody>(),
            "/api/v1/nodes/{id}/events" => self.of::<EventsAccepted>(),
            "/api/v1/nodes/{id}/config" => self.of::<ConfigAccepted>(),
            "/api/v1/nodes/{id}/metrics" => self.of::<MetricsAccepted>(),
            "/api/v1/nodes/{id}/waf-events" => self.of::<WafAccepted>(),
            _ => json!({"type": "object"}),
        })
    }

    fn operation_answer(&mut self, operation: Operation) -> Body {
        Body::Json(match operation {
            Operation::NodeDelete | Operation::BundleDelete => return Body::Empty,
            Operation::ProjectCreate | Operation::ProjectUpdate => self.of::<ProjectBody>(),
            Operation::ProjectList => self.list::<ProjectBody>("projects", false),
            Operation::NodeList => self.list::<NodeBody>("nodes", true),
            Operation::NodeStats => self.of::<NodeStats>(),
            Operation::NodeShow | Operation::NodeApprove => self.wrapped::<NodeBody>("node"),
            Operation::NodeRotateKey => self.of::<NodeKeyBody>(),
            Operation::TokenCreate => self.of::<JoinTokenCreated>(),
            Operation::TokenList => self.list::<JoinTokenBody>("join_tokens", false),
            Operation::TokenShow | Operation::TokenRevoke => self.wrapped::<JoinTokenBody>("join_token"),
            Operation::NodeEvents | Operation::NodeAllEvents => self.reports::<ReportedEvent>("events"),
            Operation::NodeMetrics => self.reports::<ReportedMetric>("metrics"),
            Operation::NodeWafEvents | Operation::NodeAllWafEvents => self.reports::<ReportedWafEvent>("waf_events"),
            Operation::NodeReceipts => self.reports::<ReceiptBody>("receipts"),
            Operation::NodeConfig => self.wrapped::<ReportedConfig>("config"),
            Operation::BundleCreate => self.of::<BundleBody>(),
            Operation::BundleList => self.list::<BundleBody>("bundles", true),
            Operation::BundleShow | Operation::BundleRevoke => self.wrapped::<BundleBody>("bundle"),
            Operation::NodeWhy => self.of::<NodeWhy>(),
            Operation::BundleAssign => self.of::<BundleAssigned>(),
            Operation::BundleDownload => self.of::<BundleDownload>(),
            Operation::BundleVerify => self.of::<BundleVerification>(),
            Operation::RolloutCreate
            | Operation::RolloutPause
            | Operation::RolloutResume
            | Operation::RolloutCancel
            | Operation::RolloutStart
            | Operation::RolloutRollback => self.of::<RolloutBody>(),
            Operation::RolloutList => self.list::<RolloutBody>("rollouts", true),
            Operation::RolloutShow => self.of::<RolloutDetail>(),
            Operation::RolloutWhy => self.of::<RolloutWhy>(),
            Operation::EnrollList => self.list::<EnrollmentBody>("enrollments", true),
            Operation::EnrollShow | Operation::EnrollApprove | Operation::EnrollReject | Operation::EnrollRevoke => {
                self.of::<EnrollmentBody>()
            }
            Operation::ApiKeyCreate => self.of::<ApiKeyCreated>(),
            Operation::ApiKeyList => self.list::<ApiKeyBody>("api_keys", false),
            Operation::ApiKeyShow | Operation::ApiKeyRevoke => self.wrapped::<ApiKeyBody>("api_key"),
        })
    }

    fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    fn wrapped<T: JsonSchema>(&mut self, name: &str) -> Value {
        json!({"type": "object", "required": [name], "properties": {name: self.of::<T>()}})
    }

    fn wrapped_list<T: JsonSchema>(&mut self, name: &str) -> Value {
        json!({"type": "object", "required": [name], "properties": {name: {"type": "array", "items": self.of::<T>()}}})
    }

    /// A page in order of arrival, which knows no total.
    fn reports<T: JsonSchema>(&mut self, name: &str) -> Value {
        let mut list = self.wrapped_list::<T>(name);
        let what = "What the next page's `after` says, even after a page without entries; null at the end";
        list["properties"]["next"] = json!({"type": ["string", "null"], "description": what});
        list
    }

    fn list<T: JsonSchema>(&mut self, name: &str, paged: bool) -> Value {
        let mut list = self.wrapped_list::<T>(name);
        list["properties"]["total"] = json!({"type": "integer", "minimum": 0});
        list["required"] = json!([name, "total"]);
        if paged {
            let what = "What the next page's `after` says; null on the last page";
            list["properties"]["next"] = json!({"type": ["string", "null"], "description": what});
        }
        list
    }
}

fn key_set() -> Value {
    json!({"type": "object", "required": ["keys"], "properties": {"keys": {"type": "array", "items": {"type": "object",
        "required": ["kty", "kid"], "properties": {"kty": {"type": "string"}, "kid": {"type": "string"}}}}}})
}
