//! Nodes and their join tokens, for operators.

use super::{NODES_READ, NODES_WRITE, operator};
use crate::operation::Operation;
use crate::route::Method::{Delete, Get, Post};
use crate::route::Route;

pub(super) const ROUTES: &[Route] = &[
    operator((Get, "/api/v1/projects/{slug}/nodes"), Operation::NodeList, NODES_READ, 200, &[404, 422], "List nodes"),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/stats"),
        Operation::NodeStats,
        NODES_READ,
        200,
        &[404],
        "Count nodes",
    ),
    operator((Get, "/api/v1/projects/{slug}/nodes/{id}"), Operation::NodeShow, NODES_READ, 200, &[404], "Show a node"),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/{id}/why"),
        Operation::NodeWhy,
        NODES_READ,
        200,
        &[404],
        "Why a node runs what it runs",
    ),
    operator(
        (Delete, "/api/v1/projects/{slug}/nodes/{id}"),
        Operation::NodeDelete,
        NODES_WRITE,
        204,
        &[404],
        "Delete a node and its credentials",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/nodes/{id}/approve"),
        Operation::NodeApprove,
        NODES_WRITE,
        200,
        &[404],
        "Let a node take part that waits for approval",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/nodes/{id}/rotate-key"),
        Operation::NodeRotateKey,
        NODES_WRITE,
        200,
        &[404, 409],
        "Replace a node's key; the old one and its tokens end at once",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/join-tokens"),
        Operation::TokenCreate,
        NODES_WRITE,
        201,
        &[404, 422],
        "Create a join token; shows it once",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/join-tokens"),
        Operation::TokenList,
        NODES_READ,
        200,
        &[404],
        "List join tokens",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/join-tokens/{id}"),
        Operation::TokenShow,
        NODES_READ,
        200,
        &[404],
        "Show a join token",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/join-tokens/{id}/revoke"),
        Operation::TokenRevoke,
        NODES_WRITE,
        200,
        &[404],
        "Revoke a join token; nodes that joined with it stay",
    ),
];
