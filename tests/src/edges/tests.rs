//! Each checker bites on a made-up breach, and only there.

use serde_json::json;

use super::*;

fn source(file: &str, text: &str) -> Source {
    Source::parse(file, text).unwrap()
}

fn places(breaches: &[Breach]) -> Vec<&str> {
    breaches.iter().map(|breach| breach.at.as_str()).collect()
}

const ROOMS: &[Room] = &[
    Room {
        name: "leaf",
        sees: &[],
    },
    Room {
        name: "policy",
        sees: &["leaf"],
    },
    Room {
        name: "guard",
        sees: &["leaf", "policy"],
    },
];

#[test]
fn a_room_may_name_itself_and_what_the_table_says() {
    let text =
        "use crate::policy::A; use crate::leaf::B; use super::c; fn f() { crate::guard::d() }";
    assert_eq!(check_rooms(&[source("guard/x.rs", text)], ROOMS), []);
}

#[test]
fn a_room_that_names_another_is_told_file_line_and_rule() {
    let breaches = check_rooms(&[source("policy/x.rs", "\nuse crate::guard::A;")], ROOMS);
    let shown = breaches[0].to_string();
    assert_eq!(
        shown,
        "policy/x.rs:2: names crate::guard::A; it may see only leaf"
    );
}

#[test]
fn no_way_of_writing_it_escapes() {
    for text in [
        "use crate::guard;",
        "use crate::{leaf::A, guard::{B}};",
        "use super::super::guard::A;",
        "fn f(x: crate::guard::A) {}",
        "mod inner { use crate::guard::A; }",
        "m!(crate::guard::f());",
        "pub use crate::guard as g;",
        "use crate as everything;",
        "use super::super::*;",
        "use crate::Reexported;",
    ] {
        assert_eq!(
            check_rooms(&[source("policy/x.rs", text)], ROOMS).len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn a_room_that_no_table_knows_is_a_breach_itself() {
    assert_eq!(
        places(&check_rooms(&[source("attic.rs", "")], ROOMS)),
        ["attic.rs"]
    );
}

#[test]
fn the_root_of_a_crate_is_free() {
    let text = "pub mod guard; pub use crate::guard::A; pub use self::policy::B;";
    assert_eq!(check_rooms(&[source("lib.rs", text)], ROOMS), []);
}

const DOORS: &[Door] = &[Door {
    name: "store",
    opens_to: &["control", "app"],
}];

#[test]
fn a_door_opens_to_those_it_names_and_to_itself() {
    let text = "use crate::store::Store;";
    let sources = ["control/x.rs", "app.rs", "store/sled.rs", "lib.rs"];
    assert_eq!(
        check_doors(&sources.map(|file| source(file, text)), DOORS),
        []
    );
}

#[test]
fn a_door_is_shut_to_all_others() {
    let breaches = check_doors(&[source("rpc/x.rs", "use crate::store::Store;")], DOORS);
    let shown = breaches[0].to_string();
    assert_eq!(
        shown,
        "rpc/x.rs:1: names crate::store::Store; only control, app may name store"
    );
}

#[test]
fn a_glob_over_the_whole_crate_goes_through_every_door() {
    let source = source("rpc.rs", "use super::*;");
    assert_eq!(places(&check_doors(&[source], DOORS)), ["rpc.rs:1"]);
}

const WORDS: &[Word] = &[
    Word {
        what: Pattern::Crate("sled"),
        except: &[&["store", "sled"]],
        why: "sled stays in",
    },
    Word {
        what: Pattern::Segments(&["Instant", "now"]),
        except: &[],
        why: "take `now`",
    },
];

#[test]
fn a_word_is_found_in_imports_and_in_expressions() {
    for text in [
        "use sled::Db;",
        "use sled;",
        "fn f() { ::sled::open(); }",
        "fn f() { std::time::Instant::now(); }",
        "fn f() { Instant::now(); }",
        "fn f() { let clock = Instant::now; }",
    ] {
        assert_eq!(
            check_words(&[source("x.rs", text)], WORDS).len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn a_word_is_allowed_where_the_table_says_and_within_other_paths() {
    for file in ["store/sled.rs", "store/sled/record.rs"] {
        assert_eq!(check_words(&[source(file, "use sled::Db;")], WORDS), []);
    }
    for file in ["store.rs", "store/sledge.rs", "sled.rs"] {
        assert_eq!(
            check_words(&[source(file, "use sled::Db;")], WORDS).len(),
            1
        );
    }
    let text = "use crate::store::sled::Sled; // sled::Db, Instant::now()";
    assert_eq!(check_words(&[source("app.rs", text)], WORDS), []);
}

const PACKAGES: &[Package] = &[
    Package {
        name: "core",
        sees: &[],
    },
    Package {
        name: "sdk",
        sees: &["core"],
    },
];

#[test]
fn a_package_may_see_what_its_line_says_and_any_foreign_crate() {
    let metadata = json!({"packages": [
        {"name": "core", "dependencies": [{"name": "thiserror", "kind": null}]},
        {"name": "sdk", "dependencies": [{"name": "core", "kind": null}]},
    ]});
    assert_eq!(check_packages(&metadata, PACKAGES), []);
}

#[test]
fn a_package_may_not_see_another_even_in_its_tests() {
    let metadata = json!({"packages": [
        {"name": "core", "dependencies": [{"name": "sdk", "kind": "dev"}]},
        {"name": "sdk", "dependencies": []},
    ]});
    let breaches = check_packages(&metadata, PACKAGES);
    assert_eq!(
        breaches[0].to_string(),
        "package core: depends on sdk; it may see none"
    );
}

#[test]
fn a_package_that_no_table_knows_is_a_breach_itself() {
    let metadata = json!({"packages": [{"name": "attic", "dependencies": []}]});
    assert_eq!(
        places(&check_packages(&metadata, PACKAGES)),
        ["package attic"]
    );
}

#[test]
fn a_ban_takes_a_crate_and_its_family_but_not_those_of_tests() {
    let ban = Banned {
        packages: &["core"],
        crates: &["tokio"],
        why: "no runtime",
    };
    let on = |name: &str, kind: Value| {
        let dependency = json!({"name": name, "kind": kind});
        let metadata = json!({"packages": [{"name": "core", "dependencies": [dependency]}]});
        check_bans(&metadata, &[ban]).len()
    };
    assert_eq!(
        (on("tokio", Value::Null), on("tokio-util", Value::Null)),
        (1, 1)
    );
    assert_eq!(
        (on("tokio", json!("build")), on("tokio", json!("dev"))),
        (1, 0)
    );
    assert_eq!(on("tokiometer", Value::Null), 0);
}
