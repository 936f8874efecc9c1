//! Keys, tokens, signatures, certificates, and the NATS identities of an installation.
//!
//! Invariant: nothing that is read is believed before its signature, its purpose and its time were checked, and a type that
//! holds a secret cannot be printed. Absent on purpose: IO, a clock (the caller says what time it is) and async. Randomness
//! is the system's.

mod assignment;
mod download;
pub mod nats;
mod receipt;
mod seal;
mod signing;
pub mod tls;
mod token;

pub use assignment::{Assignment, AssignmentError, Counter, SignedAssignment, sign_assignment, verify_assignment};
pub use download::{sign_download, verify_download};
pub use receipt::{Receipt, ReceiptError, SignedReceipt, sign_receipt, verify_receipt};
pub use seal::{MasterKey, MasterKeyError, SealError, new_secret, random_bytes, same_bytes, secret_hash};
pub use signing::{KeyError, PublicKey, Signature, SigningKey};
pub use token::{TOKEN_BYTES_MAX, TokenClaims, TokenError, sign_token, token_key_id, verify_token};
