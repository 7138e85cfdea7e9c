//! One operation closely: its instances, the rules in effect, overrides, what its breakers did.

use std::time::Instant;

use fusebox_proto::v1;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::super::columns::Columns;
use super::super::model::{Detail, Model};
use super::{Stage, skipped, state, transition};
use crate::figures::{cut, duration, percent, span};
use crate::print::one_line;
use crate::target::{described, forced};

pub(super) fn draw(
    canvas: &mut Frame<'_>,
    stage: Stage<'_>,
    model: &Model,
    detail: &Detail,
    now: Instant,
    area: Rect,
) {
    let Some(told) = &detail.told else {
        let waiting = || format!("{}: asking the server ...", detail.id.name());
        let line = detail.refusal.clone().unwrap_or_else(waiting);
        canvas.render_widget(Paragraph::new(one_line(&line)), area);
        return;
    };
    let rules = rules(told.effective.as_ref());
    let overrides: Vec<_> = told
        .overrides
        .iter()
        .map(|one| standing(model, one))
        .collect();
    let transitions: Vec<_> = told.transitions.iter().map(transition).collect();
    let titled = |lines: usize, most: usize| lines.min(most) + usize::from(lines > 0);
    let length = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let most = usize::from(area.height / 5).max(2);
    let [top, instances, below, overruled, past] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(2),
        length(titled(rules.len(), most)),
        length(titled(overrides.len(), most)),
        length(titled(transitions.len(), most)),
    ])
    .areas(area);
    summary(canvas, model, detail, now, top);
    table(canvas, stage, told, detail.cursor, instances);
    section(canvas, "rules in effect, and who set them", rules, below);
    section(canvas, "overrides in force", overrides, overruled);
    section(canvas, "last transitions", transitions, past);
}

/// The operation's own line, and what is wrong with what is shown.
fn summary(canvas: &mut Frame<'_>, model: &Model, detail: &Detail, now: Instant, area: Rect) {
    let columns = Columns::within(usize::from(area.width));
    let line = match (model.fleet.get(&detail.id), &detail.refusal) {
        (_, Some(refusal)) => format!("{}: OLD: {}", detail.id.name(), one_line(refusal)),
        (Some(known), None) => columns.row(&detail.id, known, now),
        (None, None) => format!("{} is no longer known", detail.id.name()),
    };
    let lines = vec![Line::from(columns.head()).dim(), Line::from(line).bold()];
    canvas.render_widget(Paragraph::new(lines), area);
}

fn table(
    canvas: &mut Frame<'_>,
    stage: Stage<'_>,
    told: &v1::GetOperationResponse,
    cursor: usize,
    area: Rect,
) {
    let wide = usize::from(area.width.saturating_sub(60)).clamp(8, 40);
    let line = |cells: [&str; 7]| {
        let [id, zone, version, of_its_own, held, failed, seen] = cells;
        let (id, zone, version) = (cut(id, wide), cut(zone, 8), cut(version, 8));
        format!(
            "{id:<wide$} {zone:<8} {version:<8} {of_its_own:<14} {held:<11} {failed:>6} {seen:>5}"
        )
    };
    let room = usize::from(area.height.saturating_sub(1));
    let head = line([
        "instance",
        "zone",
        "version",
        "state, for",
        "forced",
        "fail %",
        "seen",
    ]);
    let mut lines = vec![Line::from(format!("  {head}")).dim()];
    let instances = told.instances.iter().enumerate();
    for (index, one) in instances.skip(skipped(cursor, room)).take(room) {
        let since = one.circuit_state_age.map(|age| span(duration(Some(age))));
        let of_its_own = format!(
            "{} {}",
            state(one.circuit_state()),
            since.unwrap_or_default()
        );
        let held = match one.override_id {
            0 => String::new(),
            id => format!("{} by {id}", state(one.forced_state())),
        };
        let seen = match (one.connected, one.age) {
            (false, _) => "gone".to_owned(),
            (true, None) => "-".to_owned(),
            (true, age) => span(duration(age)) + if one.stale { "?" } else { "" },
        };
        let text = line([
            &one_line(&one.instance_id),
            &one_line(&one.zone),
            &one_line(&one.version),
            &of_its_own,
            &held,
            &percent(one.failure_ratio, one.ratio_sample),
            &seen,
        ]);
        let mark = if index == cursor { '>' } else { ' ' };
        let style = instance_style(stage, one, index == cursor);
        lines.push(Line::styled(format!("{mark} {text}"), style));
    }
    let untold = told.total_size as usize;
    if untold > told.instances.len() && room > 0 {
        let more = untold - told.instances.len();
        lines.truncate(room);
        lines.push(Line::from(format!("  and {more} more, less bad")));
    }
    canvas.render_widget(Paragraph::new(lines), area);
}

fn instance_style(stage: Stage<'_>, one: &v1::OperationInstance, under_cursor: bool) -> Style {
    let style = match under_cursor {
        true => Style::new().add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    let seen_by_callers = match one.forced_state() {
        v1::CircuitState::Unspecified => one.circuit_state(),
        forced => forced,
    };
    match seen_by_callers {
        v1::CircuitState::Open => stage.paint(style, Color::Red),
        v1::CircuitState::HalfOpen => stage.paint(style, Color::Yellow),
        _ => style,
    }
}

/// What somebody has set first; the kind's defaults last.
fn rules(effective: Option<&v1::ExplainPolicyResponse>) -> Vec<String> {
    let Some(effective) = effective else {
        return Vec::new();
    };
    let (set, defaults): (Vec<_>, Vec<_>) = effective
        .fields
        .iter()
        .filter(|field| !field.value.is_empty())
        .partition(|field| field.layer() != v1::Layer::Kind);
    set.into_iter().chain(defaults).map(rule).collect()
}

fn rule(field: &v1::FieldExplanation) -> String {
    let who = match field.layer() {
        v1::Layer::Unspecified => "unknown".to_owned(),
        v1::Layer::Kind => "default".to_owned(),
        v1::Layer::File => "settings file".to_owned(),
        v1::Layer::Environment => "environment".to_owned(),
        v1::Layer::CallSite => "call site".to_owned(),
        v1::Layer::Policy => format!("policy {}", one_line(&field.policy)),
    };
    format!(
        "{} {} ({who})",
        one_line(&field.field),
        one_line(&field.value)
    )
}

fn standing(model: &Model, one: &v1::BreakerOverride) -> String {
    let all = model.fleet.overrides.as_deref().unwrap_or_default();
    let listed = |status: &&v1::OverrideStatus| {
        status
            .r#override
            .as_ref()
            .is_some_and(|other| other.id == one.id)
    };
    let left = all.iter().find(listed).and_then(|status| status.time_left);
    let left = left.map_or_else(
        || format!("of {}", span(duration(one.ttl))),
        |left| format!("{} left", span(duration(Some(left)))),
    );
    format!(
        "{} {} {}, {left}: {} ({})",
        one.id,
        described(&one.target.clone().unwrap_or_default()),
        forced(one.action()),
        one_line(&one.reason),
        one_line(&one.author)
    )
}

fn section(canvas: &mut Frame<'_>, title: &'static str, lines: Vec<String>, area: Rect) {
    if lines.is_empty() {
        return;
    }
    let room = usize::from(area.height.saturating_sub(1));
    let hidden = lines.len().saturating_sub(room);
    let title = match hidden {
        0 => title.to_owned(),
        more => format!("{title} ({more} more)"),
    };
    let all = std::iter::once(Line::from(title).dim());
    let lines = lines
        .into_iter()
        .map(|line| Line::from(format!("  {line}")));
    let lines: Vec<_> = all.chain(lines).collect();
    canvas.render_widget(Paragraph::new(lines), area);
}
