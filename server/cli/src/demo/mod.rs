//! `fusebox demo`: the whole product in one process, for whoever meets it first.
//!
//! A real server, a fleet of instances that link the SDK, and dependencies over HTTP that turn slow
//! and fail on schedule. What the view shows it asks of the server over gRPC, like any operator;
//! nothing is shown that the processes did not report.

mod fleet;
mod observer;
mod plain;
mod policies;
mod script;
mod summary;
mod upstream;
mod view;

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use fusebox_server::app::{App, RunError, StartError};
use fusebox_server::config::Config;
use fusebox_server::telemetry::Telemetry;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::transport::Endpoint;

use fleet::Fleet;
use observer::{Mood, Observer};
use plain::Plain;
use policies::Operator;
use script::UPSTREAMS;
use view::Stage;

use crate::Failure;
use crate::screen::{self, Screen};
use crate::signals::Signals;

/// How often the view is drawn anew.
const REFRESH: Duration = Duration::from_millis(250);
/// How long the last telemetry may take to be exported.
const FLUSH: Duration = Duration::from_millis(800);
/// How often instances report: an operator at a demonstration should not wait.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// How the demonstration is to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ends after this many seconds, with a summary; without it, at `q` or ctrl-c.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Where the server's gRPC listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    grpc_addr: SocketAddr,
    /// Where the server's HTTP listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    http_addr: SocketAddr,
    /// Where the server keeps its policies; a fresh temporary directory if not given.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Prints lines instead of drawing, as where there is no terminal.
    #[arg(long)]
    plain: bool,
}

/// What can keep a demonstration from running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot use the terminal or the disk: {0}")]
    Io(#[from] io::Error),
    #[error("a demonstration instance: {0}")]
    Instance(#[from] fusebox::InvalidSetup),
    #[error("a demonstration operation: {0}")]
    Operation(#[from] fusebox::InvalidOperation),
    #[error("the server does not answer: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("the server refused: {0}")]
    Status(#[from] tonic::Status),
}

/// Runs the demonstration to its end.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(args.logged());
    runtime.shutdown_background();
    ended
}

impl Args {
    async fn logged(self) -> Result<(), Failure> {
        let fresh = tempfile::tempdir()?;
        let config = self.config(&fresh);
        let telemetry = Telemetry::start(&config, |name| std::env::var(name).ok())?;
        let ended = self.perform(config).await;
        telemetry.shutdown(FLUSH).await;
        Ok(ended?)
    }

    /// Whether the view takes over the terminal.
    fn draws(&self) -> bool {
        !self.plain && io::stdout().is_terminal()
    }

    /// A server of its own, and the play in front of it.
    async fn perform(self, config: Config) -> Result<(), DemoError> {
        let app = App::start(config).await?;
        let (grpc, http) = (app.config().grpc_addr, app.config().http_addr);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(app.run_until(async {
            // Sent, or dropped with the demonstration: it is over either way.
            let _ = stopped.await;
        }));
        let played = self.play(grpc, http).await;
        drop(stop);
        if let Ok(ended) = server.await {
            ended?;
        }
        played
    }

    fn config(&self, fresh: &tempfile::TempDir) -> Config {
        let data_dir = self.data_dir.clone();
        Config {
            grpc_addr: self.grpc_addr,
            http_addr: self.http_addr,
            data_dir: data_dir.unwrap_or_else(|| fresh.path().join("fusebox-data")),
            report_interval: REPORT_INTERVAL,
            // Log lines would spoil the view; without one they are what people want to see.
            log: Some(if self.draws() { "off" } else { "error" }.to_owned()),
            ..Config::default()
        }
    }

    async fn play(&self, grpc: SocketAddr, http: SocketAddr) -> Result<(), DemoError> {
        let channel = Endpoint::from_shared(format!("http://{grpc}"))?
            .connect()
            .await?;
        let mut operator = Operator::begin(channel.clone()).await?;
        let began = Instant::now();
        let mut upstreams = HashMap::new();
        for upstream in UPSTREAMS {
            upstreams.insert(upstream.name, upstream::start(upstream, began).await?);
        }
        let fleet = Fleet::start(grpc, &upstreams)?;
        let mut observer = Observer::new(channel, began);
        let (grpc, http) = (grpc.to_string(), http.to_string());
        let lines_to_try = policies::lines_to_try(&grpc);
        let stage = Stage {
            grpc: &grpc,
            http: &http,
            lines_to_try: &lines_to_try,
        };
        let watched = if self.draws() {
            self.draw(&stage, &mut observer, &mut operator).await
        } else {
            self.print(&stage, &mut observer, &mut operator).await
        };
        let (outcomes, size) = (std::sync::Arc::clone(&fleet.outcomes), fleet.size());
        fleet.stop().await;
        watched?;
        let counted = observer.calls_in_total().await?;
        summary::print(
            &mut io::stdout().lock(),
            &observer,
            &outcomes,
            size,
            counted,
        )?;
        Ok(())
    }

    async fn draw(
        &self,
        stage: &Stage<'_>,
        observer: &mut Observer,
        operator: &mut Operator,
    ) -> Result<(), DemoError> {
        let mut screen = Screen::open()?;
        let mut ticks = refreshes();
        let mut end = pin!(self.end(Signals::install()?));
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                _ = ticks.tick() => {}
            }
            watch(observer, operator).await?;
            screen.draw(|canvas| view::draw(canvas, stage, &observer.frame))?;
            if screen.keys()?.into_iter().any(quits) {
                return Ok(());
            }
        }
    }

    async fn print(
        &self,
        stage: &Stage<'_>,
        observer: &mut Observer,
        operator: &mut Operator,
    ) -> Result<(), DemoError> {
        println!(
            "fusebox demo: gRPC {}, HTTP {}; try in another terminal:",
            stage.grpc, stage.http
        );
        for line in stage.lines_to_try {
            println!("  {line}");
        }
        let mut plain = Plain::new();
        let mut ticks = refreshes();
        let mut end = pin!(self.end(Signals::install()?));
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                _ = ticks.tick() => {}
            }
            watch(observer, operator).await?;
            plain.print(&mut io::stdout().lock(), &observer.frame)?;
        }
    }

    /// Resolves when the time is up or somebody wants an end.
    async fn end(&self, signals: Signals) {
        let time_up = async {
            match self.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time_up => {}
            () = signals.graceful() => {}
        }
    }
}

fn quits(key: KeyEvent) -> bool {
    screen::interrupts(key) || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// Looks at the fleet, and lets the operator act on it.
async fn watch(observer: &mut Observer, operator: &mut Operator) -> Result<(), DemoError> {
    observer.look().await?;
    if let Some(done) = operator.act(observer.frame.elapsed).await? {
        observer.tell(Mood::Plain, done.to_owned());
    }
    Ok(())
}

fn refreshes() -> tokio::time::Interval {
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
