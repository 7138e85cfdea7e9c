//! What an operator does to a data directory by hand, and what the processes make of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::operator::revision;
use fusebox_tests::process::hermetic;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::tools;
use fusebox_tests::upstream::Upstream;
use serde_json::{Value, json};
use tempfile::TempDir;

const OPERATION: &str = "payments.charge";
const END: Duration = Duration::from_secs(10);

/// Runs the program; what it said, standard output before standard error, and whether it succeeded.
fn fusebox(args: &[&str]) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = hermetic(Command::new(tools::fusebox()).args(args))
        .output()
        .unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.success(), said)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn backup(server: &Server, to: &Path) -> (bool, String) {
    let from = server.data_dir();
    fusebox(&["backup", "--data-dir", text(&from), "--to", text(to)])
}

fn restore(from: &Path, to: &Path) -> (bool, String) {
    fusebox(&["restore", "--from", text(from), "--data-dir", text(to)])
}

fn policy(max_attempts: u32) -> Value {
    json!({
        "name": "payments",
        "selector": {"operation": "payments.*"},
        "rules": {"retry": {"maxAttempts": max_attempts}},
    })
}

/// A process whose server it is, with whom it has policies.
fn calling(server: &Server, upstream: &Upstream) -> Caller {
    Calling::new("checkout", "one", OPERATION, &upstream.url("/"))
        .server(server.grpc_addr())
        .idempotent()
        .start()
}

/// Puts another data directory in the place of a server's, which is started again on it.
fn start_on(server: &mut Server, data: &Path) {
    let place = server.data_dir();
    server.terminate();
    assert!(server.wait_exit(END).success());
    fs::rename(&place, place.with_extension("old")).unwrap();
    fs::rename(data, &place).unwrap();
    server.restart();
}

fn somewhere() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("backup"), dir.path().join("data"));
    (dir, file, data)
}

#[test]
fn a_restored_store_is_followed_back_to_what_the_backup_holds() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let (_dir, file, data) = somewhere();
    let first = server.grpcurl().put(&policy(3)).unwrap();
    let caller = calling(&server, &upstream);
    caller.wait_for_revision(revision(&first));
    let (taken, said) = backup(&server, &file);
    assert!(taken && said.contains("revision 1, 1 policies"), "{said}");
    let second = server.grpcurl().put(&policy(4)).unwrap();
    caller.wait_for_revision(revision(&second));

    let (restored, said) = restore(&file, &data);
    assert!(restored && said.contains("revision 1000001"), "{said}");
    start_on(&mut server, &data);
    let back = server.grpcurl().policy("payments").unwrap();
    assert_eq!(back["rules"]["retry"]["maxAttempts"], 3);
    caller.wait_for_revision(1_000_001);
    let third = server.grpcurl().put(&policy(5)).unwrap();
    caller.wait_for_revision(revision(&third));
}

#[test]
fn an_empty_store_takes_nobodys_policies_away_until_it_is_adopted() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let (_dir, _, data) = somewhere();
    let kept = server.grpcurl().put(&policy(3)).unwrap();
    let caller = calling(&server, &upstream);
    caller.wait_for_revision(revision(&kept));

    let empty = Server::start(Options::new().data_dir(&data));
    let (refused, said) = fusebox(&["adopt", "--data-dir", text(&data)]);
    assert!(!refused && said.contains("is in use by process"), "{said}");
    drop(empty);
    start_on(&mut server, &data);
    caller.wait_for_link(true);
    assert_eq!(caller.health()["revision"], json!(revision(&kept)));

    server.terminate();
    assert!(server.wait_exit(END).success());
    let (adopted, said) = fusebox(&["adopt", "--data-dir", text(&server.data_dir())]);
    assert!(adopted, "{said}");
    server.restart();
    caller.wait_for_health("follows the empty store", |health| health["revision"] == 0);
    let new = server.grpcurl().put(&policy(7)).unwrap();
    caller.wait_for_revision(revision(&new));
}

#[test]
fn verify_tells_a_whole_directory_from_a_damaged_one_and_touches_neither() {
    let mut server = Server::start(Options::new());
    server.grpcurl().put(&policy(3)).unwrap();
    server.grpcurl().put(&policy(4)).unwrap();
    let data = server.data_dir();
    let verify = || fusebox(&["verify", text(&data)]);
    let (whole, said) = verify();
    assert!(
        whole && said.contains("was not looked at: process"),
        "{said}"
    );
    server.terminate();
    assert!(server.wait_exit(END).success());
    let (whole, said) = verify();
    assert!(
        whole && said.contains("the index is whole, as of revision 2"),
        "{said}"
    );
    let journal = data.join("journal.log");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let (whole, said) = verify();
    assert!(
        !whole && said.contains("journal.log is damaged at byte"),
        "{said}"
    );
    assert_eq!(fs::read(&journal).unwrap(), bytes);
}

#[test]
fn what_is_there_is_never_written_over_and_what_is_not_is_named() {
    let server = Server::start(Options::new());
    server.grpcurl().put(&policy(3)).unwrap();
    let (dir, file, data) = somewhere();
    assert!(backup(&server, &file).0);
    let before = fs::read(&file).unwrap();
    let (taken, said) = backup(&server, &file);
    assert!(!taken && said.contains("exists already"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(restore(&file, &data).0);
    let (restored, said) = restore(&file, &data);
    assert!(!restored && said.contains("exists already"), "{said}");
    let (restored, said) = restore(&dir.path().join("nothing"), &data);
    assert!(!restored && said.contains("there is no journal"), "{said}");
    fs::write(&file, &before[..before.len() - 1]).unwrap();
    let (restored, said) = restore(&file, &dir.path().join("other"));
    assert!(!restored && said.contains("is damaged"), "{said}");
}
