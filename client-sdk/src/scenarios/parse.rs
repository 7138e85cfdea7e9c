//! A script's text, read. The language is described in `core/testdata/README.md`.

use std::time::Duration;

use fusebox_core::outcome::Forced;
use fusebox_core::outcome::{Outcome, Reason};

use super::amount::{duration, many, number};
use super::attempts::{asking, attempts};
use super::rules::{self, Said};
use super::script::{Asking, Attempt, Calls, Expected, Lead, Mistake, Scenario, Sight, Step, What};

/// What a line can begin with, besides the names of calls.
const STATEMENTS: [&str; 26] = [
    "rules", "snapshot", "check", "call", "begin", "finish", "drop", "force", "release", "reset",
    "scope", "repeat", "end", "state", "shadow", "event", "no", "counts", "inside", "waiting",
    "attempts", "bulkhead", "adaptive", "refused", "nobody", "nothing",
];

/// Every scenario in `text`.
pub(super) fn parse(text: &str) -> Result<Vec<Scenario>, Mistake> {
    let mut lines = Lines { text, at: 0 };
    let mut scenarios = Vec::new();
    while let Some((line, text)) = lines.next() {
        let Some(title) = text.strip_prefix("==") else {
            let what = format!("expected `== ` and a claim, found `{text}`");
            return Err(Mistake { line, what });
        };
        let (number, title) = numbered(title.trim());
        let steps = lines.steps(None)?;
        scenarios.push(Scenario {
            number,
            title: title.to_owned(),
            steps,
        });
    }
    Ok(scenarios)
}

fn numbered(title: &str) -> (Option<u32>, &str) {
    let number = title.split_once(". ");
    let number = number.and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
    number.map_or((None, title), |(number, rest)| (Some(number), rest))
}

/// The lines that say something.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<(usize, &'a str)> {
        let lines = self.text.lines().enumerate().skip(self.at);
        let said = lines.map(|(at, line)| (at + 1, line.trim()));
        let mut said = said.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        said.next()
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let next = self.peek();
        self.at = next.map_or(self.at, |(line, _)| line);
        next
    }

    /// The steps up to the next claim, or up to the `end` of what `opened` in that line.
    fn steps(&mut self, opened: Option<usize>) -> Result<Vec<Step>, Mistake> {
        let mut steps = Vec::new();
        while let Some((line, text)) = self.peek().filter(|(_, text)| !text.starts_with("==")) {
            self.next();
            let mistake = |what| Mistake { line, what };
            if text == "end" && opened.is_some() {
                return Ok(steps);
            }
            let what = match text.strip_prefix("repeat ") {
                Some(times) => What::Repeat(many(times).map_err(mistake)?, self.steps(Some(line))?),
                None => step(text).map_err(mistake)?,
            };
            // An operation's rules are known before it is.
            if matches!(what, What::Rules(_)) && (opened.is_some() || !steps.is_empty()) {
                return Err(mistake("expected `rules` before everything else".into()));
            }
            steps.push(Step { line, what });
        }
        match opened {
            Some(line) => Err(Mistake {
                line,
                what: "expected an `end` to this".into(),
            }),
            None => Ok(steps),
        }
    }
}

fn step(text: &str) -> Result<What, String> {
    let (left, expected) = match text.split_once("->") {
        Some((left, right)) if !text.starts_with("event ") => (left, Some(Expected::of(right))),
        _ => (text, None),
    };
    let words: Vec<_> = left.split_whitespace().collect();
    let Some((&first, rest)) = words.split_first() else {
        return Err("expected something before `->`".into());
    };
    if let Some(time) = first.strip_prefix('+') {
        return nothing(rest).and_then(|()| Ok(What::Pass(duration(time)?)));
    }
    if let Some(sight) = sight(first, rest) {
        let seen = match sight {
            Sight::NoEvents => text,
            _ => &text[first.len()..],
        };
        return looked_at(sight, Expected::of(seen));
    }
    match (first, expected) {
        ("rules", None) => rules::read(rest).map(What::Rules),
        ("snapshot", None) => snapshot(left).map(What::Snapshot),
        ("check", Some(expected)) => Ok(What::Check(rules::read(rest)?, expected)),
        ("check", None) => Err("expected `-> valid` or `-> invalid` and fields".into()),
        ("call", expected) => call(rest, expected),
        ("begin", None) => begin(left),
        ("finish", None) => finish(left),
        ("drop", None) => Ok(What::Drop(names(rest)?)),
        ("force", None) => force(rest),
        ("release", None) => Ok(What::Release(one(rest)?)),
        ("reset", None) => nothing(rest).map(|()| What::Reset),
        ("scope", None) => scope(rest),
        (_, Some(expected)) => Ok(What::Ended(names(&words)?, ended(expected)?)),
        (_, None) => Err(format!("there is no statement `{first}`")),
    }
}

fn sight(first: &str, rest: &[&str]) -> Option<Sight> {
    Some(match first {
        "state" => Sight::State,
        "shadow" => Sight::Shadow,
        "event" => Sight::Event,
        "no" if rest == ["events"] => Sight::NoEvents,
        "counts" => Sight::Counts,
        "inside" => Sight::Inside,
        "waiting" => Sight::Waiting,
        "attempts" => Sight::Attempts,
        "bulkhead" => Sight::Bulkhead,
        "adaptive" => Sight::Adaptive,
        "refused" => Sight::Refused,
        _ => return None,
    })
}

/// What a sight can show at all; the rest is a slip of the pen.
fn looked_at(sight: Sight, mut expected: Expected) -> Result<What, String> {
    if matches!(sight, Sight::Inside | Sight::Waiting) {
        // As calls are kept.
        expected.0.sort();
    }
    let states = ["closed", "open", "half_open", "nothing"];
    let first = expected.0.first().map_or("", String::as_str);
    match sight {
        Sight::State | Sight::Shadow if !states.contains(&first) => {
            Err(format!("expected a state, found `{first}`"))
        }
        Sight::Counts => match expected.0.iter().find(|word| !is_count(word)) {
            Some(word) => Err(format!("expected counts such as failure=3, found `{word}`")),
            None => Ok(What::See(sight, expected)),
        },
        _ if expected.0.is_empty() => Err("expected what there is to see".into()),
        _ => Ok(What::See(sight, expected)),
    }
}

fn is_count(word: &str) -> bool {
    let key = word.split('=').next().unwrap_or_default();
    let outcome = Outcome::ALL.iter().any(|outcome| outcome.name() == key);
    let reason = key.strip_prefix("would_refuse.").unwrap_or(key);
    let reason = Reason::ALL.iter().any(|known| known.name() == reason);
    outcome || reason || ["retries", "hedges", "nothing"].contains(&key)
}

/// `name: rules | name: rules`
fn snapshot(left: &str) -> Result<Vec<(String, Said)>, String> {
    let policies = left.trim().strip_prefix("snapshot").unwrap_or_default();
    if policies.trim() == "nothing" {
        return Ok(Vec::new());
    }
    let each = policies.split('|').map(|policy| {
        let expected = || format!("expected `name: rules`, found `{}`", policy.trim());
        let (name, rules) = policy.split_once(':').ok_or_else(expected)?;
        let words: Vec<_> = rules.split_whitespace().collect();
        Ok((name.trim().to_owned(), rules::read(&words)?))
    });
    each.collect()
}

fn call(words: &[&str], expected: Option<Expected>) -> Result<What, String> {
    let (mut times, mut together, mut others) = (1, false, Vec::new());
    for &word in words {
        match word.strip_prefix('x') {
            Some(number) => times = many(number)?,
            None if word == "together" => together = true,
            None => others.push(word),
        }
    }
    let asking = asking(&others)?;
    let expected = match expected {
        Some(expected) => ended(expected)?,
        None => as_told(&asking)?,
    };
    let calls = Calls {
        times,
        together,
        asking,
    };
    Ok(What::Call(calls, expected))
}

/// What a caller gets if the dependency decides.
fn as_told(asking: &Asking) -> Result<Expected, String> {
    match (asking.attempts.each.last(), asking.fallback) {
        (Some(attempt), None) => Ok(Expected::of(attempt.answer.outcome())),
        (None, None) => Err("expected an attempt, or how a call ends that makes none".into()),
        (_, Some(_)) => Err("expected `->` and how a call ends that may fall back".into()),
    }
}

fn begin(left: &str) -> Result<What, String> {
    let expected = "expected `begin names: what they do`";
    let (names_of, script) = left.split_once(':').ok_or(expected)?;
    let called: Vec<_> = names_of.split_whitespace().skip(1).collect();
    if let Some(taken) = called.iter().find(|name| STATEMENTS.contains(name)) {
        return Err(format!("a call cannot be called `{taken}`"));
    }
    let script: Vec<_> = script.split_whitespace().collect();
    Ok(What::Begin(names(&called)?, asking(&script)?))
}

fn finish(left: &str) -> Result<What, String> {
    let expected = "expected `finish names: what they are told`";
    let (names_of, answer) = left.split_once(':').ok_or(expected)?;
    let called: Vec<_> = names_of.split_whitespace().skip(1).collect();
    let told: Vec<_> = answer.split_whitespace().collect();
    match attempts(&told)?.each[..] {
        [
            Attempt {
                lead: Lead::Nothing,
                answer,
            },
        ] => Ok(What::Finish(names(&called)?, answer)),
        _ => Err(format!("expected one answer, found `{}`", answer.trim())),
    }
}

/// How a call can end at all.
fn ended(expected: Expected) -> Result<Expected, String> {
    let ends = [
        "ok", "failed", "ignored", "refused", "timed", "panicked", "dropped", "fell", "under",
    ];
    match expected.0.first().map(String::as_str) {
        Some(first) if ends.contains(&first) => Ok(expected),
        _ => Err(format!("expected how a call ends, found `{expected}`")),
    }
}

/// `open` or `closed`, under a name, perhaps for a time.
fn force(words: &[&str]) -> Result<What, String> {
    let (name, forced, rest) = match words {
        [name, "open", rest @ ..] => (name, Forced::Open, rest),
        [name, "closed", rest @ ..] => (name, Forced::Closed, rest),
        _ => return Err("expected `force name open` or `force name closed`".into()),
    };
    let time = match rest {
        [] => None,
        [time] => Some(duration(time.strip_prefix("for=").unwrap_or_default())?),
        _ => return Err("expected for=10s at most".into()),
    };
    Ok(What::Force((*name).to_owned(), forced, time))
}

fn scope(words: &[&str]) -> Result<What, String> {
    let (name, bounds) = words.split_first().ok_or("expected the scope's name")?;
    let (mut deadline, mut retries): (Option<Duration>, Option<u32>) = (None, None);
    for bound in bounds {
        match bound.split_once('=') {
            Some(("deadline", time)) => deadline = Some(duration(time)?),
            Some(("retries", most)) => retries = Some(number(most)?),
            _ => return Err(format!("expected deadline= or retries=, found `{bound}`")),
        }
    }
    Ok(What::Scope((*name).to_owned(), deadline, retries))
}

fn names(words: &[&str]) -> Result<Vec<String>, String> {
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match words.iter().find(|word| !is_name(word)) {
        _ if words.is_empty() => Err("expected the names of calls".into()),
        Some(word) => Err(format!("there is no statement or name `{word}`")),
        None => Ok(words.iter().map(|&word| word.to_owned()).collect()),
    }
}

fn one(words: &[&str]) -> Result<String, String> {
    match words {
        [word] => Ok((*word).to_owned()),
        _ => Err(format!("expected one name, found `{}`", words.join(" "))),
    }
}

fn nothing(words: &[&str]) -> Result<(), String> {
    match words {
        [] => Ok(()),
        _ => Err(format!(
            "expected nothing more, found `{}`",
            words.join(" ")
        )),
    }
}
