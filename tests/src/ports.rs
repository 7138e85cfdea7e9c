//! Free ports below the ephemeral range.
//!
//! The kernel hands out ephemeral ports from 32768 upward to whoever dials, so a port from there
//! may be taken by an outgoing connection between the moment it was found free and the moment a
//! child binds it. Ports from below are only ever taken by name.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 11_000;
const COUNT: u32 = 21_000;
/// Apart enough that two test programs at once rarely meet.
const STRIDE: u32 = 101;

/// A listener on a free loopback port: bound, hence nobody else's.
///
/// # Panics
/// If no port of the range can be bound.
pub fn listener() -> TcpListener {
    (0..COUNT)
        .find_map(|_| TcpListener::bind(loopback(next())).ok())
        .expect("a free port between 11000 and 32000")
}

/// A loopback address whose port was free a moment ago, for a child to bind. Never the same one
/// twice in one process; whoever passes it on must still be ready to try another.
pub fn free_addr() -> SocketAddr {
    listener()
        .local_addr()
        .expect("a bound listener has an address")
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn next() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only the count matters, and it orders nothing else.
    let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
    let start = process::id().wrapping_mul(STRIDE) % COUNT;
    let port = FIRST + (start + taken) % COUNT;
    u16::try_from(port).expect("FIRST + COUNT fits in 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_below_the_ephemeral_range_and_differ() {
        let (one, two) = (free_addr(), free_addr());
        assert_ne!(one, two);
        assert!(one.port() < 32_768 && two.port() < 32_768, "{one} {two}");
    }
}
