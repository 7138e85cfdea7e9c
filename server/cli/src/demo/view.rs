//! The live view: the fleet's operations, what just happened, what to try.

use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Wrap};

use fusebox_proto::v1::{InstancesByState, OperationStatus};

use super::observer::{Frame, Mood, News};
use crate::figures::latency;

/// What stays the same from frame to frame.
pub(super) struct Stage<'a> {
    pub(super) grpc: &'a str,
    pub(super) http: &'a str,
    pub(super) lines_to_try: &'a [String],
}

/// Draws `frame`.
pub(super) fn draw(canvas: &mut Canvas<'_>, stage: &Stage<'_>, frame: &Frame) {
    let height = u16::try_from(frame.operations.len())
        .unwrap_or(u16::MAX)
        .saturating_add(3);
    let [head, operations, news, to_try] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(height),
        Constraint::Min(3),
        Constraint::Length(9),
    ])
    .areas(canvas.area());
    canvas.render_widget(headline(stage, frame), head);
    canvas.render_widget(table(frame), operations);
    canvas.render_widget(news_panel(frame, news), news);
    canvas.render_widget(to_try_panel(stage), to_try);
}

fn headline(stage: &Stage<'_>, frame: &Frame) -> Text<'static> {
    let revision = match frame.revisions {
        Some((low, high)) if low == high => format!("revision {high} applied by all"),
        Some((low, high)) => format!("revisions {low} to {high} applied"),
        None => "no instance yet".into(),
    };
    Text::from(vec![
        Line::from(vec![
            Span::from("fusebox demo ").bold(),
            Span::from(format!(
                "{:>4.0} s   {} of {} instances connected, {revision}",
                frame.elapsed.as_secs_f64(),
                frame.connected,
                frame.instances,
            )),
        ]),
        Line::from(format!(
            "gRPC {}   HTTP {}   q to quit",
            stage.grpc, stage.http
        ))
        .dim(),
    ])
}

fn table(frame: &Frame) -> Table<'_> {
    let header = [
        "service",
        "operation",
        "breakers",
        "calls/s",
        "failed",
        "refused/s",
        "p50",
        "p99",
    ];
    let widths = [
        Constraint::Length(13),
        Constraint::Length(18),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(7),
    ];
    Table::new(frame.operations.iter().map(row), widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::bordered().title(" operations "))
}

fn row(status: &OperationStatus) -> Row<'_> {
    let counts = status.instances.unwrap_or_default();
    let failed = match status.ratio_sample {
        0 => "-".into(),
        _ => format!("{:.0} %", status.failure_ratio * 100.0),
    };
    let row = Row::new([
        Cell::from(status.service.as_str()),
        Cell::from(status.operation.as_str()),
        Cell::from(lamps(&counts)),
        Cell::from(format!("{:.0}", status.calls_per_second)),
        Cell::from(failed),
        Cell::from(format!("{:.0}", status.refusals_per_second)),
        Cell::from(latency(status.p50)),
        Cell::from(latency(status.p99)),
    ]);
    if counts.open > 0 {
        row.style(Style::new().bold())
    } else {
        row
    }
}

/// A lamp for each instance: green closed, red open, yellow probing, grey not heard of.
fn lamps(counts: &InstancesByState) -> Line<'static> {
    let lamps = [
        (counts.open, "●", Color::Red),
        (counts.half_open, "◐", Color::Yellow),
        (counts.closed, "●", Color::Green),
        (counts.stale, "○", Color::DarkGray),
    ];
    let spans = lamps.map(|(count, lamp, color)| Span::from(lamp.repeat(count as usize)).fg(color));
    Line::from(spans.to_vec())
}

fn news_panel(frame: &Frame, area: Rect) -> Paragraph<'_> {
    let room = usize::from(area.height.saturating_sub(2));
    let skipped = frame.news.len().saturating_sub(room);
    let lines = frame.news.iter().skip(skipped).map(news_line);
    Paragraph::new(lines.collect::<Vec<_>>()).block(Block::bordered().title(" what happened "))
}

fn news_line(news: &News) -> Line<'_> {
    let color = match news.mood {
        Mood::Bad => Color::Red,
        Mood::Good => Color::Green,
        Mood::Plain => Color::Reset,
    };
    Line::from(vec![
        Span::from(format!("{:>4.0} s  ", news.at.as_secs_f64())).dim(),
        Span::from(news.text.as_str()).fg(color),
    ])
}

fn to_try_panel<'a>(stage: &Stage<'a>) -> Paragraph<'a> {
    let lines = stage
        .lines_to_try
        .iter()
        .map(|line| Line::from(line.as_str()));
    Paragraph::new(lines.collect::<Vec<_>>())
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(" try in another terminal "))
}
