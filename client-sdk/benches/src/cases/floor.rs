//! What nothing costs: the bare call, the least a guard can do, and tokio's timeout by itself.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use quanta::Clock;

use crate::dependency::{ATTEMPT_TIMEOUT, answer, answer_later, input, take};
use crate::drive::{both, insist};
use crate::harness::Case;

/// The words of a plan as large as the SDK's.
const PLAN_WORDS: usize = 18;
/// Those of them that a thread keeps.
const KEPT_WORDS: usize = 5;
/// What a guarded success counts: the call, its latency, and itself in the breaker's window.
const COUNTERS: usize = 3;

pub(crate) fn cases() -> io::Result<Vec<Case>> {
    let rules = Arc::new(Rules::default());
    let cases = [
        both("bare-ready", &(), |()| async || take(answer(input()).await))?,
        both("bare-pending", &(), |()| {
            async || take(insist(answer_later(input())).await)
        })?,
        both("tokio-timeout-pending", &(), |()| {
            async || {
                let call = tokio::time::timeout(ATTEMPT_TIMEOUT, answer_later(input()));
                take(insist(call).await);
            }
        })?,
        both("floor-ready", &rules, keeping)?,
        both("floor-arcswap-ready", &rules, loading)?,
    ];
    Ok(cases.into_iter().flatten().collect())
}

/// The least of a guard whose rules can be replaced.
struct Rules {
    /// Of the plan in force: one word that nobody writes.
    number: AtomicU64,
    plan: ArcSwap<[u64; PLAN_WORDS]>,
    clock: Clock,
}

/// What a caller has for itself.
#[derive(Default)]
struct Own {
    /// Of the plan that `kept` is taken from.
    number: u64,
    kept: [u64; KEPT_WORDS],
    counters: [AtomicU64; COUNTERS],
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(1),
            plan: ArcSwap::from_pointee([1; PLAN_WORDS]),
            clock: Clock::new(),
        }
    }
}

/// A caller that keeps what it wants of the rules, and compares their number.
fn keeping(rules: &Arc<Rules>) -> impl AsyncFnMut() + Send + use<> {
    let (rules, mut own) = (Arc::clone(rules), Own::default());
    async move || {
        // Relaxed: the plan is reached through `plan`, which orders for itself.
        let number = rules.number.load(Ordering::Relaxed);
        if own.number != number {
            own.kept.copy_from_slice(&rules.plan.load()[..KEPT_WORDS]);
            own.number = number;
        }
        let limit = black_box(own.kept)[0];
        rules.counted_call(limit, &own).await;
    }
}

/// A caller that loads and copies the whole of the rules every time.
fn loading(rules: &Arc<Rules>) -> impl AsyncFnMut() + Send + use<> {
    let (rules, own) = (Arc::clone(rules), Own::default());
    async move || {
        let limit = black_box(**rules.plan.load())[0];
        rules.counted_call(limit, &own).await;
    }
}

impl Rules {
    /// A call between two readings of the clock, and its traces.
    async fn counted_call(&self, limit: u64, own: &Own) {
        let began = self.now();
        let result = answer(input()).await;
        black_box(self.now() - began < limit);
        for counter in &own.counters {
            // Relaxed, in two steps: a counter with one writer.
            let count = counter.load(Ordering::Relaxed);
            counter.store(count + 1, Ordering::Relaxed);
        }
        take(result);
    }

    fn now(&self) -> u64 {
        self.clock.delta_as_nanos(0, self.clock.raw())
    }
}
