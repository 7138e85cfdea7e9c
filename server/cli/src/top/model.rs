//! What is on the screen and what a key makes of it: fed with messages and keys, it does nothing by
//! itself and reads no clock.

use std::time::{Duration, Instant};

use fusebox_proto::v1;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::choices;
use super::dialogue::{Dialogue, Step, Verb};
use super::fleet::{Fleet, Id, Known, Order};
use super::order::{self, Judgement};
use crate::screen;
use crate::target::reaching;

/// The longest filter, in bytes.
const FILTER: usize = 128;
/// How many rows a page key moves by.
const PAGE: isize = 10;
/// How often failures are noted.
const SECOND: Duration = Duration::from_secs(1);

/// What comes from the server's side.
#[derive(Debug)]
pub(super) enum Told {
    /// A watch begins.
    Began,
    Watched(v1::WatchFleetResponse),
    /// The server cannot be reached, or no longer; in words.
    Lost(String),
    Overrides(Vec<v1::OverrideStatus>),
    Detail(Id, Result<Box<v1::GetOperationResponse>, String>),
    /// The answer to the order of that number.
    Answered(u64, Result<Judgement, String>),
}

/// What a key asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    Quit,
    /// To say what the order would do.
    Judge(u64, order::Order),
    Give(u64, order::Order),
}

/// An operation looked at closely.
#[derive(Debug)]
pub(super) struct Detail {
    pub(super) id: Id,
    pub(super) told: Option<v1::GetOperationResponse>,
    pub(super) refusal: Option<String>,
    pub(super) cursor: usize,
}

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) fleet: Fleet,
    pub(super) order: Order,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) filtering: bool,
    pub(super) help: bool,
    pub(super) detail: Option<Detail>,
    pub(super) dialogue: Option<Dialogue>,
    /// What the last order came to.
    pub(super) note: Option<String>,
    /// Why the server cannot be reached.
    pub(super) lost: Option<String>,
    /// When anything was heard last.
    pub(super) heard: Option<Instant>,
    selected: Option<Id>,
    noted: Option<Instant>,
    orders: u64,
}

impl Model {
    pub(super) fn told(&mut self, told: Told, now: Instant) {
        match told {
            Told::Began => self.fleet.begin(),
            Told::Watched(watched) => {
                (self.lost, self.heard) = (None, Some(now));
                self.fleet.absorb(watched, now);
            }
            Told::Lost(why) => self.lost = Some(why),
            Told::Overrides(overrides) => self.fleet.overrides = Some(overrides),
            Told::Detail(id, told) => self.look_closely(&id, told),
            Told::Answered(number, answer) => self.answered(number, answer),
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Instant) {
        let due = self.noted.is_none_or(|noted| now >= noted + SECOND);
        if due {
            self.noted = Some(now);
            self.fleet.note(self.lost.is_none() && self.heard.is_some());
        }
    }

    /// What is shown, in its order.
    pub(super) fn rows(&self) -> Vec<(&Id, &Known)> {
        self.fleet.rows(&self.filter, self.order)
    }

    /// Where the cursor stands among `rows`: on its operation, wherever that has gone.
    pub(super) fn cursor(&self, rows: &[(&Id, &Known)]) -> usize {
        let on = |(id, _): &(&Id, &Known)| Some(*id) == self.selected.as_ref();
        rows.iter().position(on).unwrap_or(0)
    }

    /// The instance under the cursor, where instances are shown.
    pub(super) fn instance(&self) -> Option<&v1::OperationInstance> {
        let detail = self.detail.as_ref()?;
        detail.told.as_ref()?.instances.get(detail.cursor)
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Ask> {
        if screen::interrupts(key) {
            return Some(Ask::Quit);
        }
        if key
            .modifiers
            .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
        {
            // No letter, whatever it stands for elsewhere.
            return None;
        }
        if let Some(dialogue) = &mut self.dialogue {
            let step = dialogue.key(key);
            return self.stepped(step);
        }
        if self.filtering {
            self.type_filter(key.code);
            return None;
        }
        if std::mem::take(&mut self.help) {
            return None;
        }
        self.note = None;
        match key.code {
            KeyCode::Char('q') => return Some(Ask::Quit),
            KeyCode::Char('?') => self.help = true,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('/') if self.detail.is_none() => self.filtering = true,
            KeyCode::Char('o') => self.begin(Verb::Force(v1::BreakerAction::ForceOpen)),
            KeyCode::Char('c') => self.begin(Verb::Force(v1::BreakerAction::ForceClosed)),
            KeyCode::Char('r') => self.begin(Verb::Reset),
            KeyCode::Char('x') => self.begin(Verb::Release),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left if self.detail.is_some() => {
                self.detail = None;
            }
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter | KeyCode::Right if self.detail.is_none() => self.open(),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-PAGE),
            KeyCode::PageDown => self.go(PAGE),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End => self.go(isize::MAX),
            _ => {}
        }
        None
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.filtering = false,
            KeyCode::Esc => {
                self.filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.len() + c.len_utf8() <= FILTER => self.filter.push(c),
            _ => {}
        }
    }

    fn go(&mut self, by: isize) {
        if let Some(detail) = &mut self.detail {
            let instances = detail.told.as_ref().map_or(0, |told| told.instances.len());
            detail.cursor = moved(detail.cursor, by, instances);
            return;
        }
        let rows = self.rows();
        let to = moved(self.cursor(&rows), by, rows.len());
        self.selected = rows.get(to).map(|(id, _)| (*id).clone());
    }

    /// The operation that keys are for.
    pub(super) fn current(&self) -> Option<Id> {
        if let Some(detail) = &self.detail {
            return Some(detail.id.clone());
        }
        let rows = self.rows();
        let row = rows.get(self.cursor(&rows));
        row.map(|(id, _)| (*id).clone())
    }

    fn open(&mut self) {
        let Some(id) = self.current() else { return };
        self.selected = Some(id.clone());
        self.detail = Some(Detail {
            id,
            told: None,
            refusal: None,
            cursor: 0,
        });
    }

    fn look_closely(&mut self, id: &Id, told: Result<Box<v1::GetOperationResponse>, String>) {
        let Some(detail) = self.detail.as_mut().filter(|detail| detail.id == *id) else {
            return;
        };
        match told {
            Err(refusal) => detail.refusal = Some(refusal),
            Ok(told) => {
                let before = detail.told.as_ref();
                let on = before.and_then(|told| told.instances.get(detail.cursor));
                let same = |one: &v1::OperationInstance| {
                    on.is_some_and(|on| {
                        (&one.instance_id, one.epoch) == (&on.instance_id, on.epoch)
                    })
                };
                let last = told.instances.len().saturating_sub(1);
                let cursor = told.instances.iter().position(same);
                detail.cursor = cursor.unwrap_or(detail.cursor.min(last));
                (detail.told, detail.refusal) = (Some(*told), None);
            }
        }
    }

    fn begin(&mut self, verb: Verb) {
        let Some(id) = self.current() else {
            self.note = Some("there is no operation here".to_owned());
            return;
        };
        // Where nobody moved the cursor it stays with what was on top.
        if self.detail.is_none() {
            self.selected = Some(id.clone());
        }
        let choices = match verb {
            Verb::Release => choices::overrides(self, &id),
            Verb::Force(_) | Verb::Reset => choices::targets(self, &id),
        };
        self.dialogue = Dialogue::open(verb, choices);
        if self.dialogue.is_none() {
            self.note = Some(match self.fleet.overrides {
                None => "the server has not said which overrides are in force".to_owned(),
                Some(_) => format!("no override concerns {}", id.name()),
            });
        }
    }

    fn stepped(&mut self, step: Step) -> Option<Ask> {
        match step {
            Step::Stay => None,
            Step::Close => {
                self.dialogue = None;
                None
            }
            Step::Judge(order) => {
                self.orders += 1;
                Some(Ask::Judge(self.orders, order))
            }
            Step::Give(order) => {
                self.orders += 1;
                Some(Ask::Give(self.orders, order))
            }
        }
    }

    /// Late answers, to what has been changed or closed since, are for nobody.
    fn answered(&mut self, number: u64, answer: Result<Judgement, String>) {
        let waiting = self.dialogue.as_mut().filter(|_| number == self.orders);
        let Some(dialogue) = waiting else { return };
        if let Some(done) = dialogue.answered(answer) {
            self.dialogue = None;
            self.note = Some(format!("{}; {}", done.done, reaching(done.reach)));
        }
    }
}

fn moved(from: usize, by: isize, rows: usize) -> usize {
    from.saturating_add_signed(by).min(rows.saturating_sub(1))
}

#[cfg(test)]
mod tests;
