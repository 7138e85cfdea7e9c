//! Which source wins, and every refusal in the words an operator reads.

use std::fs;
use std::path::Path;

use super::*;

fn sources(dir: &Path, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    Sources {
        file: None,
        directory: dir.to_owned(),
        environment: env.iter().map(owned).collect(),
        flags: flags
            .iter()
            .map(|(key, text)| (*key, (*text).to_owned()))
            .collect(),
    }
}

/// Loads with `toml` as the working directory's file; errors bear `DIR` for that directory.
fn load(
    toml: &str,
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    if !toml.is_empty() {
        fs::write(dir.path().join("fusebox.toml"), toml).unwrap();
    }
    let here = dir.path().display().to_string();
    Config::load(&sources(dir.path(), env, flags))
        .map_err(|error| error.to_string().replace(&here, "DIR"))
}

#[test]
fn without_any_source_the_defaults_hold() {
    assert_eq!(load("", &[], &[]), Ok(Config::default()));
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = "max_connections = 10\nreport_interval = '500ms'\nstore = 'memory'";
    let env = [
        ("FUSEBOX_SERVER_MAX_CONNECTIONS", "20"),
        ("FUSEBOX_SERVER_REPORT_INTERVAL", "3"),
    ];
    let config = load(file, &env, &[("max_connections", "30")]).unwrap();
    assert_eq!(config.max_connections, 30);
    assert_eq!(config.report_interval, Duration::from_secs(3));
    assert_eq!(config.store, StoreKind::Memory);
    assert_eq!(
        config.heartbeat_interval,
        Config::default().heartbeat_interval
    );
}

#[test]
fn every_key_can_be_set_from_every_source() {
    let told = [
        ("grpc_addr", "[::1]:0"),
        ("http_addr", "127.0.0.1:0"),
        ("data_dir", "/srv/fusebox"),
        ("store", "memory"),
        ("allow_remote_plaintext", "true"),
        ("report_interval", "250ms"),
        ("heartbeat_interval", "5"),
        ("max_session_age", "90"),
        ("max_connections", "7"),
        ("history_changes", "70"),
        ("history_versions", "3"),
        ("history_bytes", "2000000"),
        ("log", "warn,fusebox_server=debug"),
        ("log_format", "json"),
    ];
    assert_eq!(told.len(), key::KEYS.len());
    let wanted = Config {
        grpc_addr: "[::1]:0".parse().unwrap(),
        http_addr: "127.0.0.1:0".parse().unwrap(),
        data_dir: "/srv/fusebox".into(),
        store: StoreKind::Memory,
        allow_remote_plaintext: true,
        report_interval: Duration::from_millis(250),
        heartbeat_interval: Duration::from_secs(5),
        max_session_age: Duration::from_secs(90),
        max_connections: 7,
        history_changes: 70,
        history_versions: 3,
        history_bytes: 2_000_000,
        log: Some("warn,fusebox_server=debug".to_owned()),
        log_format: LogFormat::Json,
    };
    let file: Vec<_> = told
        .iter()
        .map(|(key, text)| format!("{key} = '{text}'"))
        .collect();
    let names = told.map(|(key, text)| (Origin::Environment.spell(key), text));
    let env: Vec<_> = names
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    assert_eq!(load(&file.join("\n"), &[], &[]).as_ref(), Ok(&wanted));
    assert_eq!(load("", &env, &[]).as_ref(), Ok(&wanted));
    assert_eq!(load("", &[], &told).as_ref(), Ok(&wanted));
}

#[test]
fn a_file_may_use_numbers_and_booleans() {
    let file = "report_interval = 2\nheartbeat_interval = 0.5\nmax_connections = 3\n\
                allow_remote_plaintext = true";
    let config = load(file, &[], &[]).unwrap();
    assert_eq!(config.report_interval, Duration::from_secs(2));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(500));
    assert_eq!(
        (config.max_connections, config.allow_remote_plaintext),
        (3, true)
    );
}

#[test]
fn a_named_file_is_read_instead_of_the_default_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("fusebox.toml"), "nonsense").unwrap();
    fs::write(dir.path().join("other.toml"), "max_connections = 5").unwrap();
    let mut sources = sources(dir.path(), &[], &[]);
    sources.file = Some(dir.path().join("other.toml"));
    assert_eq!(Config::load(&sources).unwrap().max_connections, 5);
}

#[test]
fn a_named_file_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(dir.path(), &[], &[]);
    sources.file = Some("/nowhere/fusebox.toml".into());
    let said = Config::load(&sources).unwrap_err().to_string();
    assert_eq!(
        said,
        "/nowhere/fusebox.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn other_variables_of_the_environment_are_none_of_its_business() {
    let env = [
        ("FUSEBOX_ENABLED", "false"),
        ("PATH", "/bin"),
        ("SERVER_STORE", "x"),
    ];
    assert_eq!(load("", &env, &[]), Ok(Config::default()));
}

#[test]
fn every_refusal_names_its_source_its_key_its_value_and_what_is_allowed() {
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static [(&'static str, &'static str)],
        &'static str,
    );
    let table: &[Case] = &[
        (
            "grcp_addr = '127.0.0.1:1'",
            &[],
            &[],
            "DIR/fusebox.toml: unknown key grcp_addr; did you mean grpc_addr?",
        ),
        (
            "",
            &[("FUSEBOX_SERVER_DATADIR", "/x")],
            &[],
            "environment: unknown key FUSEBOX_SERVER_DATADIR; did you mean FUSEBOX_SERVER_DATA_DIR?",
        ),
        (
            "",
            &[("FUSEBOX_SERVER_GRPC_ADDR", "localhost")],
            &[],
            "environment: FUSEBOX_SERVER_GRPC_ADDR is \"localhost\"; allowed is an IP address and a \
             port such as 127.0.0.1:7070 or [::1]:7070",
        ),
        (
            "",
            &[],
            &[("store", "etcd")],
            "command line: --store is \"etcd\"; allowed is sled or memory",
        ),
        (
            "report_interval = '1ms'",
            &[],
            &[],
            "DIR/fusebox.toml: report_interval is \"1ms\"; allowed is a duration such as 500ms, 2s \
             or 2 (seconds) from 0.1s to 60s",
        ),
        (
            "heartbeat_interval = 301",
            &[],
            &[],
            "DIR/fusebox.toml: heartbeat_interval is \"301\"; allowed is a duration such as 500ms, \
             2s or 2 (seconds) from 0.1s to 300s",
        ),
        (
            "max_connections = 0",
            &[],
            &[],
            "DIR/fusebox.toml: max_connections is \"0\"; allowed is a number from 1 to 1000000",
        ),
        (
            "log_format = ['text']",
            &[],
            &[],
            "DIR/fusebox.toml: log_format is \"[array]\"; allowed is text or json",
        ),
        (
            "",
            &[("FUSEBOX_SERVER_LOG", "fusebox=loud")],
            &[],
            "environment: FUSEBOX_SERVER_LOG is \"fusebox=loud\"; allowed is a filter such as info \
             or warn,fusebox_server=debug",
        ),
        (
            "allow_remote_plaintext = 'yes'",
            &[],
            &[],
            "DIR/fusebox.toml: allow_remote_plaintext is \"yes\"; allowed is true or false",
        ),
        (
            "",
            &[("FUSEBOX_SERVER_DATA_DIR", "")],
            &[],
            "environment: FUSEBOX_SERVER_DATA_DIR is \"\"; allowed is a directory's path",
        ),
        (
            "",
            &[("FUSEBOX_SERVER_GRPC_ADDR", "0.0.0.0:7070")],
            &[],
            "environment: grpc_addr is 0.0.0.0:7070, which other machines can reach, without TLS or \
             authentication; bind to 127.0.0.1, or say --allow-remote-plaintext",
        ),
        (
            "",
            &[],
            &[("http_addr", "[::]:0")],
            "command line: http_addr is [::]:0, which other machines can reach, without TLS or \
             authentication; bind to 127.0.0.1, or say --allow-remote-plaintext",
        ),
        (
            "",
            &[],
            &[("http_addr", "127.0.0.1:7070")],
            "command line: http_addr is 127.0.0.1:7070, and so is grpc_addr; give each its own port",
        ),
    ];
    for (toml, env, flags, said) in table {
        assert_eq!(load(toml, env, flags), Err((*said).to_owned()));
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_in_one_line_with_the_place() {
    let said = load("store = = 'sled'", &[], &[]).unwrap_err();
    assert!(
        said.starts_with("DIR/fusebox.toml: is not valid TOML: "),
        "{said}"
    );
    assert!(said.contains("line 1") && !said.contains('\n'), "{said}");
}

#[test]
fn with_the_explicit_flag_other_machines_may_reach_it() {
    let flags = [
        ("grpc_addr", "0.0.0.0:7070"),
        ("allow_remote_plaintext", "true"),
    ];
    assert!(load("", &[], &flags).is_ok());
}

#[test]
fn an_ipv4_loopback_written_as_ipv6_is_loopback() {
    assert!(load("", &[], &[("grpc_addr", "[::ffff:127.0.0.1]:7070")]).is_ok());
}

#[test]
fn two_listeners_may_both_ask_for_a_free_port() {
    let flags = [("grpc_addr", "127.0.0.1:0"), ("http_addr", "127.0.0.1:0")];
    assert!(load("", &[], &flags).is_ok());
}

#[test]
fn only_a_wrong_flag_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let usage = |sources| Config::load(&sources).unwrap_err().is_usage();
    assert!(usage(sources(dir.path(), &[], &[("store", "etcd")])));
    assert!(!usage(sources(
        dir.path(),
        &[("FUSEBOX_SERVER_STORE", "etcd")],
        &[]
    )));
}
