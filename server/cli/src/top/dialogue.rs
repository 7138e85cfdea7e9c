//! The dialogue before an order: what is to be said, then whom it concerns, then the last word.
//!
//! ```text
//!   Filling --Enter--> Asked --judged--> Judged --Enter--> Given --done--> (closed)
//!      ^                 |                  |                |
//!      +--- refused, Esc, any change -------+----- refused --+
//! ```

use fusebox_proto::v1;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::order::{Judgement, Order};
use crate::target::Ttl;

/// The longest reason, in bytes, as the contract has it.
const REASON: usize = 1024;
/// The longest time that is typed, in characters.
const TIME: usize = 12;

/// What kind of order it is for, with what there is to choose from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verb {
    Force(v1::BreakerAction),
    Reset,
    Release,
}

/// Something to choose.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) label: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Target(v1::BreakerTarget),
    Override(u64, Option<v1::Reach>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Choice,
    Time,
    Reason,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    Filling,
    Asked,
    Judged(Judgement),
    Given,
}

/// What a key came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Stay,
    Close,
    Judge(Order),
    Give(Order),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dialogue {
    pub(super) verb: Verb,
    /// Never empty.
    choices: Vec<Choice>,
    chosen: usize,
    pub(super) time: String,
    pub(super) reason: String,
    pub(super) field: Field,
    pub(super) stage: Stage,
    pub(super) refusal: Option<String>,
}

impl Dialogue {
    /// None if there is nothing to choose from.
    pub(super) fn open(verb: Verb, choices: Vec<Choice>) -> Option<Self> {
        let field = Field::Reason;
        (!choices.is_empty()).then(|| Self {
            verb,
            choices,
            chosen: 0,
            time: "5m".to_owned(),
            reason: String::new(),
            field,
            stage: Stage::Filling,
            refusal: None,
        })
    }

    pub(super) fn title(&self) -> &'static str {
        match self.verb {
            Verb::Force(v1::BreakerAction::ForceOpen) => "force open",
            Verb::Force(_) => "force closed",
            Verb::Reset => "reset",
            Verb::Release => "release",
        }
    }

    /// What is chosen, which of how many.
    pub(super) fn choice(&self) -> (&str, usize, usize) {
        let label = self.choices.get(self.chosen).map(|one| one.label.as_str());
        (
            label.unwrap_or_default(),
            self.chosen + 1,
            self.choices.len(),
        )
    }

    /// Whether it asks for how long.
    pub(super) const fn timed(&self) -> bool {
        matches!(self.verb, Verb::Force(_))
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Step {
        match (key.code, &self.stage) {
            // Once the order is given only the server's word ends it.
            (_, Stage::Given) => Step::Stay,
            (KeyCode::Esc, Stage::Filling) => Step::Close,
            (KeyCode::Esc, _) => self.refill(),
            (KeyCode::Enter, Stage::Asked) => Step::Stay,
            (KeyCode::Enter, Stage::Filling) => self.pass(Stage::Asked, Step::Judge),
            (KeyCode::Enter, Stage::Judged(_)) => self.pass(Stage::Given, Step::Give),
            (code, _) => {
                self.edit(code);
                Step::Stay
            }
        }
    }

    /// The server's word; `None` goes on, `Some` is what to tell when it is done.
    pub(super) fn answered(&mut self, answer: Result<Judgement, String>) -> Option<Judgement> {
        match (answer, &self.stage) {
            (Ok(judgement), Stage::Asked) => self.stage = Stage::Judged(judgement),
            (Ok(judgement), Stage::Given) => return Some(judgement),
            (Err(refusal), Stage::Asked | Stage::Given) => {
                self.stage = Stage::Filling;
                self.refusal = Some(refusal);
            }
            (_, Stage::Filling | Stage::Judged(_)) => {}
        }
        None
    }

    fn refill(&mut self) -> Step {
        self.stage = Stage::Filling;
        Step::Stay
    }

    fn pass(&mut self, stage: Stage, step: fn(Order) -> Step) -> Step {
        match self.order() {
            Ok(order) => {
                self.stage = stage;
                self.refusal = None;
                step(order)
            }
            Err(refusal) => {
                self.refusal = Some(refusal);
                Step::Stay
            }
        }
    }

    fn order(&mut self) -> Result<Order, String> {
        let ttl: Result<Ttl, String> = self.time.trim().parse();
        if self.timed()
            && let Err(refusal) = &ttl
        {
            self.field = Field::Time;
            return Err(format!("for how long: {refusal}"));
        }
        let reason = self.reason.trim().to_owned();
        if reason.is_empty() {
            self.field = Field::Reason;
            return Err("say why, for whoever finds it".to_owned());
        }
        let what = self.choices.get(self.chosen).map(|one| one.what.clone());
        match (&self.verb, what, ttl) {
            (Verb::Force(action), Some(What::Target(target)), Ok(Ttl(ttl))) => Ok(Order::Force {
                target,
                action: *action,
                ttl,
                reason,
            }),
            (Verb::Reset, Some(What::Target(target)), _) => Ok(Order::Reset { target, reason }),
            (Verb::Release, Some(What::Override(id, reach)), _) => {
                Ok(Order::Release { id, reason, reach })
            }
            _ => Err("nothing is chosen".to_owned()),
        }
    }

    /// Whatever changes, what the server said of it before no longer holds.
    fn edit(&mut self, code: KeyCode) {
        let before = (self.chosen, self.time.len(), self.reason.len());
        match (code, self.field) {
            (KeyCode::Tab | KeyCode::Down, _) => self.field = self.after(),
            (KeyCode::BackTab | KeyCode::Up, _) => self.field = self.before(),
            (KeyCode::Right, Field::Choice) => {
                self.chosen = (self.chosen + 1) % self.choices.len().max(1);
            }
            (KeyCode::Left, Field::Choice) => {
                let last = self.choices.len().saturating_sub(1);
                self.chosen = self.chosen.checked_sub(1).unwrap_or(last);
            }
            (KeyCode::Backspace, Field::Time) => drop(self.time.pop()),
            (KeyCode::Backspace, Field::Reason) => drop(self.reason.pop()),
            (KeyCode::Char(c), Field::Time) if self.time.len() < TIME => self.time.push(c),
            (KeyCode::Char(c), Field::Reason) if self.reason.len() + c.len_utf8() <= REASON => {
                self.reason.push(c);
            }
            _ => {}
        }
        if before != (self.chosen, self.time.len(), self.reason.len()) {
            self.stage = Stage::Filling;
        }
    }

    const fn after(&self) -> Field {
        match self.field {
            Field::Choice if self.timed() => Field::Time,
            Field::Choice | Field::Time => Field::Reason,
            Field::Reason => Field::Choice,
        }
    }

    const fn before(&self) -> Field {
        match self.field {
            Field::Choice => Field::Reason,
            Field::Reason if self.timed() => Field::Time,
            Field::Time | Field::Reason => Field::Choice,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn choices() -> Vec<Choice> {
        let choice = |service: &str| Choice {
            label: service.to_owned(),
            what: What::Target(v1::BreakerTarget {
                service: service.to_owned(),
                ..v1::BreakerTarget::default()
            }),
        };
        vec![choice("one"), choice("other")]
    }

    fn dialogue() -> Dialogue {
        Dialogue::open(Verb::Force(v1::BreakerAction::ForceOpen), choices()).unwrap()
    }

    fn press(dialogue: &mut Dialogue, code: KeyCode) -> Step {
        dialogue.key(KeyEvent::from(code))
    }

    fn typed(dialogue: &mut Dialogue, text: &str) {
        for c in text.chars() {
            press(dialogue, KeyCode::Char(c));
        }
    }

    #[test]
    fn nothing_is_given_before_the_server_has_said_whom_it_concerns() {
        let mut dialogue = dialogue();
        typed(&mut dialogue, "it burns");
        assert!(matches!(
            press(&mut dialogue, KeyCode::Enter),
            Step::Judge(_)
        ));
        assert_eq!(press(&mut dialogue, KeyCode::Enter), Step::Stay);
        assert_eq!(dialogue.answered(Ok(Judgement::default())), None);
        let Step::Give(Order::Force { ttl, reason, .. }) = press(&mut dialogue, KeyCode::Enter)
        else {
            panic!("no order");
        };
        assert_eq!(
            (ttl, reason.as_str()),
            (Duration::from_secs(300), "it burns")
        );
        assert!(dialogue.answered(Ok(Judgement::default())).is_some());
    }

    #[test]
    fn without_a_reason_or_with_a_time_that_is_none_the_server_is_not_asked() {
        let mut dialogue = dialogue();
        assert_eq!(press(&mut dialogue, KeyCode::Enter), Step::Stay);
        assert!(dialogue.refusal.as_ref().unwrap().contains("say why"));
        typed(&mut dialogue, "why");
        press(&mut dialogue, KeyCode::Up);
        typed(&mut dialogue, "x");
        assert_eq!(press(&mut dialogue, KeyCode::Enter), Step::Stay);
        assert!(dialogue.refusal.as_ref().unwrap().contains("how long"));
    }

    #[test]
    fn a_change_after_the_servers_word_asks_it_again() {
        let mut dialogue = dialogue();
        typed(&mut dialogue, "why");
        press(&mut dialogue, KeyCode::Enter);
        dialogue.answered(Ok(Judgement::default()));
        press(&mut dialogue, KeyCode::Tab);
        press(&mut dialogue, KeyCode::Right);
        assert_eq!(dialogue.choice(), ("other", 2, 2));
        assert!(matches!(
            press(&mut dialogue, KeyCode::Enter),
            Step::Judge(_)
        ));
    }

    #[test]
    fn a_refusal_leaves_what_was_typed() {
        let mut dialogue = dialogue();
        typed(&mut dialogue, "why");
        press(&mut dialogue, KeyCode::Enter);
        dialogue.answered(Err("no".to_owned()));
        assert_eq!(
            (dialogue.reason.as_str(), &dialogue.stage),
            ("why", &Stage::Filling)
        );
        assert_eq!(dialogue.refusal.as_deref(), Some("no"));
        assert_eq!(press(&mut dialogue, KeyCode::Esc), Step::Close);
    }
}
