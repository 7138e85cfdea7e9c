//! A child process that its owner can read, signal and outlive, and that never outlives its owner.

use std::env;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::lines::{Line, Lines, Stream};
use crate::wait::poll;

/// Once a process has ended its pipes end too, unless a grandchild holds them.
const DRAIN: Duration = Duration::from_secs(5);

/// A running or ended child. Dropping it kills it, by its own process id.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines,
    /// Set once it has been reaped: from then on its id may be somebody else's.
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with no standard input and both outputs captured. `name` is what failure
    /// messages call it.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        Self::start(name, command.stdin(Stdio::null()))
    }

    /// The same with `input` as its standard input.
    pub fn spawn_with_input(name: &str, command: &mut Command, input: Vec<u8>) -> Self {
        let mut process = Self::start(name, command.stdin(Stdio::piped()));
        let mut stdin = process.stdin.take().expect("stdin is piped");
        // On a thread of its own: a child that prints before it has read all would block us both.
        // One that ends before it has read all breaks the pipe, and tells why in its own words.
        thread::spawn(move || stdin.write_all(&input));
        process
    }

    /// The same with a standard input that stays open, for [`Process::write_line`].
    pub fn spawn_with_open_input(name: &str, command: &mut Command) -> Self {
        Self::start(name, command.stdin(Stdio::piped()))
    }

    fn start(name: &str, command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let lines = Lines::default();
        lines.capture(Stream::Out, child.stdout.take().expect("stdout is piped"));
        lines.capture(Stream::Err, child.stderr.take().expect("stderr is piped"));
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            lines,
            exit: None,
        }
    }

    /// Writes a line to its open standard input.
    ///
    /// # Panics
    /// If it reads no more, or its standard input is not open.
    pub fn write_line(&mut self, line: &str) {
        let written = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}"));
        if !matches!(written, Some(Ok(()))) {
            self.fail(&format!("did not take {line:?}: {written:?}"));
        }
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The first line that contains `text`.
    ///
    /// # Panics
    /// If none comes `within` the time, or the process ends without it.
    pub fn wait_for_line(&self, text: &str, within: Duration) -> Line {
        self.lines
            .wait_for(within, |line| line.text.contains(text))
            .unwrap_or_else(|| self.fail(&format!("printed no {text:?} within {within:?}")))
    }

    /// Asks it to end (SIGTERM). Nothing happens if it has ended.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends any signal, such as `STOP` and `CONT` for a frozen process.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let (Some(pid), None) = (pid, self.exit) {
            // Fails only for a process that is gone, and one not yet reaped is not.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it without asking (SIGKILL), and waits until it has ended.
    pub fn kill9(&mut self) {
        // Both fail only for a child that has already been reaped.
        let _ = self.child.kill();
        self.exit = self.child.wait().ok();
    }

    /// How it ended, if it has.
    pub fn try_exit(&mut self) -> Option<ExitStatus> {
        self.exit = self.child.try_wait().expect("a child can be waited for");
        self.exit
    }

    /// How it ended, once it has and all that it printed was read.
    ///
    /// # Panics
    /// If it runs on beyond `within`.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let Some(status) = poll(within, || self.try_exit()) else {
            self.fail(&format!("still runs after {within:?}"));
        };
        self.lines.wait_for_end(DRAIN);
        status
    }

    /// Panics with all that the process has printed.
    pub fn fail(&self, what: &str) -> ! {
        let Self { name, lines, .. } = self;
        panic!("{name} {what}; it printed:\n{}", lines.dump());
    }
}

/// Takes from a command what of a developer's environment would change how the product behaves.
pub fn hermetic(command: &mut Command) -> &mut Command {
    let foreign = env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| is_foreign(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn is_foreign(variable: &str) -> bool {
    variable.starts_with("FUSEBOX_") || variable.starts_with("OTEL_") || variable == "RUST_LOG"
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Process {
        Process::spawn("shell", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn both_outputs_are_read_and_told_apart() {
        let mut process = shell("echo good; echo bad >&2; exit 3");
        assert_eq!(process.wait_exit(LONG).code(), Some(3));
        assert_eq!(process.lines().text(Stream::Out), "good\n");
        assert_eq!(process.lines().text(Stream::Err), "bad\n");
    }

    #[test]
    fn input_larger_than_a_pipe_reaches_a_child_that_answers_as_it_reads() {
        let input = b"line\n".repeat(40_000);
        let mut process = Process::spawn_with_input("cat", &mut Command::new("cat"), input.clone());
        process.wait_exit(LONG);
        assert_eq!(process.lines().text(Stream::Out).as_bytes(), input);
    }

    #[test]
    fn an_open_input_takes_lines_until_it_is_closed() {
        let mut process = Process::spawn_with_open_input("cat", &mut Command::new("cat"));
        process.write_line("one");
        process.wait_for_line("one", LONG);
        process.close_input();
        assert!(process.wait_exit(LONG).success());
    }

    #[test]
    fn settings_of_the_machine_are_foreign_and_its_path_is_not() {
        assert!(is_foreign("FUSEBOX_SERVER_GRPC_ADDR") && is_foreign("OTEL_SERVICE_NAME"));
        assert!(!is_foreign("PATH") && !is_foreign("HOME"));
    }

    #[test]
    fn terminate_asks_and_the_child_may_answer() {
        let mut process =
            shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
        process.wait_for_line("up", LONG);
        process.terminate();
        assert!(process.wait_exit(LONG).success());
        assert!(process.lines().contains("bye"));
    }

    #[test]
    fn kill9_does_not_ask() {
        let mut process = shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
        process.wait_for_line("up", LONG);
        process.terminate();
        process.kill9();
        assert_eq!(process.wait_exit(LONG).code(), None);
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let process = Process::spawn("sleep", Command::new("sleep").arg("600"));
        let pid = process.pid();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    #[should_panic(expected = "shell printed no \"hello\" within 60s; it printed:\nerr | sorry")]
    fn a_line_that_never_comes_fails_with_what_came_instead() {
        shell("echo sorry >&2").wait_for_line("hello", LONG);
    }
}
