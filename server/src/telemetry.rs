//! What a server says of itself: log lines for people, traces and metrics over OTLP.
//!
//! Logs always go to standard error. Traces and metrics are exported only if the standard `OTEL_*`
//! environment asks for it, on threads of their own: a receiver that is slow or away costs dropped
//! telemetry and one line, never a request.
//!
//! # Invariants
//!
//! - Instruments come from OpenTelemetry's global meter, so that nothing else knows whether
//!   anybody listens; without [`Telemetry::start`] recording does nothing.
//! - Telemetry that cannot be had is a warning, never a reason not to serve.

mod export;
mod gauges;
mod plan;
mod rpc;

use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Config, LogFormat};

pub(crate) use gauges::observe;
pub(crate) use rpc::RpcLayer;

use plan::Plan;

/// The name of this server in telemetry, unless `OTEL_SERVICE_NAME` gives another.
pub const SERVICE_NAME: &str = "fusebox-server";
/// What is logged if nobody says.
const DEFAULT_LOG: &str = "info";
/// Spans of this workspace's crates are exported; those of the libraries below them are not, for
/// the exporter uses the same libraries and would export its own exports.
const SPANS_OF: &str = "fusebox";

/// Logs and, if the environment asks for it, export; as long as this lives.
#[derive(Debug)]
#[must_use = "what was not exported yet is exported by `shutdown`"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// This process logs to somebody else already.
    #[error("cannot log: {0}")]
    Taken(#[from] SetGlobalDefaultError),
}

impl Telemetry {
    /// Starts logging and exporting as `config` and the environment, seen through `env`, say.
    ///
    /// Call it once a process, on a tokio runtime: OTLP over gRPC connects from it.
    pub fn start(
        config: &Config,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TelemetryError> {
        let mut plan = Plan::read(&env);
        let resource = resource(&env);
        let traces = plan.traces(|receiver| export::traces(resource.clone(), receiver));
        let metrics = plan.metrics(|receiver| export::metrics(resource.clone(), receiver));
        let logs = logs(config.log_format).with_filter(filter(config, &env, &mut plan));
        let spans = traces.as_ref().map(spans);
        tracing::subscriber::set_global_default(Registry::default().with(logs).with(spans))?;
        if let Some(provider) = &metrics {
            global::set_meter_provider(provider.clone());
        }
        plan.tell();
        Ok(Self { traces, metrics })
    }

    /// Exports what is left, for at most `limit`.
    pub async fn shutdown(self, limit: Duration) {
        let (flushed, done) = tokio::sync::oneshot::channel();
        // A thread that nobody joins: the SDK's own limits are longer than a shutdown may take.
        std::thread::spawn(move || {
            // The receiver was warned about when an export failed; here nobody is left to tell.
            self.traces
                .map(|provider| provider.shutdown_with_timeout(limit).ok());
            self.metrics
                .map(|provider| provider.shutdown_with_timeout(limit).ok());
            flushed.send(()).ok();
        });
        if tokio::time::timeout(limit, done).await.is_err() {
            tracing::warn!(?limit, "the last telemetry was not exported in time");
        }
    }
}

/// Where this crate's instruments come from.
pub(crate) fn meter() -> Meter {
    global::meter(SERVICE_NAME)
}

fn logs<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colours).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE_NAME))
        // Where in the source a span begins, and on which thread, is the same for all of them.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(SPANS_OF, LevelFilter::INFO))
}

fn filter(config: &Config, env: &impl Fn(&str) -> Option<String>, plan: &mut Plan) -> EnvFilter {
    let rust_log = || env("RUST_LOG").filter(|text| !text.is_empty());
    let wanted = config
        .log
        .clone()
        .or_else(rust_log)
        .unwrap_or_else(|| DEFAULT_LOG.to_owned());
    EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
        plan.warn(format!(
            "RUST_LOG is {wanted:?}: {error}; logging {DEFAULT_LOG}"
        ));
        EnvFilter::new(DEFAULT_LOG)
    })
}

/// Who this is: ours, then what the environment says over it.
fn resource(env: &impl Fn(&str) -> Option<String>) -> Resource {
    let builder = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", SERVICE_NAME),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .with_attributes(instance_id())
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    match env("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

/// Tells servers of one name apart; without it their series would overwrite each other.
fn instance_id() -> Option<KeyValue> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(KeyValue::new(
        "service.instance.id",
        format!("{:032x}", u128::from_ne_bytes(bytes)),
    ))
}
