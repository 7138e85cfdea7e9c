//! A message of a process, read as far as is needed to know what it is.
//!
//! Nearly all of them are reports, of which no message is made: their bytes go on as they are.

use bytes::Bytes;
use fusebox_proto::v1::ConnectRequest;
use prost::encoding::decode_varint;
use prost::{DecodeError, Message};

/// What came up a stream.
#[derive(Debug)]
pub(crate) enum Request {
    /// The bytes of a `StatsReport`, which may turn out to be none.
    Report(Bytes),
    /// Anything else, or a report that is encoded in an unusual way.
    Other(Box<ConnectRequest>),
}

/// Of `ConnectRequest.stats_report`: its number, and that its length follows.
const REPORT: u8 = 5 << 3 | 2;

impl Request {
    /// Reads a `ConnectRequest`.
    pub(crate) fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        match report(&bytes) {
            Some(at) => Ok(Self::Report(bytes.slice(at..))),
            None => ConnectRequest::decode(bytes).map(|request| Self::Other(Box::new(request))),
        }
    }
}

/// Where a report begins that is all there is.
fn report(bytes: &[u8]) -> Option<usize> {
    let (&REPORT, mut rest) = bytes.split_first()? else {
        return None;
    };
    let len = decode_varint(&mut rest).ok()?;
    let whole = usize::try_from(len).is_ok_and(|len| len == rest.len());
    whole.then_some(bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use fusebox_proto::v1;
    use fusebox_proto::v1::connect_request::Message as Up;

    use super::*;

    fn encoded(message: Up) -> Vec<u8> {
        let message = Some(message);
        ConnectRequest { message }.encode_to_vec()
    }

    fn report() -> v1::StatsReport {
        v1::StatsReport {
            number: 7,
            ..Default::default()
        }
    }

    #[test]
    fn a_report_goes_on_as_its_bytes_and_all_else_as_a_message() {
        let bytes = encoded(Up::StatsReport(report()));
        match Request::read(bytes.into()) {
            Ok(Request::Report(bytes)) => assert_eq!(bytes, report().encode_to_vec()),
            other => panic!("{other:?}"),
        }
        let bytes = encoded(Up::Heartbeat(v1::Heartbeat {}));
        assert!(matches!(Request::read(bytes.into()), Ok(Request::Other(_))));
    }

    #[test]
    fn what_follows_a_report_is_not_lost() {
        let mut bytes = encoded(Up::StatsReport(report()));
        bytes.extend(encoded(Up::Heartbeat(v1::Heartbeat {})));
        match Request::read(bytes.into()) {
            Ok(Request::Other(request)) => {
                assert_eq!(request.message, Some(Up::Heartbeat(v1::Heartbeat {})));
            }
            other => panic!("{other:?}"),
        }
        let cut = &encoded(Up::StatsReport(report()))[..3];
        assert!(Request::read(cut.to_vec().into()).is_err());
    }
}
