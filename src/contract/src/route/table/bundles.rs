//! Bundles, for operators.

use super::{BUNDLES_READ, BUNDLES_WRITE, operator};
use crate::operation::Operation;
use crate::route::Method::{Delete, Get, Post};
use crate::route::Route;

pub(super) const ROUTES: &[Route] = &[
    operator(
        (Post, "/api/v1/projects/{slug}/bundles"),
        Operation::BundleCreate,
        BUNDLES_WRITE,
        201,
        &[404, 422],
        "Compile a configuration into a bundle",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles"),
        Operation::BundleList,
        BUNDLES_READ,
        200,
        &[404, 422],
        "List bundles",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles/{id}"),
        Operation::BundleShow,
        BUNDLES_READ,
        200,
        &[404],
        "Show a bundle",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles/{id}/download"),
        Operation::BundleDownload,
        BUNDLES_READ,
        200,
        &[404, 409],
        "Where to get the archive",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles/{id}/verify"),
        Operation::BundleVerify,
        BUNDLES_READ,
        200,
        &[404, 409],
        "Read the archive back and check it",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/bundles/{id}/revoke"),
        Operation::BundleRevoke,
        BUNDLES_WRITE,
        200,
        &[404, 409, 422],
        "Forbid further deployment",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/bundles/{id}/assign"),
        Operation::BundleAssign,
        BUNDLES_WRITE,
        200,
        &[404, 409, 422],
        "Assign a bundle to nodes without a rollout",
    ),
    operator(
        (Delete, "/api/v1/projects/{slug}/bundles/{id}"),
        Operation::BundleDelete,
        BUNDLES_WRITE,
        204,
        &[404, 409],
        "Delete a bundle that was never deployed",
    ),
];
