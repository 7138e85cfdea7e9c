//! SIGINT and SIGTERM: the first asks, the second insists.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A process that a signal ended says 128 and the signal's number.
const SIGNALLED: i32 = 128;

/// Both signals; while this lives they do not end the process by themselves.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves at the first signal; from then on the next one ends the process at once.
    pub(crate) async fn graceful(mut self) {
        let name = name(self.next().await);
        tracing::info!(
            signal = name,
            "shutting down; a second signal ends it at once"
        );
        tokio::spawn(async move {
            let again = self.next().await;
            eprintln!(
                "fusebox: ended at once by a second signal ({})",
                self::name(again)
            );
            process::exit(SIGNALLED + again.as_raw_value());
        });
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}

fn name(kind: SignalKind) -> &'static str {
    if kind == SignalKind::interrupt() {
        "SIGINT"
    } else {
        "SIGTERM"
    }
}
