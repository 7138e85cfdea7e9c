//! The way between wire and core: what is legal on one side and what it is on the other.
//!
//! Towards core every message is hostile until it is converted. What comes out is valid once held,
//! and what does not come out is told with the paths of the fields concerned: all of them for what
//! an operator writes (policies, masks) and for a `Hello`, the first for the streams of messages
//! that only a broken SDK sends wrong. Towards the wire nothing can fail: values that a message
//! cannot carry (a time after the year 9999) are clamped.
//!
//! | file | converts |
//! |---|---|
//! | [`policy`], `rules` | a policy, and a policy as a store holds it |
//! | [`breaker`] | what operators decide about breakers |
//! | [`explain`] | which rules an operation ends up with, and why |
//! | [`mask`] | a partial update, onto what is there |
//! | [`snapshot`] | what a server sends to a process |
//! | [`last_known_good`] | what a process writes down of that |
//! | [`session`], `layer` | what a process says of itself, of what it refuses and of what it sets |
//! | [`statistics`] | what a process has counted |
//! | [`kind`], [`incarnation`], [`time`] | the words they share |

pub mod breaker;
pub mod explain;
pub mod incarnation;
pub mod kind;
pub mod last_known_good;
mod layer;
pub mod mask;
pub mod policy;
mod rules;
pub mod session;
pub mod snapshot;
pub mod statistics;
#[cfg(test)]
mod strategies;
mod text;
pub mod time;
