//! One call, carried from attempt to attempt.
//!
//! On the path of a healthy call that is: one look at the plan's gist, two clock reads, one read of
//! the breaker's word, and writes to this thread's own lane.
//!
//! A [`Run`] settles what it holds when it is dropped, so that a call cut off at any point gives
//! everything back, and a panic counts as the failure it is.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::guard::{Execution, Plan};
use fusebox_core::outcome::Verdict;
use fusebox_core::time::Instant;

use super::Asking;
use super::attempt::{Attempt, Elapsed};
use super::ending::Settled;
use super::entry::Holding;
use super::spans::Spans;
use crate::classify::Classify;
use crate::clock;
use crate::error::{Error, Stopped};
use crate::operation::{Cx, Inner};
use crate::plans::Numbered;

/// A guarded call, step by step: for callers whose attempts cannot be made by a closure, because
/// they use `&mut` data or arguments of their own.
///
/// ```no_run
/// # async fn send(connection: &mut String) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn example(operation: fusebox::Operation, mut connection: String)
/// # -> Result<(), fusebox::Error<std::io::Error>> {
/// use fusebox::{Error, Next, Results, Stopped};
///
/// let mut run = operation.begin();
/// let mut last = None;
/// loop {
///     match run.attempt(&Results, send(&mut connection)).await {
///         Next::Again { answer } => last = answer.or(last),
///         Next::Return(result) => {
///             // A retry that is refused: what was answered before is what the caller wants to see.
///             let refused = matches!(
///                 result,
///                 Err(Error::Stopped { why: Stopped::Refused { .. }, .. })
///             );
///             return match last {
///                 Some(answer) if refused => answer.map_err(Error::Call),
///                 _ => result,
///             };
///         }
///     }
/// }
/// # }
/// ```
///
/// Dropped before it returned a result, it counts as cancelled and gives everything back. An attempt
/// may be dropped, too: it gives back what it held at once, and the next is made only if a retry
/// would be. After it has returned a result it makes no attempt: that is [`Stopped::Ended`].
#[derive(Debug)]
#[must_use = "nothing is called before attempt()"]
pub struct Run<'a> {
    pub(super) inner: &'a Inner,
    pub(super) asking: Asking<'a>,
    pub(super) execution: Execution,
    /// Which plan the call began under.
    pub(super) number: u64,
    /// The plan it follows, from its first wait or trouble to its end.
    held: Option<Arc<Numbered>>,
    /// The last reading of the clock.
    pub(super) now: Instant,
    /// When the attempt under way began.
    pub(super) attempt_began: Instant,
    /// When it must have ended: by its own limit or by the call's.
    pub(super) deadline: Instant,
    pub(super) holds: Holding,
    pub(super) progress: Progress,
    in_callers_code: Cell<bool>,
    /// Until when to sleep before the next attempt, if that has not been slept yet.
    pub(super) pause: Option<Instant>,
    pub(super) spans: Spans,
}

/// Less than any timeout tells apart.
const MOMENT: Duration = Duration::from_micros(50);

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has not been let in yet.
    Outside,
    /// Its first attempt has begun.
    Begun,
    /// An attempt was cut off by its own timeout, and the next has not been let in yet.
    Cut,
    /// An attempt was dropped by its caller, and it is not decided yet what follows.
    Dropped,
    /// It has been counted.
    Counted,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Next<T, E> {
    /// The call has ended with this.
    Return(Result<T, Error<E>>),
    /// Another attempt is due; the next one sleeps before it begins.
    Again {
        /// What the dependency answered, unless the attempt was cut off. It is what the caller wants
        /// to see if the next attempt is refused.
        answer: Option<Result<T, E>>,
    },
}

impl<'a> Run<'a> {
    // Always: a frame of its own would cost a tenth of a call.
    #[inline(always)]
    pub(crate) fn begin(inner: &'a Inner, asking: Asking<'a>) -> Self {
        let now = clock::now();
        Self {
            inner,
            execution: Execution::begin(now, asking.around.bound()),
            asking,
            number: 0,
            held: None,
            now,
            attempt_began: now,
            deadline: Instant::NEVER,
            holds: Holding::Nothing,
            progress: Progress::Outside,
            in_callers_code: Cell::new(false),
            pause: None,
            spans: Spans::begin(inner),
        }
    }

    /// Makes one attempt: waits for its turn, polls `future`, judges the result by `classify`. The
    /// future is not polled before it is its turn.
    pub async fn attempt<T, E, C: Classify<T, E>>(
        &mut self,
        classify: &C,
        future: impl Future<Output = Result<T, E>>,
    ) -> Next<T, E> {
        if let Err(why) = self.resume().await {
            return Next::Return(Err(Error::Stopped { why, last: None }));
        }
        let mut under_way = UnderWay {
            run: self,
            inside: false,
        };
        let run = &mut *under_way.run;
        // A look does not read the clock: it is for the attempt that follows its call's beginning.
        let at_once = run.has_just_begun() && run.enter_at_once();
        if !at_once && let Err(stop) = run.enter().await {
            return Next::Return(run.give_up(stop, None));
        }
        under_way.inside = true;
        let run = &mut *under_way.run;
        let ended = {
            // Gone before what it held is given back.
            let future = pin!(future);
            run.poll_to_end(future).await
        };
        let settled = match ended {
            Ok(result) => {
                let verdict = run.judging(classify, &result);
                if run.succeeds_at_once(verdict) {
                    return Next::Return(result.map_err(Error::Call));
                }
                run.settle(verdict, result)
            }
            Err(Elapsed) => run.cut_off(),
        };
        match settled {
            Settled::Return(result) => Next::Return(result.map_err(Error::Call)),
            Settled::Stopped(why) => Next::Return(Err(Error::Stopped { why, last: None })),
            Settled::Again(delay, answer) => {
                run.pause = Some(run.now + delay);
                Next::Again { answer }
            }
        }
    }

    /// Whether no more than a moment has passed since it began: the clock has not been read since.
    fn has_just_begun(&self) -> bool {
        self.now == self.attempt_began && clock::now().since(self.now) < MOMENT
    }

    /// Waits until the next attempt may be begun, if there is to be one.
    async fn resume(&mut self) -> Result<(), Stopped> {
        if self.progress == Progress::Dropped {
            self.after_drop();
        }
        if self.progress == Progress::Counted {
            let operation = self.inner.name;
            return Err(Stopped::Ended { operation });
        }
        if let Some(until) = self.pause {
            tokio::time::sleep_until(clock::runtime_instant(until)).await;
            // Only now: whoever is dropped while it sleeps sleeps on.
            self.pause = None;
        }
        Ok(())
    }

    /// What the next attempt is told. Its time is the whole call's: its own begins once it is let
    /// in.
    pub fn cx(&mut self) -> Cx {
        let execution = self.execution;
        let deadline = execution.deadline(&self.hold().plan);
        let dropped = u32::from(self.progress == Progress::Dropped);
        Cx::new(execution.attempt() + dropped, deadline)
    }

    /// Polls an attempt that has been let in.
    #[inline]
    pub(super) async fn poll_to_end<F: Future>(
        &mut self,
        future: Pin<&mut F>,
    ) -> Result<F::Output, Elapsed> {
        let ended = Attempt::new(self, future).await;
        self.now = clock::now();
        ended
    }

    /// What the caller's classifier says of a result.
    #[inline]
    pub(super) fn judging<T, E, C: Classify<T, E>>(
        &self,
        classify: &C,
        result: &Result<T, E>,
    ) -> Verdict {
        self.enters_callers_code();
        let verdict = classify.classify(result.as_ref());
        self.leaves_callers_code();
        verdict
    }

    /// What the caller's closure makes of the attempt: its future, or its result.
    #[inline]
    pub(super) fn making<R>(&self, mut f: impl FnMut(Cx) -> R) -> R {
        let cx = Cx::new(self.execution.attempt(), self.deadline);
        self.enters_callers_code();
        let made = f(cx);
        self.leaves_callers_code();
        made
    }

    pub(super) fn reads_clock(&mut self) {
        self.now = clock::now();
    }

    /// The plan that the call follows from now on. If it is a newer one than the call began under,
    /// the call is not older than a poll, and goes by the newer one from its beginning.
    pub(super) fn hold(&mut self) -> &Arc<Numbered> {
        if self.held.is_none() {
            let held = self.inner.plans.hold();
            if held.number != self.number && self.progress == Progress::Begun {
                self.deadline = self.deadline_by(&held.plan);
            }
            self.held = Some(held);
        }
        // It is there: the lines above have seen to it.
        self.held.get_or_insert_with(|| self.inner.plans.hold())
    }

    /// Does a step by the plan, which is out of its place meanwhile: `step` is told all of it.
    #[inline]
    pub(super) fn by_plan<R>(&mut self, step: impl FnOnce(&mut Self, &Plan) -> R) -> R {
        self.hold();
        let held = self.held.take().unwrap_or_else(|| self.inner.plans.hold());
        let done = step(self, &held.plan);
        self.held = Some(held);
        done
    }

    /// The plan, once it is held.
    #[inline]
    pub(super) fn held_plan(&self) -> Option<&Plan> {
        self.held.as_deref().map(|held| &held.plan)
    }

    /// The attempt under way has to wait.
    pub(super) fn waits(&mut self) {
        self.hold();
    }

    #[inline]
    pub(super) const fn attempt_deadline(&self) -> Instant {
        self.deadline
    }

    #[inline]
    pub(super) fn attempt_span(&self) -> Option<&tracing::Span> {
        self.spans.attempt()
    }

    #[inline]
    pub(super) fn enters_callers_code(&self) {
        self.in_callers_code.set(true);
    }

    #[inline]
    pub(super) fn leaves_callers_code(&self) {
        self.in_callers_code.set(false);
    }

    /// Whether whoever asks does so because that code panicked.
    pub(super) fn is_in_callers_code(&self) -> bool {
        self.in_callers_code.get()
    }
}

/// An attempt that its caller may drop at any time.
struct UnderWay<'r, 'a> {
    run: &'r mut Run<'a>,
    /// It has been let in.
    inside: bool,
}

impl Drop for UnderWay<'_, '_> {
    fn drop(&mut self) {
        let run = &mut *self.run;
        let ended = matches!(run.holds, Holding::Nothing) || run.progress == Progress::Counted;
        match (ended, self.inside) {
            (true, _) => {}
            (false, true) => run.dropped(),
            (false, false) => run.dropped_on_the_way_in(),
        }
    }
}

impl Drop for Run<'_> {
    #[inline]
    fn drop(&mut self) {
        let untouched = self.progress == Progress::Outside && self.held.is_none();
        if self.progress != Progress::Counted && !untouched {
            self.abandon();
        }
    }
}
