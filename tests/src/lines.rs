//! What a child has printed, line by line, to be searched and waited upon.
//!
//! A thread a stream fills it; readers wait on a condition variable, so a line is seen as soon as
//! it is printed, and a wait ends early once both streams have ended.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines kept; beyond it the oldest go, and [`Lines::dump`] says how many went.
pub const MAX_LINES: usize = 100_000;

/// Which of its two streams a child used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it came from.
    pub stream: Stream,
    /// What it says; what is not UTF-8 is replaced.
    pub text: String,
}

/// A shared, growing record of lines. Clones see the same record.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Line>,
    dropped: usize,
    open_streams: usize,
}

impl Lines {
    /// The first line that `matches`, from the beginning of the record; waits for it at most
    /// `within`. `None` if the time is up, or the child can print nothing more.
    pub fn wait_for(&self, within: Duration, matches: impl Fn(&Line) -> bool) -> Option<Line> {
        self.wait_for_some(within, |line| matches(line).then(|| line.clone()))
    }

    /// [`Lines::wait_for`], with what `read` makes of the line.
    pub fn wait_for_some<T>(
        &self,
        within: Duration,
        read: impl Fn(&Line) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        let mut seen = 0;
        loop {
            let next = seen.max(state.dropped) - state.dropped;
            if let Some(found) = state.lines.range(next..).find_map(&read) {
                return Some(found);
            }
            seen = state.dropped + state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open_streams == 0 {
                return None;
            }
            state = self.wait(state, left);
        }
    }

    /// Waits until both streams have ended, at most `within`; whether they have.
    pub fn wait_for_end(&self, within: Duration) -> bool {
        self.wait_for(within, |_| false);
        self.state().open_streams == 0
    }

    /// Whether some line so far contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.state()
            .lines
            .iter()
            .any(|line| line.text.contains(text))
    }

    /// All lines of one stream so far, each with its line end.
    pub fn text(&self, stream: Stream) -> String {
        let state = self.state();
        let lines = state.lines.iter().filter(|line| line.stream == stream);
        lines.fold(String::new(), |text, line| text + &line.text + "\n")
    }

    /// All lines so far, in the order read.
    pub fn all(&self) -> Vec<Line> {
        self.state().lines.iter().cloned().collect()
    }

    /// Everything, marked by stream, for a failure message.
    pub fn dump(&self) -> String {
        let state = self.state();
        let mut text = format!("({} earlier lines dropped)\n", state.dropped);
        if state.dropped == 0 {
            text.clear();
        }
        for line in &state.lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Reads `source` to its end on a thread of its own.
    pub(crate) fn capture(&self, stream: Stream, source: impl Read + Send + 'static) {
        self.state().open_streams += 1;
        let lines = self.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut bytes = Vec::new();
            // An error on a pipe ends it as its end does: there is no more to read.
            while matches!(source.read_until(b'\n', &mut bytes), Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes);
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                lines.update(|state| state.push(Line { stream, text }));
                bytes.clear();
            }
            lines.update(|state| state.open_streams -= 1);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.notify_all();
    }

    /// A reader's predicate may have panicked under the lock; the record is whole all the same.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        let waited = self.0.changed.wait_timeout(state, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn push(&mut self, line: Line) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.stream {
            Stream::Out => "out",
            Stream::Err => "err",
        };
        write!(f, "{mark} | {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn captured(text: &'static str) -> Lines {
        let lines = Lines::default();
        lines.capture(Stream::Out, text.as_bytes());
        assert!(lines.wait_for_end(LONG));
        lines
    }

    #[test]
    fn a_last_line_without_an_end_counts() {
        let texts = captured("one\r\ntwo").all();
        let texts: Vec<_> = texts.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn waiting_on_ended_streams_ends_at_once() {
        let started = Instant::now();
        assert_eq!(captured("one\n").wait_for(LONG, |_| false), None);
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn beyond_the_bound_the_oldest_lines_go_and_the_dump_says_so() {
        let mut state = State::default();
        for _ in 0..=MAX_LINES {
            state.push(Line {
                stream: Stream::Err,
                text: String::new(),
            });
        }
        assert_eq!((state.lines.len(), state.dropped), (MAX_LINES, 1));
        let lines = Lines(Arc::new(Shared {
            state: state.into(),
            changed: Condvar::new(),
        }));
        assert!(lines.dump().starts_with("(1 earlier lines dropped)\n"));
    }
}
