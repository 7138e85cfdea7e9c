//! A program in a pseudo-terminal of 80 columns and 24 lines: what stands on its screen, and keys.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use fusebox_tests::process::hermetic;

const WIDTH: usize = 80;
const HEIGHT: usize = 24;
const LONG: Duration = Duration::from_secs(20);

/// The terminal and what runs in it. Ends with the test.
pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    bytes: Receiver<Vec<u8>>,
    read: Vec<u8>,
}

impl Terminal {
    /// Runs a shell's command; the terminal says `left` once that has ended, if it is as before.
    pub(crate) fn run(command: &str) -> Self {
        let line = format!(
            "stty cols {WIDTH} rows {HEIGHT}; before=$(stty -g); {command}; status=$?; \
             test \"$before\" = \"$(stty -g)\" && echo left with $status"
        );
        let mut script = Command::new("script");
        hermetic(&mut script).env("TERM", "xterm-256color");
        script.args(["-q", "-e", "-c", &line, "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        script.stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (heard, bytes) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                if heard.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            bytes,
            read: Vec::new(),
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The screen once it shows `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// The screen once it no longer shows `text`.
    pub(crate) fn wait_gone(&mut self, text: &str) -> String {
        self.wait_until("end of it", |screen| !screen.contains(text))
    }

    fn wait_until(&mut self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + LONG;
        loop {
            let screen = screen(&String::from_utf8_lossy(&self.read));
            if matches(&screen) {
                return screen;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(more) => self.read.extend(more),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {what:?} on the screen:\n{screen}")
                }
            }
        }
    }

    /// Everything that came, escapes included.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    pub(crate) fn wait_exit(mut self) -> ExitStatus {
        while let Ok(more) = self.bytes.recv_timeout(LONG) {
            self.read.extend(more);
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Terminal {
    /// What runs in it is hung up with it. Either may have ended already.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the bytes leave on the screen, colours aside.
fn screen(bytes: &str) -> String {
    let mut cells = vec![vec![' '; WIDTH]; HEIGHT];
    let (mut row, mut column) = (0, 0);
    let mut chars = bytes.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                if chars.next() != Some('[') {
                    continue;
                }
                let mut numbers = String::new();
                let mut last = chars.next();
                while let Some(c) = last.filter(|c| !c.is_ascii_alphabetic()) {
                    numbers.push(c);
                    last = chars.next();
                }
                if numbers == "?1049" {
                    // To the other screen, or back.
                    cells.iter_mut().for_each(|line| line.fill(' '));
                    (row, column) = (0, 0);
                }
                let mut numbers = numbers.split(';').map(|n| n.parse().unwrap_or(1));
                match last {
                    Some('H') => {
                        row = numbers.next().unwrap_or(1_usize).max(1) - 1;
                        column = numbers.next().unwrap_or(1_usize).max(1) - 1;
                    }
                    Some('J') => cells.iter_mut().for_each(|line| line.fill(' ')),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row = (row + 1).min(HEIGHT - 1),
            c if c.is_control() => {}
            c => {
                if let Some(cell) = cells.get_mut(row).and_then(|line| line.get_mut(column)) {
                    *cell = c;
                }
                column += 1;
            }
        }
    }
    let lines = cells.into_iter().map(|line| line.into_iter().collect());
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}
