//! Replays `core/testdata/*.txt`: what enforcement must do, as scenarios that a person can read.
//!
//! The language is described in `core/testdata/README.md`. A scenario is played through the public
//! path of a call, against an operation of its own, on a paused clock that moves only where the
//! script says so.
//!
//! | file | does |
//! |---|---|
//! | `script` | what a script is made of, and how words are compared |
//! | `parse`, `attempts`, `rules`, `amount` | read it |
//! | `play`, `sights` | act it out, and look at what there is to see |
//! | `calls`, `dependency` | a call, and its other end |
//! | `server` | sends policies |
//! | `log` | hears what is told of breakers |

mod amount;
mod attempts;
mod calls;
mod dependency;
pub(crate) mod log;
mod parse;
mod play;
mod rules;
mod script;
mod server;
mod sights;
mod tests;

use std::path::PathBuf;

use script::{Mistake, Scenario};

fn path(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/testdata")).join(file)
}

/// The scenarios of `file`; a mistake in it is told as `file:line: what`.
fn read(file: &str) -> Result<(String, Vec<Scenario>), String> {
    let text = std::fs::read_to_string(path(file)).map_err(|error| format!("{file}: {error}"))?;
    let scenarios = parse::parse(&text).map_err(|mistake| told(file, &text, &mistake))?;
    Ok((text, scenarios))
}

/// Plays all scenarios of `file`, and tells of each how it went.
fn replay(file: &str) -> Result<(), String> {
    let (text, scenarios) = read(file)?;
    let mut failures = Vec::new();
    for scenario in &scenarios {
        let played = play::play(scenario);
        let verdict = if played.is_ok() { "ok" } else { "FAILED" };
        println!("{verdict:>6}  {}", scenario.heading());
        if let Err(mistake) = played {
            let what = told(file, &text, &mistake);
            failures.push(format!("{}\n  {what}", scenario.heading()));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let (failed, all) = (failures.len(), scenarios.len());
    Err(format!(
        "{failed} of {all} scenarios failed\n\n{}",
        failures.join("\n\n")
    ))
}

fn told(file: &str, text: &str, mistake: &Mistake) -> String {
    let Mistake { line, what } = mistake;
    let said = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let said = said.trim();
    format!("core/testdata/{file}:{line}: {what}\n    {said}")
}
