use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::super::fleet::tests::{status, told};
use super::super::model::Told;
use super::*;

const STAGE: Stage<'_> = Stage {
    server: "http://127.0.0.1:7070",
    colours: true,
};

fn model(now: Instant) -> Model {
    let mut model = Model::default();
    model.told(Told::Began, now);
    let long = "payments.authorize-and-capture-with-a-long-name";
    let mut worst = status(long, [38, 2], 0.123);
    if let Some(counts) = &mut worst.instances {
        (counts.half_open, counts.stale, counts.forced_open) = (1, 1, 3);
    }
    let mut all = told(vec![worst, status("ship", [4, 0], 0.0)]);
    all.transitions = vec![v1::TransitionRecord {
        service: "checkout".to_owned(),
        operation: "ship".to_owned(),
        instance_id: "c-1".to_owned(),
        from: v1::CircuitState::Closed.into(),
        to: v1::CircuitState::Open.into(),
        cause: "5 failures in a row".to_owned(),
        ..v1::TransitionRecord::default()
    }];
    model.told(Told::Watched(all), now);
    model.tick(now);
    model
}

fn drawn(model: &Model, now: Instant, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let draw = |canvas: &mut Frame<'_>| super::draw(canvas, STAGE, model, now);
    terminal.draw(draw).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let cells = buffer.content().chunks(usize::from(width).max(1));
    let lines = cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect());
    lines.collect::<Vec<String>>().join("\n")
}

fn closely(now: Instant) -> Model {
    let mut model = model(now);
    model.key(KeyEvent::from(KeyCode::Enter));
    let id = model.current().unwrap();
    let told = v1::GetOperationResponse {
        instances: vec![v1::OperationInstance {
            instance_id: "checkout-7f9c".to_owned(),
            zone: "eu-1a".to_owned(),
            version: "1.4.2".to_owned(),
            connected: true,
            circuit_state: v1::CircuitState::Open.into(),
            forced_state: v1::CircuitState::Closed.into(),
            override_id: 41,
            ..v1::OperationInstance::default()
        }],
        total_size: 1,
        overrides: vec![v1::BreakerOverride {
            id: 41,
            action: v1::BreakerAction::ForceClosed.into(),
            reason: "the alarm is false".to_owned(),
            author: "ann@ops".to_owned(),
            ..v1::BreakerOverride::default()
        }],
        effective: Some(v1::ExplainPolicyResponse {
            fields: vec![v1::FieldExplanation {
                field: "timeout.attempt".to_owned(),
                value: "0.8s".to_owned(),
                layer: v1::Layer::Policy.into(),
                policy: "payments".to_owned(),
                ..v1::FieldExplanation::default()
            }],
            ..v1::ExplainPolicyResponse::default()
        }),
        ..v1::GetOperationResponse::default()
    };
    model.told(Told::Detail(id, Ok(Box::new(told))), now);
    model
}

#[test]
fn everything_that_matters_fits_80_columns() {
    let now = Instant::now();
    let text = drawn(&model(now), now, 80, 24);
    println!("{text}");
    for part in [
        "checkout/p",
        "…",
        "38c 2o 1h 1? ",
        " F ",
        "12.3",
        "c-1 closed -> open",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains("> checkout/p"), "the cursor\n{text}");
}

#[test]
fn a_wide_terminal_shows_names_whole() {
    let now = Instant::now();
    let text = drawn(&model(now), now, 160, 40);
    assert!(
        text.contains("payments.authorize-and-capture-with-a-long-name"),
        "{text}"
    );
}

#[test]
fn an_operation_closely_shows_instances_rules_and_overrides() {
    let now = Instant::now();
    for (width, height) in [(80, 24), (120, 40)] {
        let text = drawn(&closely(now), now, width, height);
        println!("{text}");
        for part in [
            "checkout-7f9c",
            "eu-1a",
            "closed by 41",
            "timeout.attempt 0.8s (policy payments)",
            "the alarm is false (ann@ops)",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}

#[test]
fn any_room_however_small_is_drawn_in() {
    let now = Instant::now();
    let mut asking = model(now);
    asking.key(KeyEvent::from(KeyCode::Char('o')));
    let mut helped = model(now);
    helped.key(KeyEvent::from(KeyCode::Char('?')));
    for model in [model(now), closely(now), asking, helped, Model::default()] {
        for (width, height) in [(1, 1), (3, 2), (10, 5), (1, 40), (200, 1), (39, 9)] {
            drawn(&model, now, width, height);
        }
    }
}

#[test]
fn a_lost_server_is_told_with_the_age_of_what_is_shown() {
    let now = Instant::now();
    let mut model = model(now);
    model.told(Told::Lost("connection refused".to_owned()), now);
    let text = drawn(&model, now + Duration::from_secs(12), 80, 24);
    assert!(
        text.contains("NO SERVER, trying again; what is shown is 12s old"),
        "{text}"
    );
}

#[test]
fn a_dialogue_shows_whom_it_concerns_before_the_last_word() {
    let now = Instant::now();
    let mut model = model(now);
    for key in "oit burns".chars() {
        model.key(KeyEvent::from(KeyCode::Char(key)));
    }
    let asked = model.key(KeyEvent::from(KeyCode::Enter));
    let Some(super::super::model::Ask::Judge(number, _)) = asked else {
        panic!("{asked:?}");
    };
    let judgement = super::super::order::Judgement {
        reach: Some(v1::Reach {
            instances: 41,
            too_old: 1,
        }),
        warnings: vec!["it shadows override 3".to_owned()],
        ..Default::default()
    };
    model.told(Told::Answered(number, Ok(judgement)), now);
    let text = drawn(&model, now, 80, 24);
    for part in [
        "it burns",
        "concerns 41 processes (1 too old",
        "warning: it shadows",
        "enter: force open",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn without_colours_every_cell_is_plain() {
    let now = Instant::now();
    let model = model(now);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let stage = Stage {
        colours: false,
        ..STAGE
    };
    terminal
        .draw(|canvas| super::draw(canvas, stage, &model, now))
        .unwrap();
    let buffer = terminal.backend().buffer();
    assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
}
