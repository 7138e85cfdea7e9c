//! Every call is measured exactly once, with the status it ended with.

use std::convert::Infallible;
use std::future::ready;

use bytes::Bytes;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tower::ServiceExt;

use super::*;

/// A response that ends as its fields say.
#[derive(Clone, Copy)]
struct Script {
    header: Option<&'static str>,
    trailer: Option<&'static str>,
}

impl Script {
    fn response(self) -> Response<Scripted> {
        let trailers = self
            .trailer
            .map(|code| Frame::trailers(status_header(code)));
        let mut response = Response::new(Scripted(trailers));
        if let Some(code) = self.header {
            *response.headers_mut() = status_header(code);
        }
        response
    }
}

fn status_header(code: &'static str) -> HeaderMap {
    let value = http::HeaderValue::from_static(code);
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), value)])
}

struct Scripted(Option<Frame<Bytes>>);

impl Body for Scripted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

struct Measurements {
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
}

impl Measurements {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        Self { exporter, provider }
    }

    fn layer(&self) -> RpcLayer {
        RpcLayer::new(&self.provider.meter("test"))
    }

    /// Each series as `count method status error`.
    fn read(&self) -> Vec<String> {
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let metrics = exported.iter().flat_map(ResourceMetrics::scope_metrics);
        let mut series = Vec::new();
        for metric in metrics.flat_map(ScopeMetrics::metrics) {
            assert_eq!(
                (metric.name(), metric.unit()),
                ("rpc.server.call.duration", "s")
            );
            let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
                panic!("{metric:?}");
            };
            series.extend(histogram.data_points().map(line));
        }
        series
    }
}

fn line(point: &HistogramDataPoint<f64>) -> String {
    let value = |key: &str| {
        let found = point
            .attributes()
            .find(|attribute| attribute.key.as_str() == key);
        found.map_or_else(|| "-".to_owned(), |attribute| attribute.value.to_string())
    };
    assert_eq!(value("rpc.system.name"), "grpc");
    let (method, status) = (value("rpc.method"), value("rpc.response.status_code"));
    format!(
        "{} {method} {status} {}",
        point.count(),
        value("error.type")
    )
}

async fn call(script: Script, path: &str, read_body: bool) -> Vec<String> {
    let measurements = Measurements::new();
    let request = Request::builder().uri(path).body(()).unwrap();
    let handler = tower::service_fn(move |_| ready(Ok::<_, Infallible>(script.response())));
    let service = measurements.layer().layer(handler);
    let response = service.oneshot(request).await.unwrap();
    let mut body = Box::pin(response.into_body());
    while read_body
        && std::future::poll_fn(|cx| body.as_mut().poll_frame(cx))
            .await
            .is_some()
    {}
    drop(body);
    measurements.read()
}

const GET: &str = "/fusebox.v1.PolicyService/GetPolicy";

#[tokio::test]
async fn a_status_in_the_trailers_ends_the_call() {
    let script = Script {
        header: None,
        trailer: Some("0"),
    };
    assert_eq!(
        call(script, GET, true).await,
        ["1 fusebox.v1.PolicyService/GetPolicy OK -"]
    );
}

#[tokio::test]
async fn a_status_in_the_headers_ends_the_call() {
    let script = Script {
        header: Some("5"),
        trailer: None,
    };
    let said = ["1 fusebox.v1.PolicyService/GetPolicy NOT_FOUND -"];
    assert_eq!(call(script, GET, false).await, said);
    assert_eq!(call(script, GET, true).await, said);
}

#[tokio::test]
async fn a_fault_of_the_server_is_an_error_type() {
    let script = Script {
        header: None,
        trailer: Some("13"),
    };
    let said = ["1 fusebox.v1.PolicyService/GetPolicy INTERNAL INTERNAL"];
    assert_eq!(call(script, GET, true).await, said);
}

#[tokio::test]
async fn a_response_without_a_status_is_unknown() {
    let script = Script {
        header: None,
        trailer: None,
    };
    let said = ["1 fusebox.v1.PolicyService/GetPolicy UNKNOWN UNKNOWN"];
    assert_eq!(call(script, GET, true).await, said);
}

#[tokio::test]
async fn a_caller_that_leaves_has_cancelled() {
    let script = Script {
        header: None,
        trailer: Some("0"),
    };
    let said = ["1 fusebox.v1.SyncService/Connect CANCELLED -"];
    assert_eq!(
        call(script, "/fusebox.v1.SyncService/Connect", false).await,
        said
    );
}

#[tokio::test]
async fn an_invented_method_makes_no_series_of_its_own() {
    let script = Script {
        header: Some("12"),
        trailer: None,
    };
    assert_eq!(
        call(script, "/x.Y/Z", true).await,
        ["1 _OTHER UNIMPLEMENTED UNIMPLEMENTED"]
    );
}
