//! Where the programs are that the tests drive.
//!
//! `tests/run` installs them and names each in an environment variable. A test run by hand finds
//! them where an earlier `tests/run` left them, next to the test's own binary.

use std::env;
use std::path::{Path, PathBuf};

/// The real grpcurl.
pub fn grpcurl() -> PathBuf {
    tool("FUSEBOX_TEST_GRPCURL", "grpcurl")
}

/// The real OTLP receiver.
pub fn oteltap() -> PathBuf {
    tool("FUSEBOX_TEST_OTELTAP", "oteltap")
}

/// The program under test, `fusebox`.
pub fn fusebox() -> PathBuf {
    find("FUSEBOX_TEST_BIN", "fusebox", beside_tests("fusebox"))
}

/// The tests' own process that links the SDK, `caller`.
pub fn caller() -> PathBuf {
    find("FUSEBOX_TEST_CALLER", "caller", beside_tests("caller"))
}

/// The load harness, `load`.
pub fn load() -> PathBuf {
    find("FUSEBOX_TEST_LOAD", "load", beside_tests("load"))
}

fn tool(variable: &str, name: &str) -> PathBuf {
    let installed = Path::new("../test-tools/venv/bin").join(name);
    find(variable, name, beside_tests(installed))
}

fn find(variable: &str, name: &str, otherwise: PathBuf) -> PathBuf {
    let path = env::var_os(variable).map_or(otherwise, PathBuf::from);
    assert!(
        path.is_file(),
        "{name} is not at {} ({variable}); run tests/run",
        path.display()
    );
    path
}

/// A path from the directory in which cargo leaves programs; tests lie one deeper, in `deps`.
fn beside_tests(path: impl AsRef<Path>) -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let programs = test.parent().and_then(Path::parent);
    programs.expect("cargo's layout").join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "run tests/run")]
    fn a_missing_program_says_what_to_run() {
        find(
            "FUSEBOX_TEST_NO_SUCH",
            "none",
            beside_tests("no such program"),
        );
    }
}
