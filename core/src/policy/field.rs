//! The one table of rule fields.
//!
//! Everything that treats rules field by field goes through it: the cascade lays one layer over
//! another, `clear` and update masks name fields by path, schema numbers tell an old SDK what it
//! cannot enforce. A new field is one line here.

use std::fmt;

use super::rules::Rules;

/// The highest schema number in the table: what this build can enforce.
pub const SCHEMA: u32 = 1;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $schema:literal, [$($path:literal),+], $($place:ident).+;)+) => {
        /// A field of [`Rules`], or a group that is set and replaced as one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $($(#[$doc])* $name,)+
        }

        impl Field {
            /// Every field, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The paths that name it, relative to `rules`; a group has one for each member.
            pub const fn paths(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($path),+],)+ }
            }

            /// The schema number since which it exists.
            pub const fn schema(self) -> u32 {
                match self { $(Self::$name => $schema,)+ }
            }

            /// Whether `rules` set it.
            pub fn is_set(self, rules: &Rules) -> bool {
                match self { $(Self::$name => rules.$($place).+.is_some(),)+ }
            }

            /// Makes `onto` hold what `from` holds in this field, set or unset.
            pub fn copy(self, from: &Rules, onto: &mut Rules) {
                match self { $(Self::$name => onto.$($place).+.clone_from(&from.$($place).+),)+ }
            }
        }
    };
}

fields! {
    /// `timeout.attempt`
    TimeoutAttempt = 1, ["timeout.attempt"], timeout.attempt;
    /// `timeout.overall`
    TimeoutOverall = 1, ["timeout.overall"], timeout.overall;
    /// `retry.max_attempts`
    RetryMaxAttempts = 1, ["retry.max_attempts"], retry.max_attempts;
    /// `retry.base_delay`
    RetryBaseDelay = 1, ["retry.base_delay"], retry.base_delay;
    /// `retry.max_delay`
    RetryMaxDelay = 1, ["retry.max_delay"], retry.max_delay;
    /// `retry.multiplier`
    RetryMultiplier = 1, ["retry.multiplier"], retry.multiplier;
    /// What opens the breaker, one group.
    BreakerTrip = 1, [
        "circuit_breaker.consecutive_failures",
        "circuit_breaker.window",
        "circuit_breaker.failure_ratio",
        "circuit_breaker.minimum_calls"
    ], circuit_breaker.trip;
    /// `circuit_breaker.open_duration`
    BreakerOpenDuration = 1, ["circuit_breaker.open_duration"], circuit_breaker.open_duration;
    /// How the breaker probes, one group.
    BreakerHalfOpen = 1, [
        "circuit_breaker.half_open_permits",
        "circuit_breaker.max_half_open"
    ], circuit_breaker.half_open;
    /// `enabled`
    Enabled = 1, ["enabled"], enabled;
}

impl Field {
    /// The first of its paths.
    pub const fn path(self) -> &'static str {
        self.paths()[0]
    }

    /// The fields that `path` (relative to `rules`) names: one, a whole section, or none.
    pub fn named(path: &str) -> Vec<Self> {
        let names = |candidate: &&str| {
            candidate
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fields = Self::ALL.iter().copied();
        fields
            .filter(|field| field.paths().iter().any(names))
            .collect()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_field_a_group_or_a_section_and_never_a_part_of_a_word() {
        assert_eq!(Field::named("timeout.attempt"), [Field::TimeoutAttempt]);
        assert_eq!(
            Field::named("timeout"),
            [Field::TimeoutAttempt, Field::TimeoutOverall]
        );
        assert_eq!(Field::named("circuit_breaker.window"), [Field::BreakerTrip]);
        assert!(Field::named("time").is_empty());
        assert!(Field::named("timeout.attempts").is_empty());
        assert!(Field::named("").is_empty());
    }

    #[test]
    fn no_path_names_two_fields() {
        for field in Field::ALL {
            for path in field.paths() {
                assert_eq!(Field::named(path), [*field], "{path}");
            }
        }
    }

    #[test]
    fn the_schema_is_the_highest_number_in_the_table() {
        assert_eq!(
            Field::ALL.iter().map(|field| field.schema()).max(),
            Some(SCHEMA)
        );
    }
}
