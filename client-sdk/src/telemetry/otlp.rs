//! OTLP exporters as the standard environment wants them.

use std::env;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use super::METER;

/// The exporters at work. Flushes and ends them when dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct Telemetry {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

/// The environment asks for an exporter that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the OTLP export of {signal} that the OTEL_* environment asks for: {source}")]
pub struct TelemetryError {
    signal: &'static str,
    source: ExporterBuildError,
}

/// Sets up what the environment asks for: traces, metrics, both or nothing.
///
/// A signal is exported if `OTEL_EXPORTER_OTLP_ENDPOINT`, or the signal's own endpoint, is set, and
/// neither `OTEL_SDK_DISABLED=true` nor `OTEL_TRACES_EXPORTER=none` (`OTEL_METRICS_EXPORTER=none`)
/// says otherwise. Everything else (protocol, headers, intervals) is as the OpenTelemetry
/// specification has it. `service` stands in for an unset `OTEL_SERVICE_NAME`.
///
/// Call it before [`Builder::build`](crate::Builder::build), and inside a tokio runtime if the
/// protocol is `grpc`.
pub fn from_env(service: &str) -> Result<Telemetry, TelemetryError> {
    let resource = resource(service);
    let tracer = wanted("TRACES")
        .then(|| tracer(resource.clone()))
        .transpose()?;
    let meter = wanted("METRICS").then(|| meter(resource)).transpose()?;
    if let Some(provider) = &meter {
        // The first one stays: instruments that exist already go on with it.
        let _ = METER.set(provider.meter("fusebox"));
    }
    Ok(Telemetry { tracer, meter })
}

impl Telemetry {
    /// A layer for the program's `tracing` subscriber that exports the SDK's spans; `None` if
    /// traces are not wanted.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.tracer.as_ref()?.tracer("fusebox");
        // The exporter's own client must not trace itself.
        let ours = Targets::new().with_target("fusebox", LevelFilter::DEBUG);
        Some(
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_filter(ours),
        )
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // A receiver that is away must not keep a program from ending.
        if let Some(tracer) = &self.tracer {
            let _ = tracer.shutdown();
        }
        if let Some(meter) = &self.meter {
            let _ = meter.shutdown();
        }
    }
}

fn tracer(resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().build();
    let exporter = exporter.map_err(|source| TelemetryError {
        signal: "traces",
        source,
    })?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

fn meter(resource: Resource) -> Result<SdkMeterProvider, TelemetryError> {
    let exporter = MetricExporter::builder().build();
    let exporter = exporter.map_err(|source| TelemetryError {
        signal: "metrics",
        source,
    })?;
    Ok(SdkMeterProvider::builder()
        .with_resource(resource)
        .with_periodic_exporter(exporter)
        .build())
}

fn resource(service: &str) -> Resource {
    let builder = Resource::builder();
    match env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.build(),
        _ => builder.with_service_name(service.to_owned()).build(),
    }
}

/// Whether the environment asks for `signal`.
fn wanted(signal: &str) -> bool {
    let set = |name: String| env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = set("OTEL_EXPORTER_OTLP_ENDPOINT".into())
        .or_else(|| set(format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")));
    let disabled = set("OTEL_SDK_DISABLED".into()).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let none = set(format!("OTEL_{signal}_EXPORTER")).is_some_and(|exporter| exporter == "none");
    endpoint.is_some() && !disabled && !none
}
