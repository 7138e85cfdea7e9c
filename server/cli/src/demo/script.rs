//! The demonstration's plot: who calls whom, and what goes wrong when.
//!
//! One cycle takes [`CYCLE`]; it repeats until the demonstration ends. Everything is in this table,
//! so that the rest of the demonstration only plays it.

use std::time::Duration;

use fusebox::Kind;

/// How long the plot takes once.
pub(super) const CYCLE: Duration = Duration::from_secs(48);

/// A dependency: an HTTP server of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) name: &'static str,
    /// How long a healthy answer takes.
    pub(super) latency: Duration,
    pub(super) troubles: &'static [Trouble],
}

/// What is wrong with a dependency, from when to when within a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) from_secs: u64,
    pub(super) to_secs: u64,
    pub(super) fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Answers 503 at once.
    Failing,
    /// Answers correctly, much too late.
    Slow,
    /// Closes the connection without an answer.
    Dropping,
    /// Every other request fails.
    Flaky,
}

/// A service and what it calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) instances: usize,
    pub(super) calls: &'static [Call],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) operation: &'static str,
    pub(super) kind: Kind,
    pub(super) upstream: &'static str,
    /// Calls a second, by each instance.
    pub(super) rate: u32,
}

/// What the demonstration's operator does about it, and when within a cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at_secs: u64,
    pub(super) act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A policy that gives slow answers of `ranking.score` the time they need.
    GrantPatience,
    /// Its removal.
    WithdrawPatience,
}

/// While `ranking` is slow, its breakers close again because the operator lets calls wait longer.
pub(super) const OPERATOR: &[Step] = &[
    Step {
        at_secs: 24,
        act: Act::GrantPatience,
    },
    Step {
        at_secs: 44,
        act: Act::WithdrawPatience,
    },
];

const fn trouble(from_secs: u64, to_secs: u64, fault: Fault) -> Trouble {
    Trouble {
        from_secs,
        to_secs,
        fault,
    }
}

pub(super) const UPSTREAMS: &[Upstream] = &[
    Upstream {
        name: "payments",
        latency: Duration::from_millis(20),
        troubles: &[trouble(6, 14, Fault::Failing)],
    },
    Upstream {
        name: "inventory",
        latency: Duration::from_millis(8),
        troubles: &[trouble(30, 38, Fault::Flaky)],
    },
    Upstream {
        name: "index",
        latency: Duration::from_millis(5),
        troubles: &[trouble(18, 26, Fault::Slow)],
    },
    Upstream {
        name: "ranking",
        latency: Duration::from_millis(35),
        troubles: &[trouble(20, 32, Fault::Slow)],
    },
    Upstream {
        name: "mail",
        latency: Duration::from_millis(15),
        troubles: &[
            trouble(10, 16, Fault::Dropping),
            trouble(32, 40, Fault::Failing),
        ],
    },
];

pub(super) const SERVICES: &[Service] = &[
    Service {
        name: "checkout",
        instances: 4,
        calls: &[
            call("payments.charge", Kind::Api, "payments", 12),
            call("inventory.reserve", Kind::Database, "inventory", 10),
        ],
    },
    Service {
        name: "search",
        instances: 3,
        calls: &[
            call("index.query", Kind::Cache, "index", 20),
            call("ranking.score", Kind::Ml, "ranking", 8),
        ],
    },
    Service {
        name: "notifications",
        instances: 3,
        calls: &[call("mail.send", Kind::Api, "mail", 8)],
    },
];

const fn call(operation: &'static str, kind: Kind, upstream: &'static str, rate: u32) -> Call {
    Call {
        operation,
        kind,
        upstream,
        rate,
    }
}

impl Upstream {
    /// What is wrong with it `elapsed` after the start, if anything.
    pub(super) fn fault_at(&self, elapsed: Duration) -> Option<Fault> {
        let at = elapsed.as_secs() % CYCLE.as_secs();
        let holds = |trouble: &&Trouble| (trouble.from_secs..trouble.to_secs).contains(&at);
        self.troubles
            .iter()
            .find(holds)
            .map(|trouble| trouble.fault)
    }
}

/// Which turn of the operator's list comes after `turn` turns, and how long after the start it is
/// due.
pub(super) fn operator_turn(turn: usize) -> (Act, Duration) {
    let step = OPERATOR[turn % OPERATOR.len()];
    let cycles = u32::try_from(turn / OPERATOR.len()).unwrap_or(u32::MAX);
    (
        step.act,
        CYCLE
            .saturating_mul(cycles)
            .saturating_add(Duration::from_secs(step.at_secs)),
    )
}

impl Act {
    /// What the operator does, in words.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::GrantPatience => "operator: policy demo-patience lets ranking.score take 3 s",
            Self::WithdrawPatience => "operator: policy demo-patience is withdrawn",
        }
    }
}

impl Fault {
    /// What a dependency does, in words.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Failing => "answers 503",
            Self::Slow => "has become slow",
            Self::Dropping => "drops connections",
            Self::Flaky => "fails every other request",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_goes_to_an_upstream_that_is_there() {
        for call in SERVICES.iter().flat_map(|service| service.calls) {
            assert!(
                UPSTREAMS
                    .iter()
                    .any(|upstream| upstream.name == call.upstream),
                "{call:?}"
            );
        }
    }

    #[test]
    fn the_operators_turns_go_round_with_the_cycles() {
        let due = |turn| operator_turn(turn).1.as_secs();
        assert_eq!([due(0), due(1), due(2), due(3)], [24, 44, 24 + 48, 44 + 48]);
        assert_eq!(operator_turn(2).0, Act::GrantPatience);
    }

    #[test]
    fn every_upstream_has_its_trouble_and_is_well_at_the_start_and_at_the_end_of_a_cycle() {
        for upstream in UPSTREAMS {
            let at = |secs| upstream.fault_at(Duration::from_secs(secs));
            assert_eq!(
                (at(0), at(CYCLE.as_secs() - 1)),
                (None, None),
                "{}",
                upstream.name
            );
            let first = upstream.troubles[0];
            assert_eq!(at(first.from_secs), Some(first.fault));
            assert_eq!(
                at(first.from_secs + CYCLE.as_secs()),
                Some(first.fault),
                "it repeats"
            );
        }
    }
}
