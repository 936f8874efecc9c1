//! Bundles: a proxy configuration, checked, packed into a deterministic archive, and unpacked safely on a node.
//!
//! Invariants: the same input gives the same bytes, so the digest of an archive is its name; no input makes this crate
//! panic, overflow a stack, hang, or write outside the directory it was given; every problem names its place where one can
//! be had. Absent: network, keys and signatures (the `trust` crate), ids, versions and times (the journal), and any look at
//! this machine's file system while compiling, so that every replica judges a configuration alike.

mod archive;
mod compile;
#[cfg(test)]
mod crafted;
mod guard;
mod manifest;
mod pack;
mod position;
mod problem;
mod read;
mod source;
mod unpack;
mod unpack_error;
mod validate;

pub use archive::UnpackLimits;
pub use compile::{CONFIG_FILE, Compiled, Limits, compile};
pub use manifest::{FileEntry, MANIFEST_FILE, Manifest, PathError, check_path};
pub use pack::{Packed, pack};
pub use problem::Problem;
pub use read::{Contents, read};
pub use unpack::unpack;
pub use unpack_error::UnpackError;

/// The proxy release whose own configuration library judges a configuration here.
pub const PROXY_VERSION: &str = "0.6.45";
