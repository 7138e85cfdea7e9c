//! Names: as many as there are, and none that is none.

use fusebox_core::outcome::CircuitState;

use super::MAX_OPERATIONS;
use crate::{Fusebox, InvalidOperation, Operation};

fn fusebox() -> Fusebox {
    Fusebox::builder("checkout").build().unwrap()
}

fn register(fusebox: &Fusebox, name: &str) -> Result<Operation, InvalidOperation> {
    let builder = fusebox.operation(name).max_attempts(1);
    builder.consecutive_failures(1).register()
}

async fn fail(operation: &Operation) {
    operation
        .call(async |_| Err::<(), _>("down"))
        .await
        .unwrap_err();
}

#[test]
fn a_name_that_is_none_is_refused_and_not_thrown_back_whole() {
    let fusebox = fusebox();
    let endless = "a".repeat(10_240);
    for (name, problem) in [
        (endless.as_str(), "10240 bytes"),
        ("pay\u{7}ments\n", "'\\u{7}'"),
        ("pay\u{202e}ments", "at byte 3"),
        ("pay*", "'*'"),
        ("", "must not be empty"),
    ] {
        let refused = register(&fusebox, name).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
        assert!(refused.len() < 400, "{} bytes", refused.len());
        assert!(!refused.contains(char::is_control), "{refused:?}");
    }
    assert!(fusebox.health().operations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn names_beyond_the_bound_are_guarded_together_and_health_says_so() {
    let fusebox = fusebox();
    for name in 0..MAX_OPERATIONS {
        register(&fusebox, &format!("within.{name}")).unwrap();
    }
    assert_eq!(fusebox.health().operations_beyond_bound, 0);
    let beyond = register(&fusebox, "beyond.one").unwrap();
    let another = register(&fusebox, "beyond.another").unwrap();
    assert_eq!(fusebox.health().operations_beyond_bound, 2);
    // Under one breaker, by the kind's defaults: what each said of itself holds for none.
    for _ in 0..5 {
        fail(&beyond).await;
    }
    assert_eq!(another.inner().state().state, CircuitState::Open);
    let refused = another.call(async |_| Ok::<_, ()>(())).await.unwrap_err();
    assert!(refused.stopped().is_some(), "{refused:?}");
    // Those within have one each.
    let within = register(&fusebox, "within.7").unwrap();
    within.call(async |_| Ok::<_, ()>(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_registration_of_a_name_holds() {
    let fusebox = fusebox();
    let first = register(&fusebox, "payments").unwrap();
    let second = fusebox.operation("payments").consecutive_failures(100);
    let second = second.register().unwrap();
    fail(&second).await;
    assert_eq!(first.inner().state().state, CircuitState::Open);
}
