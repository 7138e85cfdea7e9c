//! Clocks that two processes on one machine read alike.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`: comparable between processes, unlike std's `Instant`, which
/// does not say where it starts.
pub fn monotonic_us() -> u64 {
    read_us(ClockId::Monotonic)
}

/// Microseconds since 1970, as the wall clock has them.
pub fn wall_us() -> u64 {
    read_us(ClockId::Realtime)
}

fn read_us(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    u64::try_from(us).expect("the clock starts at zero")
}
