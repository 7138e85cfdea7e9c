use super::super::dialogue::Stage;
use super::super::fleet::tests::{status, told};
use super::*;

fn press(model: &mut Model, code: KeyCode) -> Option<Ask> {
    model.key(KeyEvent::from(code))
}

fn typed(model: &mut Model, text: &str) {
    for c in text.chars() {
        assert_eq!(press(model, KeyCode::Char(c)), None, "{c}");
    }
}

fn watching(operations: Vec<v1::OperationStatus>) -> Model {
    let mut model = Model::default();
    model.told(Told::Began, Instant::now());
    model.told(Told::Watched(told(operations)), Instant::now());
    model
}

fn two() -> Model {
    watching(vec![
        status("pay", [2, 2], 0.5),
        status("ship", [4, 0], 0.0),
    ])
}

fn shown(model: &Model) -> Vec<&str> {
    let rows = model.rows();
    rows.iter().map(|(id, _)| id.operation.as_str()).collect()
}

fn on(model: &Model) -> String {
    model.current().unwrap().operation
}

#[test]
fn the_cursor_stays_on_its_operation_when_rows_move() {
    let mut model = two();
    assert_eq!(
        (shown(&model), on(&model)),
        (vec!["pay", "ship"], "pay".into())
    );
    press(&mut model, KeyCode::Down);
    assert_eq!(on(&model), "ship");
    let worse = told(vec![status("ship", [0, 4], 1.0)]);
    model.told(Told::Watched(worse), Instant::now());
    assert_eq!(
        (shown(&model), on(&model)),
        (vec!["ship", "pay"], "ship".into())
    );
}

#[test]
fn a_filter_shows_what_contains_it_and_is_cleared_by_esc() {
    let mut model = two();
    typed(&mut model, "/out/sh");
    assert_eq!(shown(&model), ["ship"]);
    typed(&mut model, "q");
    assert!(shown(&model).is_empty(), "a letter is a letter");
    press(&mut model, KeyCode::Backspace);
    press(&mut model, KeyCode::Enter);
    assert_eq!(shown(&model), ["ship"]);
    press(&mut model, KeyCode::Esc);
    assert_eq!(shown(&model).len(), 2);
}

#[test]
fn q_and_ctrl_c_quit() {
    let mut model = two();
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Ask::Quit));
    press(&mut model, KeyCode::Char('o'));
    assert_eq!(press(&mut model, KeyCode::Char('q')), None, "it is typed");
    let interrupt = ratatui::crossterm::event::KeyModifiers::CONTROL;
    let interrupt = KeyEvent::new(KeyCode::Char('c'), interrupt);
    assert_eq!(model.key(interrupt), Some(Ask::Quit));
}

#[test]
fn a_breaker_is_forced_by_a_reason_and_two_enters_once_the_server_has_said_whom_it_concerns() {
    let mut model = two();
    typed(&mut model, "oit burns");
    let Some(Ask::Judge(number, order::Order::Force { target, .. })) =
        press(&mut model, KeyCode::Enter)
    else {
        panic!("the server is not asked");
    };
    assert_eq!(
        (target.service.as_str(), target.operation.as_str()),
        ("checkout", "pay")
    );
    let judgement = Judgement {
        reach: Some(v1::Reach {
            instances: 4,
            too_old: 0,
        }),
        ..Judgement::default()
    };
    model.told(
        Told::Answered(number, Ok(judgement.clone())),
        Instant::now(),
    );
    let Some(Ask::Give(number, _)) = press(&mut model, KeyCode::Enter) else {
        panic!("the order is not given");
    };
    let done = Judgement {
        done: "override 7".to_owned(),
        ..judgement
    };
    model.told(Told::Answered(number, Ok(done)), Instant::now());
    assert_eq!(model.dialogue, None);
    let note = model.note.as_deref();
    assert_eq!(note, Some("override 7; concerns 4 processes"));
}

#[test]
fn a_late_answer_decides_nothing() {
    let mut model = two();
    typed(&mut model, "oit burns");
    let Some(Ask::Judge(late, _)) = press(&mut model, KeyCode::Enter) else {
        panic!("the server is not asked");
    };
    typed(&mut model, " more");
    press(&mut model, KeyCode::Enter);
    model.told(
        Told::Answered(late, Ok(Judgement::default())),
        Instant::now(),
    );
    assert_eq!(model.dialogue.unwrap().stage, Stage::Asked);
}

fn standing(id: u64, service: &str) -> v1::OverrideStatus {
    v1::OverrideStatus {
        r#override: Some(v1::BreakerOverride {
            id,
            target: Some(v1::BreakerTarget {
                service: service.to_owned(),
                ..v1::BreakerTarget::default()
            }),
            ..v1::BreakerOverride::default()
        }),
        ..v1::OverrideStatus::default()
    }
}

#[test]
fn only_overrides_that_concern_the_operation_can_be_released_there() {
    let mut model = two();
    press(&mut model, KeyCode::Char('x'));
    assert!(model.note.as_ref().unwrap().contains("has not said"));
    model.told(Told::Overrides(vec![standing(1, "other")]), Instant::now());
    press(&mut model, KeyCode::Char('x'));
    assert_eq!(
        model.note.as_deref(),
        Some("no override concerns checkout/pay")
    );
    let both = vec![standing(2, "check*"), standing(1, "other")];
    model.told(Told::Overrides(both), Instant::now());
    typed(&mut model, "xit is over");
    let asked = press(&mut model, KeyCode::Enter);
    let Some(Ask::Judge(_, order::Order::Release { id, .. })) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(id, 2);
}

#[test]
fn on_an_instance_an_order_can_be_for_it_alone() {
    let mut model = two();
    press(&mut model, KeyCode::Enter);
    let id = model.current().unwrap();
    let instance = |id: &str| v1::OperationInstance {
        instance_id: id.to_owned(),
        ..v1::OperationInstance::default()
    };
    let told = |instances| {
        let told = v1::GetOperationResponse {
            instances,
            ..v1::GetOperationResponse::default()
        };
        Told::Detail(id.clone(), Ok(Box::new(told)))
    };
    model.told(told(vec![instance("c-1"), instance("c-2")]), Instant::now());
    press(&mut model, KeyCode::Down);
    let moved = vec![instance("c-2"), instance("c-1")];
    model.told(told(moved), Instant::now());
    assert_eq!(model.instance().unwrap().instance_id, "c-2");
    press(&mut model, KeyCode::Char('r'));
    let dialogue = model.dialogue.as_mut().unwrap();
    dialogue.key(KeyEvent::from(KeyCode::Tab));
    dialogue.key(KeyEvent::from(KeyCode::Left));
    assert_eq!(dialogue.choice().0, "this instance: checkout/pay on c-2");
}

#[test]
fn a_lost_server_is_told_until_it_is_heard_again() {
    let mut model = two();
    model.told(Told::Lost("gone".to_owned()), Instant::now());
    assert_eq!(
        (model.lost.as_deref(), shown(&model).len()),
        (Some("gone"), 2)
    );
    model.told(Told::Began, Instant::now());
    assert!(model.lost.is_some(), "nothing is heard yet");
    model.told(Told::Watched(told(Vec::new())), Instant::now());
    assert_eq!((model.lost.as_deref(), shown(&model).len()), (None, 0));
}
