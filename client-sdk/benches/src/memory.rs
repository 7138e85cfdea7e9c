//! What an operation weighs, by as many of them as one process may have.
//!
//! Counted by the allocator: what is held after a step and was not before it. Beside it stands by
//! how much the process has grown in the system's eyes, which also sees what an allocator keeps to
//! itself. Traffic comes from two threads that are there at the same time, so that each has a lane
//! of its own in every operation. What an operation holds must not depend on how much traffic it
//! has seen.

use std::error::Error;
use std::fs;
use std::sync::Barrier;

use fusebox::{Fusebox, Kind, Operation, Ratio, Stopped};

use crate::alloc;
use crate::dependency::{
    ATTEMPT_TIMEOUT, FAILURE_PERCENT, FAILURES, MAX_ATTEMPTS, MINIMUM_CALLS, OPEN, OVERALL_TIMEOUT,
    WINDOW, answer, fail, input, take,
};
use crate::drive::{self, PAIR, block_on, together};

/// As many as a process may have.
const OPERATIONS: u32 = 10_000;
/// Calls that each thread makes of each operation.
const CALLS: u32 = 3;
/// How many times that in the end.
const MORE: u32 = 100;
/// What the operation is called that guards the names beyond the bound.
const OVERFLOW: &str = "fusebox.overflow";
/// Failures within which any breaker opens.
const MANY_FAILURES: u32 = 1000;

/// Bytes an operation.
pub(crate) struct Memory {
    /// Without traffic.
    pub(crate) registered: f64,
    /// After some.
    pub(crate) called: f64,
    /// After [`MORE`] times that.
    pub(crate) called_more: f64,
    /// Of the process's memory, in the end.
    pub(crate) resident: f64,
}

/// Registers, calls, and weighs.
pub(crate) fn measure() -> Result<Memory, Box<dyn Error>> {
    let fusebox = Fusebox::builder("memory").build()?;
    let before = resident_bytes()?;
    let (operations, registered) = alloc::count(|| register(&fusebox));
    let operations = operations?;
    prove_overflow(&fusebox)?;
    let (traffic, called) = alloc::count(|| call_all(&operations, CALLS));
    traffic?;
    let (traffic, called_more) = alloc::count(|| call_all(&operations, CALLS * MORE));
    traffic?;
    let resident = resident_bytes()? - before;
    drop(operations);
    block_on(fusebox.shutdown())?;
    let called = registered.held() + called.held();
    let each = |bytes: f64| bytes / f64::from(OPERATIONS);
    Ok(Memory {
        registered: each(registered.held()),
        called: each(called),
        called_more: each(called + called_more.held()),
        resident: each(resident),
    })
}

/// With all that a full stack has, and both ways to open a breaker.
fn register(fusebox: &Fusebox) -> Result<Vec<Operation>, Box<dyn Error>> {
    let ratio = Ratio::new(f64::from(FAILURE_PERCENT) / 100.0)?;
    (0..OPERATIONS)
        .map(|number| {
            let builder = fusebox
                .operation(format!("operation.{number}"))
                .kind(Kind::Api)
                .idempotent(true)
                .attempt_timeout(ATTEMPT_TIMEOUT)
                .overall_timeout(OVERALL_TIMEOUT)
                .max_attempts(MAX_ATTEMPTS)
                .consecutive_failures(FAILURES)
                .failure_ratio(ratio, WINDOW, Some(MINIMUM_CALLS))
                .open_duration(OPEN);
            Ok(builder.register()?)
        })
        .collect()
}

/// The names beyond the bound are guarded, by one operation for all, and health says so.
fn prove_overflow(fusebox: &Fusebox) -> Result<(), Box<dyn Error>> {
    let beyond = |name| fusebox.operation(name).kind(Kind::Api).register();
    let (one, other) = (beyond("beyond.1")?, beyond("beyond.2")?);
    if (one.name(), other.name()) != (OVERFLOW, OVERFLOW) {
        let (one, other) = (one.name(), other.name());
        return Err(format!("beyond {OPERATIONS} names, {one} and {other} were registered").into());
    }
    let told = fusebox.health().operations_beyond_bound;
    if told != 2 {
        return Err(format!("2 names are beyond the bound, and health says {told}").into());
    }
    for _ in 0..MANY_FAILURES {
        take(block_on(one.call(async |_| fail(input()).await))?);
    }
    match block_on(other.call(async |_| answer(input()).await))? {
        Err(fusebox::Error::Stopped {
            why: Stopped::Refused { .. },
            ..
        }) => Ok(()),
        unguarded => Err(format!(
            "a name beyond the bound gave {unguarded:?} after {MANY_FAILURES} failures of another"
        )
        .into()),
    }
}

/// On two threads, each operation so many times.
fn call_all(operations: &[Operation], calls: u32) -> std::io::Result<()> {
    let both_there = Barrier::new(PAIR);
    let traffic = || {
        let runtime = drive::runtime()?;
        let (first, rest) = (&operations[..1], &operations[1..]);
        runtime.block_on(call_each(first, calls));
        // Both have a lane by now, and keep it.
        both_there.wait();
        runtime.block_on(call_each(rest, calls));
        Ok(())
    };
    together([traffic; PAIR]).into_iter().collect()
}

async fn call_each(operations: &[Operation], calls: u32) {
    for operation in operations {
        for _ in 0..calls {
            take(operation.call(async |_| answer(input()).await).await);
        }
    }
}

/// What the system says the process has in memory.
fn resident_bytes() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes.ok_or("no VmRSS in /proc/self/status")?.parse()?;
    Ok(kibibytes * 1024.0)
}
