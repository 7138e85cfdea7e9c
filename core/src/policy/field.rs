//! The one table of rule fields.
//!
//! Everything that treats rules field by field goes through it: the cascade lays one layer over
//! another, `clear` and update masks name fields by path, schema numbers tell an old SDK what it
//! cannot enforce. A new field is one line here.

use std::fmt;

use super::rules::{HalfOpen, Mode, Rules, Trip};

/// The highest schema number in the table: what this build can enforce.
pub const SCHEMA: u32 = 2;

/// A line reads: name = schema number, or another once the group says something that the number
/// had no word for; the paths; the place in [`Rules`].
macro_rules! fields {
    ($($(#[$section_doc:meta])* $section:ident {$(
        $(#[$doc:meta])* $name:ident = $schema:literal $(or $later:literal if $is_later:path)*,
        [$($path:literal),+], $($place:ident).+;
    )+})+) => {
        /// A part of [`Rules`], enforced or tried out as a whole.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Section {
            $($(#[$section_doc])* $section,)+
        }

        /// A field of [`Rules`], or a group that is set and replaced as one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $($($(#[$doc])* $name,)+)+
        }

        impl Section {
            /// Every section, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$section),+];
        }

        impl Field {
            /// Every field, in the order of the contract.
            pub const ALL: &[Self] = &[$($(Self::$name),+),+];

            /// The section it belongs to.
            pub const fn section(self) -> Section {
                match self { $($(Self::$name => Section::$section,)+)+ }
            }

            /// The paths that name it, relative to `rules`; a group has one for each member.
            pub const fn paths(self) -> &'static [&'static str] {
                match self { $($(Self::$name => &[$($path),+],)+)+ }
            }

            /// The schema number that it takes to understand what `rules` say in it. A group's
            /// grows with what is said, because an older SDK reads a group without the members
            /// that it does not know.
            pub fn schema(self, rules: &Rules) -> u32 {
                match self {$($(Self::$name => {
                    schema($schema, rules.$($place).+.as_ref(), &[$(($later, $is_later))*])
                })+)+}
            }

            /// Whether `rules` set it.
            pub fn is_set(self, rules: &Rules) -> bool {
                match self { $($(Self::$name => rules.$($place).+.is_some(),)+)+ }
            }

            /// Makes `onto` hold what `from` holds in this field, set or unset.
            pub fn copy(self, from: &Rules, onto: &mut Rules) {
                match self {
                    $($(Self::$name => onto.$($place).+.clone_from(&from.$($place).+),)+)+
                }
            }
        }
    };
}

fields! {
    /// `timeout`
    Timeout {
        /// `timeout.attempt`
        TimeoutAttempt = 1, ["timeout.attempt"], timeout.attempt;
        /// `timeout.overall`
        TimeoutOverall = 1, ["timeout.overall"], timeout.overall;
    }
    /// `retry`
    Retry {
        /// `retry.max_attempts`
        RetryMaxAttempts = 1, ["retry.max_attempts"], retry.max_attempts;
        /// `retry.base_delay`
        RetryBaseDelay = 1, ["retry.base_delay"], retry.base_delay;
        /// `retry.max_delay`
        RetryMaxDelay = 1, ["retry.max_delay"], retry.max_delay;
        /// `retry.multiplier`
        RetryMultiplier = 1, ["retry.multiplier"], retry.multiplier;
        /// `retry.jitter`
        RetryJitter = 2, ["retry.jitter"], retry.jitter;
        /// `retry.budget`, one group.
        RetryBudget = 2, ["retry.budget"], retry.budget;
        /// `retry.honor_retry_after`
        RetryHonorRetryAfter = 2, ["retry.honor_retry_after"], retry.honor_retry_after;
    }
    /// `circuit_breaker`
    CircuitBreaker {
        /// What opens the breaker, one group.
        BreakerTrip = 1 or 2 if Trip::is_beyond_schema_1, [
            "circuit_breaker.consecutive_failures",
            "circuit_breaker.window",
            "circuit_breaker.failure_ratio",
            "circuit_breaker.minimum_calls",
            "circuit_breaker.slow_call_ratio",
            "circuit_breaker.slow_call_threshold"
        ], circuit_breaker.trip;
        /// `circuit_breaker.open_duration`
        BreakerOpenDuration = 1, ["circuit_breaker.open_duration"], circuit_breaker.open_duration;
        /// `circuit_breaker.open_multiplier`
        BreakerOpenMultiplier = 2, ["circuit_breaker.open_multiplier"],
            circuit_breaker.open_multiplier;
        /// `circuit_breaker.max_open_duration`
        BreakerMaxOpenDuration = 2, ["circuit_breaker.max_open_duration"],
            circuit_breaker.max_open_duration;
        /// `circuit_breaker.open_jitter`
        BreakerOpenJitter = 2, ["circuit_breaker.open_jitter"], circuit_breaker.open_jitter;
        /// How the breaker probes, one group.
        BreakerHalfOpen = 1 or 2 if HalfOpen::is_beyond_schema_1, [
            "circuit_breaker.half_open_permits",
            "circuit_breaker.half_open_successes",
            "circuit_breaker.max_half_open"
        ], circuit_breaker.half_open;
        /// `circuit_breaker.recovery_ramp`
        BreakerRecoveryRamp = 2, ["circuit_breaker.recovery_ramp"], circuit_breaker.recovery_ramp;
        /// `circuit_breaker.mode`
        BreakerMode = 2, ["circuit_breaker.mode"], circuit_breaker.mode;
    }
    /// `bulkhead`
    Bulkhead {
        /// The limit and its queue, one group.
        BulkheadLimit = 2, [
            "bulkhead.max_concurrent",
            "bulkhead.max_queue",
            "bulkhead.max_wait"
        ], bulkhead.limit;
        /// `bulkhead.mode`
        BulkheadMode = 2, ["bulkhead.mode"], bulkhead.mode;
    }
    /// `rate_limit`
    RateLimit {
        /// The quota, one group.
        RateLimitQuota = 2, [
            "rate_limit.permits",
            "rate_limit.per",
            "rate_limit.burst",
            "rate_limit.max_wait"
        ], rate_limit.quota;
        /// `rate_limit.mode`
        RateLimitMode = 2, ["rate_limit.mode"], rate_limit.mode;
    }
    /// `concurrency_limit`
    ConcurrencyLimit {
        /// Between what the limit moves, one group.
        ConcurrencyLimitBounds = 2, [
            "concurrency_limit.min",
            "concurrency_limit.max"
        ], concurrency_limit.bounds;
        /// `concurrency_limit.mode`
        ConcurrencyLimitMode = 2, ["concurrency_limit.mode"], concurrency_limit.mode;
    }
    /// `hedge`
    Hedge {
        /// When to hedge and how often, one group.
        HedgePlan = 2, ["hedge.delay", "hedge.percentile", "hedge.max_hedges"], hedge.plan;
    }
    /// `enabled`, a section of its own.
    Enabled {
        /// `enabled`
        Enabled = 1, ["enabled"], enabled;
    }
}

/// A schema number, and what in a group takes it.
type Later<T> = (u32, fn(&T) -> bool);

/// `first`, or the highest number of those `later` ones whose words are `said`.
fn schema<T>(first: u32, said: Option<&T>, later: &[Later<T>]) -> u32 {
    let needed = later.iter().filter(|(_, words)| said.is_some_and(words));
    needed.map(|(number, _)| *number).fold(first, u32::max)
}

impl Section {
    /// The mode in which `rules` set it, if they say; only what can refuse a call has one.
    pub const fn mode(self, rules: &Rules) -> Option<Mode> {
        match self {
            Self::CircuitBreaker => rules.circuit_breaker.mode,
            Self::Bulkhead => rules.bulkhead.mode,
            Self::RateLimit => rules.rate_limit.mode,
            Self::ConcurrencyLimit => rules.concurrency_limit.mode,
            Self::Timeout | Self::Retry | Self::Hedge | Self::Enabled => None,
        }
    }

    /// Its fields, in the order of the contract.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        let fields = Field::ALL.iter().copied();
        fields.filter(move |field| field.section() == self)
    }
}

impl Field {
    /// The first of its paths.
    pub const fn path(self) -> &'static str {
        self.paths()[0]
    }

    /// Whether it is a section's mode, which speaks of its own layer alone: it is neither
    /// inherited nor can it be cleared.
    pub const fn is_mode(self) -> bool {
        matches!(
            self,
            Self::BreakerMode
                | Self::BulkheadMode
                | Self::RateLimitMode
                | Self::ConcurrencyLimitMode
        )
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
    use std::time::Duration;

    use super::*;
    use crate::policy::ratio::Ratio;
    use crate::policy::rules::{RatioTrip, Window};

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
    fn the_beginning_of_a_path_names_the_fields_of_its_section_and_no_others() {
        for field in Field::ALL {
            let beginning = field.path().split('.').next().unwrap();
            let fields: Vec<_> = field.section().fields().collect();
            assert_eq!(Field::named(beginning), fields, "{field}");
        }
    }

    #[test]
    fn a_field_called_mode_is_one_and_is_its_own_sections() {
        for &field in Field::ALL {
            assert_eq!(field.is_mode(), field.path().ends_with(".mode"), "{field}");
        }
        let mut rules = Rules::default();
        rules.circuit_breaker.mode = Some(Mode::Shadow);
        rules.bulkhead.mode = Some(Mode::Shadow);
        rules.rate_limit.mode = Some(Mode::Shadow);
        rules.concurrency_limit.mode = Some(Mode::Shadow);
        for &field in Field::ALL.iter().filter(|field| field.is_mode()) {
            let mut one = Rules::default();
            field.copy(&rules, &mut one);
            for section in Section::ALL {
                let mode = (field.section() == *section).then_some(Mode::Shadow);
                assert_eq!(section.mode(&one), mode, "{field} of {section:?}");
            }
        }
    }

    #[test]
    fn a_group_takes_the_schema_of_the_youngest_of_its_words_that_is_said() {
        let second = Duration::from_secs(1);
        let over = |window| Trip {
            ratio: Some(RatioTrip {
                window,
                failure_ratio: Some(Ratio::ONE),
                slow_call_ratio: None,
                minimum_calls: 1,
            }),
            ..Trip::default()
        };
        let slow = Trip {
            slow_call_threshold: Some(second),
            ..Trip::default()
        };
        let trips = [
            (1, Trip::default()),
            (1, over(Window::Span(second))),
            (2, over(Window::Calls(5))),
            (2, slow),
        ];
        let mut rules = Rules::default();
        for (schema, trip) in trips {
            rules.circuit_breaker.trip = Some(trip);
            assert_eq!(Field::BreakerTrip.schema(&rules), schema, "{trip:?}");
        }
        for (schema, successes) in [(1, None), (2, Some(1))] {
            let (permits, max) = (1, Some(second));
            rules.circuit_breaker.half_open = Some(HalfOpen {
                permits,
                successes,
                max,
            });
            assert_eq!(Field::BreakerHalfOpen.schema(&rules), schema);
        }
    }

    #[test]
    fn the_schema_is_the_highest_number_in_the_table() {
        let numbers = Field::ALL
            .iter()
            .map(|field| field.schema(&Rules::default()));
        assert_eq!(numbers.max(), Some(SCHEMA));
    }
}
