//! A process that links the SDK, for the tests: it calls one dependency over real HTTP, at a
//! steady rate or when told, and prints what came of it.
//!
//! ```text
//! stdin    call ID | quit; its end is quit too
//! stdout   one JSON object a line, "event" first among equals:
//!            call     how one call ended (id: null for those of the steady rate)
//!            health   what Fusebox says of itself, at the start and whenever it has changed
//! ```
//!
//! `at_us` is of the clock that all processes share, read when the event was seen. Results are judged
//! by the SDK's own reading of HTTP.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use fusebox::{
    Error, Fusebox, Health, Kind, Operation, PolicySource, Stopped, Verdict, http, transport,
};
use fusebox_tests::clock::monotonic_us;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Between two looks at the health: what a change can be seen late by.
const LOOK: Duration = Duration::from_micros(250);

type Failure = Box<dyn std::error::Error>;

/// Calls a dependency through the SDK.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// A server's address; several are tried in turn
    #[arg(long = "server", value_name = "URL")]
    servers: Vec<String>,
    #[arg(long)]
    service: String,
    #[arg(long)]
    instance: String,
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    #[arg(long, default_value = "")]
    zone: String,
    /// Its program's own version
    #[arg(long, default_value = "")]
    release: String,
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    #[arg(long)]
    operation: String,
    #[arg(long, default_value = "custom", value_parser = kind)]
    kind: Kind,
    /// May a call be repeated; the kind's default if not said
    #[arg(long)]
    idempotent: Option<bool>,
    /// What to call
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Calls without being told; none if 0
    #[arg(long, default_value_t = 0)]
    calls_per_second: u32,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("no '=' in it")?;
    Ok((key.into(), value.into()))
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "database" => Ok(Kind::Database),
        "api" => Ok(Kind::Api),
        "cache" => Ok(Kind::Cache),
        "file" => Ok(Kind::File),
        "ml" => Ok(Kind::Ml),
        "custom" => Ok(Kind::Custom),
        other => Err(format!("no kind is called {other}")),
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    // Outside of the runtime: its exporters block when they end.
    let telemetry = fusebox::telemetry::from_env(&args.service)?;
    let log = fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry()
        .with(telemetry.layer())
        .with(log.with_filter(EnvFilter::new("fusebox=info")))
        .try_init()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> Result<(), Failure> {
    let fusebox = set_up(&args)?;
    let mut operation = fusebox.operation(&args.operation).kind(args.kind);
    if let Some(idempotent) = args.idempotent {
        operation = operation.idempotent(idempotent);
    }
    let caller = Caller {
        operation: operation.register()?,
        client: reqwest::Client::new(),
        upstream: args.upstream,
    };
    thread::spawn({
        let fusebox = fusebox.clone();
        move || tell_health(&fusebox)
    });
    let (told, mut commands) = mpsc::unbounded_channel();
    thread::spawn(move || listen(&told));
    // A rate of none is a tick that nobody waits for.
    let mut ticks = interval(Duration::from_secs(1) / args.calls_per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick(), if args.calls_per_second > 0 => caller.spawn(Value::Null),
            command = commands.recv() => match command {
                Some(id) => caller.spawn(id.into()),
                None => break,
            },
        }
    }
    fusebox.shutdown().await;
    Ok(())
}

fn set_up(args: &Args) -> Result<Fusebox, Failure> {
    let builder = Fusebox::builder(&args.service).instance_id(&args.instance);
    let mut builder = builder.zone(&args.zone).version(&args.release);
    for server in &args.servers {
        builder = builder.server(server);
    }
    for (key, value) in &args.labels {
        builder = builder.label(key, value);
    }
    if let Some(directory) = &args.cache_dir {
        builder = builder.cache_dir(directory);
    }
    Ok(builder.build()?)
}

/// Passes the calls asked for on to the runtime, until there is nobody to ask any more.
fn listen(told: &mpsc::UnboundedSender<String>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("call", id)) if told.send(id.to_owned()).is_ok() => {}
            _ if line == "quit" => return,
            _ => eprintln!("caller: cannot {line:?}; known are: call ID, quit"),
        }
    }
}

#[derive(Clone)]
struct Caller {
    operation: Operation,
    client: reqwest::Client,
    upstream: String,
}

impl Caller {
    /// Never waits for the calls before it.
    fn spawn(&self, id: Value) {
        let caller = self.clone();
        tokio::spawn(async move { caller.call(id).await });
    }

    async fn call(&self, id: Value) {
        let started = Instant::now();
        let attempts = AtomicU32::new(0);
        let guarded = self.operation.with(judge);
        let ended = guarded
            .call(async |cx| {
                // Relaxed: the attempts of one call follow each other.
                attempts.store(cx.attempt(), Ordering::Relaxed);
                self.client.get(&self.upstream).send().await
            })
            .await;
        let mut line = json!({
            "event": "call",
            "id": id,
            "attempts": attempts.into_inner(),
            "duration_ms": started.elapsed().as_secs_f64() * 1e3,
        });
        merge(&mut line, told(&ended));
        print(line);
    }
}

fn judge(outcome: Result<&reqwest::Response, &reqwest::Error>) -> Verdict {
    match outcome {
        Ok(response) => http::verdict(response.status(), response.headers()),
        Err(error) => transport::verdict(error),
    }
}

fn told(ended: &Result<reqwest::Response, Error<reqwest::Error>>) -> Value {
    match ended {
        Ok(response) => {
            let status = response.status();
            let outcome = if status.is_server_error() {
                "failure"
            } else {
                "success"
            };
            json!({"outcome": outcome, "status": status.as_u16()})
        }
        Err(Error::Call(error)) => json!({"outcome": "failure", "error": chain(error)}),
        Err(Error::Stopped { why, .. }) => {
            let mut told = match why {
                Stopped::Refused { reason, .. } => {
                    json!({"outcome": "refused", "reason": reason.name()})
                }
                Stopped::TimedOut { limit, after, .. } => json!({
                    "outcome": "timed_out",
                    "limit": limit.to_string(),
                    "limit_ms": after.as_millis(),
                }),
                Stopped::WouldBlock { .. } => json!({"outcome": "would_block"}),
                Stopped::Ended { .. } => json!({"outcome": "ended"}),
            };
            merge(&mut told, json!({"error": why.to_string()}));
            told
        }
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Prints the health whenever it has changed, for ever.
fn tell_health(fusebox: &Fusebox) {
    let mut last = Value::Null;
    loop {
        let now = in_words(&fusebox.health());
        if now != last {
            print(now.clone());
            last = now;
        }
        thread::sleep(LOOK);
    }
}

/// All of it that does not change by itself.
fn in_words(health: &Health) -> Value {
    let operations = health.operations.iter();
    let states =
        operations.map(|operation| (operation.name.to_owned(), operation.state.name().into()));
    let shadows = health.operations.iter();
    let shadows = shadows.filter_map(|operation| {
        let state = operation.shadow?;
        Some((operation.name.to_owned(), state.name().into()))
    });
    let refused = health.refused.iter();
    let refused = refused.map(|refused| json!([refused.policy, refused.field, refused.reason]));
    json!({
        "event": "health",
        "connected": health.connected_to.is_some(),
        "connected_to": health.connected_to,
        "reconnects": health.reconnects,
        "confirmed": health.staleness.is_some(),
        "disagreement": health.disagreement,
        "disk_problem": health.disk_problem,
        "problem": health.last_problem,
        "source": match health.source {
            PolicySource::Defaults => "defaults",
            PolicySource::Disk => "disk",
            PolicySource::Server => "server",
        },
        "policies": health.policies,
        "incarnation": health.incarnation,
        "revision": health.revision,
        "refused": refused.collect::<Vec<_>>(),
        "states": Value::Object(states.collect()),
        "shadows": Value::Object(shadows.collect()),
    })
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// One write a line, so that threads do not tear each other's.
fn print(mut line: Value) {
    line["at_us"] = monotonic_us().into();
    // Nobody has to read it.
    writeln!(io::stdout(), "{line}").ok();
}
