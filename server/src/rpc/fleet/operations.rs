//! Operations, a page at a time and in the order asked for; and what is said of one.

use fusebox_core::key::{Namespace, OperationName, Service};
use fusebox_core::outcome::{CircuitState, Reason};
use fusebox_core::policy::Violations;
use fusebox_core::stats::{
    OperationKey, OperationPlace, OperationQuery, OperationView, Order, Rates, Ratio, StateCounts,
};
use fusebox_proto::convert::kind::{kind_from_wire, kind_to_wire};
use fusebox_proto::convert::statistics::{calls_to_wire, refusals_to_wire, state_from_wire};
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::list_operations_request as wire;
use tonic::Status;

use super::super::page::Place;
use super::super::{page, status};
use super::{count, coverage, filter_from_wire};
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

impl Place for OperationPlace {
    fn write(&self) -> String {
        let OperationPlace {
            impeded,
            failure,
            rate,
            key,
        } = self;
        // No name holds a space.
        format!(
            "{impeded} {failure} {rate} {} {} {}",
            key.namespace, key.service, key.operation
        )
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mut next = || parts.next();
        Some(Self {
            impeded: next()?.parse().ok()?,
            failure: next()?.parse().ok()?,
            rate: next()?.parse().ok()?,
            key: OperationKey {
                namespace: Namespace::new(next()?).ok()?,
                service: Service::new(next()?).ok()?,
                operation: OperationName::new(next()?).ok()?,
            },
        })
    }
}

/// One page of them.
pub(super) fn list(
    fleet: &FleetWatch,
    distribution: &Distribution,
    request: &v1::ListOperationsRequest,
) -> Result<v1::ListOperationsResponse, Status> {
    let mut found = Violations::none();
    let v1::ListOperationsRequest {
        namespace,
        service,
        operation,
        ..
    } = request;
    let filter = filter_from_wire(&mut found, namespace, service, operation);
    let kind = found
        .keep("kind", request.kind, kind_from_wire(request.kind))
        .flatten();
    let states = states_from_wire(&mut found, &request.states);
    let order = order_from_wire(&mut found, request.order);
    let limit = page::size(&mut found, request.page_size);
    let asked = (
        "operations",
        (namespace, service, operation),
        (kind, &states, request.forced, order),
    );
    let after = page::after(&mut found, &asked, &request.page_token);
    found.into_result(()).map_err(status::invalid)?;
    let listed = fleet.page_operations(&OperationQuery {
        filter: &filter,
        kind,
        states: &states,
        forced: request.forced,
        order,
        after: after.as_ref(),
        limit,
    });
    let views = &listed.operations;
    let operations = page::fit(views.iter().map(operation_to_wire));
    let more = listed.more || operations.len() < views.len();
    let last = operations.len().checked_sub(1).filter(|_| more);
    let last = last.map(|last| page::token(&asked, &views[last].place(order)));
    Ok(v1::ListOperationsResponse {
        operations,
        coverage: Some(coverage(distribution)),
        total_size: count(listed.total),
        next_page_token: last.unwrap_or_default(),
    })
}

fn states_from_wire(found: &mut Violations, wire: &[i32]) -> Vec<CircuitState> {
    let mut states = Vec::new();
    for (index, &wire) in wire.iter().enumerate() {
        match state_from_wire(wire) {
            Some(state) => states.push(state),
            None => found.add(format!("states[{index}]"), wire, "must be a known state"),
        }
    }
    states
}

fn order_from_wire(found: &mut Violations, wire: i32) -> Order {
    match wire::Order::try_from(wire) {
        Ok(wire::Order::Unspecified | wire::Order::Worst) => return Order::Worst,
        Ok(wire::Order::Name) => return Order::Name,
        Ok(wire::Order::Rate) => return Order::Rate,
        Err(_) => found.add("order", wire, "must be a known order"),
    }
    Order::Worst
}

pub(super) fn operation_to_wire(view: &OperationView) -> v1::OperationStatus {
    let (rates, totals) = (&view.last_ten_seconds, &view.totals);
    v1::OperationStatus {
        namespace: view.key.namespace.to_string(),
        service: view.key.service.to_string(),
        operation: view.key.operation.to_string(),
        kind: kind_to_wire(Some(view.kind)).into(),
        instances: Some(states_to_wire(view.instances)),
        calls_per_second: rates.calls_per_second,
        failure_ratio: fraction(rates.failure),
        retry_ratio: fraction(rates.retry),
        hedge_ratio: fraction(rates.hedge),
        ratio_sample: rates.failure.sample,
        refusals_per_second: rates.refusals_per_second.iter().sum(),
        refusal_rates: Some(refusal_rates_to_wire(rates)),
        last_minute: Some(rates_to_wire(&view.last_minute)),
        last_five_minutes: Some(rates_to_wire(&view.last_five_minutes)),
        slow_ratio: fraction(view.slow),
        slow_sample: view.slow.sample,
        p50: view.p50.map(duration_to_wire),
        p95: view.p95.map(duration_to_wire),
        p99: view.p99.map(duration_to_wire),
        latency_sample: view.latency_sample,
        calls_total: totals.all_calls(),
        refusals_total: totals.all_refusals(),
        calls: Some(calls_to_wire(totals)),
        refusals: Some(refusals_to_wire(|reason| totals.refusals(reason))),
        retries_total: totals.retries(),
        hedges_total: totals.hedges(),
        would_refuse: Some(refusals_to_wire(|reason| totals.would_refuse(reason))),
        age: view.age.map(duration_to_wire),
    }
}

fn states_to_wire(counts: StateCounts) -> v1::InstancesByState {
    v1::InstancesByState {
        closed: counts.closed,
        open: counts.open,
        half_open: counts.half_open,
        stale: counts.stale,
        forced_open: counts.forced_open,
        forced_closed: counts.forced_closed,
        shadow_open: counts.shadow_open,
        gone: counts.gone,
        impeded: counts.impeded,
    }
}

fn rates_to_wire(rates: &Rates) -> v1::Rates {
    v1::Rates {
        span: Some(duration_to_wire(rates.span)),
        calls_per_second: rates.calls_per_second,
        failure_ratio: fraction(rates.failure),
        retry_ratio: fraction(rates.retry),
        hedge_ratio: fraction(rates.hedge),
        ratio_sample: rates.failure.sample,
        refusals_per_second: rates.refusals_per_second.iter().sum(),
    }
}

fn refusal_rates_to_wire(rates: &Rates) -> v1::RefusalRates {
    let of = |reason: Reason| rates.refusals_per_second[reason as usize];
    v1::RefusalRates {
        circuit_open: of(Reason::CircuitOpen),
        forced_open: of(Reason::ForcedOpen),
        recovering: of(Reason::Recovering),
        rate_limited: of(Reason::RateLimited),
        bulkhead_full: of(Reason::BulkheadFull),
        concurrency_limited: of(Reason::ConcurrencyLimited),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio has a handful of digits"
)]
pub(super) fn fraction(ratio: Ratio) -> f64 {
    ratio.basis_points as f64 / 10_000.0
}
