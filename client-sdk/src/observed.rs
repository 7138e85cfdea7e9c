//! How long an operation's calls have been taking lately: what a hedge by percentile waits for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fusebox_core::guard::hedge::MINIMUM_SAMPLES;
use fusebox_core::policy::ratio::Ratio;
use fusebox_core::stats::{Histogram, Recorder};
use fusebox_core::time::{Instant, Span};

/// How long an answer is given again.
const FRESH: Duration = Duration::from_secs(1);
/// What is looked back on is between one and two of these.
const WINDOW: Duration = Duration::from_secs(30);

/// The latencies of one operation's last minute or so, read from its recorder when asked.
#[derive(Debug, Default)]
pub(crate) struct Observed(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What had been recorded one to two windows ago, and at the last turn.
    before: Histogram,
    turn: Histogram,
    turned: Instant,
    /// The last answer, to which question, and when.
    answer: Option<(Ratio, Option<Span>, Instant)>,
}

impl Observed {
    /// The latency below which a `share` of the recent calls stayed; `None` while there are too few.
    pub(crate) fn latency_at(
        &self,
        share: Ratio,
        recorder: &Recorder,
        now: Instant,
    ) -> Option<Span> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.answer {
            Some((asked, answer, at)) if asked == share && now.since(at) < FRESH => answer,
            _ => {
                let answer = inner.look(share, &recorder.latency(), now);
                inner.answer = Some((share, answer, now));
                answer
            }
        }
    }
}

impl Inner {
    fn look(&mut self, share: Ratio, all: &Histogram, now: Instant) -> Option<Span> {
        if now.since(self.turned) >= WINDOW {
            self.before = std::mem::replace(&mut self.turn, all.clone());
            self.turned = now;
        }
        let recent = all.since(&self.before)?;
        let enough = recent.count() >= MINIMUM_SAMPLES;
        let quantile = recent.quantile(share.basis_points().into());
        quantile.filter(|_| enough).map(Span::from)
    }
}
