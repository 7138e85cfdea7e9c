//! OpenTelemetry for programs that have not set it up themselves.
//!
//! The SDK speaks `tracing` for spans and the OpenTelemetry metrics API for figures. A program
//! with its own set-up needs nothing from here: its subscriber sees the spans, and
//! [`Builder::meter`](crate::Builder::meter) takes its meter. For all others, `from_env` does what
//! the standard `OTEL_*` environment asks for.

use std::sync::OnceLock;

use opentelemetry::metrics::Meter;

static METER: OnceLock<Meter> = OnceLock::new();

/// The meter of [`from_env`], once that has set one up.
pub(crate) fn meter() -> Option<Meter> {
    METER.get().cloned()
}

#[cfg(feature = "otlp")]
pub use otlp::{Telemetry, TelemetryError, from_env};

#[cfg(feature = "otlp")]
mod otlp;
