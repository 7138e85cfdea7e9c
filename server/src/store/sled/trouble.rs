//! What sled does instead of returning an error, made an error.
//!
//! A panic inside a call is caught, kept off the terminal and told in one line. What the call was
//! about to return is lost with it, so nothing half-made is ever used again.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// Longest part of sled's own words in a message, in characters.
const MESSAGE_CHARS: usize = 200;

/// Why a call into sled failed.
#[derive(Debug)]
pub(in crate::store) enum Trouble {
    /// Sled said so.
    Sled(::sled::Error),
    /// Sled panicked, with these words.
    Panic(String),
    /// What sled gave back is not what was given to it.
    Contents(String),
}

impl From<::sled::Error> for Trouble {
    fn from(error: ::sled::Error) -> Self {
        Self::Sled(error)
    }
}

impl Trouble {
    /// What happened, in one line.
    pub(in crate::store) fn line(&self) -> String {
        let (what, words) = match self {
            Self::Sled(error) => ("sled: ", error.to_string()),
            Self::Panic(words) => ("sled panicked: ", words.clone()),
            Self::Contents(problem) => ("", problem.clone()),
        };
        let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        what.chars()
            .chain(line.chars().take(MESSAGE_CHARS))
            .collect()
    }

    /// Whether the disk is full or closed: then the index may be as good as ever.
    pub(in crate::store) fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Sled(::sled::Error::Io(source)) if is_of_the_disk(source))
    }
}

fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

/// Runs a call into sled and returns, whatever it does.
///
/// Unwind safe, because after a panic callers give up the database the call was about.
pub(super) fn survive<T>(call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, Trouble> {
    let quiet = Quiet::begin();
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    drop(quiet);
    match result {
        Ok(result) => result.map_err(Trouble::Sled),
        Err(payload) => Err(Trouble::Panic(words(&*payload))),
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").to_owned()
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, panics of this thread are not printed; those of all others are.
struct Quiet;

impl Quiet {
    fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let loud = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !QUIET.get() {
                    loud(info);
                }
            }));
        });
        QUIET.set(true);
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(call: impl FnOnce() -> ::sled::Result<()>) -> String {
        survive(call).unwrap_err().line()
    }

    #[test]
    fn a_panic_becomes_one_line() {
        let said = line(|| panic!("index out of bounds:\n  the len is {}", 0));
        assert_eq!(said, "sled panicked: index out of bounds: the len is 0");
        assert_eq!(line(|| panic!("plain")), "sled panicked: plain");
        let odd = line(|| panic::panic_any(7));
        assert_eq!(odd, "sled panicked: without a word");
    }

    #[test]
    fn panics_are_loud_again_afterwards() {
        let _ = survive::<()>(|| panic!("quiet"));
        assert!(!QUIET.get());
    }

    #[test]
    fn a_full_disk_is_not_taken_for_damage() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(Trouble::Sled(::sled::Error::Io(full)).is_of_the_disk());
        let damage = Trouble::Panic("x".repeat(5000));
        assert!(!damage.is_of_the_disk());
        assert!(damage.line().len() < 500);
    }
}
