//! The real `fusebox serve`, on free ports and a directory of its own.
//!
//! Hermetic: it inherits no `FUSEBOX_*`, `OTEL_*` or `RUST_LOG` of the machine's, and runs inside
//! its own directory, so that no settings file lying about reaches it. A restart keeps ports and
//! data, as an operator's does.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::grpcurl::Grpcurl;
use crate::http::{self, Response};
use crate::lines::{Line, Lines};
use crate::process::{Process, hermetic};
use crate::wait::poll;
use crate::{ports, tools};

/// Free ports may be lost to somebody else before the server binds them.
const PORT_TRIES: usize = 5;
/// What an operating system says of a port that is taken.
const TAKEN: &str = "in use";

/// What differs from a plain server. [`Options::default`] is one.
#[derive(Clone, Debug)]
pub struct Options {
    env: Vec<(String, String)>,
    flags: Vec<OsString>,
    data_dir: Option<PathBuf>,
    inside: Vec<OsString>,
    ready_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            env: Vec::new(),
            flags: Vec::new(),
            data_dir: None,
            inside: Vec::new(),
            // Two cores, shared with everything else that runs: far above what a start takes.
            ready_within: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// A plain server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Appends an argument after those of the harness, such as `--log-format` or its value.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Uses a directory of the test's instead of a new one. It outlives the server.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Puts words before its command that run it somewhere else, and become it.
    #[must_use]
    pub fn inside(mut self, words: Vec<OsString>) -> Self {
        self.inside = words;
        self
    }

    /// How long it may take until ready.
    #[must_use]
    pub fn ready_within(mut self, within: Duration) -> Self {
        self.ready_within = within;
        self
    }
}

/// A server that has been ready once. Dropping it kills it.
pub struct Server {
    process: Process,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    program: PathBuf,
    options: Options,
    home: TempDir,
}

/// A server that ended before it was ready.
#[derive(Debug)]
pub struct Refused {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed.
    pub output: String,
}

impl Server {
    /// Starts one and waits until it says that it is ready.
    ///
    /// # Panics
    /// If it ends or is not ready in time, with all that it printed.
    pub fn start(options: Options) -> Self {
        Self::try_start(options).unwrap_or_else(|Refused { status, output }| {
            panic!("the server ended with {status} before it was ready; it printed:\n{output}")
        })
    }

    /// The same for a server that may refuse to start.
    ///
    /// # Panics
    /// If it neither ends nor is ready in time.
    pub fn try_start(options: Options) -> Result<Self, Refused> {
        let home = tempfile::tempdir().expect("a temporary directory");
        Self::launch(tools::fusebox(), options, home)
    }

    fn launch(program: PathBuf, options: Options, home: TempDir) -> Result<Self, Refused> {
        let mut tries = 1..=PORT_TRIES;
        loop {
            let (grpc_addr, http_addr) = (ports::free_addr(), ports::free_addr());
            let mut command = command(&program, &options, home.path(), grpc_addr, http_addr);
            let mut process = Process::spawn("fusebox", &mut command);
            match wait_ready(&mut process, http_addr, options.ready_within) {
                Ok(()) => {
                    return Ok(Self {
                        process,
                        grpc_addr,
                        http_addr,
                        program,
                        options,
                        home,
                    });
                }
                Err(refused) if refused.output.contains(TAKEN) && tries.next().is_some() => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Ends it without asking if it still runs, and starts it again on the same ports and data.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn restart(&mut self) {
        if let Err(Refused { status, output }) = self.try_restart() {
            panic!("the server ended with {status} when restarted; it printed:\n{output}");
        }
    }

    /// The same for a server that may refuse to start again.
    ///
    /// # Panics
    /// If it neither ends nor is ready in time.
    pub fn try_restart(&mut self) -> Result<(), Refused> {
        self.process.kill9();
        self.process = self.spawn();
        wait_ready(&mut self.process, self.http_addr, self.options.ready_within)
    }

    /// The same for a server that comes up, but is not of full use: waits until it is alive.
    ///
    /// # Panics
    /// If it ends or is not alive in time.
    pub fn restart_alive(&mut self) {
        self.process.kill9();
        self.process = self.spawn();
        let (addr, within) = (self.http_addr, self.options.ready_within);
        if let Err(refused) = wait_ok(&mut self.process, addr, "/healthz", within) {
            panic!("the server ended when restarted: {refused:?}");
        }
    }

    /// Ends it without asking if it still runs, starts it again, and ends that one without asking
    /// after so long, ready or not.
    pub fn restart_and_kill(&mut self, after: Duration) {
        self.process.kill9();
        self.process = self.spawn();
        // A moment that is chosen, not one that is waited for: whatever it does then is cut.
        thread::sleep(after);
        self.process.kill9();
    }

    /// Where it serves gRPC.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where it serves HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.options, self.home.path())
    }

    /// Its process id; another one after each restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// An operator's calls to it.
    pub fn grpcurl(&self) -> Grpcurl {
        Grpcurl::to(self.grpc_addr)
    }

    /// GET from its HTTP side.
    pub fn http_get(&self, path: &str) -> io::Result<Response> {
        http::get(self.http_addr, path)
    }

    /// What it has printed since its last start.
    pub fn lines(&self) -> &Lines {
        self.process.lines()
    }

    /// The first line since its last start that contains `text`.
    ///
    /// # Panics
    /// If none comes `within` the time.
    pub fn wait_for_line(&self, text: &str, within: Duration) -> Line {
        self.process.wait_for_line(text, within)
    }

    /// Ends it without asking (SIGKILL).
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// How it ended.
    ///
    /// # Panics
    /// If it runs on beyond `within`.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        self.process.wait_exit(within)
    }

    /// The process itself, for signals beyond these.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn spawn(&self) -> Process {
        let mut command = command(
            &self.program,
            &self.options,
            self.home.path(),
            self.grpc_addr,
            self.http_addr,
        );
        Process::spawn("fusebox", &mut command)
    }
}

fn command(
    program: &Path,
    options: &Options,
    home: &Path,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
) -> Command {
    let mut command = match options.inside.split_first() {
        None => Command::new(program),
        Some((first, words)) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
    };
    hermetic(&mut command);
    command.arg("serve");
    command.arg("--grpc-addr").arg(grpc_addr.to_string());
    command.arg("--http-addr").arg(http_addr.to_string());
    command.arg("--data-dir").arg(data_dir(options, home));
    command.args(&options.flags);
    command.envs(options.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(home);
    command
}

fn data_dir(options: &Options, home: &Path) -> PathBuf {
    options
        .data_dir
        .clone()
        .unwrap_or_else(|| home.join("data"))
}

fn wait_ready(process: &mut Process, http: SocketAddr, within: Duration) -> Result<(), Refused> {
    wait_ok(process, http, "/readyz", within)
}

fn wait_ok(
    process: &mut Process,
    http: SocketAddr,
    path: &str,
    within: Duration,
) -> Result<(), Refused> {
    let answer = poll(within, || match process.try_exit() {
        Some(status) => Some(Err(status)),
        None => http::get(http, path)
            .ok()
            .filter(|answer| answer.status == 200)
            .map(Ok),
    });
    match answer {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) => {
            let status = process.wait_exit(within);
            Err(Refused {
                status,
                output: process.lines().dump(),
            })
        }
        None => process.fail(&format!("is not ready after {within:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A stand-in that prints its arguments and environment, then does as `script` says.
    fn launch(script: &str, options: Options) -> Result<Server, Refused> {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("fusebox");
        fs::write(&program, format!("echo \"$@\"; env; pwd; {script}\n")).unwrap();
        // Read and not executed: what another thread's child still holds open cannot be.
        Server::launch(program, options.inside(vec!["sh".into()]), home)
    }

    #[test]
    fn a_server_gets_its_addresses_its_data_its_flags_and_its_environment() {
        let options = Options::new().env("FUSEBOX_SERVER_X", "1").flag("--extra");
        let refused = launch("exit 4", options).err().unwrap();
        assert_eq!(refused.status.code(), Some(4));
        for part in [
            "serve --grpc-addr 127.0.0.1:",
            "--data-dir /",
            "/data --extra",
            "FUSEBOX_SERVER_X=1",
        ] {
            assert!(
                refused.output.contains(part),
                "{part} not in {}",
                refused.output
            );
        }
    }

    const READY: &str = r#"exec python3 -c '
import http.server as h, sys
class Ready(h.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
host, port = sys.argv[sys.argv.index("--http-addr") + 1].split(":")
h.HTTPServer((host, int(port)), Ready).serve_forever()
' "$@""#;

    #[test]
    fn a_server_restarts_on_the_same_ports_and_data_and_ends_as_asked() {
        let mut server = launch(READY, Options::new()).ok().unwrap();
        let place = (server.grpc_addr(), server.http_addr(), server.data_dir());
        let pid = server.pid();
        server.kill9();
        assert!(server.http_get("/readyz").is_err());
        server.restart();
        assert_eq!(
            place,
            (server.grpc_addr(), server.http_addr(), server.data_dir())
        );
        assert_ne!(pid, server.pid());
        assert_eq!(server.http_get("/readyz").unwrap().status, 200);
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(60)).code(), None);
    }

    #[test]
    fn a_server_whose_port_was_taken_tries_others() {
        let tries = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "echo x >>{}; echo address already in use; exit 1",
            tries.path().display()
        );
        assert!(launch(&script, Options::new()).is_err());
        let tries = fs::read_to_string(tries.path()).unwrap().lines().count();
        assert_eq!(tries, PORT_TRIES + 1);
    }

    #[test]
    #[should_panic(expected = "is not ready after 50ms; it printed:")]
    fn a_server_that_is_never_ready_fails_with_its_output() {
        let _ = launch(
            "exec sleep 600",
            Options::new().ready_within(Duration::from_millis(50)),
        );
    }
}
