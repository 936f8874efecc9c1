//! The write side on a stage: over memory, over a store that lies, two replicas at once, and once over a real nats-server.

mod admin;
mod api_keys;
mod authentication;
mod bundles;
mod engine;
mod heartbeats;
mod idempotency;
mod ingest;
mod lists;
mod liveness;
mod offers;
mod operations;
mod registration;
mod replicas;
mod reports;
mod rigged;
mod stage;
mod waiting;
mod world;
