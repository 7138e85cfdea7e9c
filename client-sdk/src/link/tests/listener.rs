//! Whoever listens to the link may panic: it costs a session at most.

use super::*;
use crate::listener::on_event;

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_costs_a_session_and_not_the_link() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = told(&mut a, 1, 3, 5).await;
    let listening = on_event(|_| panic!("the listener's own affair"));
    // Passed over, which is told.
    stream.say(Down::Snapshot(attempts(1, 2, 9))).await;
    assert_eq!(stream.hear_ack().await, None);
    let health = process.health();
    assert_eq!(health.connected_to, None);
    assert_eq!(
        health.last_problem.unwrap(),
        "http://a/: the link panicked: the listener's own affair"
    );
    drop(listening);
    let _stream = told(&mut a, 1, 4, 6).await;
    assert_eq!(process.attempts(), 6);
    assert_eq!(process.health().connected_to.as_deref(), Some("http://a/"));
}
