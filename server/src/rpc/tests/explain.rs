//! ExplainPolicy: policies and what processes declare, as one answer.

use super::*;

fn question(kind: v1::Kind) -> v1::ExplainPolicyRequest {
    v1::ExplainPolicyRequest {
        service: "checkout".into(),
        operation: "pay".into(),
        kind: kind.into(),
        ..Default::default()
    }
}

async fn explain(server: &Server, question: v1::ExplainPolicyRequest) -> v1::ExplainPolicyResponse {
    let answer = server.policies().explain_policy(question).await;
    answer.unwrap().into_inner()
}

/// A process of checkout that declares `pay` with its own attempt timeout.
async fn declaring(server: &Server, epoch: u64, attempt_seconds: i64) -> Peer {
    let identity = v1::Hello {
        epoch,
        ..hello("checkout")
    };
    let mut peer = Peer::with(server, identity).await;
    peer.welcome().await;
    peer.apply().await;
    peer.say(declared(attempt_seconds)).await;
    peer.settle(1).await;
    peer
}

fn attempt(answer: &v1::ExplainPolicyResponse) -> &v1::FieldExplanation {
    let mut fields = answer.fields.iter();
    fields
        .find(|explained| explained.field == "timeout.attempt")
        .unwrap()
}

#[tokio::test]
async fn what_policies_and_processes_say_is_laid_over_each_other() {
    let server = Server::start().await;
    let revision = server.put(policy("a", "checkout")).await;
    server.put(policy("b", "search")).await;
    let _peer = declaring(&server, 1, 7).await;
    let answer = explain(&server, question(v1::Kind::Unspecified)).await;
    assert_eq!(answer.local_layers(), v1::LocalLayers::Known);
    assert_eq!(answer.kind(), v1::Kind::Database, "as it was declared");
    assert_eq!(answer.revision, revision + 1);
    let ranked = answer.policies.iter();
    let ranked: Vec<_> = ranked.map(|rank| (&*rank.name, rank.revision)).collect();
    assert_eq!(ranked, [("a", revision)]);
    let attempt = attempt(&answer);
    assert_eq!((&*attempt.value, &*attempt.policy), ("1s", "a"));
    let [overruled] = &attempt.overruled[..] else {
        panic!("one layer: {attempt:?}")
    };
    assert_eq!(
        (overruled.layer(), &*overruled.value),
        (v1::Layer::CallSite, "7s")
    );
}

#[tokio::test]
async fn of_an_operation_that_nobody_declares_local_layers_are_unknown() {
    let server = Server::start().await;
    let answer = explain(&server, question(v1::Kind::Unspecified)).await;
    assert_eq!(answer.local_layers(), v1::LocalLayers::Unknown);
    assert_eq!(answer.kind(), v1::Kind::Custom);
    assert_eq!(attempt(&answer).layer(), v1::Layer::Kind);
    let asked = explain(&server, question(v1::Kind::Ml)).await;
    assert_eq!(attempt(&asked).value, "300s");
}

#[tokio::test]
async fn where_processes_differ_it_is_told_and_most_of_them_hold() {
    let server = Server::start().await;
    let _peers = [
        declaring(&server, 1, 7).await,
        declaring(&server, 2, 8).await,
        declaring(&server, 3, 8).await,
    ];
    let answer = explain(&server, question(v1::Kind::Unspecified)).await;
    assert_eq!(answer.local_layers(), v1::LocalLayers::Differ);
    assert_eq!(attempt(&answer).value, "8s");
}

#[tokio::test]
async fn a_question_that_names_no_operation_is_refused_field_by_field() {
    let server = Server::start().await;
    let question = v1::ExplainPolicyRequest::default();
    let refused = server.policies().explain_policy(question).await;
    assert_eq!(fields(&refused.unwrap_err()), ["service", "operation"]);
}
