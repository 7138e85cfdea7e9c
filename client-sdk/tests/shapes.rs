//! The shapes in which callers use a guarded call: that these compile is most of the claim.
//!
//! What is called is no `Clone` and not `'static`, futures are spawned, boxed, hedged, made in
//! generic code and behind `dyn`; arguments are borrowed and mutated.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fusebox::{Error, Fusebox, Kind, Next, Operation, Results, Scope};

type Answer = Result<usize, Error<Broken>>;

#[derive(Debug, PartialEq, Eq)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// A client that cannot be cloned and hands out futures that borrow it.
struct Client {
    prefix: String,
}

impl Client {
    async fn ask(&self, question: &str) -> Result<usize, Broken> {
        tokio::task::yield_now().await;
        Ok(self.prefix.len() + question.len())
    }
}

fn operation(name: &str) -> Operation {
    let fusebox = Fusebox::builder("shapes").build().unwrap();
    let builder = fusebox.operation(name).kind(Kind::Cache);
    builder
        .hedge_after(Duration::from_secs(1), 1)
        .register()
        .unwrap()
}

fn client() -> Client {
    Client {
        prefix: "a".to_owned(),
    }
}

/// Something generic that owns a guard and what it guards.
struct Guarded<C> {
    operation: Operation,
    client: C,
}

trait Asks {
    fn ask<'a>(
        &'a self,
        question: &'a str,
    ) -> impl Future<Output = Result<usize, Broken>> + Send + 'a;
}

impl Asks for Client {
    fn ask<'a>(
        &'a self,
        question: &'a str,
    ) -> impl Future<Output = Result<usize, Broken>> + Send + 'a {
        Self::ask(self, question)
    }
}

impl<C: Asks + Sync> Guarded<C> {
    fn ask<'a>(&'a self, question: &'a str) -> impl Future<Output = Answer> + Send + 'a {
        self.operation.call(move |_| self.client.ask(question))
    }
}

/// The same behind `dyn`.
trait Service: Send + Sync {
    fn ask<'a>(&'a self, question: &'a str) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}

impl<C: Asks + Send + Sync> Service for Guarded<C> {
    fn ask<'a>(&'a self, question: &'a str) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(Self::ask(self, question))
    }
}

#[tokio::test]
async fn a_call_borrows_what_it_needs() {
    let (operation, client, question) = (operation("borrows"), client(), "bc".to_owned());
    let answer = operation.call(async |_| client.ask(&question).await).await;
    assert_eq!(answer.unwrap(), 3);
}

#[tokio::test]
async fn a_generic_owners_call_can_be_spawned() {
    let guarded = Arc::new(Guarded {
        operation: operation("generic"),
        client: client(),
    });
    let task = tokio::spawn(async move { guarded.ask("bc").await });
    assert_eq!(task.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_call_behind_dyn_can_be_spawned() {
    let service: Arc<dyn Service> = Arc::new(Guarded {
        operation: operation("dyn"),
        client: client(),
    });
    let task = tokio::spawn(async move { service.ask("bc").await });
    assert_eq!(task.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_call_with_everything_said_can_be_spawned() {
    let (operation, client) = (operation("everything"), Arc::new(client()));
    let task = tokio::spawn(async move {
        let scope = Scope::new().deadline(Duration::from_secs(5)).retries(1);
        let guarded = operation.with(Results).within(&scope).cost(1);
        let call = guarded.call_or(async |_| client.ask("bc").await, async |_| Ok(0));
        Scope::new().run(call).await
    });
    assert_eq!(task.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn mutable_data_goes_through_attempts_step_by_step() {
    async fn fail_once(tries: &mut u32) -> Result<u32, Broken> {
        *tries += 1;
        if *tries < 2 { Err(Broken) } else { Ok(*tries) }
    }
    let (operation, mut tries) = (operation("mutable"), 0);
    let task = tokio::spawn(async move {
        let mut run = operation.begin();
        loop {
            match run.attempt(&Results, fail_once(&mut tries)).await {
                Next::Return(result) => return result,
                Next::Again { answer } => assert_eq!(answer, Some(Err(Broken))),
            }
        }
    });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_blocking_call_belongs_on_a_thread_that_may_block() {
    let operation = operation("blocking");
    let refused = operation.call_blocking(|_| Ok::<_, Broken>(1)).unwrap_err();
    let why = refused.stopped().unwrap().to_string();
    assert!(why.contains("tokio::task::spawn_blocking"), "{why}");
    let on_a_task = tokio::spawn({
        let operation = operation.clone();
        async move { operation.call_blocking(|_| Ok::<_, Broken>(1)).is_err() }
    });
    assert!(on_a_task.await.unwrap());
    let elsewhere = tokio::task::spawn_blocking({
        let operation = operation.clone();
        move || operation.call_blocking(|cx| Ok::<_, Broken>(cx.attempt()))
    });
    assert_eq!(elsewhere.await.unwrap().unwrap(), 1);
    let thread = std::thread::spawn(move || {
        let mut tries = 0;
        operation.call_blocking(|_| {
            tries += 1;
            if tries < 2 { Err(Broken) } else { Ok(tries) }
        })
    });
    assert_eq!(thread.join().unwrap().unwrap(), 2);
}

#[tokio::test]
async fn work_between_two_calls_of_its_caller_is_settled_by_its_permit() {
    use fusebox::Verdict;
    let operation = operation("permit");
    let permit = operation.admit().unwrap();
    assert!(permit.remaining() > Duration::from_secs(1));
    permit.settle(Verdict::Success);
    drop(operation.admit().unwrap());
}

#[test]
fn an_errors_chain_names_each_cause_once() {
    use std::error::Error as _;
    let error = Error::Call(Broken);
    assert_eq!(error.to_string(), "the call failed");
    assert_eq!(error.source().unwrap().to_string(), "broken");
}
