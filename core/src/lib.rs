//! The decisions of Fusebox, and nothing else.
//!
//! Everything here is plain Rust over plain values: no I/O, no runtime, no wire type, and no clock
//! of its own. Time, randomness and the caller's lane arrive as arguments, so that every decision
//! can be replayed in a test. What touches the world (gRPC, sled, tokio) lives in the crates that
//! depend on this one: they decode, ask here, and encode the answer.
//!
//! | room | decides |
//! |---|---|
//! | [`policy`] | what is a legal policy, and which rules an operation ends up with |
//! | [`guard`] | whether a call may go now, when to try again, what its outcome means |
//! | [`sync`] | what a server sends to a process, and what that process makes of it |
//! | [`stats`] | how outcomes are counted in a process and added up over a fleet |
//!
//! The leaves ([`time`], [`key`], [`glob`], [`revision`], [`outcome`], [`lane`], [`random`]) are shared words.
//! `policy` sees the leaves; `guard` and `sync` see `policy` and the leaves; `stats` sees only the
//! leaves; `guard`, `sync` and `stats` never see each other.

mod atomics;
pub mod glob;
pub mod guard;
pub mod key;
pub mod lane;
pub mod outcome;
pub mod policy;
pub mod random;
pub mod revision;
pub mod stats;
pub mod sync;
pub mod time;
