//! A future that must end by a deadline.
//!
//! The inner future is always asked first: a value that is there goes to the caller however late.
//! A timer is only made once the inner future has to wait, so that a call that is ready at once
//! never touches the runtime's timers.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use fusebox_core::time::Instant;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tracing::Span;

use crate::clock;

pin_project! {
    pub(crate) struct Timed<'a, F> {
        inner: Pin<&'a mut F>,
        deadline: Instant,
        span: Option<&'a Span>,
        #[pin]
        timer: Option<Sleep>,
    }
}

/// The deadline came first.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl<'a, F> Timed<'a, F> {
    /// `inner` is polled within `span`.
    pub(crate) const fn new(
        inner: Pin<&'a mut F>,
        deadline: Instant,
        span: Option<&'a Span>,
    ) -> Self {
        Self {
            inner,
            deadline,
            span,
            timer: None,
        }
    }
}

impl<F: Future> Future for Timed<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let entered = this.span.map(Span::enter);
        if let Poll::Ready(value) = this.inner.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        drop(entered);
        if this.timer.is_none() {
            let at = clock::runtime_instant(*this.deadline);
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
