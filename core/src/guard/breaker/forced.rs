//! What operators have decided for a breaker, whatever it thinks itself.
//!
//! Overrides are state, not commands: a set by id. The newest that is in force decides, then the
//! next, then the breaker. Each ends by itself.

use std::cmp::Reverse;

use crate::outcome::Forced;
use crate::time::Instant;

/// Most overrides that one breaker keeps; the oldest go first.
pub const MAX_OVERRIDES: usize = 64;

/// One operator's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Which one; also its age: of two the higher is the newer.
    pub id: u64,
    /// What it decides.
    pub forced: Forced,
    /// When it ends.
    pub until: Instant,
}

/// The overrides of one breaker, the newest first.
#[derive(Debug, Default)]
pub(super) struct Overrides(Vec<Override>);

impl Overrides {
    /// Puts `wanted` in their place. One that was there already never ends later than it was to.
    pub(super) fn replace(&mut self, wanted: &[Override]) {
        let armed = |id| self.0.iter().find(|known| known.id == id);
        let mut next: Vec<_> = wanted
            .iter()
            .map(|wanted| Override {
                until: armed(wanted.id).map_or(wanted.until, |known| wanted.until.min(known.until)),
                ..*wanted
            })
            .collect();
        next.sort_by_key(|known| Reverse(known.id));
        next.dedup_by_key(|known| known.id);
        next.truncate(MAX_OVERRIDES);
        self.0 = next;
    }

    /// Ends those whose time is over, for good: whoever read the clock a little earlier and comes
    /// here later does not bring one back. `true` if any was.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        let mut ended = false;
        for known in &mut self.0 {
            if known.until <= now && known.until > Instant::ORIGIN {
                known.until = Instant::ORIGIN;
                ended = true;
            }
        }
        ended
    }

    /// The one that decides at `now`.
    pub(super) fn in_force(&self, now: Instant) -> Option<Override> {
        self.0.iter().find(|known| now < known.until).copied()
    }
}
