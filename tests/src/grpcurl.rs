//! An operator's calls, by the tool an operator has: real grpcurl, finding methods by reflection.
//!
//! What it proves beyond a generated client: that reflection is served, that the JSON names are
//! those in the documentation, and that an error says enough to someone who has only this tool.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tonic::Code;

use crate::lines::Stream;
use crate::process::Process;
use crate::tools;
use crate::wait::poll;

/// grpcurl leaves with this plus the status code. Below it are its own: 1 could not connect or
/// call, 2 wrong usage.
const STATUS_BASE: i32 = 64;
/// Beyond a call's own deadline: the time to start, dial and reflect.
const SLACK: Duration = Duration::from_secs(15);

/// How to call one server.
#[derive(Clone, Debug)]
pub struct Grpcurl {
    target: SocketAddr,
    headers: Vec<String>,
    within: Duration,
}

/// A call that did not end in OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// grpcurl's exit code; `None` if a signal ended it.
    pub exit_code: Option<i32>,
    /// All that it said: the status as JSON (`code`, `message`, `details`) if a server answered.
    pub stderr: String,
}

impl Grpcurl {
    /// Calls `target`, without TLS.
    pub fn to(target: SocketAddr) -> Self {
        Self {
            target,
            headers: Vec::new(),
            within: Duration::from_secs(30),
        }
    }

    /// Sends a header with each call.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// Gives each call a deadline other than 30 s.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Calls `package.Service/Method` and gives the one answer.
    ///
    /// # Panics
    /// If the method succeeds with no answer or several.
    pub fn call(&self, method: &str, request: &Value) -> Result<Value, CallError> {
        let mut answers = self.call_all(method, request)?;
        assert_eq!(
            answers.len(),
            1,
            "one answer from {method}, not {answers:?}"
        );
        Ok(answers.remove(0))
    }

    /// Calls a method and gives all answers of its stream once it has ended.
    pub fn call_all(&self, method: &str, request: &Value) -> Result<Vec<Value>, CallError> {
        let mut process = self.begin(method, request);
        Ok(parse_all(&self.finish(&mut process)?))
    }

    /// Calls a method whose stream stays open. Dropping it hangs up.
    pub fn watch(&self, method: &str, request: &Value) -> Watch {
        Watch {
            process: self.begin(method, request),
            taken: 0,
        }
    }

    /// The services that reflection names.
    pub fn services(&self) -> Result<Vec<String>, CallError> {
        let mut process = Process::spawn("grpcurl", self.command().arg("list"));
        let services = self.finish(&mut process)?;
        Ok(services.lines().map(str::to_owned).collect())
    }

    /// The definition of a symbol, as reflection has it.
    pub fn describe(&self, symbol: &str) -> Result<String, CallError> {
        let mut process = Process::spawn("grpcurl", self.command().args(["describe", symbol]));
        self.finish(&mut process)
    }

    /// The request goes over standard input: an argument holds 128 KiB at most.
    fn begin(&self, method: &str, request: &Value) -> Process {
        let mut command = Command::new(tools::grpcurl());
        command.args([
            "-plaintext",
            "-format-error",
            "-connect-timeout",
            "5",
            "-d",
            "@",
        ]);
        command
            .arg("-max-time")
            .arg(self.within.as_secs_f64().to_string());
        for header in &self.headers {
            command.args(["-H", header]);
        }
        command.arg(self.target.to_string()).arg(method);
        Process::spawn_with_input("grpcurl", &mut command, request.to_string().into_bytes())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(tools::grpcurl());
        command.args(["-plaintext", "-connect-timeout", "5"]);
        for header in &self.headers {
            command.args(["-H", header]);
        }
        command.arg(self.target.to_string());
        command
    }

    fn finish(&self, process: &mut Process) -> Result<String, CallError> {
        let status = process.wait_exit(self.within + SLACK);
        if status.success() {
            return Ok(process.lines().text(Stream::Out));
        }
        Err(CallError {
            exit_code: status.code(),
            stderr: process.lines().text(Stream::Err),
        })
    }
}

impl CallError {
    /// The status that the server answered with; `None` if grpcurl itself failed.
    pub fn code(&self) -> Option<Code> {
        let code = self.exit_code?.checked_sub(STATUS_BASE)?;
        (1..=16).contains(&code).then(|| Code::from_i32(code))
    }

    /// The status as JSON, null if there is none.
    pub fn status(&self) -> Value {
        let start = self.stderr.find('{').unwrap_or(self.stderr.len());
        serde_json::from_str(&self.stderr[start..]).unwrap_or_default()
    }

    /// The status's message, empty if there is none.
    pub fn message(&self) -> String {
        self.status()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The status's details whose `@type` ends in `kind`, such as `google.rpc.BadRequest`.
    pub fn details(&self, kind: &str) -> Vec<Value> {
        let status = self.status();
        let details = status["details"].as_array().into_iter().flatten();
        let of_kind = |detail: &&Value| {
            let name = detail["@type"].as_str();
            name.is_some_and(|name| name.rsplit('/').next() == Some(kind))
        };
        details.filter(of_kind).cloned().collect()
    }
}

/// An open stream of answers.
pub struct Watch {
    process: Process,
    taken: usize,
}

impl Watch {
    /// The next answer.
    ///
    /// # Panics
    /// If none comes `within` the time.
    pub fn next(&mut self, within: Duration) -> Value {
        let answer = poll(within, || self.answers().into_iter().nth(self.taken));
        let Some(answer) = answer else {
            self.process.fail(&format!(
                "got no answer {} within {within:?}",
                self.taken + 1
            ));
        };
        self.taken += 1;
        answer
    }

    /// The next answer that `matches`; those before it are taken too.
    ///
    /// # Panics
    /// If none comes `within` the time.
    pub fn wait_for(&mut self, within: Duration, matches: impl Fn(&Value) -> bool) -> Value {
        let found = poll(within, || {
            let answers = self.answers();
            let mut new = answers.into_iter().enumerate().skip(self.taken);
            new.find(|(_, answer)| matches(answer))
        });
        let Some((index, answer)) = found else {
            self.process
                .fail(&format!("got no such answer within {within:?}"));
        };
        self.taken = index + 1;
        answer
    }

    /// How the server ended the stream; `Ok` is status OK.
    ///
    /// # Panics
    /// If it is still open after `within`.
    pub fn wait_end(&mut self, within: Duration) -> Result<(), CallError> {
        let status = self.process.wait_exit(within);
        let stderr = self.process.lines().text(Stream::Err);
        let error = CallError {
            exit_code: status.code(),
            stderr,
        };
        if status.success() { Ok(()) } else { Err(error) }
    }

    fn answers(&self) -> Vec<Value> {
        parse_all(&self.process.lines().text(Stream::Out))
    }
}

/// grpcurl prints answers one after another, each over several lines. The last may be half there.
fn parse_all(text: &str) -> Vec<Value> {
    let answers = serde_json::Deserializer::from_str(text).into_iter();
    answers.map_while(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_with(exit_code: i32, stderr: &str) -> CallError {
        CallError {
            exit_code: Some(exit_code),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn the_exit_code_carries_the_status() {
        assert_eq!(left_with(67, "").code(), Some(Code::InvalidArgument));
        assert_eq!(left_with(80, "").code(), Some(Code::Unauthenticated));
    }

    #[test]
    fn an_exit_of_grpcurls_own_carries_none() {
        for exit_code in [1, 2, 64, 81] {
            assert_eq!(left_with(exit_code, "").code(), None);
        }
    }

    #[test]
    fn details_are_found_by_type() {
        let error = left_with(
            67,
            r#"{"code":3,"message":"bad","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","x":1}]}"#,
        );
        assert_eq!(error.message(), "bad");
        assert_eq!(error.details("google.rpc.BadRequest")[0]["x"], 1);
        assert!(error.details("google.rpc.RetryInfo").is_empty());
    }

    #[test]
    fn answers_are_read_up_to_one_that_is_half_there() {
        assert_eq!(parse_all("{\n \"a\": 1\n}\n{}\n{\n \"b\":").len(), 2);
    }
}
