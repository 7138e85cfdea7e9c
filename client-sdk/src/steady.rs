//! Panics that end nothing: of whoever listens to this process's log and metrics, which is told in
//! the middle of things that must go on.
//!
//! Each has been told by the process's panic hook before it comes here.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Tells whoever listens.
pub(crate) fn tell(tell: impl FnOnce()) {
    // Nothing of the teller's is left half done: it tells of what is done.
    let _ = catch_unwind(AssertUnwindSafe(tell));
}

/// What `run` comes to, or what its panic says. What it was about to change must be whole, or gone
/// with it.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| text(&*panic))
}

/// Likewise of a future, which is over then.
pub(crate) async fn caught_in<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or(panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no words").to_owned()
}
