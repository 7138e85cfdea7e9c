//! The one place that names atomics and locks, so that a model checker can put its own in.
//!
//! Built with `--cfg loom`, every interleaving of what stands on these types is tried
//! (`core/tests/loom.rs`).

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

use std::sync::PoisonError;

/// Locks what stays whole even if somebody panicked while holding it.
///
/// Nothing in core panics under a lock; if something did, its counts would still be usable, and a
/// guard that refused to work from then on would be worse.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
