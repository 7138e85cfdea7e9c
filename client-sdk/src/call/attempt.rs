//! One attempt, polled until it ends or its deadline comes.
//!
//! The inner future is always asked first: a value that is there goes to the caller however late.
//! A timer is only made once the inner future has to wait, so that a call that is ready at once
//! never touches the runtime's timers. That is also when the call takes hold of its plan.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tracing::Span;

use super::run::Run;
use crate::clock;

pin_project! {
    pub(super) struct Attempt<'r, 'a, F> {
        future: Pin<&'r mut F>,
        run: &'r mut Run<'a>,
        #[pin]
        timer: Option<Sleep>,
    }
}

/// The deadline came first.
#[derive(Debug)]
pub(super) struct Elapsed;

impl<'r, 'a, F> Attempt<'r, 'a, F> {
    pub(super) const fn new(run: &'r mut Run<'a>, future: Pin<&'r mut F>) -> Self {
        Self {
            future,
            run,
            timer: None,
        }
    }
}

impl<F: Future> Future for Attempt<'_, '_, F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let entered = this.run.attempt_span().map(Span::enter);
        // Whoever drops the run while this is set does so because the caller's code panicked.
        this.run.enters_callers_code();
        let polled = this.future.as_mut().poll(cx);
        this.run.leaves_callers_code();
        if let Poll::Ready(value) = polled {
            return Poll::Ready(Ok(value));
        }
        drop(entered);
        if this.timer.is_none() {
            this.run.waits();
            let at = clock::runtime_instant(this.run.attempt_deadline());
            this.timer.set(Some(tokio::time::sleep_until(at)));
        }
        let Some(timer) = this.timer.as_pin_mut() else {
            return Poll::Pending;
        };
        // Outside the task's cooperative budget: an inner future that uses it up every time must
        // not keep the timer from being seen.
        let timer = pin!(tokio::task::coop::unconstrained(timer));
        timer.poll(cx).map(|()| Err(Elapsed))
    }
}
