//! What `fusebox apply` and `diff` ask a server for, and what they make of its answer or of none.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use fusebox_proto::v1::policy_diff::Action;
use fusebox_tests::home::Home;
use fusebox_tests::ports;
use fusebox_tests::process::hermetic;
use fusebox_tests::tools;
use serde_json::Value;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::PAYMENTS;
use super::told::{Told, diff, response};

#[test]
fn apply_sends_the_files_and_says_what_changed() {
    let told = Told::new(Ok(response(vec![
        diff("payments", Action::Update),
        diff("old", Action::Delete),
    ])));
    let url = told.serve().to_string();
    let home = Home::new(&[("payments.yaml", PAYMENTS)]);
    let apply = ["apply", "-f", "payments.yaml", "--server", &url];
    let pruning = ["--prune", "--owner", "team-a", "--author", "ada"];
    let said = home.run(&[&apply[..], &pruning].concat()).assert_good();
    assert_eq!(
        said,
        "update default/payments\n  - rules.timeout.attempt: 1s\n  + rules.timeout.attempt: 0.800s\n\
         delete default/old\n0 created, 1 updated, 1 deleted, 0 unchanged; revision 12\n"
    );
    let (request, author) = told.asked().pop().unwrap();
    assert_eq!(author, "ada");
    assert_eq!(request.policies[0].name, "payments");
    assert_eq!(
        (request.prune, request.owner.as_str(), request.validate_only),
        (true, "team-a", false)
    );

    let dry = home
        .run(&[&apply[..], &["--dry-run", "-o", "json"]].concat())
        .assert_good();
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert_eq!(dry["diffs"][1]["action"], "ACTION_DELETE");
    let (request, author) = told.asked().pop().unwrap();
    assert!(request.validate_only && author.contains('@'), "{author}");
}

#[test]
fn diff_tells_a_script_by_its_exit_status() {
    let home = Home::new(&[("payments.yaml", PAYMENTS), ("bad.yaml", "name: [\n")]);
    for (answer, file, status) in [
        (
            Ok(response(vec![diff("payments", Action::Unchanged)])),
            "payments.yaml",
            0,
        ),
        (
            Ok(response(vec![diff("payments", Action::Update)])),
            "payments.yaml",
            1,
        ),
        (Err(Status::unavailable("no disk")), "payments.yaml", 2),
        (Ok(response(Vec::new())), "bad.yaml", 2),
        (Ok(response(Vec::new())), "missing.yaml", 2),
    ] {
        let told = Told::new(answer);
        let url = told.serve().to_string();
        let ended = home.run(&["diff", "-f", file, "--server", &url]);
        assert_eq!(ended.status, status, "{}{}", ended.out, ended.err);
        assert!(
            told.asked()
                .iter()
                .all(|(request, _)| request.validate_only)
        );
    }
}

#[test]
fn what_the_server_refuses_is_told_where_it_stands_in_the_files() {
    let mut details = ErrorDetails::new();
    for (field, description) in [
        ("policies[1].rules.timeout.attempt", "is not to my liking"),
        ("policies[1].rules.retry.max_attempts", "is missing"),
        ("owner", "needs prune"),
    ] {
        details.add_bad_request_violation(field, description);
    }
    let status = Status::with_error_details(tonic::Code::InvalidArgument, "refused", details);
    let url = Told::new(Err(status)).serve().to_string();
    let ledger = PAYMENTS.replace("payments", "ledger");
    let home = Home::new(&[("p/a.yaml", PAYMENTS), ("p/b.yaml", &ledger)]);
    let ended = home.run(&["apply", "-f", "p", "--server", &url]);
    assert_eq!(
        ended.assert_refused(1),
        [
            "p/b.yaml:8:14: rules.timeout.attempt: is not to my liking",
            "p/b.yaml:6:1: rules.retry.max_attempts: is missing",
            "request: owner: needs prune",
            "fusebox: the server refused: 3 errors; nothing was changed",
        ]
    );
}

#[test]
fn files_that_are_wrong_are_never_sent() {
    let told = Told::new(Ok(response(Vec::new())));
    let url = told.serve().to_string();
    let home = Home::new(&[
        ("p/a.yaml", PAYMENTS),
        ("p/b.yaml", "name: b\n"),
        ("none.yaml", ""),
    ]);
    for file in ["p", "none.yaml"] {
        let ended = home.run(&["apply", "-f", file, "--server", &url]);
        ended.assert_refused(1);
    }
    assert_eq!(told.asked().len(), 0);
    let pruning = ["--prune", "--owner", "a", "--allow-empty"];
    let apply = ["apply", "-f", "none.yaml", "--server", &url];
    home.run(&[&apply[..], &pruning].concat()).assert_good();
    assert!(told.asked()[0].0.allow_empty);
}

#[test]
fn an_empty_owner_or_namespace_is_refused_and_never_means_all_of_them() {
    let told = Told::new(Ok(response(Vec::new())));
    let url = told.serve().to_string();
    let home = Home::new(&[
        ("payments.yaml", PAYMENTS),
        (
            "grpc.json",
            r#"{"methodConfig": [{"name": [{"service": "a"}], "timeout": "1s"}]}"#,
        ),
    ]);
    let server = format!("--server {url}");
    let import = "import grpc-service-config grpc.json".to_owned();
    for (command, flag) in [
        (
            format!("apply {server} -f payments.yaml --prune"),
            "--owner",
        ),
        (
            format!("apply {server} -f payments.yaml --prune --owner team-a"),
            "--namespace",
        ),
        (format!("diff {server} -f payments.yaml --prune"), "--owner"),
        (
            format!("diff {server} -f payments.yaml --prune --owner team-a"),
            "--namespace",
        ),
        (format!("export {server}"), "--owner"),
        (format!("export {server}"), "--namespace"),
        (format!("export {server}"), "--service"),
        (import.clone(), "--owner"),
        (import.clone(), "--namespace"),
        (import, "--service"),
    ] {
        let words: Vec<_> = command.split(' ').chain([flag, ""]).collect();
        let ended = home.run(&words);
        let lines = ended.assert_refused(2);
        assert!(lines[0].contains(flag), "{command}: {lines:?}");
    }
    assert_eq!(told.asked().len(), 0);
}

/// Runs the program with outputs of one's own; how it ended, and what it said on a piped error.
fn run_into(out: Stdio, err: Stdio, home: &Home, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(tools::fusebox());
    let command = hermetic(&mut command).args(arguments);
    let command = command.current_dir(home.path("")).stdin(Stdio::null());
    let ended = command.stdout(out).stderr(err).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    (ended.status.code().unwrap(), err)
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

fn full() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.unwrap().into()
}

#[test]
fn what_was_applied_or_compared_is_so_whether_or_not_it_can_be_printed() {
    let home = Home::new(&[("payments.yaml", PAYMENTS)]);
    for (command, action, status) in [
        ("apply", Action::Update, 0),
        ("diff", Action::Update, 1),
        ("diff", Action::Unchanged, 0),
    ] {
        let url = Told::new(Ok(response(vec![diff("payments", action)])))
            .serve()
            .to_string();
        for form in ["text", "json"] {
            let words = [command, "-f", "payments.yaml", "--server", &url, "-o", form];
            assert_eq!(
                run_into(closed(), Stdio::piped(), &home, &words),
                (status, String::new()),
                "{command} -o {form}"
            );
            let nowhere = run_into(full(), full(), &home, &words);
            assert_eq!(nowhere.0, status, "{command} -o {form}");
            let (ended, err) = run_into(full(), Stdio::piped(), &home, &words);
            assert_eq!((ended, err.lines().count()), (status, 1), "{err}");
            assert!(err.contains("standard output"), "{err}");
        }
    }
}

#[test]
fn an_apply_that_may_have_been_done_is_told_so_and_not_as_refused() {
    let home = Home::new(&[("payments.yaml", PAYMENTS)]);
    let ended = |status: Status, words: &str| {
        let url = Told::new(Err(status)).serve().to_string();
        let words: Vec<_> = words.split(' ').chain(["--server", &url]).collect();
        home.run(&words)
    };
    for doubtful in [
        Status::unavailable("lost the disk"),
        Status::deadline_exceeded("lost the disk"),
        Status::cancelled("lost the disk"),
        Status::unknown("lost the disk"),
        Status::internal("lost the disk"),
    ] {
        let apply = ended(doubtful.clone(), "apply -f payments.yaml");
        let lines = apply.assert_refused(1);
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in ["may or may not have been applied", "`fusebox diff`"] {
            assert!(lines[0].contains(part), "{part}: {lines:?}");
        }
        assert!(!lines[0].contains("refused"), "{lines:?}");
        for (words, status) in [
            ("apply -f payments.yaml --dry-run", 1),
            ("diff -f payments.yaml", 2),
            ("export", 1),
        ] {
            let asked = ended(doubtful.clone(), words);
            let lines = asked.assert_refused(status);
            assert!(!lines[0].contains("have been applied"), "{lines:?}");
        }
    }
    let refused = ended(Status::aborted("another etag"), "apply -f payments.yaml");
    assert_eq!(
        refused.assert_refused(1),
        ["fusebox: the server refused: another etag (Aborted)"]
    );
}

#[test]
fn a_server_that_is_lost_during_an_apply_leaves_it_in_doubt() {
    let home = Home::new(&[("payments.yaml", PAYMENTS)]);
    let listener = ports::listener();
    let url = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // What every HTTP/2 client says first (RFC 9113, 3.4).
            stream.read_exact(&mut [0; 24]).ok();
        }
    });
    let ended = home.run(&["apply", "-f", "payments.yaml", "--server", &url]);
    let lines = ended.assert_refused(1);
    for part in ["did not answer", "may or may not have been applied"] {
        assert!(lines.len() == 1 && lines[0].contains(part), "{lines:?}");
    }
}

#[test]
fn what_pruning_passes_over_in_a_directory_is_named() {
    let told = Told::new(Ok(response(Vec::new())));
    let url = told.serve().to_string();
    let home = Home::new(&[
        ("p/payments.yaml", PAYMENTS),
        ("p/.hidden.txt", ""),
        ("p/eu/ledger.yaml.bak", ""),
        ("p/refunds.txt", &PAYMENTS.replace("payments", "refunds")),
    ]);
    let files = ["-f", "p", "-f", "p/refunds.txt", "--server", &url];
    let pruning = ["--prune", "--owner", "team-a"];
    for command in ["apply", "diff"] {
        let plain = home.run(&[&[command], &files[..]].concat());
        assert_eq!((plain.status, plain.err.as_str()), (0, ""));
        let pruned = home.run(&[&[command], &files[..], &pruning].concat());
        assert_eq!(
            (pruned.status, pruned.err.as_str()),
            (
                0,
                "p/eu/ledger.yaml.bak: warning: is not read, and what it holds may be pruned: \
                 it is no file *.yaml, *.yml or *.json\n"
            )
        );
    }
    for number in 0..30 {
        home.put(&format!("p/old/{number}.txt"), b"");
    }
    let many = home.run(&[&["apply"], &files[..], &pruning].concat());
    let lines: Vec<_> = many.err.lines().collect();
    assert_eq!((many.status, lines.len()), (0, 21), "{lines:?}");
    assert_eq!(lines[20], "and 11 more");
}
