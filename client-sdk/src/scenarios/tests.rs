//! Every file of scenarios, and the driver itself.

use std::collections::BTreeSet;

use super::*;

/// A test for each file.
macro_rules! files {
    ($($name:ident),+ $(,)?) => {
        /// All files there are.
        const FILES: &[&str] = &[$(concat!(stringify!($name), ".txt")),+];

        $(
            #[test]
            fn $name() {
                if let Err(failures) = replay(concat!(stringify!($name), ".txt")) {
                    panic!("{failures}");
                }
            }
        )+
    };
}

files! {
    adaptive,
    breaker,
    bulkhead,
    dropped,
    half_open,
    hedge,
    hostile,
    operator,
    rate,
    reload,
    retry,
    rules,
    shadow,
    together,
    window,
}

/// How many scenarios the specification numbers.
const NUMBERED: u32 = 40;

fn all() -> Vec<Scenario> {
    let read = |file: &&str| read(file).expect("files that can be read").1;
    FILES.iter().flat_map(read).collect()
}

#[test]
fn every_file_of_scenarios_is_replayed() {
    let entries = std::fs::read_dir(path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<_> = names.filter(|name| name.ends_with(".txt")).collect();
    let replayed = FILES.iter().map(|&file| file.to_owned()).collect();
    assert_eq!(found, replayed);
}

#[test]
fn the_readme_s_example_is_one() {
    let readme = std::fs::read_to_string(path("README.md")).unwrap();
    let blocks: Vec<_> = readme.split("```").collect();
    let example = blocks.iter().find(|block| block.trim().starts_with("== "));
    let scenarios = parse::parse(example.unwrap()).unwrap();
    for scenario in &scenarios {
        assert_eq!(play::play(scenario), Ok(()));
    }
}

#[test]
fn every_numbered_scenario_of_the_specification_is_there() {
    let numbers: BTreeSet<_> = all()
        .iter()
        .filter_map(|scenario| scenario.number)
        .collect();
    assert_eq!(numbers, (1..=NUMBERED).collect());
}

#[test]
fn no_two_scenarios_make_the_same_claim_and_each_does_something() {
    let mut claims = BTreeSet::new();
    for scenario in all() {
        let heading = scenario.heading();
        assert!(!scenario.steps.is_empty(), "{heading}");
        assert!(claims.insert(scenario.title), "twice: {heading}");
    }
}

/// The first thing that is otherwise than `script` says, and in which of its lines.
fn failure(script: &str) -> (usize, String) {
    let text = format!("== a claim\n{script}");
    let scenarios = parse::parse(&text).unwrap_or_else(|mistake| panic!("{script}: {mistake:?}"));
    let played = play::play(&scenarios[0]);
    let Mistake { line, what } = played.expect_err(script);
    (line - 1, what)
}

#[test]
fn a_wrong_expectation_is_noticed_and_told_with_its_line_and_both_sides() {
    for (line, script, what) in [
        (
            1,
            "call S -> failed",
            "expected `failed`, found `ok by=1 took=0s`",
        ),
        (
            1,
            "call F -> ok",
            "expected `ok`, found `failed by=1 took=0s`",
        ),
        (
            1,
            "call -> refused circuit_open",
            "found `failed attempts=1 by=1 took=0s`",
        ),
        (1, "call S -> ok by=2", "expected `ok by=2`, found `ok by=1"),
        (1, "call S S", "found `ok attempts=1"),
        (
            2,
            "rules attempts=2 base=1s\ncall F -> failed took=1s",
            "found `failed attempts=2",
        ),
        (
            2,
            "rules attempts=2 base=1s\ncall F F",
            "found `failed took=1s",
        ),
        (
            1,
            "call after 1s S -> ok took=2s",
            "expected `ok took=2s`, found `ok by=1 took=1s`",
        ),
        (
            1,
            "call after 1s S -> ok took=2s..3s",
            "found `ok by=1 took=1s`",
        ),
        (1, "call after 1s S", "expected `ok`, found `ok took=1s"),
        (
            1,
            "call T -> timed out overall took=5s",
            "found `timed out attempt",
        ),
        (1, "call x3 together S -> failed", "found `ok"),
        (1, "state open", "expected `open`, found `closed for=0s`"),
        (1, "state closed ramp=10%", "found `closed"),
        (
            2,
            "force it open\nstate closed",
            "found `closed forced=open",
        ),
        (
            3,
            "rules consecutive_failures=1 open=1m\ncall F\ncall -> refused circuit_open",
            "retry_after=60s",
        ),
        (
            3,
            "rules consecutive_failures=1 open=1m\ncall F\ncall -> refused circuit_open retry_after=59s",
            "retry_after=60s",
        ),
        (
            4,
            "rules consecutive_failures=1 open=1s\ncall F\n+1s\nstate open",
            "found `open probe_due for=1s`",
        ),
        (
            3,
            "rules consecutive_failures=1\ncall F\nno events",
            "closed -> open: 1 consecutive failures",
        ),
        (
            1,
            "event closed -> open: 1 consecutive failures",
            "found `no event`",
        ),
        (
            3,
            "rules consecutive_failures=1\ncall F\nevent closed -> open: 2 consecutive failures",
            "found `closed -> open: 1",
        ),
        (
            2,
            "call F\ncounts failure=2",
            "expected `failure=2`, found `failure=1`",
        ),
        (2, "call F\ncounts nothing", "found `failure=1`"),
        (2, "call F\ncounts failure=1 retries=1", "found `failure=1`"),
        (2, "begin a b: ?\ninside a", "expected `a`, found `a b`"),
        (2, "begin a: ?\nwaiting a", "expected `a`, found `nobody`"),
        (2, "begin a: ?\nattempts a=2", "found `a=1`"),
        (
            2,
            "begin a: ?\na -> ok",
            "a: expected `ok`, found `under way`",
        ),
        (
            3,
            "begin a: ?\nfinish a: F\na -> ok",
            "a: expected `ok`, found `failed by=1",
        ),
        (
            2,
            "begin a: ?\nbulkhead inside=1 queued=0",
            "found `inside=0 queued=0`",
        ),
        (
            2,
            "rules concurrency=1..9\nadaptive limit=10",
            "found `limit=9 inside=0`",
        ),
        (
            1,
            "check attempts=0 -> valid",
            "found `invalid rules.retry.max_attempts`",
        ),
        (
            1,
            "check attempts=1 -> invalid rules.retry.max_attempts",
            "found `valid`",
        ),
        (
            2,
            "snapshot a: attempts=0\nrefused nothing",
            "found `a=rules.retry.max_attempts`",
        ),
        (1, "shadow open", "found `nothing`"),
    ] {
        let (at, found) = failure(script);
        assert!(found.contains(what), "{script}: {found}");
        assert_eq!(at, line, "{script}");
    }
}

#[test]
fn what_is_left_over_at_the_end_is_a_failure() {
    for (script, what) in [
        ("begin a: ?", "at the end, `a` is still under way"),
        (
            "begin a: S F",
            "at the end, a: expected `failed`, found `ok attempts=1",
        ),
        ("begin a: ?\nfinish a: F\ncall S", ""),
        (
            "rules consecutive_failures=1 open=1s\ncall F\nevent closed -> open: 1 consecutive failures\n+1s\ncall S",
            "at the end, an event that nobody read: open -> half_open",
        ),
    ] {
        let text = format!("== a claim\n{script}");
        let played = play::play(&parse::parse(&text).unwrap()[0]);
        match what {
            "" => assert_eq!(played, Ok(()), "{script}"),
            _ => assert!(played.unwrap_err().what.contains(what), "{script}"),
        }
    }
}

#[test]
fn a_slip_of_the_pen_is_told_with_its_line_and_what_was_expected() {
    for (line, script, what) in [
        (
            1,
            "no claim",
            "expected `== ` and a claim, found `no claim`",
        ),
        (2, "== a\ncal S", "there is no statement `cal`"),
        (
            2,
            "== a\n+3",
            "expected a time such as 3s or 500ms, found `3`",
        ),
        (
            2,
            "== a\nrules open=5",
            "expected a time such as 3s or 500ms, found `5`",
        ),
        (2, "== a\nrules opne=5s", "there is no rule `opne`"),
        (2, "== a\nrules open=5s open=6s", "`open` is said twice"),
        (
            2,
            "== a\nrules ratio=50%",
            "`ratio` needs `window` beside it",
        ),
        (
            2,
            "== a\nrules jitter=some",
            "expected full, equal or none, found `some`",
        ),
        (
            3,
            "== a\ncall S\nrules open=5s",
            "expected `rules` before everything else",
        ),
        (
            2,
            "== a\ncall X",
            "expected S, F, I, B, T, P or ?, found `X`",
        ),
        (2, "== a\ncall", "expected an attempt"),
        (2, "== a\ncall after S", "expected a time"),
        (
            2,
            "== a\ncall after 1s",
            "expected what follows after that time",
        ),
        (
            2,
            "== a\ncall S wait=1s",
            "`wait=1s` says nothing of what stands before it",
        ),
        (2, "== a\ncall x0 S", "expected 1 to 100000 times, found 0"),
        (
            2,
            "== a\ncall S -> fine",
            "expected how a call ends, found `fine`",
        ),
        (
            2,
            "== a\nbegin a b S",
            "expected `begin names: what they do`",
        ),
        (2, "== a\nbegin state: S", "a call cannot be called `state`"),
        (2, "== a\nfinish a: S S", "expected one answer, found `S S`"),
        (
            2,
            "== a\nforce a ajar",
            "expected `force name open` or `force name closed`",
        ),
        (2, "== a\nstate opne", "expected a state, found `opne`"),
        (
            2,
            "== a\ncounts failures=1",
            "expected counts such as failure=3, found `failures=1`",
        ),
        (
            2,
            "== a\nsnapshot attempts=3",
            "expected `name: rules`, found `attempts=3`",
        ),
        (
            2,
            "== a\nscope a length=3s",
            "expected deadline= or retries=, found `length=3s`",
        ),
        (
            3,
            "== a\nrepeat 3\nrules open=5s\nend",
            "expected `rules` before everything else",
        ),
        (2, "== a\nrepeat 3\ncall S", "expected an `end` to this"),
        (2, "== a\nend", "there is no statement `end`"),
    ] {
        let mistake = parse::parse(script).expect_err(script);
        assert!(mistake.what.contains(what), "{script}: {mistake:?}");
        assert_eq!(mistake.line, line, "{script}");
    }
}

#[test]
fn a_step_that_cannot_be_done_is_told_as_a_failure() {
    for (line, script, what) in [
        (1, "rules attempts=0", "rules.retry.max_attempts"),
        (1, "drop a", "no call `a` has begun"),
        (2, "begin a: S\ndrop a", "`a` has ended already"),
        (
            2,
            "begin a: S\nfinish a: S",
            "no attempt of `a` waits to be told",
        ),
        (
            2,
            "begin a: ?\nbegin a: S",
            "nobody has looked at what became of the first `a`",
        ),
        (1, "release a", "there is no override `a`"),
        (1, "call within=a S", "there is no scope `a`"),
    ] {
        assert_eq!(failure(script).0, line, "{script}");
        assert!(failure(script).1.contains(what), "{script}");
    }
}

#[test]
fn a_failure_names_its_file_its_line_and_what_stands_there() {
    let mistake = Mistake {
        line: 2,
        what: "expected `ok`, found `failed`".into(),
    };
    assert_eq!(
        told("retry.txt", "== a claim\n  call F -> ok\n", &mistake),
        "core/testdata/retry.txt:2: expected `ok`, found `failed`\n    call F -> ok"
    );
}
