//! How admission grows after recovery: from a tenth to all, linearly, so that what has just come
//! back is not met by everybody at once.
//!
//! Nobody draws lots. Each caller pays the present share into an account, and whoever completes a
//! whole call goes: so the share is exact, and evenly spread over those who call.

use crate::time::Span;

/// All calls, and one whole call, in basis points.
const WHOLE: u32 = 10_000;
/// The share that a ramp begins with.
const FIRST: u32 = 1_000;

/// The account of one recovery; none outside of it.
#[derive(Debug, Default)]
pub(super) struct Ramp(Option<u32>);

impl Ramp {
    /// The beginning of a recovery, whose first caller goes.
    pub(super) const fn begin() -> Self {
        Self(Some(WHOLE - FIRST))
    }

    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The share let in `elapsed` after the recovery began, in basis points; `None` once `length`
    /// is over.
    pub(super) fn share(&self, elapsed: Span, length: Span) -> Option<u32> {
        if !self.is_on() || elapsed >= length {
            return None;
        }
        let grown = u128::from(WHOLE - FIRST) * u128::from(elapsed.as_nanos())
            / u128::from(length.as_nanos());
        // Below WHOLE, because `elapsed` is below `length`.
        Some(FIRST + u32::try_from(grown).unwrap_or(0))
    }

    /// Whether this caller completes a whole call.
    pub(super) fn admits(&mut self, share: u32) -> bool {
        let Some(credit) = &mut self.0 else {
            return true;
        };
        *credit += share;
        let whole = *credit >= WHOLE;
        if whole {
            *credit -= WHOLE;
        }
        whole
    }

    /// Ends it; `true` if it was on until now.
    pub(super) const fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}
