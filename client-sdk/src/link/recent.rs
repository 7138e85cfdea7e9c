//! The transitions told of late, for a server that may not have heard of them.
//!
//! What was sent on a connection that then broke may or may not have arrived, and the next server may
//! be another one. So a new session tells the latest again; they are numbered, and whoever knows them
//! passes over them.

use std::collections::VecDeque;
use std::time::Duration;

use fusebox_core::key::OperationName;
use fusebox_core::outcome::Transition;
use fusebox_core::revision::Revision;
use fusebox_core::stats::TransitionReport;
use fusebox_core::time::Instant;

/// How many are kept.
const MAX_KEPT: usize = 256;
/// For how long they are worth telling again.
const WORTH: Duration = Duration::from_secs(15 * 60);

/// A transition of an operation, and its number.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) operation: OperationName,
    pub(super) number: u64,
    pub(super) transition: Transition,
}

impl Told {
    /// As it is to be reported at `now`.
    pub(super) fn report(&self, now: Instant) -> TransitionReport {
        let Transition {
            at,
            from,
            to,
            cause,
        } = self.transition;
        TransitionReport {
            operation: self.operation.clone(),
            number: self.number,
            from,
            to,
            cause: cause.to_string(),
            age: now.since(at),
            by: cause.by().map(Revision),
        }
    }
}

/// The latest, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Told>);

impl Recent {
    pub(super) fn keep(&mut self, told: Told) {
        if self.0.len() == MAX_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(told);
    }

    /// Those that are worth telling again at `now`, as they are to be reported then.
    pub(super) fn again(&mut self, now: Instant) -> Vec<TransitionReport> {
        self.0.retain(|told| now.since(told.transition.at) <= WORTH);
        self.0.iter().map(|told| told.report(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::outcome::{Cause, CircuitState};

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn told(number: u64, seconds: u64) -> Told {
        Told {
            operation: OperationName::new("pay").unwrap(),
            number,
            transition: Transition {
                at: at(seconds),
                from: CircuitState::Closed,
                to: CircuitState::Open,
                cause: Cause::Forced { by: 7 },
            },
        }
    }

    fn numbers(reports: &[TransitionReport]) -> Vec<u64> {
        reports.iter().map(|report| report.number).collect()
    }

    #[test]
    fn the_latest_are_told_again_with_their_age_and_the_override_that_did_it() {
        let mut recent = Recent::default();
        recent.keep(told(1, 0));
        let again = recent.again(at(60));
        assert_eq!(again[0].age, Duration::from_secs(60));
        assert_eq!(again[0].by, Some(Revision(7)));
        assert_eq!(numbers(&recent.again(at(61))), [1], "and again");
    }

    #[test]
    fn what_is_long_past_is_not_told_again_and_only_so_many_are_kept() {
        let mut recent = Recent::default();
        for number in 1..=300 {
            recent.keep(told(number, number));
        }
        let again = numbers(&recent.again(at(300)));
        assert_eq!((again.len(), again[0]), (MAX_KEPT, 45));
        assert_eq!(numbers(&recent.again(at(1199))), [299, 300]);
    }
}
