//! What runs have been through, so that a simulation that never meets a case does not pass for proof.

/// A line is a field and what it counts.
macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Tally {
            $($(#[$doc])* pub(crate) $name: u64,)+
        }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// # Panics
            /// If there is something that never happened.
            pub(crate) fn has_been_everywhere(&self) {
                $(assert!(self.$name > 0, "no seed met {}", stringify!($name));)+
            }
        }
    };
}

tally! {
    events,
    writes,
    faults,
    sessions,
    /// Sessions that took the place of an older one of the same process.
    superseded,
    snapshots,
    up_to_dates,
    acks,
    refusals,
    /// Snapshots that a process did not take over.
    passed_over,
    /// Servers that fell behind and took the store's whole state anew.
    rebuilds,
    restored_from_disk,
    /// Lives of the store that were followed.
    new_lives,
}
