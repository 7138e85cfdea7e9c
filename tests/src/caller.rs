//! A real process that links the SDK: `src/bin/caller.rs`, started, told to call, and read.
//!
//! What it prints is the witness: how each call ended, and what the SDK says of its own health,
//! each with a time on the clock of [`clock`](crate::clock).

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::lines::{Line, Lines, Stream};
use crate::process::{Process, Signal, hermetic};
use crate::tools;
use crate::wait::poll;

/// How long anything that it is asked for may take: far above what it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it is and what it calls.
#[derive(Debug)]
pub struct Options {
    command: Command,
    operation: String,
}

impl Options {
    /// An instance `instance` of `service` whose one operation calls `url`.
    pub fn new(service: &str, instance: &str, operation: &str, url: &str) -> Self {
        let mut command = Command::new(tools::caller());
        hermetic(&mut command);
        let operation = operation.to_owned();
        let options = Self { command, operation };
        options
            .with("--service", service)
            .with("--instance", instance)
            .with("--upstream", url)
    }

    /// Links to the server there; several are tried in turn.
    #[must_use]
    pub fn server(self, addr: SocketAddr) -> Self {
        self.with("--server", &format!("http://{addr}"))
    }

    /// Any other of its arguments.
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> Self {
        self.command.arg(flag).arg(value);
        self
    }

    /// Keeps its policies in a directory.
    #[must_use]
    pub fn cache_dir(self, directory: &Path) -> Self {
        self.with("--cache-dir", &directory.to_string_lossy())
    }

    /// Says that calls may be repeated.
    #[must_use]
    pub fn idempotent(self) -> Self {
        self.with("--idempotent", "true")
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started or does not come up.
    pub fn start(mut self) -> Caller {
        self.command.arg("--operation").arg(&self.operation);
        let process = Process::spawn_with_open_input("caller", &mut self.command);
        let caller = Caller {
            process,
            operation: self.operation,
            asked: 0,
        };
        caller.wait_for_health("a first look", |_| true);
        caller
    }
}

/// A running process. Dropping it kills it.
pub struct Caller {
    process: Process,
    operation: String,
    asked: u64,
}

impl Caller {
    /// Makes one call now and gives how it ended.
    ///
    /// # Panics
    /// If it does not end within half a minute.
    pub fn call(&mut self) -> Value {
        let begun = self.begin();
        self.end_of(begun)
    }

    /// Begins a call and does not wait for its end.
    pub fn begin(&mut self) -> u64 {
        self.asked += 1;
        self.process.write_line(&format!("call {}", self.asked));
        self.asked
    }

    /// How that call ended.
    ///
    /// # Panics
    /// If it does not end within half a minute.
    pub fn end_of(&self, call: u64) -> Value {
        let id = call.to_string();
        self.wait_for(&format!("end of call {id}"), |event| {
            event["event"] == "call" && event["id"] == id.as_str()
        })
    }

    /// All calls that have ended, in that order.
    pub fn calls(&self) -> Vec<Value> {
        self.events()
            .into_iter()
            .filter(|event| event["event"] == "call")
            .collect()
    }

    /// Waits until so many calls have ended in all.
    ///
    /// # Panics
    /// If they do not within half a minute.
    pub fn wait_for_calls(&self, count: usize) {
        let ended = || (self.calls().len() >= count).then_some(());
        if poll(PATIENCE, ended).is_none() {
            self.process.fail(&format!("has not ended {count} calls"));
        }
    }

    /// What the SDK last said of itself.
    pub fn health(&self) -> Value {
        let looks = self.events().into_iter().rev();
        let mut looks = looks.filter(|event| event["event"] == "health");
        looks.next().unwrap_or_default()
    }

    /// Waits until what the SDK says of itself `matches`, and gives it.
    ///
    /// # Panics
    /// If it never does within half a minute; `what` says what was waited for.
    pub fn wait_for_health(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let now = || Some(self.health()).filter(|health| !health.is_null() && matches(health));
        poll(PATIENCE, now).unwrap_or_else(|| self.process.fail(&format!("shows no {what}")))
    }

    /// The first health that shows `revision` in force, now or earlier.
    ///
    /// # Panics
    /// If none comes within half a minute.
    pub fn wait_for_revision(&self, revision: u64) -> Value {
        self.wait_for(&format!("revision {revision}"), |event| {
            event["revision"]
                .as_u64()
                .is_some_and(|applied| applied >= revision)
        })
    }

    /// Waits until it is linked to a server.
    ///
    /// # Panics
    /// As [`Caller::wait_for_health`].
    pub fn wait_for_link(&self, up: bool) {
        let what = if up { "link" } else { "loss of its link" };
        self.wait_for_health(what, |health| health["connected"] == up);
    }

    /// The state of its operation's breaker.
    pub fn state(&self) -> String {
        self.health()["states"][&self.operation]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The state of the breaker on trial beside its operation's.
    pub fn wait_for_shadow(&self, state: &str) {
        let what = format!("breaker in shadow that is {state}");
        self.wait_for_health(&what, |health| health["shadows"][&self.operation] == state);
    }

    /// Waits until its operation's breaker is in that state.
    ///
    /// # Panics
    /// As [`Caller::wait_for_health`].
    pub fn wait_for_state(&self, state: &str) {
        let what = format!("breaker that is {state}");
        self.wait_for_health(&what, |health| health["states"][&self.operation] == state);
    }

    /// Everything that it has printed.
    pub fn lines(&self) -> &Lines {
        self.process.lines()
    }

    /// Its process id, the same for as long as it lives.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.try_exit().is_none()
    }

    /// Freezes it.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Ends it as its user would.
    ///
    /// # Panics
    /// If it does not end within half a minute.
    pub fn quit(mut self) -> ExitStatus {
        self.process.close_input();
        self.process.wait_exit(PATIENCE)
    }

    fn events(&self) -> Vec<Value> {
        self.lines().all().iter().filter_map(event).collect()
    }

    fn wait_for(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let read = |line: &Line| event(line).filter(&matches);
        let found = self.lines().wait_for_some(PATIENCE, read);
        found.unwrap_or_else(|| self.process.fail(&format!("shows no {what}")))
    }
}

fn event(line: &Line) -> Option<Value> {
    let value = serde_json::from_str(&line.text).ok()?;
    (line.stream == Stream::Out && Value::is_object(&value)).then_some(value)
}
