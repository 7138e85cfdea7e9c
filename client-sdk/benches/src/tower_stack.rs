//! tower-resilience, stacked as its guide on composition says.
//!
//! | here | in the guide | layers, from the outside |
//! |---|---|---|
//! | [`lean`] | "Internal Microservices" | overall timeout, retry, breaker |
//! | [`full`] | "External API Clients", standard | the same, and an attempt timeout |
//!
//! The full one bounds what ours bounds. Holds compare with the lean one, the harder rival.

use std::error::Error;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::coop::unconstrained;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::dependency::{
    ATTEMPT_TIMEOUT, BASE_DELAY, Broken, FAILURE_PERCENT, FAILURES, MAX_ATTEMPTS, MINIMUM_CALLS,
    OPEN, OVERALL_TIMEOUT, WINDOW, answer, answer_later, input, take,
};
use crate::drive::{alone, insist, pair};
use crate::harness::Case;

/// How many calls the time window holds when the clock starts.
const CALLS_IN_WINDOW: u64 = 10_000;
/// Few beside those, so that it holds about as many when the clock stops.
const CALLS_BESIDE: u64 = 500;

pub(crate) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let mut later = lean(consecutive()?, answer_later);
    let mut full = full(consecutive()?);
    let mut ready = lean(consecutive()?, answer);
    let shared = lean(consecutive()?, answer);
    let two = pair(move || {
        let mut shared = shared.clone();
        async move || call(&mut shared).await
    })?;
    let later = alone(async move || insist(call(&mut later)).await)?;
    let full = alone(async move || call(&mut full).await)?;
    let ready = alone(async move || call(&mut ready).await)?;
    Ok(vec![
        Case::new("tower-window", windowed()?).at_most(CALLS_BESIDE),
        Case::new("tower-full-ready", full),
        Case::new("tower-two", two),
        Case::new("tower-pending", later),
        Case::new("tower-ready", ready),
    ])
}

/// A service that its callers can clone and share, as a stack is used.
trait Stack: Service<u64, Response = u64, Error: Send, Future: Send> + Clone + Send {}

impl<S: Service<u64, Response = u64, Error: Send, Future: Send> + Clone + Send> Stack for S {}

fn lean<F>(
    breaker: CircuitBreakerLayer,
    answer: impl Fn(u64) -> F + Clone + Send + 'static,
) -> impl Stack
where
    F: Future<Output = Result<u64, Broken>> + Send + 'static,
{
    ServiceBuilder::new()
        .layer(timeout(OVERALL_TIMEOUT))
        .layer(retry())
        .layer(breaker)
        .service(service_fn(answer))
}

fn full(breaker: CircuitBreakerLayer) -> impl Stack {
    ServiceBuilder::new()
        .layer(timeout(OVERALL_TIMEOUT))
        .layer(retry())
        .layer(breaker)
        .layer(timeout(ATTEMPT_TIMEOUT))
        .service(service_fn(answer))
}

fn timeout(after: Duration) -> TimeLimiterLayer {
    TimeLimiterLayer::builder().timeout_duration(after).build()
}

fn retry<E>() -> RetryLayer<u64, u64, E> {
    RetryLayer::builder()
        .max_attempts(MAX_ATTEMPTS as usize)
        .exponential_backoff(BASE_DELAY)
        .build()
}

fn consecutive() -> Result<CircuitBreakerLayer, Box<dyn Error>> {
    let breaker = CircuitBreakerLayer::builder()
        .consecutive_failures(FAILURES as usize)
        .wait_duration_in_open(OPEN);
    Ok(breaker.build()?)
}

fn time_window() -> Result<CircuitBreakerLayer, Box<dyn Error>> {
    let breaker = CircuitBreakerLayer::builder()
        .failure_rate_threshold(f64::from(FAILURE_PERCENT) / 100.0)
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(WINDOW)
        .minimum_number_of_calls(MINIMUM_CALLS as usize)
        .wait_duration_in_open(OPEN);
    Ok(breaker.build()?)
}

/// As the guide calls a stack.
async fn call(stack: &mut impl Stack) {
    let result = match stack.ready().await {
        Ok(ready) => ready.call(input()).await,
        Err(error) => Err(error),
    };
    take(result);
}

/// Batches on a breaker that has seen about [`CALLS_IN_WINDOW`]: a call costs the more the more
/// there are, so that after a few more there is a new breaker.
fn windowed() -> Result<impl FnMut(u64) -> Duration, Box<dyn Error>> {
    let layer = time_window()?;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let mut stack = lean(layer.clone(), answer);
    let mut seen = 0;
    Ok(move |calls| {
        if seen == 0 || seen > CALLS_IN_WINDOW + CALLS_BESIDE {
            stack = lean(layer.clone(), answer);
            runtime.block_on(unconstrained(repeat(&mut stack, CALLS_IN_WINDOW)));
            seen = CALLS_IN_WINDOW;
        }
        seen += calls;
        let began = Instant::now();
        runtime.block_on(unconstrained(repeat(&mut stack, calls)));
        began.elapsed()
    })
}

async fn repeat(stack: &mut impl Stack, calls: u64) {
    for _ in 0..calls {
        call(stack).await;
    }
}
