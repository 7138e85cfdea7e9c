//! Processes that report: their figures grow, and each report touches a few of the buckets that their
//! latencies are known to fall into.

use std::time::Duration;

use fusebox_core::key::{Epoch, InstanceId, InstanceKey, Namespace, OperationName, Service};
use fusebox_core::outcome::{BreakerCounts, CircuitState};
use fusebox_core::stats::{Counts, Histogram, OperationReport, Report, Totals};

/// Buckets that an operation's latencies fall into, from this one on.
const FIRST_BUCKET: u32 = 200;
const BUCKETS: usize = 40;
/// Buckets that one report touches.
const TOUCHED: usize = 6;

/// One process's operations, as it has counted them.
pub(crate) struct Process {
    operations: Vec<Counted>,
    reports: usize,
}

struct Counted {
    name: OperationName,
    success: u64,
    failure: u64,
    buckets: [u64; BUCKETS],
}

/// The key of a process.
pub(crate) fn key(service: usize, instance: usize) -> InstanceKey {
    InstanceKey {
        namespace: Namespace::default_namespace(),
        service: Service::new(format!("service-{service}")).expect("legal"),
        instance: InstanceId::new(format!("instance-{instance}")).expect("legal"),
        epoch: Epoch(instance as u64),
    }
}

impl Process {
    pub(crate) fn new(operations: usize) -> Self {
        let names = (0..operations).map(|number| format!("dependency.v1.Service/Method{number}"));
        let counted = |name: String| Counted {
            name: OperationName::new(name).expect("legal"),
            success: BUCKETS as u64,
            failure: 0,
            buckets: [1; BUCKETS],
        };
        Self {
            operations: names.map(counted).collect(),
            reports: 0,
        }
    }

    /// What it reports next.
    pub(crate) fn report(&mut self) -> Report {
        self.reports += 1;
        let reports = self.reports;
        Report {
            from_start: reports == 1,
            span: Duration::from_secs(5),
            operations: self
                .operations
                .iter_mut()
                .enumerate()
                .map(|(number, counted)| counted.next(reports * 7 + number))
                .collect(),
        }
    }
}

impl Counted {
    fn next(&mut self, turn: usize) -> OperationReport {
        for touched in 0..TOUCHED {
            // The middle ones more often, as a real distribution does.
            self.buckets[(turn * 3 + touched * touched) % BUCKETS] += 3;
        }
        let settled = (TOUCHED * 3) as u64;
        self.failure += settled / 9;
        self.success += settled - settled / 9;
        let buckets = (FIRST_BUCKET..).zip(self.buckets);
        let counts = Counts {
            calls: [self.success, self.failure, 0, 0, 0, 0],
            retries: self.failure,
            ..Counts::default()
        };
        let latency = Histogram::from_pairs(buckets).expect("ascending");
        OperationReport {
            operation: self.name.clone(),
            totals: Totals::new(counts, latency).expect("as many latencies as calls"),
            state: CircuitState::Closed,
            state_age: Duration::from_secs(60),
            last_transition: 0,
            forced: None,
            shadow: None,
            breaker: BreakerCounts {
                window_calls: settled,
                window_failures: settled / 9,
                ..BreakerCounts::default()
            },
        }
    }
}
