//! SyncService: hands streams to [`Distribution`] and encodes why they end.
//!
//! The service is written out here instead of generated, because its responses are: a snapshot is
//! encoded once and its bytes go to every stream that wants it. What a message looks like is still
//! decided by the contract alone.

mod codec;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use fusebox_proto::v1::ConnectRequest;
use fusebox_proto::v1::sync_service_server::SERVICE_NAME;
use tokio_stream::StreamExt;
use tokio_stream::adapters::Map;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{SEND_BYTES, SYNC_RECEIVE_BYTES, author, status};
use crate::distribution::{Distribution, End, Frame, Outgoing};
use codec::SyncCodec;

const CONNECT: &str = "/fusebox.v1.SyncService/Connect";

/// The service over its sessions.
#[derive(Clone)]
pub(super) struct SyncServer(Arc<Distribution>);

impl SyncServer {
    pub(super) fn new(distribution: Arc<Distribution>) -> Self {
        Self(distribution)
    }
}

impl NamedService for SyncServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for SyncServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let connect = Connect(Arc::clone(&self.0));
        Box::pin(async move {
            if request.uri().path() != CONNECT {
                return Ok(Status::unimplemented("SyncService has one method, Connect").into_http());
            }
            let mut grpc = Grpc::new(SyncCodec)
                .max_decoding_message_size(SYNC_RECEIVE_BYTES)
                .max_encoding_message_size(SEND_BYTES);
            Ok(grpc.streaming(connect, request).await)
        })
    }
}

/// The method.
struct Connect(Arc<Distribution>);

type Replies = Map<Outgoing, fn(Result<Frame, End>) -> Result<Frame, Status>>;

impl StreamingService<ConnectRequest> for Connect {
    type Response = Frame;
    type ResponseStream = Replies;
    type Future = Ready<Result<Response<Replies>, Status>>;

    fn call(&mut self, request: Request<Streaming<ConnectRequest>>) -> Self::Future {
        let (_, peer) = author(&request);
        let inbound = request.into_inner();
        let inbound = inbound.map(|message| message.map_err(|status| broken(&status)));
        let outgoing = self.0.connect(inbound, peer);
        let replies = outgoing.map(|outgoing| {
            let encode: fn(_) -> _ = |reply: Result<_, End>| reply.map_err(status::end);
            Response::new(outgoing.map(encode))
        });
        ready(replies.map_err(status::refused))
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
