//! The disk is full: writes are refused in words, everything else goes on, and once there is room
//! writes are taken again without anybody's help. What was acknowledged stays, whatever ends the
//! server meanwhile.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use fusebox_tests::caller::Options as Calling;
use fusebox_tests::chaos::storm::Storm;
use fusebox_tests::operator::{number, revision};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::small_disk::SmallDisk;
use fusebox_tests::upstream::Upstream;
use fusebox_tests::wait::eventually;
use serde_json::{Value, json};
use tonic::Code;

/// In mebibytes: some thousand writes.
const DISK: u32 = 32;
const LONG: Duration = Duration::from_secs(30);
/// From when there is room until writes are taken: a few seconds, and slack for two busy cores.
const SOON: Duration = Duration::from_secs(10);

fn on(disk: &SmallDisk) -> Options {
    let data = disk.path().join("data");
    Options::new().data_dir(data).inside(disk.inside())
}

fn policy(attempts: u32) -> Value {
    json!({
        "name": "payments",
        "selector": {"operation": "payments.*"},
        "description": "d".repeat(4000),
        "owner": "o".repeat(4000),
        "rules": {"retry": {"maxAttempts": attempts}},
    })
}

/// What `grpc.health.v1` says of the service for policies.
fn health(server: &Server) -> String {
    let asked = json!({"service": "fusebox.v1.PolicyService"});
    let answer = server.grpcurl().call("grpc.health.v1.Health/Check", &asked);
    answer.unwrap()["status"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn ready(server: &Server) -> u16 {
    server.http_get("/readyz").unwrap().status
}

/// Takes all room, also what a write in the middle leaves, until a write is refused; and says how.
fn fill(disk: &SmallDisk, server: &Server) -> String {
    let refused = eventually("a refused write", LONG, || {
        disk.fill();
        server.grpcurl().put(&policy(3)).err()
    });
    assert_eq!(
        refused.code(),
        Some(Code::Unavailable),
        "{}",
        refused.stderr
    );
    refused.message().to_owned()
}

/// Waits until a write is taken, which nobody does anything for, and gives its revision.
fn written(server: &Server, attempts: u32) -> u64 {
    let written = eventually("a write that is taken", SOON, || {
        server.grpcurl().put(&policy(attempts)).ok()
    });
    eventually("a server that is of full use", SOON, || {
        (ready(server) == 200 && health(server) == "SERVING").then_some(())
    });
    revision(&written)
}

fn assert_refuses_writes_and_reads_on(server: &Server, stored: &Value) {
    let refused = server.grpcurl().put(&policy(9)).unwrap_err();
    assert_eq!(
        refused.code(),
        Some(Code::Unavailable),
        "{}",
        refused.stderr
    );
    eventually("a server that says so", LONG, || {
        (ready(server) == 503 && health(server) == "NOT_SERVING").then_some(())
    });
    assert_eq!(server.grpcurl().policy("payments").unwrap(), *stored);
    assert_eq!(
        server.grpcurl().all_policies().as_deref(),
        Ok(std::slice::from_ref(stored))
    );
}

#[test]
fn writes_are_refused_in_words_while_everything_else_goes_on_and_taken_once_there_is_room() {
    let (disk, upstream) = (SmallDisk::new(DISK), Upstream::start());
    let server = Server::start(on(&disk));
    server.grpcurl().put(&policy(2)).unwrap();
    let calling = |instance| {
        let url = upstream.url("/");
        Calling::new("checkout", instance, "payments.charge", &url).server(server.grpc_addr())
    };
    let mut early = calling("early").start();

    let said = fill(&disk, &server);
    let words = ["disk", "space"];
    assert!(
        words.iter().any(|word| said.contains(word)),
        "no word about the disk: {said}"
    );
    let stored = server.grpcurl().policy("payments").unwrap();
    assert_refuses_writes_and_reads_on(&server, &stored);
    early.wait_for_revision(revision(&stored));
    assert_eq!(early.call()["outcome"], "success");
    assert_eq!(early.health()["connected"], json!(true));
    // A process that comes now is told the policies as ever.
    let late = calling("late").start();
    late.wait_for_revision(revision(&stored));

    disk.free();
    let revision = written(&server, 7);
    for process in [&early, &late] {
        process.wait_for_revision(revision);
    }
    let applied = |instance: &Value| number(&instance["appliedRevision"]) == revision;
    server.grpcurl().wait_for_instance("late", applied);
}

#[test]
fn a_server_that_starts_on_a_full_disk_shows_what_it_has_and_takes_writes_once_there_is_room() {
    let disk = SmallDisk::new(DISK);
    let mut server = Server::start(on(&disk));
    server.grpcurl().put(&policy(2)).unwrap();
    fill(&disk, &server);
    let stored = server.grpcurl().policy("payments").unwrap();
    for _ in 0..2 {
        server.restart_alive();
        disk.fill();
        assert_refuses_writes_and_reads_on(&server, &stored);
    }
    disk.free();
    assert!(written(&server, 7) > revision(&stored));
    let stored = server.grpcurl().policy("payments").unwrap();
    server.restart();
    assert_eq!(server.grpcurl().policy("payments").unwrap(), stored);
}

#[test]
fn no_acknowledged_write_is_lost_by_a_disk_that_fills_up_under_writers_and_a_kill() {
    let disk = SmallDisk::new(DISK);
    let mut storm = Storm::over(on(&disk));
    for _ in 0..Storm::rounds().div_ceil(4) {
        storm.strike_on_full_disk(|| disk.fill());
        storm.server.restart_alive();
        storm.compare();
        disk.free();
        eventually("a server that is of full use", SOON, || {
            (ready(&storm.server) == 200).then_some(())
        });
        storm.compare();
        storm.strike();
        storm.recover();
    }
}
