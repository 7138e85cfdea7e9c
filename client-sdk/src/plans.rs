//! The rules an operation follows now, and how a call gets at them.
//!
//! The plan in force hangs on one [`ArcSwap`], which a reload replaces whole. A call that goes well
//! wants only a plan's gist, a few words, and every thread keeps those of the plan it saw last
//! beside that plan's number: as long as the number is the present one, a call reads two words that
//! nobody writes and its own thread's copy, and never touches the plan itself. A call that must
//! wait, or goes wrong, takes hold of the plan and follows it to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use fusebox_core::guard::{Gist, Plan};
use fusebox_core::lane::{Lane, Lanes};

/// One operation's rules.
#[derive(Debug)]
pub(crate) struct Plans {
    current: ArcSwap<Numbered>,
    /// That of `current`, or the one before for a moment.
    number: AtomicU64,
    kept: Lanes<Kept>,
}

/// A plan, and the how manieth of its operation it is.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) plan: Plan,
}

/// One thread's copy of a gist. Only owned lanes have one.
#[derive(Debug, Default)]
struct Kept {
    /// Of which plan; 0 before the first.
    number: AtomicU64,
    words: [AtomicU64; Gist::WORDS],
}

impl Plans {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            current: ArcSwap::from_pointee(Numbered { number: 1, plan }),
            number: AtomicU64::new(1),
            kept: Lanes::default(),
        }
    }

    /// The gist of the plan in force, and that plan's number.
    #[inline]
    pub(crate) fn gist(&self, lane: Lane) -> (u64, Gist) {
        if lane.is_owned() {
            let kept = self.kept.of(lane);
            // Relaxed: a lane's copy is written by its own thread alone, and the plan is reached
            // through `current`, which orders for itself.
            let number = self.number.load(Ordering::Relaxed);
            if kept.number.load(Ordering::Relaxed) == number {
                let words = kept
                    .words
                    .each_ref()
                    .map(|word| word.load(Ordering::Relaxed));
                return (number, Gist::from_words(words));
            }
        }
        self.renew(lane)
    }

    /// The plan in force.
    pub(crate) fn load(&self) -> Guard<Arc<Numbered>> {
        self.current.load()
    }

    /// The plan in force, to hold across waits.
    pub(crate) fn hold(&self) -> Arc<Numbered> {
        self.current.load_full()
    }

    /// Puts `plan` in force: every call that begins after this follows it. Called by one thread at
    /// a time.
    pub(crate) fn replace(&self, plan: Plan) {
        let number = self.current.load().number + 1;
        self.current.store(Arc::new(Numbered { number, plan }));
        // Release: whoever sees the number finds the plan.
        self.number.store(number, Ordering::Release);
    }

    #[cold]
    fn renew(&self, lane: Lane) -> (u64, Gist) {
        let current = self.current.load();
        let gist = current.plan.gist();
        if lane.is_owned() {
            let kept = self.kept.of(lane);
            // Relaxed: see `gist`.
            for (word, value) in kept.words.iter().zip(gist.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
            kept.number.store(current.number, Ordering::Relaxed);
        }
        (current.number, gist)
    }
}
