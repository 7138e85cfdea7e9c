//! The other end of a call: does with each attempt what the script says.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fusebox_core::outcome::{Again, Verdict};
use tokio::sync::oneshot;

use super::script::{Answer, Attempt, Attempts, Lead};

/// A value or an error, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Which attempt answered; the fallback is none.
    pub(super) by: Option<usize>,
    pub(super) verdict: Verdict,
}

/// One call's dependency.
#[derive(Debug)]
pub(super) struct Dependency {
    script: Attempts,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    made: usize,
    under_way: usize,
    /// Attempts that wait to be told, the oldest first.
    waiting: VecDeque<oneshot::Sender<Answer>>,
    /// The last thing that one of them was told.
    told: Option<Answer>,
}

/// An attempt that has begun and not ended.
struct UnderWay(Arc<Dependency>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.seen().under_way -= 1;
    }
}

impl Dependency {
    pub(super) fn new(script: Attempts) -> Self {
        Self {
            script,
            seen: Mutex::default(),
        }
    }

    /// What the caller's closure does.
    pub(super) fn attempt(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<Told, Told>> + Send + use<> {
        let by = {
            let mut seen = self.seen();
            seen.made += 1;
            seen.under_way += 1;
            seen.made
        };
        let under_way = UnderWay(Arc::clone(self));
        let last = self.script.each.last().filter(|_| self.script.and_so_on);
        let attempt = self.script.each.get(by - 1).or(last).copied();
        // One attempt too many: counted, and not repeated.
        let attempt = attempt.unwrap_or(Attempt {
            lead: Lead::Nothing,
            answer: Answer::Failure(Again::No),
        });
        if attempt.answer == Answer::PanicMaking {
            panic_quietly();
        }
        async move {
            match attempt.lead {
                Lead::Nothing => {}
                Lead::After(time) => tokio::time::sleep(time).await,
                Lead::Block(time) => block(time),
            }
            let answer = match attempt.answer {
                Answer::Told => under_way.0.wait_to_be_told().await,
                answer => answer,
            };
            let ended = answered(by, answer).await;
            drop(under_way);
            ended
        }
    }

    /// Tells the oldest attempt that waits for it; `false` if none does.
    pub(super) fn tell(&self, answer: Answer) -> bool {
        let waiting = self.seen().waiting.pop_front();
        let told = waiting.is_some_and(|waiting| waiting.send(answer).is_ok());
        if told {
            self.seen().told = Some(answer);
        }
        told
    }

    /// How its call ends if it decides.
    pub(super) fn outcome(&self) -> &'static str {
        let last = self.script.each.last().map(|attempt| attempt.answer);
        let last = match last {
            Some(Answer::Told) => self.seen().told.or(last),
            last => last,
        };
        last.map_or("nothing", Answer::outcome)
    }

    pub(super) fn made(&self) -> usize {
        self.seen().made
    }

    pub(super) fn under_way(&self) -> usize {
        self.seen().under_way
    }

    /// How many attempts the script wants, if that is not what there were.
    pub(super) fn surprise(&self) -> Option<usize> {
        let (scripted, made) = (self.script.each.len(), self.made());
        let as_scripted = made == scripted || (made > scripted && self.script.and_so_on);
        (!as_scripted).then_some(made)
    }

    async fn wait_to_be_told(&self) -> Answer {
        let (teller, told) = oneshot::channel();
        self.seen().waiting.push_back(teller);
        // The teller lives in `seen`, and so as long as this.
        told.await.unwrap_or(Answer::Hang)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // An attempt may panic, but not while it holds this.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answered(by: usize, answer: Answer) -> Result<Told, Told> {
    let told = |verdict| Told {
        by: Some(by),
        verdict,
    };
    match answer {
        Answer::Success => Ok(told(Verdict::Success)),
        Answer::BadValue => Ok(told(Verdict::Failure(Again::IfIdempotent(None)))),
        Answer::Failure(again) => Err(told(Verdict::Failure(again))),
        Answer::Ignored => Err(told(Verdict::Ignored)),
        Answer::Hang | Answer::Told => pending().await,
        Answer::Panic | Answer::PanicMaking => panic_quietly(),
    }
}

/// As a panic, but for the report on the console.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("as the script says"))
}

/// Moves the clock within one poll, as code does that does not give its thread back.
fn block(time: Duration) {
    let mut moved = pin!(tokio::time::advance(time));
    let mut cx = Context::from_waker(Waker::noop());
    while moved.as_mut().poll(&mut cx) == Poll::Pending {}
}
