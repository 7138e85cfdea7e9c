//! What a script is made of.
//!
//! What is expected stays a row of words, and so is what is found: both are told in the script's
//! own language, compared word by word, and shown beside each other where they differ.

use std::fmt;
use std::time::Duration;

use fusebox_core::outcome::Again;
use fusebox_core::outcome::Forced;

use super::amount;
use super::rules::Said;

/// A claim, and the steps that show it.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Its place in the specification's list, if it stands there.
    pub(super) number: Option<u32>,
    pub(super) title: String,
    pub(super) steps: Vec<Step>,
}

/// What is wrong, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) what: String,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// What the call site says of its operation.
    Rules(Said),
    /// All policies that a server has, in one snapshot.
    Snapshot(Vec<(String, Said)>),
    /// Whether rules are legal.
    Check(Said, Expected),
    Pass(Duration),
    Call(Calls, Expected),
    Begin(Vec<String>, Asking),
    /// What attempts that wait to be told are told.
    Finish(Vec<String>, Answer),
    Drop(Vec<String>),
    /// How calls ended that were begun before.
    Ended(Vec<String>, Expected),
    See(Sight, Expected),
    Force(String, Forced, Option<Duration>),
    Release(String),
    Reset,
    Scope(String, Option<Duration>, Option<u32>),
    Repeat(u32, Vec<Step>),
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    State,
    Shadow,
    Event,
    NoEvents,
    Counts,
    Inside,
    Waiting,
    Attempts,
    Bulkhead,
    Adaptive,
    Refused,
}

/// How many calls are made, one after the other or all at once.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) times: u32,
    pub(super) together: bool,
    pub(super) asking: Asking,
}

/// A call, from both its ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    pub(super) cost: Option<u32>,
    /// The scope it is given.
    pub(super) within: Option<String>,
    /// The scope that it is made in.
    pub(super) inside: Option<String>,
    pub(super) fallback: Option<Fallback>,
    pub(super) fallback_takes: Duration,
    pub(super) attempts: Attempts,
}

/// What is fallen back on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fallback {
    Succeeds,
    /// With an error of its own.
    Fails,
    /// By handing on what it was told.
    Hands,
    /// It calls once more.
    Calls,
}

/// What reaches the dependency.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    pub(super) each: Vec<Attempt>,
    /// The last may be made as often as it is.
    pub(super) and_so_on: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) lead: Lead,
    pub(super) answer: Answer,
}

/// What an attempt does before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    Nothing,
    /// It waits.
    After(Duration),
    /// It keeps its thread from anything else.
    Block(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    Failure(Again),
    Ignored,
    /// A value that stands for a failure.
    BadValue,
    /// None, ever.
    Hang,
    /// What it is told to answer.
    Told,
    Panic,
    /// The caller's closure does not even come to make the attempt.
    PanicMaking,
}

impl Scenario {
    /// Its number and its claim.
    pub(super) fn heading(&self) -> String {
        match self.number {
            Some(number) => format!("{number}. {}", self.title),
            None => self.title.clone(),
        }
    }
}

impl Answer {
    /// How a call ends whose last attempt answers so.
    pub(super) const fn outcome(self) -> &'static str {
        match self {
            Self::Success | Self::BadValue => "ok",
            Self::Failure(_) => "failed",
            Self::Ignored => "ignored",
            Self::Hang => "timed out attempt",
            Self::Told => "under way",
            Self::Panic | Self::PanicMaking => "panicked",
        }
    }
}

/// A row of words; those with a `=` come in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected(pub(super) Vec<String>);

/// What there is, in the same words.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    words: Vec<String>,
    /// Only compared where the script asks.
    asides: Vec<String>,
}

impl Expected {
    pub(super) fn of(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    pub(super) fn names(&self, key: &str) -> bool {
        let value = |word: &String| word.strip_prefix(key).is_some_and(|v| v.starts_with('='));
        self.0.iter().any(value)
    }

    /// Whether that is what was found.
    pub(super) fn meets(&self, found: &Found) -> bool {
        let asked = |aside: &&String| aside.split('=').next().is_some_and(|key| self.names(key));
        let found = found.words.iter().chain(found.asides.iter().filter(asked));
        let (expected, found) = (in_order(self.0.iter()), in_order(found));
        expected.len() == found.len()
            && expected.iter().zip(found).all(|(expected, found)| {
                match (expected.split_once('='), found.split_once('=')) {
                    (Some((key, expected)), Some((same, found))) => {
                        key == same && amount::fits(expected, found)
                    }
                    _ => *expected == found,
                }
            })
    }
}

/// Words without `=` as they stand, then the others by their keys.
fn in_order<'a>(words: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let (mut keyed, mut plain): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
    keyed.sort_by_key(|word| word.split('=').next());
    plain.append(&mut keyed);
    plain
}

impl Found {
    pub(super) fn word(mut self, word: impl fmt::Display) -> Self {
        self.words.extend(Expected::of(&word.to_string()).0);
        self
    }

    /// Says it if there is something to say.
    pub(super) fn maybe(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.word(format_args!("{key}={value}")),
            None => self,
        }
    }

    pub(super) fn aside(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.asides.push(format!("{key}={value}"));
        self
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |aside: &&String| self.words.contains(aside);
        let asides = self.asides.iter().filter(|aside| !said(aside));
        let all: Vec<_> = self.words.iter().chain(asides).cloned().collect();
        f.write_str(&all.join(" "))
    }
}
