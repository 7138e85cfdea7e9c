//! Which stripe of a striped counter a caller writes to.
//!
//! Counters on the path of every call are striped over [`LANES`] cache-line-separated lanes, so
//! that two threads sharing an operation never write the same line. Core does not know threads:
//! the caller hands in its lane. A lane owned by one thread is written by a plain load and store;
//! one that several threads share needs an atomic addition. Readers add the lanes up.

use std::sync::atomic::{AtomicU32, Ordering};

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
    pub const fn index(self) -> usize {
        self.index as usize
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
