//! Which stripe of a striped counter a caller writes to.
//!
//! Counters on the path of every call are striped over [`LANES`] cache-line-separated lanes, so
//! that two threads sharing an operation never write the same line. Core does not know threads:
//! the caller hands in its lane. A lane owned by one thread is written by a plain load and store;
//! one that several threads share needs an atomic addition. Readers add the lanes up.

use std::sync::OnceLock;

use crate::atomics::{AtomicU32, Ordering};

/// How many stripes a striped counter has at most.
pub const LANES: usize = 16;

/// A caller's stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    index: u8,
    owned: bool,
}

impl Lane {
    /// The lane that every caller without one of its own shares.
    pub const SHARED: Self = Self {
        index: 0,
        owned: false,
    };

    /// Lane `index`, written by one thread only; `None` unless `1 <= index < LANES` (lane 0 is
    /// the shared one).
    ///
    /// Two threads that claim one lane at the same time lose counts; nothing worse.
    pub const fn owned(index: u8) -> Option<Self> {
        if index == 0 || index as usize >= LANES {
            return None;
        }
        Some(Self { index, owned: true })
    }

    /// The stripe's position.
    #[inline]
    pub const fn index(self) -> usize {
        // It is below LANES anyway; said like this, nobody has to check.
        self.index as usize % LANES
    }

    /// Whether no other thread writes this lane at the same time.
    pub const fn is_owned(self) -> bool {
        self.owned
    }

    /// Adds one to `cell`, which must belong to this lane. Wraps.
    #[inline]
    pub fn bump(self, cell: &AtomicU32) {
        // Relaxed throughout: a counter orders nothing, readers only want each increment once.
        if self.owned {
            cell.store(
                cell.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::Relaxed,
            );
        } else {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One `T` for every lane in use, made when its lane is first used.
///
/// Each stands apart from the others by two cache lines, because processors fetch them in pairs.
#[derive(Debug)]
pub struct Lanes<T>([OnceLock<Box<Apart<T>>>; LANES]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; LANES])
    }
}

impl<T: Default> Lanes<T> {
    /// The part of `lane`.
    #[inline]
    pub fn of(&self, lane: Lane) -> &T {
        &self.0[lane.index()].get_or_init(Box::default).0
    }

    /// The parts of all lanes in use.
    pub fn in_use(&self) -> impl Iterator<Item = &T> {
        self.0
            .iter()
            .filter_map(OnceLock::get)
            .map(|apart| &apart.0)
    }
}
