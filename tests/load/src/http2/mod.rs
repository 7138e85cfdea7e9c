//! As much HTTP/2 (RFC 9113) and gRPC framing as one long stream a connection takes.
//!
//! A client's share of the two cores is the server's loss, so nothing here decodes a header, keeps
//! a table or allocates for a frame.

pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod opening;
pub(crate) mod window;

/// The one stream of each connection.
pub(crate) const STREAM: u32 = 1;
