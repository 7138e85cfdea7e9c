//! tower-resilience, stacked as its guide on composition says.
//!
//! | here | in the guide | layers, from the outside |
//! |---|---|---|
//! | [`lean`] | "Internal Microservices" | overall timeout, retry, breaker |
//! | [`full`] | "External API Clients", standard | the same, and an attempt timeout |
//!
//! The full one bounds what ours bounds. Holds compare with the lean one, the harder rival.

use std::error::Error;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_resilience::circuitbreaker::{
    CircuitBreakerError, CircuitBreakerLayer, SlidingWindowType,
};
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::alloc;
use crate::dependency::{
    ATTEMPT_TIMEOUT, BASE_DELAY, Broken, CALLS_IN_WINDOW, FAILURE_PERCENT, FAILURES, MAX_ATTEMPTS,
    MINIMUM_CALLS, OPEN, OVERALL_TIMEOUT, WINDOW, answer, answer_later, fail, input, take,
};
use crate::drive::{self, block_on, both, insist};
use crate::harness::Case;

/// Few beside those in the window, so that it holds about as many when the clock stops.
const CALLS_BESIDE: u64 = 500;

pub(crate) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let cases = [
        both("tower-full-ready", &full(consecutive(FAILURES)?), ready)?,
        both("tower-refused", &opened()?, ready)?,
        both(
            "tower-pending",
            &lean(consecutive(FAILURES)?, answer_later),
            pending,
        )?,
        both("tower-ready", &lean(consecutive(FAILURES)?, answer), ready)?,
    ];
    let window = Case::new("tower-time-window", windowed()?).at_most(CALLS_BESIDE);
    Ok([window]
        .into_iter()
        .chain(cases.into_iter().flatten())
        .collect())
}

/// A service that its callers can clone and share, as a stack is used.
trait Stack:
    Service<u64, Response = u64, Error: Debug + Send, Future: Send> + Clone + Send + 'static
{
}

impl<S> Stack for S where
    S: Service<u64, Response = u64, Error: Debug + Send, Future: Send> + Clone + Send + 'static
{
}

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

/// A stack whose breaker is open: one failure was enough.
fn opened() -> Result<impl Stack, Box<dyn Error>> {
    let mut stack = lean(consecutive(1)?, fail);
    take(block_on(call(&mut stack))?);
    match block_on(call(&mut stack))? {
        Err(refusal) if format!("{refusal:?}").contains("OpenCircuit") => Ok(stack),
        other => Err(format!("tower-resilience's open breaker gave {other:?}").into()),
    }
}

fn timeout(after: Duration) -> TimeLimiterLayer {
    TimeLimiterLayer::builder().timeout_duration(after).build()
}

/// Repeats failures, and no refusals: those would be waited for.
fn retry<E: 'static>() -> RetryLayer<u64, u64, CircuitBreakerError<E>> {
    RetryLayer::builder()
        .max_attempts(MAX_ATTEMPTS as usize)
        .exponential_backoff(BASE_DELAY)
        .retry_on(|error: &CircuitBreakerError<E>| !error.is_circuit_open())
        .build()
}

fn consecutive(failures: u32) -> Result<CircuitBreakerLayer, Box<dyn Error>> {
    let breaker = CircuitBreakerLayer::builder()
        .consecutive_failures(failures as usize)
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
async fn call<S: Stack>(stack: &mut S) -> Result<u64, S::Error> {
    stack.ready().await?.call(input()).await
}

fn ready<S: Stack>(stack: &S) -> impl AsyncFnMut() + Send + use<S> {
    let mut stack = stack.clone();
    async move || take(call(&mut stack).await)
}

fn pending<S: Stack>(stack: &S) -> impl AsyncFnMut() + Send + use<S> {
    let mut stack = stack.clone();
    async move || take(insist(call(&mut stack)).await)
}

/// Batches on a breaker that has seen about [`CALLS_IN_WINDOW`]: a call costs the more the more
/// there are, so that after a few more there is a new breaker.
fn windowed() -> Result<impl FnMut(u64) -> Duration, Box<dyn Error>> {
    let layer = time_window()?;
    let runtime = drive::runtime()?;
    let full = u64::from(CALLS_IN_WINDOW);
    let mut stack = lean(layer.clone(), answer);
    let mut seen = 0;
    Ok(move |calls| {
        if seen == 0 || seen > full + CALLS_BESIDE {
            alloc::aside(|| {
                stack = lean(layer.clone(), answer);
                runtime.block_on(unconstrained(repeat(&mut stack, full)));
            });
            seen = full;
        }
        seen += calls;
        let began = Instant::now();
        runtime.block_on(unconstrained(repeat(&mut stack, calls)));
        began.elapsed()
    })
}

async fn repeat(stack: &mut impl Stack, calls: u64) {
    for _ in 0..calls {
        take(call(stack).await);
    }
}
