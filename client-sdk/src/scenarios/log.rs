//! What the SDK tells of its breakers while a script is played: the lines of its log.
//!
//! One subscriber listens for the whole process, for a callsite that nobody listened to when it was
//! first reached would stay silent; each thread keeps what its own scenario caused.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Begins to listen, or forgets what this thread has heard.
pub(super) fn clear() {
    listen();
    TOLD.take();
}

/// Begins to listen, for good. Whoever listens on one thread alone begins with this.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        tracing::subscriber::set_global_default(Log).expect("nobody else listens in these tests");
    });
}

/// The `at`th change of state since the last [`clear`], as `closed -> open: 3 failures in a row`.
pub(super) fn told(at: usize) -> Option<String> {
    TOLD.with_borrow(|told| told.get(at).cloned())
}

struct Log;

impl Subscriber for Log {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Each time anew: a thread may have a listener of its own.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "fusebox"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let shadow = match line.message.as_str() {
            "fusebox.circuit_breaker.transition" => "",
            "fusebox.circuit_breaker.shadow_transition" => "shadow ",
            _ => return,
        };
        let Line {
            from, to, cause, ..
        } = line;
        TOLD.with_borrow_mut(|told| told.push(format!("{shadow}{from} -> {to}: {cause}")));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    from: String,
    to: String,
    cause: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let place = match field.name() {
            "message" => &mut self.message,
            "from" => &mut self.from,
            "to" => &mut self.to,
            "cause" => &mut self.cause,
            _ => return,
        };
        *place = format!("{value:?}");
    }
}
