//! What a server says of a retry: gRPC's pushback (proposal A6), or else `google.rpc.RetryInfo`.

use std::time::Duration;

use fusebox_core::outcome::Again;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic_types::StatusExt;

const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Whether and when a failure may be tried again. The protocol's own word comes before a detail of
/// the application's.
pub(super) fn of(status: &Status) -> Again {
    match pushback(status.metadata()) {
        Some(Pushback::After(wait)) => Again::IfIdempotent(Some(wait)),
        Some(Pushback::Stop) => Again::No,
        None => Again::IfIdempotent(retry_info(status)),
    }
}

enum Pushback {
    After(Duration),
    Stop,
}

/// "A signed 32-bit integer"; negative or unparseable, "the server asking the client not to retry
/// at all" (A6). Two of them are unparseable, as in grpc-go.
fn pushback(metadata: &MetadataMap) -> Option<Pushback> {
    let mut values = metadata.get_all(PUSHBACK).iter();
    let value = values.next()?;
    let millis = match values.next() {
        None => value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<i32>().ok()),
        Some(_) => None,
    };
    let wait = millis.and_then(|millis| u64::try_from(millis).ok());
    Some(wait.map_or(Pushback::Stop, |millis| {
        Pushback::After(Duration::from_millis(millis))
    }))
}

fn retry_info(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}
