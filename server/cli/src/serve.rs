//! `fusebox serve`: runs a server until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use fusebox_server::app::App;
use fusebox_server::config::{Config, Sources, StoreKind};
use fusebox_server::telemetry::Telemetry;

use crate::print::say;
use crate::signals::Signals;
use crate::{Failure, huge_pages, open_files};

/// How long the last telemetry may take to be exported. With the server's own limit for its end
/// this stays within five seconds.
const FLUSH: Duration = Duration::from_millis(800);

/// What can be told on the command line; it beats the environment, which beats the file.
///
/// Values are handed on as text: the configuration refuses a wrong one in the same words wherever
/// it stands.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read this file instead of ./fusebox.toml; it must exist
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where gRPC listens [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    grpc_addr: Option<String>,
    /// Where HTTP listens [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR")]
    http_addr: Option<String>,
    /// Where the policies are kept [default: ./fusebox-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// What keeps them: sled or memory [default: sled]
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Serve addresses beyond loopback although there is no TLS and no authentication
    #[arg(long)]
    allow_remote_plaintext: bool,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Args {
    fn sources(self) -> io::Result<Sources> {
        let remote = self.allow_remote_plaintext.then(|| true.to_string());
        let flags = [
            ("grpc_addr", self.grpc_addr),
            ("http_addr", self.http_addr),
            ("data_dir", self.data_dir),
            ("store", self.store),
            ("allow_remote_plaintext", remote),
            ("log_format", self.log_format),
        ];
        let told = flags
            .into_iter()
            .filter_map(|(key, text)| Some((key, text?)));
        Ok(Sources {
            file: self.config,
            directory: std::env::current_dir()?,
            environment: environment(),
            flags: told.collect(),
        })
    }
}

/// What is not Unicode stays recognisable, so that it is refused where it is looked at.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, text)| (name.to_string_lossy().into(), text.to_string_lossy().into()))
        .collect()
}

/// Serves until SIGINT or SIGTERM; a second one ends the process at once.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(&args.sources()?).map_err(|error| match error.is_usage() {
        true => Failure::usage(&error),
        false => Failure::from(error),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(logged(config));
    // Whoever did not end in time is not waited for again.
    runtime.shutdown_background();
    ended
}

async fn logged(config: Config) -> Result<(), Failure> {
    let telemetry = Telemetry::start(&config, |name| std::env::var(name).ok())?;
    let ended = serve(config).await;
    telemetry.shutdown(FLUSH).await;
    ended
}

async fn serve(config: Config) -> Result<(), Failure> {
    huge_pages::decline();
    open_files::allow(config.max_connections);
    let mut stop = pin!(Signals::install()?.graceful());
    let started = tokio::select! {
        started = App::start(config) => Some(started?),
        () = &mut stop => None,
    };
    let Some(app) = started else { return Ok(()) };
    announce(&app);
    Ok(app.run_until(stop).await?)
}

/// One line on standard output, for people and for scripts that wait for it.
fn announce(app: &App) {
    let (config, version) = (app.config(), env!("CARGO_PKG_VERSION"));
    let data = match config.store {
        StoreKind::Sled => config.data_dir.display().to_string(),
        StoreKind::Memory => "(memory)".to_owned(),
    };
    let line = format!(
        "fusebox {version} is ready: gRPC {}, HTTP {}, data {data}, revision {}, incarnation {}",
        config.grpc_addr,
        config.http_addr,
        app.revision(),
        app.incarnation(),
    );
    tracing::debug!("{line}");
    say(&line);
}
