//! The spans of a call, for whoever listens.
//!
//! Nobody listening is the rule, so a call asks once and then carries an empty pointer.

use fusebox_core::outcome::{Outcome, Reason};
use tracing::field::Empty;
use tracing::{Level, Span};

use crate::operation::Inner;

/// The field that OpenTelemetry takes a span's status from, and the word for a bad one.
const STATUS: &str = "otel.status_code";
const ERROR: &str = "ERROR";

/// A call's spans; empty if nobody listens.
#[derive(Debug)]
pub(super) struct Spans(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    call: Span,
    attempt: Span,
}

impl Spans {
    #[inline]
    pub(super) fn begin(inner: &Inner) -> Self {
        let heard = tracing::span_enabled!(target: "fusebox", Level::DEBUG);
        Self(heard.then(|| Self::open(inner)))
    }

    /// The call was refused before its first attempt.
    #[inline]
    pub(super) fn refused(&self, reason: Reason) {
        if let Some(open) = &self.0 {
            open.call.record("error.type", reason.name());
            open.call.record(STATUS, ERROR);
        }
    }

    #[cold]
    fn open(inner: &Inner) -> Box<Open> {
        let call = tracing::debug_span!(
            target: "fusebox",
            "fusebox.execute",
            otel.kind = "internal",
            fusebox.operation = inner.name,
            fusebox.kind = inner.kind.name(),
            fusebox.outcome = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        Box::new(Open {
            call,
            attempt: Span::none(),
        })
    }

    #[inline]
    pub(super) fn attempt_begins(&mut self, inner: &Inner, number: u32) {
        if let Some(open) = &mut self.0 {
            open.attempt = open.attempt_span(inner, number);
        }
    }

    /// The span of an attempt beside the one under way.
    pub(super) fn beside(&self, inner: &Inner, number: u32) -> Option<Span> {
        self.0.as_ref().map(|open| open.attempt_span(inner, number))
    }

    /// The span of the attempt under way.
    #[inline]
    pub(super) fn attempt(&self) -> Option<&Span> {
        self.0.as_deref().map(|open| &open.attempt)
    }

    /// The same, to be carried apart from the call's own.
    pub(super) fn take_attempt(&mut self) -> Option<Span> {
        self.0
            .as_mut()
            .map(|open| std::mem::replace(&mut open.attempt, Span::none()))
    }

    /// The attempt under way is the one of `span`.
    pub(super) fn put_attempt(&mut self, span: Option<Span>) {
        if let (Some(open), Some(span)) = (&mut self.0, span) {
            open.attempt = span;
        }
    }

    #[inline]
    pub(super) fn attempt_ended(&mut self, outcome: Outcome) {
        if let Some(open) = &mut self.0 {
            tell(&open.attempt, outcome);
            open.attempt = Span::none();
        }
    }

    pub(super) fn retrying(&self, inner: &Inner, delay_secs: f64) {
        if let Some(open) = &self.0 {
            tracing::debug!(
                target: "fusebox",
                parent: &open.call,
                operation = inner.name,
                delay_secs,
                "fusebox.retry"
            );
        }
    }

    #[inline]
    pub(super) fn ended(&self, outcome: Outcome) {
        if let Some(open) = &self.0 {
            tell(&open.call, outcome);
        }
    }
}

impl Open {
    fn attempt_span(&self, inner: &Inner, number: u32) -> Span {
        tracing::debug_span!(
            target: "fusebox",
            parent: &self.call,
            "fusebox.attempt",
            otel.kind = "client",
            fusebox.operation = inner.name,
            fusebox.attempt = number,
            fusebox.outcome = Empty,
            otel.status_code = Empty,
        )
    }
}

pub(super) fn tell(span: &Span, outcome: Outcome) {
    span.record("fusebox.outcome", outcome.name());
    if outcome.is_bad() {
        span.record(STATUS, ERROR);
    }
}
