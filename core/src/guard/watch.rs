//! Who is told what happens at a guard, and when: last.
//!
//! Whoever watches runs code that the guard does not know: it may ask the guard in its turn, or
//! panic. So a step notes what is to be told, puts everything in its place or gives it back, holds no
//! lock any more, and only then tells. A panic on the way is the caller's; nobody stays inside.

use super::breaker::Changes;
use crate::outcome::{Reason, Transition};

/// Whoever wants to know what happens at a guard. Told while no lock is held.
pub trait Watch {
    /// A breaker changed its state: the one that is enforced, or the one in the shadow.
    fn changed(&self, transition: &Transition, standing: Standing);

    /// A shadow would have refused a call that was let in.
    fn would_refuse(&self, reason: Reason);
}

/// Whether what is told of was enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Enforced,
    /// No, it is a trial.
    Shadow,
}

/// What a step led to, until it is told. Takes no memory while nothing happens.
#[derive(Debug, Default)]
#[must_use = "whoever watches wants to be told"]
pub(super) struct News {
    changed: Vec<(Transition, Standing)>,
    would_refuse: Option<Reason>,
}

impl News {
    pub(super) fn add(&mut self, changes: Changes, standing: Standing) {
        let changes = changes.iter().map(|transition| (*transition, standing));
        self.changed.extend(changes);
    }

    pub(super) fn add_would_refuse(&mut self, reason: Reason) {
        self.would_refuse = Some(reason);
    }

    pub(super) fn tell<W: Watch>(self, watch: &W) {
        for (transition, standing) in &self.changed {
            watch.changed(transition, *standing);
        }
        if let Some(reason) = self.would_refuse {
            watch.would_refuse(reason);
        }
    }
}
