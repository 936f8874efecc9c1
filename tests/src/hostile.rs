//! What a security tester sends: every route of the table times malformed heads and bodies, and clients that are slow, silent
//! or many. Written on bare sockets, so that no client tidies anything up.
//!
//! What must hold: every answer is 2xx or a 4xx in the contract's shape, nothing hangs, a neighbour's requests are answered
//! quickly meanwhile, memory is bounded, and the log tells of no panic. The exceptions, which close without an answer: the
//! preface of HTTP/2, what is no TLS on the TLS port, and a connection on which nothing was said.

mod bodies;
mod fields;
mod heads;
mod idempotency;
mod neighbour;
mod raw;
mod slow;
mod stage;
