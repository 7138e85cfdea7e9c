//! A stream's body: frames as they are, without a copy, and at last the status in trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;

use crate::distribution::Outgoing;
use crate::rpc::status;

/// What a process is sent.
pub(super) struct Replies {
    outgoing: Outgoing,
    ended: bool,
}

impl Replies {
    pub(super) fn new(outgoing: Outgoing) -> Self {
        Self {
            outgoing,
            ended: false,
        }
    }
}

impl Body for Replies {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match ready!(Pin::new(&mut self.outgoing).poll_next(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame.into_bytes())))),
            Some(Err(end)) => status::end(end),
            None => Status::ok(""),
        };
        self.ended = true;
        Poll::Ready(Some(trailers(&status)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}
