//! Holds the import edges of ARCHITECTURE.md against the manifests and the sources as they are.
//!
//! The tables below *are* the architecture's rules; the checkers are `fusebox_tests::edges`. A room
//! that is not built yet breaks nothing, and each table is shown to bite on a made-up breach. A new
//! package or room of core wants a line here: that line is a decision.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use fusebox_tests::edges::{
    Banned, Breach, Door, Package, Pattern, Room, Word, check_bans, check_doors, check_packages,
    check_rooms, check_words,
};
use fusebox_tests::source::{InvalidSource, Source, read_tree};
use serde_json::{Value, json};

/// Server and SDK meet in `fusebox-cli` and `fusebox-tests` and nowhere else. `fusebox-load` drives
/// the server as a program, and is a client of its own.
const PACKAGES: &[Package] = &[
    Package {
        name: "fusebox-core",
        sees: &[],
    },
    Package {
        name: "fusebox-proto",
        sees: &["fusebox-core"],
    },
    Package {
        name: "fusebox-server",
        sees: &["fusebox-core", "fusebox-proto"],
    },
    Package {
        name: "fusebox-macros",
        sees: &[],
    },
    Package {
        name: "fusebox",
        sees: &["fusebox-core", "fusebox-proto", "fusebox-macros"],
    },
    Package {
        name: "fusebox-bench",
        sees: &["fusebox", "fusebox-core", "fusebox-proto"],
    },
    Package {
        name: "fusebox-cli",
        sees: &["fusebox", "fusebox-core", "fusebox-proto", "fusebox-server"],
    },
    Package {
        name: "fusebox-tests",
        sees: &["fusebox", "fusebox-core", "fusebox-proto", "fusebox-server"],
    },
    Package {
        name: "fusebox-load",
        sees: &["fusebox-proto", "fusebox-tests"],
    },
];

const BANNED: &[Banned] = &[
    Banned {
        packages: &["fusebox-core"],
        crates: &[
            "tokio",
            "tonic",
            "prost",
            "sled",
            "axum",
            "hyper",
            "tower",
            "tracing",
            "opentelemetry",
            "quanta",
            "futures",
        ],
        why: "core names no clock, runtime, socket or wire type",
    },
    Banned {
        packages: &["fusebox-proto", "fusebox", "fusebox-macros", "fusebox-cli"],
        crates: &["sled"],
        why: "the store is the server's own business",
    },
];

const LEAVES: &[&str] = &[
    "atomics", "glob", "key", "lane", "outcome", "random", "revision", "time",
];
const POLICY_AND_LEAVES: &[&str] = &[
    "policy", "atomics", "glob", "key", "lane", "outcome", "random", "revision", "time",
];

const CORE_ROOMS: &[Room] = &[
    Room {
        name: "atomics",
        sees: LEAVES,
    },
    Room {
        name: "glob",
        sees: LEAVES,
    },
    Room {
        name: "key",
        sees: LEAVES,
    },
    Room {
        name: "lane",
        sees: LEAVES,
    },
    Room {
        name: "outcome",
        sees: LEAVES,
    },
    Room {
        name: "random",
        sees: LEAVES,
    },
    Room {
        name: "revision",
        sees: LEAVES,
    },
    Room {
        name: "time",
        sees: LEAVES,
    },
    Room {
        name: "policy",
        sees: LEAVES,
    },
    Room {
        name: "guard",
        sees: POLICY_AND_LEAVES,
    },
    Room {
        name: "sync",
        sees: POLICY_AND_LEAVES,
    },
    Room {
        name: "stats",
        sees: LEAVES,
    },
];

const NO_CLOCK: &str = "core takes `now` as an argument";

const CORE_WORDS: &[Word] = &[
    Word {
        what: Pattern::Segments(&["Instant", "now"]),
        except: &[],
        why: NO_CLOCK,
    },
    Word {
        what: Pattern::Segments(&["SystemTime", "now"]),
        except: &[],
        why: NO_CLOCK,
    },
    Word {
        what: Pattern::Segments(&["std", "time", "Instant"]),
        except: &[],
        why: "its `elapsed` reads the clock; core has an Instant of its own",
    },
];

/// Only `app` wires. `control` writes to the store; `distribution` learns of writes from its watch;
/// `telemetry` reads what it shows.
const SERVER_DOORS: &[Door] = &[
    Door {
        name: "app",
        opens_to: &[],
    },
    Door {
        name: "rpc",
        opens_to: &["app"],
    },
    Door {
        name: "http",
        opens_to: &["app"],
    },
    Door {
        name: "control",
        opens_to: &["rpc", "http", "app"],
    },
    Door {
        name: "distribution",
        opens_to: &["rpc", "telemetry", "app"],
    },
    Door {
        name: "fleet",
        opens_to: &["rpc", "http", "distribution", "telemetry", "app"],
    },
    Door {
        name: "store",
        opens_to: &["control", "distribution", "app"],
    },
];

const SERVER_WORDS: &[Word] = &[Word {
    what: Pattern::Crate("sled"),
    except: &[&["store", "sled"]],
    why: "sled stays in store::sled; for the module of that name write `self::sled` or its type",
}];

#[test]
fn packages_depend_only_downwards() {
    assert_none(&check_packages(&metadata(), PACKAGES));
}

#[test]
fn core_depends_on_no_runtime_wire_or_store() {
    assert_none(&check_bans(&metadata(), BANNED));
}

#[test]
fn rooms_of_core_see_only_what_they_may() {
    assert_none(&check_rooms(&sources("core"), CORE_ROOMS));
}

#[test]
fn core_reads_no_clock() {
    assert_none(&check_words(&sources("core"), CORE_WORDS));
}

#[test]
fn only_app_wires_the_server() {
    assert_none(&check_doors(&sources("server"), SERVER_DOORS));
}

#[test]
fn sled_stays_in_its_own_file() {
    assert_none(&check_words(&sources("server"), SERVER_WORDS));
}

#[test]
fn the_package_table_bites() {
    for (package, dependency) in [
        ("fusebox-server", "fusebox"),
        ("fusebox", "fusebox-server"),
        ("fusebox-core", "fusebox-proto"),
        ("fusebox-proto", "fusebox-server"),
        ("fusebox-bench", "fusebox-server"),
        ("fusebox-load", "fusebox"),
    ] {
        let metadata = made_up(package, dependency);
        assert_eq!(
            check_packages(&metadata, PACKAGES).len(),
            1,
            "{package} -> {dependency}"
        );
    }
    assert_none(&check_packages(
        &made_up("fusebox-cli", "fusebox-server"),
        PACKAGES,
    ));
}

#[test]
fn the_bans_bite() {
    for dependency in [
        "tokio",
        "tonic-prost",
        "prost-types",
        "sled",
        "futures-core",
    ] {
        let metadata = made_up("fusebox-core", dependency);
        assert_eq!(check_bans(&metadata, BANNED).len(), 1, "{dependency}");
    }
    assert_none(&check_bans(&made_up("fusebox-server", "sled"), BANNED));
}

#[test]
fn the_rooms_of_core_bite() {
    for (file, room) in [
        ("key.rs", "policy"),
        ("time.rs", "stats"),
        ("policy/cascade/mod.rs", "guard"),
        ("guard/breaker/mod.rs", "stats"),
        ("guard/retry.rs", "sync"),
        ("sync/history.rs", "guard"),
        ("sync/replica.rs", "stats"),
        ("stats/fleet.rs", "policy"),
    ] {
        assert_eq!(
            check_rooms(&[naming(file, room)], CORE_ROOMS).len(),
            1,
            "{file} -> {room}"
        );
    }
    for (file, room) in [("guard/retry.rs", "policy"), ("stats/totals.rs", "outcome")] {
        assert_none(&check_rooms(&[naming(file, room)], CORE_ROOMS));
    }
}

#[test]
fn the_clocks_bite() {
    for text in [
        "fn f() { let now = Instant::now(); }",
        "fn f() -> bool { std::time::SystemTime::now() > x }",
        "use std::time::{Duration, Instant};",
    ] {
        let source = Source::parse("guard/x.rs", text).unwrap();
        assert_eq!(check_words(&[source], CORE_WORDS).len(), 1, "{text}");
    }
}

#[test]
fn the_doors_of_the_server_bite() {
    for (file, room) in [
        ("rpc/policy.rs", "store"),
        ("rpc/policy.rs", "http"),
        ("http/page.rs", "store"),
        ("fleet.rs", "store"),
        ("fleet.rs", "control"),
        ("control/mod.rs", "rpc"),
        ("control/mod.rs", "fleet"),
        ("control/mod.rs", "distribution"),
        ("distribution/mod.rs", "control"),
        ("store/sled.rs", "control"),
        ("config.rs", "app"),
    ] {
        let breaches = check_doors(&[naming(file, room)], SERVER_DOORS);
        assert_eq!(breaches.len(), 1, "{file} -> {room}");
    }
    for (file, room) in [
        ("distribution/mod.rs", "store"),
        ("rpc/a.rs", "control"),
        ("rpc/a.rs", "fleet"),
        ("app.rs", "rpc"),
    ] {
        assert_none(&check_doors(&[naming(file, room)], SERVER_DOORS));
    }
}

#[test]
fn the_word_sled_bites() {
    let text = "fn f() -> sled::Db { sled::open(x) }";
    let breaches = |file| check_words(&[Source::parse(file, text).unwrap()], SERVER_WORDS).len();
    assert_eq!((breaches("app.rs"), breaches("store/mod.rs")), (2, 2));
    assert_eq!(breaches("store/sled.rs"), 0);
}

/// All of them, a line each, so that one run shows the whole repair.
fn assert_none(breaches: &[Breach]) {
    let lines: Vec<_> = breaches
        .iter()
        .map(|breach| format!("\n  {breach}"))
        .collect();
    assert!(
        lines.is_empty(),
        "broken edges (see ARCHITECTURE.md):{}",
        lines.concat()
    );
}

fn naming(file: &str, room: &str) -> Source {
    Source::parse(file, &format!("use crate::{room}::Thing;")).expect("a made-up source is Rust")
}

/// A workspace of two packages, the first of which depends on the second.
fn made_up(package: &str, dependency: &str) -> Value {
    let known = PACKAGES.iter().any(|known| known.name == dependency);
    let mut packages = vec![json!({
        "name": package,
        "dependencies": [{"name": dependency, "kind": null}],
    })];
    if known {
        packages.push(json!({"name": dependency, "dependencies": []}));
    }
    json!({ "packages": packages })
}

fn metadata() -> Value {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]);
    let output = command
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {error}");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn sources(package: &str) -> Vec<Source> {
    let sources = read_tree(&workspace().join(package).join("src")).into_iter();
    let readable = |source: Result<Source, InvalidSource>| {
        source.unwrap_or_else(|error| panic!("{package}/src/{}: {}", error.file, error.reason))
    };
    let sources: Vec<_> = sources.map(readable).collect();
    assert!(!sources.is_empty(), "{package}/src has sources");
    sources
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
