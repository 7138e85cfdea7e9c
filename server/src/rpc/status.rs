//! The one table from what went wrong to a gRPC status.
//!
//! ```text
//!   control    Invalid, TooLarge          INVALID_ARGUMENT     with a BadRequest that names fields
//!              TooMuch, TooMuchToTell     INVALID_ARGUMENT     the same
//!              EmptySet                   INVALID_ARGUMENT     the same
//!              NotFound, NotKept          NOT_FOUND
//!              NotInForce                 NOT_FOUND
//!              AlreadyExists              ALREADY_EXISTS
//!              Aborted, Contended         ABORTED
//!              Crowded, WasDeleted        FAILED_PRECONDITION
//!              OutOfRange                 OUT_OF_RANGE
//!              TooManyWatches             RESOURCE_EXHAUSTED
//!              TooManyOverrides           RESOURCE_EXHAUSTED
//!              Busy                       RESOURCE_EXHAUSTED   with a RetryInfo
//!              Unavailable                UNAVAILABLE
//!              Broken                     INTERNAL
//!   a stream   NoHello, Silent, Stalled   DEADLINE_EXCEEDED
//!   that ends  NotHello, SecondHello      INVALID_ARGUMENT     with a BadRequest
//!              BadHello                   INVALID_ARGUMENT     with a BadRequest
//!              Superseded                 ABORTED
//!              Draining                   UNAVAILABLE
//!              Oversized                  RESOURCE_EXHAUSTED
//!              Garbled                    INVALID_ARGUMENT
//!              Lost                       CANCELLED
//!              Crashed                    INTERNAL
//!   refused    Full                       RESOURCE_EXHAUSTED
//!   streams    Stopping                   UNAVAILABLE
//!   waits      TooMany                    RESOURCE_EXHAUSTED
//!              Stopping                   UNAVAILABLE
//!              expired                    DEADLINE_EXCEEDED
//!   the fleet  Crowded                    RESOURCE_EXHAUSTED
//!              an unknown operation       NOT_FOUND
//! ```
//!
//! Statuses travel in HTTP/2 trailers, for which clients have as little as 16 KiB: texts are cut.

use std::time::Duration;

use fusebox_core::policy::{Violation, Violations};
use fusebox_core::stats::OperationKey;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::control::ControlError;
use crate::distribution::{End, Progress, Refused, Unawaited};
use crate::fleet::Crowded;

/// Of a message so many bytes are sent.
const MAX_MESSAGE_BYTES: usize = 1024;
/// Of one field's path, and of what is wrong with it, so many bytes are sent.
const MAX_DESCRIPTION_BYTES: usize = 400;
/// Bytes of all details together; the fields beyond are counted in one last line.
const MAX_DETAIL_BYTES: usize = 6 * 1024;
/// When to come back to a busy store.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The status of a refused request.
pub(super) fn of(error: ControlError) -> Status {
    let text = error.to_string();
    match error {
        ControlError::Invalid(violations) => invalid(violations),
        ControlError::TooLarge(_) => {
            bad_request(&text, vec![FieldViolation::new("policy", cut(&text))])
        }
        ControlError::TooMuch(_)
        | ControlError::TooMuchToTell { .. }
        | ControlError::EmptySet { .. } => {
            bad_request(&text, vec![FieldViolation::new("policies", cut(&text))])
        }
        ControlError::NotFound(_) | ControlError::NotKept { .. } => plain(Code::NotFound, &text),
        ControlError::AlreadyExists(_) => plain(Code::AlreadyExists, &text),
        ControlError::Aborted { .. } | ControlError::Contended(_) => plain(Code::Aborted, &text),
        ControlError::Crowded(_) | ControlError::WasDeleted { .. } => {
            plain(Code::FailedPrecondition, &text)
        }
        ControlError::OutOfRange(_) => plain(Code::OutOfRange, &text),
        ControlError::NotInForce(_) => plain(Code::NotFound, &text),
        ControlError::TooManyOverrides(_) => plain(Code::ResourceExhausted, &text),
        ControlError::TooManyWatches => plain(Code::ResourceExhausted, &text),
        ControlError::Busy(_) => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            Status::with_error_details(Code::ResourceExhausted, text, details)
        }
        ControlError::Unavailable(_) => plain(Code::Unavailable, &text),
        ControlError::Broken(_) => plain(Code::Internal, &text),
    }
}

/// The status of an illegal message: every field that is wrong, with its value and its bound.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn invalid(violations: Violations) -> Status {
    let mut all = violations.iter();
    let first = all.next().map(Violation::to_string).unwrap_or_default();
    let text = match all.count() {
        0 => cut(&first).to_owned(),
        more => format!("{}; and {more} more", cut(&first)),
    };
    bad_request(&text, fields(&violations))
}

/// The status a stream ends with; none if it ends because its process wants it to.
pub(super) fn end(end: End) -> Status {
    let text = end.to_string();
    let code = match end {
        End::BadHello(violations) => return invalid(violations),
        End::NotHello { .. } | End::SecondHello => {
            return bad_request(&text, vec![FieldViolation::new("hello", text.as_str())]);
        }
        End::NoHello { .. } | End::Silent { .. } | End::Stalled { .. } => Code::DeadlineExceeded,
        End::Superseded => Code::Aborted,
        End::Draining | End::Retired { .. } => Code::Unavailable,
        End::Oversized { .. } => Code::ResourceExhausted,
        End::Garbled { .. } => Code::InvalidArgument,
        End::Left => Code::Ok,
        End::Gone | End::Lost { .. } => Code::Cancelled,
        End::Crashed => Code::Internal,
    };
    plain(code, &text)
}

/// The status of a stream that is not even begun.
pub(super) fn refused(refused: Refused) -> Status {
    let code = match refused {
        Refused::Full => Code::ResourceExhausted,
        Refused::Stopping => Code::Unavailable,
    };
    plain(code, &refused.to_string())
}

/// The status of a wait that is not begun, or broken off.
pub(super) fn unawaited(unawaited: Unawaited) -> Status {
    let code = match unawaited {
        Unawaited::TooMany => Code::ResourceExhausted,
        Unawaited::Stopping => Code::Unavailable,
    };
    plain(code, &unawaited.to_string())
}

/// The status of a wait in vain.
pub(super) fn expired(progress: &Progress) -> Status {
    plain(Code::DeadlineExceeded, &progress.to_string())
}

/// The status of a watch of the fleet for which there is no place.
pub(super) fn crowded(crowded: Crowded) -> Status {
    plain(Code::ResourceExhausted, &crowded.to_string())
}

/// The end of a watch of the fleet.
pub(super) fn stopping() -> Status {
    plain(Code::Unavailable, "the server stops; watch again")
}

/// The status of a question about an operation that nobody knows.
pub(super) fn unknown_operation(key: &OperationKey) -> Status {
    let OperationKey {
        namespace,
        service,
        operation,
    } = key;
    let text = format!(
        "no process of service {service} in namespace {namespace} has told of operation \
         {operation}; ListOperations tells which are known"
    );
    plain(Code::NotFound, &text)
}

fn plain(code: Code, text: &str) -> Status {
    Status::new(code, &text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)])
}

fn bad_request(text: &str, fields: Vec<FieldViolation>) -> Status {
    let text = &text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)];
    let details = ErrorDetails::with_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, text, details)
}

/// As many as fit, and a line about the rest.
fn fields(violations: &Violations) -> Vec<FieldViolation> {
    let mut bytes = 0;
    let mut fields: Vec<_> = violations.iter().map(field).collect();
    let fits = |field: &&FieldViolation| {
        bytes += field.field.len() + field.description.len();
        bytes <= MAX_DETAIL_BYTES
    };
    let shown = fields.iter().take_while(fits).count();
    let more = fields.len() - shown;
    fields.truncate(shown);
    if more > 0 {
        fields.push(FieldViolation::new("", format!("and {more} more fields")));
    }
    fields
}

fn field(violation: &Violation) -> FieldViolation {
    let description = violation.describe(cut(&violation.value));
    FieldViolation::new(cut(&violation.field), cut(&description))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_DESCRIPTION_BYTES)]
}

#[cfg(test)]
mod tests {
    use fusebox_core::key::PolicyId;

    use super::*;
    use crate::store::{Crowded, CrowdedService};

    #[test]
    fn however_much_is_wrong_a_status_fits_into_its_trailers() {
        let mut found = Violations::none();
        for i in 0..1000 {
            found.add("x".repeat(5000), "v".repeat(5000), format!("bound {i}"));
        }
        let status = invalid(found);
        assert!(status.message().len() < 2 * MAX_MESSAGE_BYTES);
        assert!(
            status.details().len() < 2 * MAX_DETAIL_BYTES,
            "{}",
            status.details().len()
        );
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert!(fields.last().unwrap().description.ends_with("more fields"));
    }

    #[test]
    fn every_refusal_has_its_code() {
        use crate::store::{AppendError, Subject};
        let id = PolicyId::new("default", "a").unwrap();
        let reason: std::sync::Arc<str> = "the disk is full".into();
        let service = CrowdedService {
            namespace: id.namespace.clone(),
            service: Some("checkout".into()),
            bytes: 2,
        };
        let crowded = AppendError::Crowded(Crowded(vec![service]));
        let (too_large, unfit) = (300_000, "lost a field".to_owned());
        for (error, code) in [
            (ControlError::NotFound(id.clone()), Code::NotFound),
            (ControlError::AlreadyExists(id.clone()), Code::AlreadyExists),
            (ControlError::Contended(id.clone()), Code::Aborted),
            (crowded.into(), Code::FailedPrecondition),
            (
                AppendError::TooLarge {
                    subject: Subject::Policy(id.clone()),
                    bytes: too_large,
                }
                .into(),
                Code::InvalidArgument,
            ),
            (
                AppendError::Unfit {
                    subject: Subject::Policy(id.clone()),
                    problem: unfit,
                }
                .into(),
                Code::Internal,
            ),
            (AppendError::Busy.into(), Code::ResourceExhausted),
            (
                AppendError::InDoubt {
                    reason: reason.clone(),
                }
                .into(),
                Code::Unavailable,
            ),
            (
                AppendError::Unavailable { reason }.into(),
                Code::Unavailable,
            ),
        ] {
            let (text, status) = (error.to_string(), of(error));
            assert_eq!((status.code(), status.message()), (code, text.as_str()));
        }
    }

    #[test]
    fn a_busy_store_says_when_to_come_back() {
        let status = of(ControlError::Busy(crate::store::AppendError::Busy));
        let retry = status.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(RETRY_AFTER));
    }

    #[test]
    fn a_field_is_told_with_its_value_and_its_bound() {
        let mut found = Violations::none();
        found.add("rules.timeout.attempt", "0ns", "must be 1ms to 86400s");
        let status = invalid(found);
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "rules.timeout.attempt");
        assert_eq!(fields[0].description, "must be 1ms to 86400s (found 0ns)");
        assert_eq!(
            status.message(),
            "rules.timeout.attempt: must be 1ms to 86400s (0ns)"
        );
    }
}
