//! What stands before the view for a moment: a dialogue, or the help.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::super::dialogue::{Dialogue, Field, Stage};
use crate::print::one_line;
use crate::target::reaching;

const HELP: [&str; 14] = [
    "up down pgup pgdn home end   move",
    "enter, esc                   look closer, and back",
    "/                            show names that contain a text; esc clears",
    "s                            worst first, by name, by calls/s",
    "o, c                         force open, force closed: for a time",
    "x                            release an override",
    "r                            reset: close, and forget what was counted",
    "q, ctrl-c                    quit",
    "",
    "instances: c closed  o open  h half-open  ? silent  - gone; as their",
    "breakers decide. F: an override decides for some of them.",
    "calls/s, fail % of 10 s; p99 and failures of the last minute",
    "",
    "any key goes back",
];

pub(super) fn help(canvas: &mut Frame<'_>) {
    let lines: Vec<_> = HELP.into_iter().map(Line::from).collect();
    show(canvas, " help ", lines);
}

pub(super) fn dialogue(canvas: &mut Frame<'_>, dialogue: &Dialogue) {
    let (choice, number, count) = dialogue.choice();
    let mut lines = vec![field(
        dialogue,
        Field::Choice,
        "whose",
        &format!("{choice}  ({number} of {count}, left and right choose)"),
    )];
    if dialogue.timed() {
        lines.push(field(dialogue, Field::Time, "for", &dialogue.time));
    }
    lines.push(field(dialogue, Field::Reason, "why", &dialogue.reason));
    lines.push(Line::default());
    match &dialogue.stage {
        Stage::Filling => lines.push(Line::from(
            "enter asks whom it concerns  tab next field  esc closes",
        )),
        Stage::Asked => lines.push(Line::from("asking the server whom it concerns ...")),
        Stage::Judged(judgement) => {
            lines.push(Line::from(reaching(judgement.reach)));
            let warnings = judgement.warnings.iter();
            lines.extend(warnings.map(|text| Line::from(format!("warning: {}", one_line(text)))));
            let title = dialogue.title();
            lines.push(Line::from(format!("enter: {title}  esc goes back")));
        }
        Stage::Given => lines.push(Line::from("given; waiting for the server ...")),
    }
    if let Some(refusal) = &dialogue.refusal {
        lines.push(Line::from(format!("! {}", one_line(refusal))));
    }
    show(canvas, &format!(" {} ", dialogue.title()), lines);
}

fn field(dialogue: &Dialogue, field: Field, name: &str, text: &str) -> Line<'static> {
    let (mark, caret) = match dialogue.field == field {
        true => ('>', if field == Field::Choice { "" } else { "_" }),
        false => (' ', ""),
    };
    Line::from(format!("{mark} {name:<6}{}{caret}", one_line(text)))
}

/// In the middle, as wide as there is room for.
fn show(canvas: &mut Frame<'_>, title: &str, lines: Vec<Line<'static>>) {
    let all = canvas.area();
    let wide = all.width.saturating_sub(4).min(100);
    let inner = usize::from(wide.saturating_sub(2)).max(1);
    let high: usize = lines
        .iter()
        .map(|line| line.width().div_ceil(inner).max(1))
        .sum();
    let area = middle(
        all,
        wide,
        u16::try_from(high).unwrap_or(u16::MAX).saturating_add(3),
    );
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    canvas.render_widget(Clear, area);
    canvas.render_widget(text.block(Block::bordered().title(title.to_owned())), area);
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let across = [
        Constraint::Fill(1),
        Constraint::Max(width),
        Constraint::Fill(1),
    ];
    let [_, column, _] = Layout::horizontal(across).areas(area);
    let down = [
        Constraint::Fill(1),
        Constraint::Max(height),
        Constraint::Fill(1),
    ];
    let [_, cell, _] = Layout::vertical(down).areas(column);
    cell
}
