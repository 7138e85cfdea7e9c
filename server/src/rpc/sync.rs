//! SyncService: hands streams to [`Distribution`] and says why they end.
//!
//! The service is written out here instead of generated, because its responses are: a snapshot is
//! encoded once and its bytes go to every stream that wants it. What a message looks like is still
//! decided by the contract alone.

mod codec;
mod replies;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use fusebox_proto::v1::sync_service_server::SERVICE_NAME;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tokio_stream::StreamExt;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};
use tonic::server::NamedService;
use tonic::{Code, Request, Status, Streaming};

use super::{SYNC_RECEIVE_BYTES, author, status};
use crate::distribution::{Distribution, End};
use codec::RequestDecoder;
use replies::Replies;

const CONNECT: &str = "/fusebox.v1.SyncService/Connect";
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The service over its sessions.
#[derive(Clone)]
pub(super) struct SyncServer(Arc<Distribution>);

impl SyncServer {
    pub(super) fn new(distribution: Arc<Distribution>) -> Self {
        Self(distribution)
    }

    fn connect(&self, request: http::Request<Body>) -> Result<Replies, Status> {
        if request.uri().path() != CONNECT {
            let text = "SyncService has one method, Connect";
            return Err(Status::unimplemented(text));
        }
        plain(request.headers().get(ENCODING))?;
        let (head, body) = request.into_parts();
        let metadata = MetadataMap::from_headers(head.headers);
        let (_, peer) = author(&Request::from_parts(metadata, head.extensions, ()));
        let inbound = Streaming::new_request(RequestDecoder, body, None, Some(SYNC_RECEIVE_BYTES));
        let inbound = inbound.map(|message| message.map_err(|status| broken(&status)));
        let outgoing = self.0.connect(inbound, peer);
        outgoing.map(Replies::new).map_err(status::refused)
    }
}

impl NamedService for SyncServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for SyncServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(match self.connect(request) {
            Ok(replies) => {
                let mut response = http::Response::new(Body::new(replies));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
                response
            }
            Err(status) => status.into_http(),
        }))
    }
}

/// No message here gains from being compressed.
fn plain(encoding: Option<&HeaderValue>) -> Result<(), Status> {
    match encoding {
        Some(encoding) if encoding != "identity" => Err(Status::unimplemented(format!(
            "grpc-encoding {encoding:?} is not served; send messages as they are"
        ))),
        _ => Ok(()),
    }
}

/// Why nothing more can be read.
fn broken(status: &Status) -> End {
    let reason = status.message().to_owned();
    match status.code() {
        Code::OutOfRange => End::Oversized { reason },
        Code::InvalidArgument => End::Garbled { reason },
        _ => End::Lost { reason },
    }
}
