//! What a call asks for and what its attempts do, read from a script's words.

use fusebox_core::outcome::Again;

use super::amount::{duration, many, number};
use super::script::{Answer, Asking, Attempt, Attempts, Fallback, Lead};

/// A call's options, and its attempts.
pub(super) fn asking(words: &[&str]) -> Result<Asking, String> {
    let mut asking = Asking::default();
    let mut others = Vec::new();
    for &word in words {
        match word.split_once('=') {
            Some(("cost", cost)) => asking.cost = Some(number(cost)?),
            Some(("within", scope)) => asking.within = Some(scope.to_owned()),
            Some(("inside", scope)) => asking.inside = Some(scope.to_owned()),
            Some(("fallback", fallback)) => asking.fallback = Some(fallback_of(fallback)?),
            Some(("fallback_takes", time)) => asking.fallback_takes = duration(time)?,
            _ => others.push(word),
        }
    }
    asking.attempts = attempts(&others)?;
    Ok(asking)
}

fn fallback_of(word: &str) -> Result<Fallback, String> {
    match word {
        "S" => Ok(Fallback::Succeeds),
        "F" => Ok(Fallback::Fails),
        "error" => Ok(Fallback::Hands),
        "call" => Ok(Fallback::Calls),
        _ => Err(format!("expected S, F, error or call, found `{word}`")),
    }
}

/// A row of attempts.
pub(super) fn attempts(words: &[&str]) -> Result<Attempts, String> {
    let mut made = Attempts::default();
    let mut lead = Lead::Nothing;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut time = || duration(words.next().copied().unwrap_or_default());
        match word {
            "after" => lead = Lead::After(time()?),
            "block" => lead = Lead::Block(time()?),
            _ => match (modified(word)?, made.each.last_mut()) {
                (Some(modify), Some(last)) if lead == Lead::Nothing => {
                    last.answer = modify(last.answer).ok_or_else(|| cannot(word))?;
                }
                (Some(_), _) => return Err(cannot(word)),
                (None, _) => {
                    let (answer, times, and_so_on) = answer(word)?;
                    let attempt = Attempt { lead, answer };
                    made.each.extend(vec![attempt; times as usize]);
                    made.and_so_on = and_so_on;
                    lead = Lead::Nothing;
                }
            },
        }
    }
    match lead {
        Lead::Nothing => Ok(made),
        _ => Err("expected what follows after that time".into()),
    }
}

fn cannot(word: &str) -> String {
    format!("`{word}` says nothing of what stands before it")
}

type Modify = Box<dyn Fn(Answer) -> Option<Answer>>;

/// What a word makes of the answer that stands before it.
fn modified(word: &str) -> Result<Option<Modify>, String> {
    let again = match (word, word.strip_prefix("wait=")) {
        ("never-sent", _) => Again::NeverSent,
        ("final", _) => Again::No,
        (_, Some(hint)) => Again::IfIdempotent(Some(duration(hint)?)),
        ("making", _) => {
            let making = |answer| (answer == Answer::Panic).then_some(Answer::PanicMaking);
            return Ok(Some(Box::new(making)));
        }
        _ => return Ok(None),
    };
    Ok(Some(Box::new(move |answer| match answer {
        Answer::Failure(_) => Some(Answer::Failure(again)),
        _ => None,
    })))
}

/// An answer, how often it comes, and whether it goes on.
fn answer(word: &str) -> Result<(Answer, u32, bool), String> {
    let (letter, times, and_so_on) = match (word.split_once('*'), word.strip_suffix("..")) {
        (Some((letter, times)), _) => (letter, many(times)?, false),
        (None, Some(letter)) => (letter, 1, true),
        (None, None) => (word, 1, false),
    };
    let answer = match letter {
        "S" => Answer::Success,
        "F" => Answer::Failure(Again::IfIdempotent(None)),
        "I" => Answer::Ignored,
        "B" => Answer::BadValue,
        "T" => Answer::Hang,
        "P" => Answer::Panic,
        "?" => Answer::Told,
        _ => return Err(format!("expected S, F, I, B, T, P or ?, found `{word}`")),
    };
    Ok((answer, times, and_so_on))
}
