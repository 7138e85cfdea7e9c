//! A guarded call on a thread that may block.
//!
//! What blocks cannot be cut off: it is measured, its deadline is handed to it, and a value that
//! comes late goes to the caller all the same, while the breaker counts it failed. A failure that
//! comes late is a timeout that told why.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::coop::poll_proceed;

use super::Asking;
use super::ending::Settled;
use super::entry::Stop;
use super::run::Run;
use crate::classify::Classify;
use crate::clock;
use crate::error::{Error, Stopped};
use crate::operation::{Cx, Inner};

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn run<T, E, C: Classify<T, E>>(
    inner: &Inner,
    asking: Asking<'_>,
    classify: &C,
    mut f: impl FnMut(Cx) -> Result<T, E>,
) -> Result<T, Error<E>> {
    if is_polled() {
        let why = Stopped::WouldBlock {
            operation: inner.name,
        };
        return Err(Error::Stopped { why, last: None });
    }
    let mut run = Run::begin(inner, asking);
    let mut last = None;
    loop {
        if !run.enter_at_once()
            && let Err(stop) = enter(&mut run)
        {
            return run.give_up(stop, last);
        }
        let result = run.making(&mut f);
        run.reads_clock();
        let verdict = run.judging(classify, &result);
        if run.succeeds_at_once(verdict) {
            return result.map_err(Error::Call);
        }
        match run.settle(verdict, result) {
            Settled::Return(result) => return result.map_err(Error::Call),
            Settled::Stopped(why) => return Err(Error::because(why, last)),
            Settled::Again(delay, answer) => {
                last = answer.or(last);
                thread::sleep(delay);
            }
        }
    }
}

/// Whether this thread is polling a task just now. Tokio does not tell, but it shows: a task has a
/// budget for each poll, and a thread that may block has none. One that was made
/// [unconstrained](tokio::task::unconstrained) has none either, and is not found out.
fn is_polled() -> bool {
    /// Above the 128 that tokio gives a task.
    const BEYOND_ANY_BUDGET: usize = 256;
    if Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = Vec::with_capacity(BEYOND_ANY_BUDGET);
    let exhausted = (0..BEYOND_ANY_BUDGET).any(|_| match poll_proceed(&mut cx) {
        Poll::Ready(one) => {
            taken.push(one);
            false
        }
        Poll::Pending => true,
    });
    // Each gives back what was there before it was taken: the last first.
    while taken.pop().is_some() {}
    exhausted
}

/// Parks until the next attempt may begin.
fn enter(run: &mut Run<'_>) -> Result<(), Stop> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let cx = Context::from_waker(&waker);
    while let Some(until) = run.step_in(&cx)? {
        thread::park_timeout(until.since(clock::now()).max(Duration::from_nanos(1)));
    }
    Ok(())
}
