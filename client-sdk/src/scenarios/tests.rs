//! Every file of scenarios, and the driver itself.

use super::*;

/// A test for each file.
macro_rules! files {
    ($($name:ident),+ $(,)?) => {
        /// All files there are.
        const FILES: &[&str] = &[$(concat!(stringify!($name), ".txt")),+];

        $(
            #[test]
            fn $name() {
                if let Err(failures) = replay(concat!(stringify!($name), ".txt")) {
                    panic!("{failures}");
                }
            }
        )+
    };
}

files! {
    adaptive,
    breaker,
    bulkhead,
    dropped,
    hostile,
    together,
    rate,
    reload,
    rules,
    hedge,
    retry,
    shadow,
    half_open,
    operator,
    window,
}
