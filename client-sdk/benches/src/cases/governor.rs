//! governor: a rate limit and nothing else, so high that it never refuses.
//!
//! A check is no future, so that there is nothing for it to wait on.

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::dependency::{RATE, answer, input, take};
use crate::drive::both;
use crate::harness::Case;

pub(crate) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let limiter = limiter()?;
    match limiter.check() {
        Ok(()) => Ok(both("governor-ready", &limiter, ready)?.into()),
        Err(refusal) => Err(format!("a limit that never refuses gave {refusal}").into()),
    }
}

fn limiter() -> Result<Arc<DefaultDirectRateLimiter>, Box<dyn Error>> {
    let quota = Quota::per_second(NonZeroU32::try_from(RATE)?);
    Ok(Arc::new(RateLimiter::direct(quota)))
}

fn ready(limiter: &Arc<DefaultDirectRateLimiter>) -> impl AsyncFnMut() + Send + use<> {
    let limiter = Arc::clone(limiter);
    async move || {
        if limiter.check().is_ok() {
            take(answer(input()).await);
        }
    }
}
