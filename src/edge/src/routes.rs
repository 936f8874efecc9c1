//! The handlers, one file per noun.

pub(crate) mod download;
pub(crate) mod enroll;
pub(crate) mod keys;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod probes;
pub(crate) mod stream;
