//! The load harness, small: what it counts is what the server promises. No time is held to anything.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fusebox_tests::process::{Process, hermetic};
use fusebox_tests::tools;
use fusebox_tests::wait::poll;
use serde_json::Value;

const SESSIONS: usize = 200;
/// Far above what a scenario takes, on a machine that others use.
const LONG: Duration = Duration::from_secs(180);

/// The harness, about to measure one scenario.
fn load(scenario: &str, json: &Path) -> Process {
    let mut command = Command::new(tools::load());
    hermetic(&mut command)
        .env("FUSEBOX_TEST_BIN", tools::fusebox())
        .args(["--short", "--rounds", "1", "--only", scenario])
        .args(["--sessions", &SESSIONS.to_string()])
        .arg("--json")
        .arg(json);
    Process::spawn("load", &mut command)
}

/// What it found, by the names of its rows.
fn figures(scenario: &str) -> BTreeMap<String, f64> {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let mut load = load(scenario, &json);
    if !load.wait_exit(LONG).success() {
        load.fail("failed");
    }
    let found: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let rows = found["rows"].as_array().unwrap();
    let row = |row: &Value| Some((row["name"].as_str()?.to_owned(), row["value"].as_f64()?));
    rows.iter().filter_map(row).collect()
}

fn assert_count(figures: &BTreeMap<String, f64>, name: &str, expected: usize) {
    let count = figures.get(name).copied();
    let found = count.unwrap_or_else(|| panic!("no row {name:?} in {figures:?}"));
    assert!(
        (found - expected as f64).abs() < 0.5,
        "{name}: {found}, not {expected}"
    );
}

#[test]
fn a_write_to_one_service_in_a_hundred_wakes_one_session_in_a_hundred() {
    let woken = "one: sessions woken by a write to one service in 100";
    assert_count(&figures("one"), woken, SESSIONS / 100);
}

#[test]
fn after_a_restart_everybody_comes_back_and_nobody_is_sent_again_what_it_has() {
    let figures = figures("restart");
    for ending in ["SIGTERM", "SIGKILL"] {
        let name = |what| format!("restart: {ending}, {what}");
        assert_count(&figures, &name("sessions back"), SESSIONS);
        assert_count(&figures, &name("snapshots sent again"), 0);
    }
}

#[test]
fn after_a_burst_everybody_has_the_last_revision() {
    let last = "burst: sessions that end at the last revision";
    assert_count(&figures("burst"), last, SESSIONS);
}

#[test]
fn who_does_not_read_keeps_nothing_from_the_others() {
    let reached = "frozen: pushes that reached all others, 10 % do not read";
    // Two turns of one push.
    assert_count(&figures("frozen"), reached, 2);
}

#[test]
fn a_storm_of_reports_is_acknowledged_by_ours_and_by_those_it_is_compared_with() {
    let figures = figures("storm");
    for server in ["fusebox", "HTTP/2 alone", "decoded"] {
        let row = |what| format!("storm: {server}, {what}");
        assert_count(&figures, &row("not made, for a full outbox"), 0);
        let absorbed = figures.get(&row("absorbed")).copied();
        assert!(absorbed > Some(0.0), "{server} absorbed {absorbed:?}");
    }
}

#[test]
fn a_harness_that_is_killed_leaves_no_server_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut load = load("idle", &directory.path().join("rows.json"));
    let server = poll(LONG, || server_of(load.pid()));
    let server = server.unwrap_or_else(|| load.fail("started no server"));
    load.kill9();
    let gone = || (!runs(server)).then_some(());
    poll(LONG, gone).unwrap_or_else(|| panic!("server {server} outlives its harness"));
}

/// The server that this process has started, once it is one.
fn server_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut servers = pids
        .filter(|pid| stat(*pid).is_some_and(|(name, _, of)| name == "fusebox" && of == parent));
    servers.next()
}

/// A process that nobody has reaped yet does not run.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, state, _)| state != "Z")
}

/// A process's name, state and parent.
fn stat(pid: u32) -> Option<(String, String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut rest = rest.split_whitespace();
    let (state, parent) = (rest.next()?, rest.next()?);
    Some((name.to_owned(), state.to_owned(), parent.parse().ok()?))
}
