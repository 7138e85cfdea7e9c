//! What a window holds, and whether that is too much.

use super::settings::RatioSettings;
use crate::outcome::Cause;

/// The outcomes in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) failed: u64,
    /// Failed or not.
    pub(super) slow: u64,
    pub(super) total: u64,
}

impl Figures {
    /// Whether there are calls enough to judge by.
    pub(super) fn suffice(&self, ratio: &RatioSettings) -> bool {
        self.total >= u64::from(ratio.minimum_calls)
    }

    /// Why they open the breaker, if they do.
    pub(super) fn verdict(&self, ratio: &RatioSettings) -> Option<Cause> {
        if !self.suffice(ratio) {
            return None;
        }
        let Self {
            failed,
            slow,
            total,
        } = *self;
        if ratio.failure.is_some_and(|r| r.is_reached(failed, total)) {
            return Some(Cause::FailureRatio { bad: failed, total });
        }
        if ratio.slow.is_some_and(|r| r.is_reached(slow, total)) {
            return Some(Cause::SlowCallRatio { slow, total });
        }
        None
    }

    /// Whether a ratio could be reached by these and however many successes: below the least number
    /// that `minimum_calls` allow, none can.
    pub(super) fn arm(&self, ratio: &RatioSettings) -> bool {
        self.failed >= ratio.least_failed.into() || self.slow >= ratio.least_slow.into()
    }
}
