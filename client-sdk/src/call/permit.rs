//! A call that is made by its caller, between asking for leave and telling how it went.

use fusebox_core::outcome::Verdict;

use std::time::Duration;

use super::Asking;
use super::run::Run;
use crate::error::Stopped;
use crate::operation::Inner;
use crate::{clock, lanes};

/// Leave to call the dependency once, by [`Operation::admit`](crate::Operation::admit).
///
/// No timeout is enforced and nothing is tried again: that is its holder's affair. Dropped without
/// a verdict it counts as cancelled; dropped while its holder panics, as a failure.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once counts as a cancelled call"]
pub struct Permit<'a> {
    run: Run<'a>,
}

pub(crate) fn admit<'a>(inner: &'a Inner, asking: Asking<'a>) -> Result<Permit<'a>, Stopped> {
    let mut run = Run::begin(inner, asking);
    if !run.enter_at_once()
        && let Err(stop) = run.step_in_or_leave()
    {
        return Err(run.stopped(stop));
    }
    // Whatever its holder does now is the caller's code.
    run.enters_callers_code();
    Ok(Permit { run })
}

impl Permit<'_> {
    /// What is left of the attempt's time: the nearer of its own timeout and the call's.
    pub fn remaining(&self) -> Duration {
        self.run.attempt_deadline().since(clock::now())
    }

    /// Tells how the call went. A success after the attempt's time counts as failed.
    pub fn settle(mut self, verdict: Verdict) {
        self.run.leaves_callers_code();
        self.run.reads_clock();
        if !self.run.succeeds_at_once(verdict) {
            let outcome = self.run.judge(verdict);
            self.run.count(outcome, lanes::current());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run.leaves_callers_code();
        }
    }
}
