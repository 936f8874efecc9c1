//! What leaves the process: HTTP bodies, admin requests, error codes, the table of routes. Types and their checks only.

mod api_key;
mod bundle;
mod code;
mod enrollment;
mod fields;
mod ingest;
mod join_token;
mod node;
mod operation;
mod page;
mod project;
mod receipt;
mod report;
mod rollout;
mod route;
mod status;
mod waiting;
mod why;

pub use api_key::{ApiKeyBody, ApiKeyCreated, CreateApiKey};
pub use bundle::{
    AssignBundle, BundleAssigned, BundleBody, BundleDownload, BundleVerification, CreateBundle, FileBody, ProblemBody,
    RevokeBundle,
};
pub use code::{ApiError, ErrorBody, ErrorCode, ErrorMessage};
pub use enrollment::{
    ApproveEnrollment, CredsAnswer, ENROLL_BYTES_MAX, EnrollAnswer, EnrollRequest, EnrollStatus, EnrollmentBody,
    EnrollmentReason, NonceAnswer,
};
pub use fields::{FieldErrors, Fields, parse_json};
pub use ingest::{
    BatchAccepted, ConfigAccepted, EventInput, EventsAccepted, MetricInput, MetricsAccepted, RequestLogInput,
    WafAccepted, WafEventInput, parse_config, parse_events, parse_metrics, parse_waf_events,
};
pub use join_token::{CreateJoinToken, JoinTokenBody, JoinTokenCreated};
pub use node::{
    Activation, HEALTH_BYTES_MAX, Heartbeat, HeartbeatAnswer, LatestBundle, NoUpdate, NodeBody, NodeKeyBody, NodeStats,
    Offer, PublicKeyBody, Register, Registered, TokenAnswer,
};
pub use operation::{Answer, Operation, Request};
pub use page::Page;
pub use project::{CreateProject, ProjectBody, UpdateProject};
pub use receipt::{ReceiptBody, ReceiptInput, ReplaceKey};
pub use report::{ReportCursor, ReportWindow, ReportedConfig, ReportedEvent, ReportedMetric, ReportedWafEvent};
pub use rollout::{
    CreateRollout, ProgressBody, RollbackBody, RollbackNodes, RolloutBody, RolloutDetail, RolloutNodeBody, StepBody,
};
pub use route::{Access, Limiter, Method, ROUTES, Route};
pub use status::{DurabilityBody, Readiness};
pub use waiting::{WAIT_S_MAX, wait_s};
pub use why::{EvidenceBody, NodeWhy, RolloutWhy};
