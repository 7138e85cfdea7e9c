//! The fleet on its way to whoever watches it.
//!
//! Each watcher has a task and room for one message. It looks at the fleet only once there is room, so
//! that whoever reads slowly is told what has changed by then, in one message; who goes away lets it
//! end.

use std::sync::Arc;
use std::time::Duration;

use fusebox_core::policy::Violations;
use fusebox_core::stats::OperationKey;
use fusebox_proto::convert::time::duration_from_wire;
use fusebox_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::status;
use super::operations::operation_to_wire;
use super::transitions::record_to_wire;
use super::{coverage, filter_from_wire};
use crate::distribution::Distribution;
use crate::fleet::{FleetWatch, Look, Onlooker};

/// How often figures are told, if the request does not say.
const REFRESH: Duration = Duration::from_secs(1);
const MIN_REFRESH: Duration = Duration::from_millis(100);
const MAX_REFRESH: Duration = Duration::from_secs(60);

type Sender = mpsc::Sender<Result<v1::WatchFleetResponse, Status>>;
/// What a watch sends.
pub(super) type Watching = ReceiverStream<Result<v1::WatchFleetResponse, Status>>;

/// Begins one.
pub(super) fn watch(
    fleet: &Arc<FleetWatch>,
    distribution: &Arc<Distribution>,
    request: &v1::WatchFleetRequest,
) -> Result<Watching, Status> {
    let mut found = Violations::none();
    let v1::WatchFleetRequest {
        namespace,
        service,
        operation,
        refresh_interval,
    } = request;
    let filter = filter_from_wire(&mut found, namespace, service, operation);
    let refresh = refresh_from_wire(&mut found, refresh_interval.as_ref());
    found.into_result(()).map_err(status::invalid)?;
    let onlooker = fleet.watch(filter, refresh).map_err(status::crowded)?;
    // One message, and the last word.
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(tell(
        onlooker,
        Arc::clone(fleet),
        Arc::clone(distribution),
        sender,
    ));
    Ok(ReceiverStream::new(receiver))
}

fn refresh_from_wire(found: &mut Violations, wire: Option<&prost_types::Duration>) -> Duration {
    let Some(wire) = wire else {
        return REFRESH;
    };
    match duration_from_wire(wire) {
        Ok(refresh) if (MIN_REFRESH..=MAX_REFRESH).contains(&refresh) => return refresh,
        _ => {
            let shown = format!("{} s {} ns", wire.seconds, wire.nanos);
            found.add("refresh_interval", shown, "must be from 0.1 s to 60 s");
        }
    }
    REFRESH
}

/// Tells what there is until the server stops, or nobody listens.
async fn tell(
    mut onlooker: Onlooker,
    fleet: Arc<FleetWatch>,
    distribution: Arc<Distribution>,
    sender: Sender,
) {
    let Ok(last_word) = sender.clone().try_reserve_owned() else {
        return;
    };
    let look_on = async {
        while let Ok(room) = sender.reserve().await {
            let look = tokio::select! {
                () = sender.closed() => return,
                look = onlooker.next() => look,
            };
            room.send(Ok(look_to_wire(&look, &fleet, &distribution)));
        }
    };
    if distribution.unless_stopped(look_on).await.is_none() {
        last_word.send(Err(status::stopping()));
    }
}

fn look_to_wire(
    look: &Look,
    fleet: &FleetWatch,
    distribution: &Distribution,
) -> v1::WatchFleetResponse {
    let transitions = look.transitions.iter();
    v1::WatchFleetResponse {
        operations: look.operations.iter().map(operation_to_wire).collect(),
        removed: look.removed.iter().map(key_to_wire).collect(),
        transitions: transitions
            .map(|record| record_to_wire(record, fleet))
            .collect(),
        transitions_missed: look.missed,
        synced: look.synced,
        coverage: Some(coverage(distribution)),
    }
}

fn key_to_wire(key: &OperationKey) -> v1::OperationRef {
    v1::OperationRef {
        namespace: key.namespace.to_string(),
        service: key.service.to_string(),
        operation: key.operation.to_string(),
    }
}
