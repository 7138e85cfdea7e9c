//! `fusebox top` and the orders to breakers, as an operator at a terminal or a script gives them.
//!
//! What needs a certain answer is asked of a server that has a script; the rest of a real one.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "top/fake.rs"]
mod fake;
#[path = "top/screen.rs"]
mod screen;

use std::time::Duration;

use fake::{Fake, REFUSAL};
use fusebox_proto::v1;
use fusebox_tests::caller::Options as Calling;
use fusebox_tests::home::{Ended, Home};
use fusebox_tests::ports;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::tools;
use fusebox_tests::upstream::Upstream;
use fusebox_tests::wait;
use screen::Terminal;
use serde_json::Value;

fn run(addr: impl std::fmt::Display, words: &[&str]) -> Ended {
    let url = format!("http://{addr}");
    Home::new(&[]).run(&[words, &["--server", &url]].concat())
}

fn top(addr: impl std::fmt::Display) -> Terminal {
    let program = tools::fusebox();
    Terminal::run(&format!("{} top --server http://{addr}", program.display()))
}

#[test]
fn one_look_is_plain_columns_with_the_worst_first() {
    let fake = Fake::start();
    let text = run(fake.addr, &["top", "--once"]).assert_good();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("service/operation"), "{text}");
    assert!(
        lines[1].starts_with("checkout/payments.charge   1c 3o 1h"),
        "{text}"
    );
    assert!(
        lines[2].starts_with("checkout/inventory.reserve 4c 1h"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn one_look_in_json_is_one_object() {
    let fake = Fake::start();
    let text = run(fake.addr, &["top", "--once", "--json"]).assert_good();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["operations"].as_array().unwrap().len(), 2);
    assert_eq!(json["overrides"], serde_json::json!([]));
    assert_eq!(json["coverage"]["serversTotal"], 1);
}

#[test]
fn an_absent_server_is_one_line_that_says_what_to_do() {
    for words in [&["top", "--once"][..], &["overrides"]] {
        let ended = run(ports::free_addr(), words);
        let lines = ended.assert_refused(1);
        assert!(
            matches!(lines[..], [line] if line.contains("--server or FUSEBOX_ADDR")),
            "{lines:?}"
        );
    }
}

#[test]
fn without_a_terminal_one_is_told_of_the_one_look() {
    let fake = Fake::start();
    let ended = run(fake.addr, &["top"]);
    let lines = ended.assert_refused(1);
    assert!(lines[0].contains("--once"), "{lines:?}");
}

#[test]
fn a_breaker_is_forced_by_keys_and_the_terminal_is_given_back() {
    let fake = Fake::start();
    let mut terminal = top(fake.addr);
    let list = terminal.wait_for("> checkout/pa");
    println!("{list}");
    terminal.press("\r");
    println!("{}", terminal.wait_for("checkout-7f9c"));
    terminal.press("o");
    terminal.wait_for("force open");
    terminal.press("it burns\r");
    println!("{}", terminal.wait_for("concerns 5 processes"));
    let judged = fake.orders();
    assert!(
        judged.iter().all(|(order, _)| order.validate_only),
        "{judged:?}"
    );
    terminal.press("\r");
    terminal.wait_for("override 41: checkout/payments.charge is forced open");
    let orders = fake.orders();
    let (order, author) = orders.last().unwrap();
    let standing = order.r#override.clone().unwrap();
    assert!(!order.validate_only);
    assert_eq!(standing.action(), v1::BreakerAction::ForceOpen);
    assert_eq!(
        (standing.reason.as_str(), standing.ttl.unwrap().seconds),
        ("it burns", 300)
    );
    assert!(author.contains('@'), "{author:?}");
    terminal.press("q");
    terminal.wait_for("left with 0");
    let raw = terminal.raw();
    assert!(
        raw.contains("\x1b[?1049h") && raw.contains("\x1b[?1049l"),
        "the alternate screen"
    );
    assert_eq!(terminal.wait_exit().code(), Some(0));
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let fake = Fake::start();
    let mut terminal = top(fake.addr);
    terminal.wait_for("> checkout/pa");
    terminal.press("cthe moon\r");
    terminal.wait_for(REFUSAL);
    terminal.press("\x1b");
    terminal.wait_for("? help");
    let order = ["force", "open", "--service", "checkout", "--for", "30s"];
    let ended = run(fake.addr, &[&order[..], &["--reason", "the moon"]].concat());
    assert!(ended.assert_refused(1)[0].contains(REFUSAL));
}

#[test]
fn a_watch_that_ends_is_told_and_begun_again() {
    let fake = Fake::start();
    let mut terminal = top(fake.addr);
    terminal.wait_for("> checkout/pa");
    fake.end_watches();
    terminal.wait_for("NO SERVER, trying again; what is shown is");
    terminal.wait_gone("NO SERVER");
    terminal.wait_for("> checkout/pa");
}

#[test]
fn a_terminated_view_gives_the_terminal_back() {
    let fake = Fake::start();
    let program = tools::fusebox();
    let mut terminal = Terminal::run(&format!(
        "sh -c 'echo pid $$; exec {} top --server http://{}'",
        program.display(),
        fake.addr
    ));
    let first = terminal.wait_for("> checkout/pa");
    assert!(!first.is_empty());
    let raw = terminal.raw();
    let pid = raw
        .split("pid ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let killed = std::process::Command::new("kill")
        .arg(pid.unwrap())
        .status();
    assert!(killed.unwrap().success());
    terminal.wait_for("left with 0");
}

#[test]
fn orders_of_scripts_say_what_they_would_do_what_they_did_and_what_is_in_force() {
    let fake = Fake::start();
    let order = [
        "force",
        "open",
        "--service",
        "checkout",
        "--operation",
        "payments.*",
        "--for",
        "5m",
        "--reason",
        "it burns",
    ];
    let dry = run(fake.addr, &[&order[..], &["--dry-run"]].concat()).assert_good();
    assert_eq!(
        dry,
        "would force checkout/payments.* open; concerns 5 processes\n"
    );
    assert!(
        run(fake.addr, &["overrides"])
            .assert_good()
            .contains("no override")
    );
    let done = run(fake.addr, &order).assert_good();
    let expected = "override 41: checkout/payments.* is forced open; concerns 5 processes\n";
    assert_eq!(done, expected);
    let listed = run(fake.addr, &["overrides"]).assert_good();
    assert!(
        listed.starts_with("41 checkout/payments.* forced open, 5m left: it burns ("),
        "{listed}"
    );
    let release = ["release", "41", "--reason", "over"];
    let released = run(fake.addr, &release).assert_good();
    assert!(
        released.starts_with("override 41 is released"),
        "{released}"
    );
    let again = run(fake.addr, &release);
    assert!(again.assert_refused(1)[0].contains("no override 41 is in force"));
    let reset = run(
        fake.addr,
        &["reset", "--service", "checkout", "--reason", "anew"],
    );
    assert!(
        reset
            .assert_good()
            .starts_with("reset 43: checkout/* begins anew")
    );
}

#[test]
fn an_order_without_its_reason_or_its_time_is_a_usage_error() {
    let fake = Fake::start();
    for words in [
        &["force", "open", "--service", "a", "--for", "5m"][..],
        &["force", "open", "--service", "a", "--reason", "b"],
        &[
            "force",
            "ajar",
            "--service",
            "a",
            "--for",
            "5m",
            "--reason",
            "b",
        ],
        &[
            "force",
            "open",
            "--service",
            "a",
            "--for",
            "8 days",
            "--reason",
            "b",
        ],
        &["release", "41"],
        &["top", "--json"],
    ] {
        assert_eq!(run(fake.addr, words).status, 2, "{words:?}");
    }
    assert!(fake.orders().is_empty());
}

#[test]
fn a_real_server_is_looked_at() {
    let (server, upstream) = (Server::start(Options::new()), Upstream::start());
    let calling = Calling::new("checkout", "c-1", "payments.charge", &upstream.url("/"));
    let mut caller = calling.server(server.grpc_addr()).start();
    caller.wait_for_link(true);
    caller.call();
    let looked = wait::eventually("the operation", Duration::from_secs(20), || {
        let text = run(server.grpc_addr(), &["top", "--once"]).assert_good();
        text.contains("checkout/payments.charge").then_some(text)
    });
    assert!(looked.contains(" 1c "), "{looked}");
}

#[test]
fn a_real_breaker_is_forced_by_keys_and_refuses_until_it_is_released() {
    let (server, upstream) = (Server::start(Options::new()), Upstream::start());
    let calling = Calling::new("checkout", "c-1", "payments.charge", &upstream.url("/"));
    let mut caller = calling.server(server.grpc_addr()).start();
    caller.wait_for_link(true);
    caller.call();
    let mut terminal = top(server.grpc_addr());
    terminal.wait_for("> checkout/pa");
    terminal.press("oit burns\r");
    terminal.wait_for("concerns 1 process");
    terminal.press("\r");
    terminal.wait_for("is forced open");
    wait::eventually("the override", Duration::from_secs(20), || {
        let text = run(server.grpc_addr(), &["top", "--once"]).assert_good();
        text.contains(" F ").then_some(())
    });
    assert_eq!(caller.call()["reason"], "forced_open");
    // Looked at now and then; before that there is nothing to release.
    terminal.wait_for("1 overrides");
    terminal.press("xit is over\r");
    terminal.wait_for("enter: release");
    terminal.press("\r");
    terminal.wait_for("is released");
    terminal.press("q");
    terminal.wait_for("left with 0");
    wait::eventually("calls to be let in", Duration::from_secs(20), || {
        (caller.call()["outcome"] == "success").then_some(())
    });
}
