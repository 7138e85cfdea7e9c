//! The view, drawn anew each time: colour says nothing that the text does not say.

mod detail;
mod popup;

use std::time::Instant;

use fusebox_proto::v1;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::columns::Columns;
use super::fleet::Known;
use super::model::Model;
use crate::figures::span;
use crate::print::one_line;

const KEYS: &str = "enter look  / filter  s order  o open  c closed  x release  r reset  ? help";

/// What stays the same from frame to frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'a> {
    pub(super) server: &'a str,
    /// Whether colours are wanted.
    pub(super) colours: bool,
}

impl Stage<'_> {
    const fn paint(self, style: Style, color: Color) -> Style {
        match self.colours {
            true => style.fg(color),
            false => style,
        }
    }
}

/// Draws all there is to see at `now`, in whatever room there is.
pub(super) fn draw(canvas: &mut Frame<'_>, stage: Stage<'_>, model: &Model, now: Instant) {
    let banner = banner(model, now);
    let told = u16::from(banner.is_some());
    let [head, told, body, ticker, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(told),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(canvas.area());
    canvas.render_widget(Line::from(headline(stage, model)).bold(), head);
    if let Some(banner) = banner {
        let style = stage.paint(Style::new().add_modifier(Modifier::REVERSED), Color::Red);
        canvas.render_widget(Line::styled(banner, style), told);
    }
    match &model.detail {
        None => list(canvas, stage, model, now, body),
        Some(closely) => detail::draw(canvas, stage, model, closely, now, body),
    }
    canvas.render_widget(Line::from(latest(model)).dim(), ticker);
    canvas.render_widget(Line::from(footline(model)), foot);
    if let Some(dialogue) = &model.dialogue {
        popup::dialogue(canvas, dialogue);
    } else if model.help {
        popup::help(canvas);
    }
}

fn headline(stage: Stage<'_>, model: &Model) -> String {
    let mut line = format!(
        "fusebox top  {}  {} operations, {}",
        stage.server,
        model.fleet.len(),
        model.order.describe()
    );
    if !model.filter.is_empty() {
        line += &format!(", with {:?}", model.filter);
    }
    if let Some(overrides) = &model.fleet.overrides
        && !overrides.is_empty()
    {
        line += &format!(", {} overrides", overrides.len());
    }
    line
}

/// Why what is shown may not be the whole truth, the gravest first.
pub(super) fn banner(model: &Model, now: Instant) -> Option<String> {
    if let Some(why) = &model.lost {
        let shown = match model.heard {
            None => "nothing is known yet".to_owned(),
            Some(heard) => {
                let age = span(now.saturating_duration_since(heard));
                format!("what is shown is {age} old")
            }
        };
        return Some(format!(
            "NO SERVER, trying again; {shown}: {}",
            one_line(why)
        ));
    }
    if !model.fleet.synced {
        return Some("the state is still coming".to_owned());
    }
    let partial = model.fleet.coverage.and_then(partial);
    let left_out = model.fleet.left_out;
    partial.or_else(|| (left_out > 0).then(|| "more operations than are kept here".to_owned()))
}

/// What is missing of the whole control plane's word.
pub(super) fn partial(coverage: v1::Coverage) -> Option<String> {
    let (reporting, total) = (coverage.servers_reporting, coverage.servers_total);
    let settling = "the server has just started: processes may be on their way back";
    match reporting < total {
        true => Some(format!("PARTIAL: {reporting} of {total} servers speak")),
        false => coverage.settling.then(|| settling.to_owned()),
    }
}

fn latest(model: &Model) -> String {
    let latest = model.fleet.transitions.front();
    let missed = match model.fleet.missed {
        0 => String::new(),
        missed => format!(" ({missed} transitions not told)"),
    };
    let latest = latest.map(transition);
    latest.unwrap_or_else(|| "no transition yet".to_owned()) + &missed
}

/// A transition and why it came.
fn transition(record: &v1::TransitionRecord) -> String {
    let at = record
        .time
        .map_or(0, |time| time.seconds)
        .rem_euclid(86_400);
    let (hours, minutes, seconds) = (at / 3600, at / 60 % 60, at % 60);
    let who = format!(
        "{}/{} on {}",
        record.service, record.operation, record.instance_id
    );
    let (from, to) = (state(record.from()), state(record.to()));
    let (who, cause) = (one_line(&who), one_line(&record.cause));
    let cause = match record.override_id {
        0 => cause,
        id => format!("override {id}: {cause}"),
    };
    format!("{hours:02}:{minutes:02}:{seconds:02}Z {who} {from} -> {to}: {cause}")
}

const fn state(state: v1::CircuitState) -> &'static str {
    match state {
        v1::CircuitState::Unspecified => "-",
        v1::CircuitState::Closed => "closed",
        v1::CircuitState::Open => "open",
        v1::CircuitState::HalfOpen => "half-open",
    }
}

fn footline(model: &Model) -> String {
    match &model.note {
        _ if model.filtering => format!("/{}_  enter keeps, esc clears", model.filter),
        Some(note) => one_line(note),
        None => KEYS.to_owned(),
    }
}

fn list(canvas: &mut Frame<'_>, stage: Stage<'_>, model: &Model, now: Instant, area: Rect) {
    let columns = Columns::within(usize::from(area.width).saturating_sub(2));
    let rows = model.rows();
    let cursor = model.cursor(&rows);
    let room = usize::from(area.height.saturating_sub(1));
    let skipped = skipped(cursor, room);
    let mut lines = vec![Line::from(format!("  {}", columns.head())).dim()];
    for (index, (id, known)) in rows.iter().enumerate().skip(skipped).take(room) {
        let mark = if index == cursor { ">" } else { " " };
        let text = format!("{mark} {}", columns.row(id, known, now));
        lines.push(Line::styled(text, row_style(stage, known, index == cursor)));
    }
    if rows.is_empty() && model.fleet.synced {
        lines.push(Line::from("  no operation is known here"));
    }
    canvas.render_widget(Paragraph::new(lines), area);
}

/// How many rows stand above the screen, so that the cursor is on it.
fn skipped(cursor: usize, room: usize) -> usize {
    (cursor + 1).saturating_sub(room)
}

fn row_style(stage: Stage<'_>, known: &Known, under_cursor: bool) -> Style {
    let counts = known.status.instances.unwrap_or_default();
    let style = match under_cursor {
        true => Style::new().add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    match counts {
        _ if counts.open + counts.forced_open > 0 => stage.paint(style, Color::Red),
        _ if counts.half_open + counts.forced_closed > 0 => stage.paint(style, Color::Yellow),
        _ => style,
    }
}

#[cfg(test)]
mod tests;
