//! Starts that must not be: one clear line on standard error that says what to do, an exit status
//! that is not zero, and nothing overwritten.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fusebox_tests::lines::Stream;
use fusebox_tests::operator::assert_unharmed;
use fusebox_tests::process::{Process, hermetic};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::tools;
use serde_json::{Value, json};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(30);
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Left by whoever holds the directory, for people; it may change at every try.
const LOCK: &str = "LOCK";

/// `fusebox serve` on any ports, in a directory of its own.
fn serve(home: &Path) -> Command {
    let mut command = Command::new(tools::fusebox());
    hermetic(&mut command).arg("serve").current_dir(home);
    command
}

fn on_any_ports(home: &Path, data: &Path) -> Command {
    let mut command = serve(home);
    command.args([
        "--grpc-addr",
        "127.0.0.1:0",
        "--http-addr",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    command.arg(data);
    command
}

/// The exit status, and the one line that a start was refused with.
fn refusal(command: &mut Command) -> (i32, String) {
    let mut process = Process::spawn("fusebox", command);
    let status = process.wait_exit(LONG);
    let lines = process.lines();
    assert_eq!(lines.text(Stream::Out), "", "nothing is ready");
    let said = lines.text(Stream::Err);
    assert_eq!(said.lines().count(), 1, "one line, not:\n{said}");
    let status = status.code().unwrap_or_else(|| panic!("{status}: {said}"));
    assert_ne!(status, 0, "{said}");
    (status, said.trim_end().to_owned())
}

fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
}

/// Every file below, by path, with all its bytes; but for the lock's.
fn contents(directory: &Path) -> Files {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else if path.file_name().is_none_or(|name| name != LOCK) {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// The files that are not as they were, the new and the gone included.
fn changed<'a>(before: &'a Files, after: &'a Files) -> Vec<&'a Path> {
    let both = before.iter().chain(after);
    let differs = both.filter(|(path, _)| before.get(*path) != after.get(*path));
    let mut paths: Vec<_> = differs.map(|(path, _)| path.as_path()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// A data directory with policies in it that nobody uses any more.
struct Written {
    home: TempDir,
    policies: Vec<Value>,
}

impl Written {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(Options::new().data_dir(home.path().join("data")));
        for i in 0..8 {
            let policy = json!({
                "name": format!("policy-{i}"),
                "selector": {"service": "checkout"},
                "description": "d".repeat(300),
            });
            server.grpcurl().create(&policy).unwrap();
        }
        let policies = server.grpcurl().all_policies().unwrap();
        server.terminate();
        assert!(server.wait_exit(LONG).success());
        Self { home, policies }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn journal(&self) -> PathBuf {
        let files = contents(&self.data()).into_keys();
        let mut journals = files.filter(|path| path.to_string_lossy().contains("journal"));
        journals.next().expect("a journal in the data directory")
    }

    fn index(&self) -> PathBuf {
        self.data().join("sled")
    }

    /// A start fails with one line, and leaves every byte as it found it; but for the index, which
    /// is a copy that looking at may tidy up.
    fn refused(&self) -> String {
        let before = contents(&self.data());
        let (_, line) = refusal(&mut on_any_ports(self.home.path(), &self.data()));
        let (after, index) = (contents(&self.data()), self.index());
        let mut changed = changed(&before, &after);
        changed.retain(|path| !self.data().join(path).starts_with(&index));
        assert_eq!(changed, [] as [&Path; 0], "{line}");
        line
    }

    /// A start goes well, and every policy is there.
    fn assert_whole(&self) {
        let server = Server::start(Options::new().data_dir(self.data()));
        assert_eq!(server.grpcurl().all_policies().unwrap(), self.policies);
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x20;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_data_directory_in_use_is_refused_and_its_holder_goes_on() {
    let mut server = Server::start(Options::new());
    let policy = json!({"name": "payments", "selector": {"operation": "*"}});
    let stored = server.grpcurl().create(&policy).unwrap();
    let data = server.data_dir();
    let home = tempfile::tempdir().unwrap();
    let (_, line) = refusal(&mut on_any_ports(home.path(), &data));
    let pid = server.pid().to_string();
    assert_says(&line, &["in use", &pid, &data.to_string_lossy()]);
    assert_eq!(server.grpcurl().policy("payments").unwrap(), stored);
    assert_unharmed(&server);
    // The dead hold nothing.
    server.restart();
    assert_eq!(server.grpcurl().policy("payments").unwrap(), stored);
}

#[test]
fn a_data_directory_that_cannot_be_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "somebody's").unwrap();
    for data in [file.clone(), file.join("below")] {
        let (_, line) = refusal(&mut on_any_ports(home.path(), &data));
        assert_says(&line, &[&data.to_string_lossy(), "directory"]);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
}

#[test]
fn a_data_directory_that_cannot_be_written_to_is_refused() {
    let home = tempfile::tempdir().unwrap();
    // Root may write everywhere, but not even root here.
    let data = Path::new("/proc/fusebox-data");
    let (_, line) = refusal(&mut on_any_ports(home.path(), data));
    assert_says(&line, &["cannot write", "/proc/fusebox-data"]);
}

#[test]
fn a_damaged_journal_is_refused_wherever_the_damage_is_and_nothing_is_changed() {
    let written = Written::new();
    let journal = written.journal();
    let whole = fs::read(&journal).unwrap();
    for share in [0, 10, 35, 50, 75, 99] {
        flip(&journal, (whole.len() - 1) * share / 100);
        let line = written.refused();
        assert_says(&line, &[&journal.to_string_lossy()]);
        assert!(
            line.contains("backup") || line.contains("newer"),
            "what to do: {line}"
        );
        fs::write(&journal, &whole).unwrap();
    }
    written.assert_whole();
}

#[test]
fn a_journal_that_has_lost_acknowledged_writes_is_refused() {
    let written = Written::new();
    let journal = written.journal();
    let whole = fs::read(&journal).unwrap();
    for kept in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&journal, &whole[..kept]).unwrap();
        assert_says(&written.refused(), &[&journal.to_string_lossy(), "backup"]);
    }
    fs::remove_file(&journal).unwrap();
    assert_says(&written.refused(), &[&journal.to_string_lossy(), "backup"]);
    assert!(!journal.exists(), "no new one hides the loss");
    fs::write(&journal, &whole).unwrap();
    written.assert_whole();
}

/// What can become of a file: other bytes, none, fewer, or one that has flipped.
fn damages(file: &Path, whole: &[u8]) -> Vec<(PathBuf, Vec<u8>)> {
    let flipped = |share: usize| {
        let mut bytes = whole.to_vec();
        bytes[(whole.len() - 1) * share / 100] ^= 0x20;
        bytes
    };
    let mut damages: Vec<_> = [0, 1, 30, 60, 100].map(flipped).into();
    damages.extend([
        vec![b'x'; whole.len()],
        vec![0; whole.len()],
        whole[..whole.len() / 2].into(),
    ]);
    damages
        .into_iter()
        .map(|damage| (file.to_owned(), damage))
        .collect()
}

#[test]
fn a_damaged_index_is_set_aside_loudly_and_everything_is_there() {
    let written = Written::new();
    let files = contents(&written.data());
    let mut set_aside = 0;
    let of_index = files
        .iter()
        .filter(|(path, _)| path.starts_with(written.index()));
    for (file, damage) in of_index.flat_map(|(file, whole)| damages(file, whole)) {
        fs::write(&file, damage).unwrap();
        let server = Server::start(Options::new().data_dir(written.data()));
        let aside: Vec<_> = fs::read_dir(written.data())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("sled.damaged-"))
            .collect();
        if let [aside] = &*aside {
            set_aside += 1;
            let said = server.lines().dump();
            assert_says(
                &said,
                &[&aside.to_string_lossy(), "ERROR", "nothing is lost"],
            );
            fs::remove_dir_all(aside).unwrap();
        }
        drop(server);
        written.assert_whole();
        fs::remove_dir_all(written.index()).unwrap();
        fs::create_dir(written.index()).unwrap();
        for (path, bytes) in &files {
            fs::write(path, bytes).unwrap();
        }
    }
    assert_ne!(set_aside, 0);
}

#[test]
fn a_setting_that_nobody_knows_is_refused_with_the_one_that_was_meant() {
    let home = tempfile::tempdir().unwrap();
    let mut command = on_any_ports(home.path(), &home.path().join("data"));
    let (_, line) = refusal(command.env("FUSEBOX_SERVER_REPORT_INTERVALL", "1s"));
    assert_says(
        &line,
        &[
            "FUSEBOX_SERVER_REPORT_INTERVALL",
            "FUSEBOX_SERVER_REPORT_INTERVAL?",
        ],
    );
    fs::write(home.path().join("fusebox.toml"), "data_dri = \"x\"\n").unwrap();
    let (_, line) = refusal(&mut on_any_ports(home.path(), &home.path().join("data")));
    assert_says(&line, &["fusebox.toml", "data_dri", "data_dir"]);
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_setting_that_cannot_be_is_refused_with_its_value_and_what_would_do() {
    let home = tempfile::tempdir().unwrap();
    for (name, value, allowed) in [
        ("FUSEBOX_SERVER_GRPC_ADDR", "localhost", "127.0.0.1:"),
        ("FUSEBOX_SERVER_REPORT_INTERVAL", "1ms", "0.1s"),
        ("FUSEBOX_SERVER_STORE", "floppy", "memory"),
    ] {
        let (_, line) = refusal(serve(home.path()).env(name, value));
        assert_says(&line, &[name, value, allowed]);
    }
    let (status, line) = refusal(serve(home.path()).args(["--http-addr", "7071"]));
    assert_says(&line, &["--http-addr", "7071"]);
    assert_eq!(status, 2, "a wrong command line");
    assert!(!home.path().join("fusebox-data").exists());
}

#[test]
fn an_address_beyond_loopback_wants_an_explicit_word() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for key in ["grpc_addr", "http_addr"] {
        let flag = format!("--{}", key.replace('_', "-"));
        for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let mut command = serve(home.path());
            let (_, line) = refusal(command.arg("--data-dir").arg(&data).args([&flag, addr]));
            assert_says(&line, &[key, addr, "--allow-remote-plaintext"]);
        }
    }
    assert!(!data.exists());
    let mut command = serve(home.path());
    command.args([
        "--grpc-addr",
        "0.0.0.0:0",
        "--http-addr",
        "0.0.0.0:0",
        "--data-dir",
    ]);
    let process = Process::spawn(
        "fusebox",
        command.arg(&data).arg("--allow-remote-plaintext"),
    );
    process.wait_for_line("is ready: gRPC 0.0.0.0:", LONG);
}

#[test]
fn an_address_in_use_is_refused_and_no_directory_is_made() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let data = home.path().join("data");
    for (flag, other) in [
        ("--grpc-addr", "--http-addr"),
        ("--http-addr", "--grpc-addr"),
    ] {
        let mut command = serve(home.path());
        command.args([flag, &addr, other, "127.0.0.1:0", "--data-dir"]);
        let (_, line) = refusal(command.arg(&data));
        assert_says(&line, &[&addr, "in use", &flag[2..6]]);
    }
    assert!(!data.exists());
}
