//! Fusebox with one further mechanism at a time, so that the price of each can be seen.
//!
//! None of them ever refuses, waits or fires: what is measured is that it is there.

use std::error::Error;
use std::time::Duration;

use fusebox::{Fusebox, Operation, OperationBuilder, Ratio};

use super::ours::{closed, consecutive, guarded, ready};
use crate::dependency::{
    CALLS_IN_WINDOW, FAILURE_PERCENT, MINIMUM_CALLS, RATE, WINDOW, answer, input, take,
};
use crate::drive::{block_on, both};
use crate::harness::Case;
use crate::policy;

/// Calls at once: many more than there are.
const PLACES: u32 = 1000;
/// The fewest that an adaptive limit may come down to: as many as there are, and some.
const FEWEST_PLACES: u32 = 8;
/// When a hedge is due: no call takes so long.
const NEVER: Duration = Duration::from_secs(3600);

pub(crate) fn cases(fusebox: &Fusebox) -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = Vec::new();
    for (id, builder) in mechanisms(fusebox)? {
        let operation = closed(builder)?;
        block_on(called(&operation, CALLS_IN_WINDOW))?;
        cases.extend(both(id, &operation, ready)?);
    }
    Ok(cases)
}

fn mechanisms(
    fusebox: &Fusebox,
) -> Result<Vec<(&'static str, OperationBuilder<'_>)>, Box<dyn Error>> {
    let ratio = Ratio::new(f64::from(FAILURE_PERCENT) / 100.0)?;
    let with = |name| consecutive(fusebox, name);
    Ok(vec![
        (
            "ours-time-window",
            guarded(fusebox, "time-window").failure_ratio(ratio, WINDOW, Some(MINIMUM_CALLS)),
        ),
        (
            "ours-count-window",
            guarded(fusebox, "count-window").failure_ratio_of_last(
                ratio,
                CALLS_IN_WINDOW,
                Some(MINIMUM_CALLS),
            ),
        ),
        (
            "ours-bulkhead",
            with("bulkhead").bulkhead(PLACES, 0, Duration::ZERO),
        ),
        (
            "ours-rate-limit",
            with("rate-limit").rate_limit(RATE, Duration::from_secs(1), RATE, Duration::ZERO),
        ),
        (
            "ours-adaptive-limit",
            with("adaptive-limit").concurrency_limit(FEWEST_PLACES, PLACES),
        ),
        ("ours-hedge", with("hedge").hedge_after(NEVER, 1)),
        // The policy's: a call site cannot try anything out.
        ("ours-shadow-breaker", with(policy::SHADOWED)),
    ])
}

async fn called(operation: &Operation, times: u32) {
    for _ in 0..times {
        take(operation.call(async |_| answer(input()).await).await);
    }
}
