//! What nothing costs: the bare call, the least a guard can do, and tokio's timeout by itself.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use quanta::Clock;

use crate::dependency::{ATTEMPT_TIMEOUT, answer, answer_later, input, take};
use crate::drive::{alone, insist, pair};
use crate::harness::Case;

/// The words of a plan as large as the SDK's.
const PLAN_WORDS: usize = 18;
/// What a guarded success counts: the call, its latency, and itself in the breaker's window.
const COUNTERS: usize = 3;

pub(crate) fn cases() -> io::Result<Vec<Case>> {
    let floor = Floor::default();
    Ok(vec![
        Case::new("bare-ready", alone(async || take(answer(input()).await))?),
        Case::new(
            "bare-pending",
            alone(async || take(insist(answer_later(input())).await))?,
        ),
        Case::new("bare-two", pair(|| async || take(answer(input()).await))?),
        Case::new("floor", alone(async move || floor.call().await)?),
        Case::new(
            "tokio-timeout-pending",
            alone(async || {
                let call = tokio::time::timeout(ATTEMPT_TIMEOUT, answer_later(input()));
                take(insist(call).await);
            })?,
        ),
    ])
}

/// The least that a guard with swappable rules, a deadline and statistics has to touch.
struct Floor {
    plan: ArcSwap<[u64; PLAN_WORDS]>,
    clock: Clock,
    counters: [AtomicU64; COUNTERS],
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            plan: ArcSwap::from_pointee([1; PLAN_WORDS]),
            clock: Clock::new(),
            counters: Default::default(),
        }
    }
}

impl Floor {
    async fn call(&self) {
        let plan = black_box(**self.plan.load());
        let began = self.now();
        let result = answer(input()).await;
        black_box(self.now() - began < plan[0]);
        for counter in &self.counters {
            // Relaxed, in two steps: a counter with one writer.
            let count = counter.load(Ordering::Relaxed);
            counter.store(count + 1, Ordering::Relaxed);
        }
        let _ = black_box(result);
    }

    fn now(&self) -> u64 {
        self.clock.delta_as_nanos(0, self.clock.raw())
    }
}
