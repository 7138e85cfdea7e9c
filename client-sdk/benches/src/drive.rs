//! Turns a call into a case, the same way for everybody.
//!
//! A batch is one future on a current-thread runtime: a call costs what its polls cost, and no
//! executor's queue. It runs outside the task's cooperative budget, because a stack that takes a
//! tokio lock would otherwise give way every few dozen calls, and that is the driver's affair.
//!
//! Of two callers, the time is that of the wall, from the first one's start to the last one's end: a
//! caller that waits for the other's lock is not idle.
//!
//! A call that has to wait is asked again right away, within the same poll of the batch: a wake-up
//! is paid for, a trip through the runtime's park is not.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::coop::unconstrained;

use crate::alloc;
use crate::harness::Case;

/// Callers of a pair.
pub(crate) const PAIR: usize = 2;
/// Calls made by each thread of a pair before the clock starts: their lanes and caches are new.
const FRESH_THREAD_CALLS: u64 = 200;
/// Looks at the other's arrival before a caller gives way to it.
const LOOKS: u32 = 1000;

/// Two cases: `id` is one caller of `shared`, `id-two` is two of them on two threads.
pub(crate) fn both<S, C>(
    id: &str,
    shared: &S,
    caller: impl Fn(&S) -> C + 'static,
) -> io::Result<[Case; 2]>
where
    S: Clone + 'static,
    C: AsyncFnMut() + Send + 'static,
{
    let one = alone(id, caller(shared))?;
    let shared = shared.clone();
    let two = pair(format!("{id}-two"), move || caller(&shared))?;
    Ok([one, two])
}

/// One caller.
pub(crate) fn alone(
    id: impl Into<String>,
    mut call: impl AsyncFnMut() + 'static,
) -> io::Result<Case> {
    let runtime = runtime()?;
    let batch = move |calls| runtime.block_on(unconstrained(timed(&mut call, calls)));
    Ok(Case::new(id, batch))
}

/// Two callers on two threads, each making so many calls; `caller` makes each of them.
fn pair<C: AsyncFnMut() + Send>(
    id: impl Into<String>,
    mut caller: impl FnMut() -> C + 'static,
) -> io::Result<Case> {
    let runtimes: [_; PAIR] = [runtime()?, runtime()?];
    let batch = move |calls| {
        let start = Start::default();
        let spans = together(runtimes.each_ref().map(|runtime| {
            let (call, start) = (caller(), &start);
            move || beside(runtime, call, calls, start)
        }));
        let [(began, ended), (other_began, other_ended)] = spans;
        ended.max(other_ended) - began.min(other_began)
    };
    Ok(Case::new(id, batch).made_by(PAIR))
}

/// Polls `future` until it is ready, within one poll of its own.
pub(crate) async fn insist<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(value);
            }
        }
    })
    .await
}

/// What `future` comes to, for what is called before anything is measured.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(runtime()?.block_on(unconstrained(future)))
}

/// Does each of `works` on a thread of its own. What they allocate counts as this thread's.
pub(crate) fn together<T: Send, const N: usize>(works: [impl FnOnce() -> T + Send; N]) -> [T; N] {
    thread::scope(|scope| {
        let threads = works.map(|work| scope.spawn(|| (work(), alloc::so_far())));
        threads.map(|thread| {
            let (done, tally) = joined(thread);
            alloc::take_over(tally);
            done
        })
    })
}

async fn timed(call: &mut impl AsyncFnMut(), calls: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..calls {
        call().await;
    }
    began.elapsed()
}

/// One thread's part of a pair.
fn beside(
    runtime: &Runtime,
    mut call: impl AsyncFnMut(),
    calls: u64,
    start: &Start,
) -> (Instant, Instant) {
    runtime.block_on(unconstrained(timed(&mut call, FRESH_THREAD_CALLS)));
    start.meet();
    let began = Instant::now();
    let took = runtime.block_on(unconstrained(timed(&mut call, calls)));
    (began, began + took)
}

/// Where a pair meets. Both look all the time instead of sleeping, so that they leave together.
#[derive(Default)]
struct Start(AtomicUsize);

impl Start {
    fn meet(&self) {
        // Relaxed: nothing but the meeting itself is shared through it.
        self.0.fetch_add(1, Ordering::Relaxed);
        let mut looks = 0_u32;
        while self.0.load(Ordering::Relaxed) < PAIR {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS) {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}
