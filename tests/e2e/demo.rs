//! `fusebox demo`, as a newcomer's first minute: it runs by itself, shows breakers open and heal,
//! says how to interfere, and ends as it was told.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use fusebox_tests::lines::Stream;
use fusebox_tests::process::{Process, hermetic};
use fusebox_tests::tools;

/// Beyond the seconds it is told to run.
const LONG: Duration = Duration::from_secs(90);

#[test]
fn it_shows_breakers_open_and_heal_and_ends_by_itself_with_a_summary() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(tools::fusebox());
    hermetic(&mut command)
        .current_dir(home.path())
        .args(["demo", "--seconds", "20", "--plain"]);
    command.args(["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
    let mut process = Process::spawn("fusebox demo", &mut command);
    let opened = process.wait_for_line("breakers open", LONG);
    let healed = process.wait_for_line("breakers closed again", LONG);
    let status = process.wait_exit(LONG);
    let said = process.lines().text(Stream::Out);
    println!("{said}");
    assert_eq!(status.code(), Some(0));
    assert!(
        said.find(&opened.text) < said.find(&healed.text),
        "open before they heal"
    );
    assert!(
        said.contains("grpcurl -plaintext"),
        "a newcomer is told how to interfere"
    );
    let summary = said
        .lines()
        .find(|line| line.contains("breakers opened"))
        .expect("a summary");
    let numbers: Vec<u32> = summary
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        matches!(numbers[..], [opened, healed] if opened > 0 && healed > 0),
        "{summary}"
    );
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}
