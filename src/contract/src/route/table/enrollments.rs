//! Enrollment: what hosts ask for, and what operators decide.

use super::{ENROLLMENTS_READ, ENROLLMENTS_WRITE, operator, public};
use crate::operation::Operation;
use crate::route::Method::{Get, Post};
use crate::route::{Access, Limiter, Method, Route};

pub(super) const ROUTES: &[Route] = &[
    host(Get, "/api/v1/enroll/nonce", 200, &[500], "A challenge that proves a host's key when signed"),
    Route {
        access: Access::Challenge,
        ..host(Post, "/api/v1/enroll", 201, &[200, 409, 500], "Ask to be let in, with a signed challenge")
    },
    host(Get, "/api/v1/enroll/{id}/status", 200, &[], "How far an enrollment is"),
    host(
        Get,
        "/api/v1/enroll/{id}/stream",
        200,
        &[500],
        "How far an enrollment is, as it happens (server-sent events); ends with its decision",
    ),
    Route {
        access: Access::HostKey,
        ..host(Get, "/api/v1/enroll/{id}/creds", 200, &[409, 500], "Credentials for NATS, once")
    },
    operator(
        (Get, "/api/v1/enrollments"),
        Operation::EnrollList,
        ENROLLMENTS_READ,
        200,
        &[],
        "List enrollments; pending ones unless `state` says otherwise",
    ),
    operator(
        (Get, "/api/v1/enrollments/{id}"),
        Operation::EnrollShow,
        ENROLLMENTS_READ,
        200,
        &[404],
        "Show an enrollment",
    ),
    operator(
        (Post, "/api/v1/enrollments/{id}/approve"),
        Operation::EnrollApprove,
        ENROLLMENTS_WRITE,
        200,
        &[404, 409],
        "Let a host have credentials, and make it a node where a project is named",
    ),
    operator(
        (Post, "/api/v1/enrollments/{id}/reject"),
        Operation::EnrollReject,
        ENROLLMENTS_WRITE,
        200,
        &[404, 409],
        "Refuse a host",
    ),
    operator(
        (Post, "/api/v1/enrollments/{id}/revoke"),
        Operation::EnrollRevoke,
        ENROLLMENTS_WRITE,
        200,
        &[404, 409],
        "Take a host's credentials back and block its key",
    ),
];

const fn host(method: Method, path: &'static str, success: u16, also: &'static [u16], summary: &'static str) -> Route {
    Route { limiter: Limiter::Enrollment, success, also, ..public(method, path, summary) }
}
