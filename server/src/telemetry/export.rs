//! The way out: OTLP exporters that say once when their receiver goes away, and once when it is
//! back.
//!
//! The SDK's batch processor and periodic reader run on threads of their own and drop what does not
//! fit their queues; left to themselves they are silent about a receiver that is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{self, SdkTracerProvider, SpanData};

use super::plan::Receiver;

/// Spans go out in batches.
pub(super) fn traces(
    resource: Resource,
    receiver: Receiver,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = Announcing::new("traces", receiver, SpanExporter::builder().build()?);
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// Metrics go out every `OTEL_METRIC_EXPORT_INTERVAL`, by default a minute.
pub(super) fn metrics(
    resource: Resource,
    receiver: Receiver,
) -> Result<SdkMeterProvider, ExporterBuildError> {
    let exporter = Announcing::new("metrics", receiver, MetricExporter::builder().build()?);
    Ok(SdkMeterProvider::builder()
        .with_resource(resource)
        .with_periodic_exporter(exporter)
        .build())
}

/// An exporter whose failures are announced: the first, not each.
#[derive(Debug)]
struct Announcing<E> {
    signal: &'static str,
    receiver: Receiver,
    failing: AtomicBool,
    inner: E,
}

impl<E> Announcing<E> {
    fn new(signal: &'static str, receiver: Receiver, inner: E) -> Self {
        Self {
            signal,
            receiver,
            failing: AtomicBool::new(false),
            inner,
        }
    }

    fn announce(&self, result: OTelSdkResult) -> OTelSdkResult {
        // An exporter is never called by two at once; nothing else hangs on the flag.
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        let (signal, receiver) = (self.signal, &self.receiver);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(signal, receiver, %error, "cannot export over OTLP; trying on");
            }
            Ok(()) if failed_before => {
                tracing::info!(signal, receiver, "exporting over OTLP again");
            }
            _ => {}
        }
        result
    }
}

impl<E: trace::SpanExporter> trace::SpanExporter for Announcing<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.announce(self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Announcing<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.announce(self.inner.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
