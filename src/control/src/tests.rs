//! The write side on a stage: over memory, over a store that lies, two replicas at once, and once over a real nats-server.

mod admin;
mod api_keys;
mod authentication;
mod bundles;
mod direct;
mod engine;
mod heartbeats;
mod held;
mod idempotency;
mod ingest;
mod join_tokens;
mod key_rotation;
mod late;
mod lists;
mod liveness;
mod offers;
mod operations;
mod registration;
mod replicas;
mod reports;
mod rigged;
mod rollback;
mod stage;
mod waiting;
mod why;
mod world;
