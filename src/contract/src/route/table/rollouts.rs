//! Rollouts, for operators.

use super::{ROLLOUTS_READ, ROLLOUTS_WRITE, operator};
use crate::operation::Operation;
use crate::route::Method::{Get, Post};
use crate::route::Route;

pub(super) const ROUTES: &[Route] = &[
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts"),
        Operation::RolloutCreate,
        ROLLOUTS_WRITE,
        201,
        &[404, 409, 422],
        "Create a rollout, and start it unless `start` is false",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/rollouts"),
        Operation::RolloutList,
        ROLLOUTS_READ,
        200,
        &[404, 422],
        "List rollouts",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/rollouts/{id}"),
        Operation::RolloutShow,
        ROLLOUTS_READ,
        200,
        &[404, 422],
        "Show a rollout with its steps, progress and nodes",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/pause"),
        Operation::RolloutPause,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Pause a rollout",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/resume"),
        Operation::RolloutResume,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Resume a paused rollout; failed nodes are tried once more",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/cancel"),
        Operation::RolloutCancel,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Cancel a rollout",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/start"),
        Operation::RolloutStart,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Start a pending rollout",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/rollback"),
        Operation::RolloutRollback,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "End a rollout and bring its nodes back to what they ran before",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/rollouts/{id}/why"),
        Operation::RolloutWhy,
        ROLLOUTS_READ,
        200,
        &[404],
        "Why a rollout stands where it stands",
    ),
];
