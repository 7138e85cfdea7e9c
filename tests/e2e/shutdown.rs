//! A server that is asked to end, ends: whoever is still connected, however silent.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use fusebox_tests::caller::Options as Calling;
use fusebox_tests::operator::{number, revision};
use fusebox_tests::process::Signal;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::Upstream;
use serde_json::{Value, json};

/// Far above the five seconds that it promises; what it took is printed.
const GENEROUS: Duration = Duration::from_secs(20);

#[test]
fn it_ends_well_with_streams_open_and_silent_connections_held_and_comes_back_as_it_was() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let policy = json!({"name": "payments", "selector": {"service": "checkout"}});
    let written = server.grpcurl().put(&policy).unwrap();
    let calling = Calling::new("checkout", "one", "payments.charge", &upstream.url("/"));
    let mut caller = calling.server(server.grpc_addr()).start();
    caller.wait_for_revision(revision(&written));
    let _silent =
        [server.grpc_addr(), server.http_addr()].map(|addr| TcpStream::connect(addr).unwrap());
    let health = server.grpcurl().within(Duration::from_secs(120));
    let mut health = health.watch("grpc.health.v1.Health/Watch", &json!({}));
    assert_eq!(health.next(GENEROUS), json!({"status": "SERVING"}));

    let asked = Instant::now();
    server.terminate();
    health.wait_for(GENEROUS, |answer| answer["status"] == "NOT_SERVING");
    let status = server.wait_exit(GENEROUS);
    println!(
        "with a session, a watch and two silent connections it ended after {:?}",
        asked.elapsed()
    );
    assert_eq!(status.code(), Some(0));

    caller.wait_for_link(false);
    assert_eq!(caller.call()["outcome"], "success");
    server.restart();
    assert_eq!(server.grpcurl().policy("payments").unwrap(), written);
    caller.wait_for_link(true);
    let applied = |instance: &Value| number(&instance["appliedRevision"]) == revision(&written);
    server.grpcurl().wait_for_instance("one", applied);
}

#[test]
fn a_frozen_process_does_not_keep_it_from_ending() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let calling = Calling::new("checkout", "one", "payments.charge", &upstream.url("/"));
    let caller = calling.server(server.grpc_addr()).start();
    caller.wait_for_link(true);
    caller.freeze();
    let asked = Instant::now();
    server.terminate();
    let status = server.wait_exit(GENEROUS);
    println!("with a frozen session it ended after {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn ctrl_c_is_as_good_as_a_termination() {
    let mut server = Server::start(Options::new());
    server.process().signal(Signal::INT);
    assert_eq!(server.wait_exit(GENEROUS).code(), Some(0));
    server.restart();
}
