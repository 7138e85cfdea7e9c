//! One span and one measurement for each call: `rpc.server.call.duration`.
//!
//! A unary call's span ends with its status. A stream's ends with its response's headers, because
//! a session lasts for days and what it does is told by gauges; its duration is still measured to
//! its status. The caller's W3C context, if it sent one, becomes the span's parent.
//!
//! ```text
//!   request ──> handler ──> headers, with a status: the end
//!                             └── body ──> trailers with a status: the end
//!                                    └──> dropped: the caller is gone, CANCELLED
//! ```
//!
//! # Invariants
//!
//! - Every call is measured exactly once, however it ends.
//! - A method nobody serves is `_OTHER`: a caller cannot invent a series.

mod method;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use pin_project_lite::pin_project;
use tonic::Code;
use tower::{Layer, Service};
use tracing::Span;
use tracing::instrument::{Instrument, Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::sparing::Sparing;
use method::{Method, Methods};

/// The conventions' boundaries for durations of calls, in seconds.
const BOUNDARIES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Puts a span and a measurement around every call of a service.
#[derive(Clone, Debug)]
pub(crate) struct RpcLayer {
    methods: Arc<Methods>,
    duration: Histogram<f64>,
    oversized: Arc<Sparing>,
}

impl RpcLayer {
    pub(crate) fn new(meter: &Meter) -> Self {
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("How long a call took, a stream to its end.")
            .with_boundaries(BOUNDARIES.to_vec())
            .build();
        Self {
            methods: Arc::new(Methods::known()),
            oversized: Arc::default(),
            duration,
        }
    }

    fn begin<B>(&self, request: &Request<B>) -> Call {
        let method = self.methods.find(request.uri().path());
        let span = tracing::info_span!(
            "rpc",
            otel.name = method.name(),
            otel.kind = "server",
            rpc.system.name = "grpc",
            rpc.method = method.name(),
            rpc.response.status_code = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        );
        let caller = TraceContextPropagator::new().extract(&Metadata(request.headers()));
        // It fails if spans are not exported, and then there is no parent to have.
        span.set_parent(caller).ok();
        Call {
            method,
            span,
            began: Instant::now(),
            duration: self.duration.clone(),
            oversized: Arc::clone(&self.oversized),
            ended: false,
        }
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = RpcService<S>;

    fn layer(&self, inner: S) -> RpcService<S> {
        let layer = self.clone();
        RpcService { layer, inner }
    }
}

/// A service whose calls are told of.
#[derive(Clone, Debug)]
pub(crate) struct RpcService<S> {
    layer: RpcLayer,
    inner: S,
}

impl<S, Req, Res> Service<Request<Req>> for RpcService<S>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    Res: Body,
{
    type Response = Response<Measured<Res>>;
    type Error = S::Error;
    type Future = RpcFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let call = self.layer.begin(&request);
        let handler = call.span.in_scope(|| self.inner.call(request));
        RpcFuture {
            handler: handler.instrument(call.span.clone()),
            call: Some(call),
        }
    }
}

pin_project! {
    /// A call until its response's headers.
    pub(crate) struct RpcFuture<F> {
        #[pin]
        handler: Instrumented<F>,
        call: Option<Call>,
    }
}

impl<F, Res, E> Future for RpcFuture<F>
where
    F: Future<Output = Result<Response<Res>, E>>,
{
    type Output = Result<Response<Measured<Res>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.handler.poll(cx));
        let mut call = this.call.take();
        Poll::Ready(result.map(|response| {
            if let Some(call) = &mut call {
                call.headers(response.headers());
            }
            response.map(|body| Measured { body, call })
        }))
    }
}

pin_project! {
    /// A response's body, watched for the call's status.
    pub(crate) struct Measured<B> {
        #[pin]
        body: B,
        call: Option<Call>,
    }
}

impl<B: Body> Body for Measured<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let trailers = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.trailers_ref());
        let status = match &frame {
            Some(Ok(_)) => trailers.and_then(status),
            // gRPC's word for a response without a status.
            Some(Err(_)) | None => Some(Code::Unknown),
        };
        if let (Some(call), Some(status)) = (this.call.as_mut(), status) {
            call.end(status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A call that is measured when it ends.
#[derive(Debug)]
struct Call {
    method: Method,
    span: Span,
    began: Instant,
    duration: Histogram<f64>,
    oversized: Arc<Sparing>,
    ended: bool,
}

impl Call {
    fn headers(&mut self, headers: &HeaderMap) {
        if let Some(status) = status(headers) {
            self.tell_oversized(status, headers);
            self.end(status);
        }
        if self.method.is_stream() {
            self.span = Span::none();
        }
    }

    /// A message too large is refused before any service sees it, and nobody else would tell.
    fn tell_oversized(&self, status: Code, headers: &HeaderMap) {
        if status == Code::OutOfRange
            && let Some(unsaid) = self.oversized.speak(Instant::now())
        {
            let status = tonic::Status::from_header_map(headers);
            let problem = status.as_ref().map_or("", tonic::Status::message);
            tracing::warn!(
                method = self.method.name(),
                problem,
                unsaid,
                "message refused"
            );
        }
    }

    fn end(&mut self, status: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.span.record("rpc.response.status_code", name(status));
        let mut attributes = Vec::with_capacity(4);
        attributes.push(KeyValue::new("rpc.system.name", "grpc"));
        attributes.push(KeyValue::new("rpc.method", self.method.value()));
        attributes.push(KeyValue::new("rpc.response.status_code", name(status)));
        if is_error(status) {
            self.span.record("otel.status_code", "ERROR");
            attributes.push(KeyValue::new("error.type", name(status)));
        }
        self.duration
            .record(self.began.elapsed().as_secs_f64(), &attributes);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

fn status(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// The codes that are the server's fault, by OpenTelemetry's conventions for gRPC.
fn is_error(status: Code) -> bool {
    matches!(
        status,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn name(status: Code) -> &'static str {
    match status {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Incoming metadata, as OpenTelemetry wants to read it.
struct Metadata<'a>(&'a HeaderMap);

impl Extractor for Metadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
