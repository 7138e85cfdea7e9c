//! Whether a line may be written now, so that whoever floods a port does not flood the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same thing.
const SILENCE: Duration = Duration::from_secs(1);

/// Lets one line through a second and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Sparing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    spoke: Option<Instant>,
    unsaid: u64,
}

impl Sparing {
    /// `Some` if a line may be written, with the number of those kept back since the last.
    pub(crate) fn speak(&self, now: Instant) -> Option<u64> {
        // A poisoned state is still a time and a count.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .spoke
            .is_some_and(|spoke| now.saturating_duration_since(spoke) < SILENCE)
        {
            state.unsaid += 1;
            return None;
        }
        state.spoke = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_it_says_how_many_were_kept_back() {
        let (sparing, start) = (Sparing::default(), Instant::now());
        assert_eq!(sparing.speak(start), Some(0));
        assert_eq!(sparing.speak(start), None);
        assert_eq!(sparing.speak(start + SILENCE / 2), None);
        assert_eq!(sparing.speak(start + SILENCE), Some(2));
        assert_eq!(sparing.speak(start + SILENCE * 2), Some(0));
    }
}
