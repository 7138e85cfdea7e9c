//! Addresses that show different stores: the process stays where it is, and says so.

use super::*;

/// A process at a, which shows store 1; b shows store 2.
async fn at_a() -> (Net, Streams, Process, Stream) {
    let net = Net::default();
    let (mut a, b) = (net.serve("a"), net.serve("b"));
    let process = Process::start(&net, &["a", "b"]);
    let stream = told(&mut a, 1, 3, 5).await;
    net.shut("a");
    drop(a);
    (net, b, process, stream)
}

/// Offers store 2 at every stream; what was taken over ends it.
fn offer(mut b: Streams) -> tokio::task::JoinHandle<Instant> {
    tokio::spawn(async move {
        loop {
            let mut stream = b.welcome(2, BEAT).await;
            stream.say(Down::Snapshot(attempts(2, 1, 9))).await;
            if stream.hear_ack().await.is_some() {
                return Instant::now();
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_store_is_left_before_anything_of_it_applies_and_health_says_so() {
    let (net, b, process, stream) = at_a().await;
    let offered = offer(b);
    drop(stream);
    sleep(4 * Duration::from_secs(60)).await;
    assert!(!offered.is_finished());
    let health = process.health();
    assert_eq!(
        (process.attempts(), health.revision, health.connected_to),
        (5, 3, None)
    );
    let [one, two] = ["01", "02"].map(|byte| byte.repeat(16));
    assert_eq!(
        health.disagreement.unwrap(),
        format!(
            "addresses disagree: http://a/ has store {one} (followed), http://b/ has store {two}"
        )
    );
    assert!(
        net.dials().len() < 200,
        "not in haste: {}",
        net.dials().len()
    );

    // Where it belongs it goes back to, however many times the other has offered itself.
    let mut a = net.serve("a");
    let _stream = told(&mut a, 1, 4, 6).await;
    assert_eq!(process.attempts(), 6);
    assert_eq!(process.health().connected_to.as_deref(), Some("http://a/"));
    assert!(
        process.health().disagreement.is_some(),
        "b was last seen so"
    );
}

#[tokio::test(start_paused = true)]
async fn another_store_is_followed_once_nobody_has_shown_the_old_one_for_five_minutes() {
    let (_net, b, process, stream) = at_a().await;
    let offered = offer(b);
    drop(stream);
    let lost = Instant::now();
    let followed = offered.await.unwrap() - lost;
    let patience = Duration::from_secs(300);
    assert!(
        followed >= patience && followed < patience + 2 * BEAT,
        "{followed:?}"
    );
    assert_eq!((process.attempts(), process.health().revision), (9, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_begins_anew_behind_all_addresses_is_followed_at_once() {
    let net = Net::default();
    let (mut a, b) = (net.serve("a"), net.serve("b"));
    let process = Process::start(&net, &["a", "b"]);
    let stream = told(&mut a, 1, 3, 5).await;
    let offered = [offer(a), offer(b)];
    let lost = Instant::now();
    drop(stream);
    while !offered.iter().any(tokio::task::JoinHandle::is_finished) {
        sleep(MOMENT).await;
    }
    assert!(lost.elapsed() < 10 * MOMENT, "{:?}", lost.elapsed());
    assert_eq!(process.attempts(), 9);
    assert_eq!(process.health().disagreement, None);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_begins_anew_behind_the_only_address_is_followed_at_once() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    drop(told(&mut a, 1, 3, 5).await);
    let _stream = told(&mut a, 2, 1, 9).await;
    assert_eq!(
        (process.attempts(), process.health().disagreement),
        (9, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_and_empty_store_takes_nothing_away_even_when_it_is_all_there_is() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    drop(told(&mut a, 1, 3, 5).await);
    let mut stream = a.welcome(2, BEAT).await;
    let mut empty = attempts(2, 0, 9);
    empty.policies.clear();
    empty.digest = fusebox_core::revision::Digest::EMPTY.0;
    stream.say(Down::Snapshot(empty)).await;
    stream.beat(BEAT, 1).await;
    assert_eq!((process.attempts(), process.health().revision), (5, 3));
    assert!(
        process.problem().contains("is new and empty"),
        "{}",
        process.problem()
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_say_which_store_it_has_is_left() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    drop(told(&mut a, 1, 3, 5).await);
    let mut stream = a.welcome_showing(Vec::new(), BEAT).await;
    stream.say(Down::Snapshot(attempts(2, 4, 9))).await;
    assert_eq!(stream.hear_ack().await, None);
    assert_eq!((process.attempts(), process.health().revision), (5, 3));
    let problem = process.problem();
    assert!(problem.contains("bad welcome: incarnation"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_store_than_the_welcome_s_ends_the_session_and_changes_nothing() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = told(&mut a, 1, 3, 5).await;
    stream.say(Down::Snapshot(attempts(2, 4, 9))).await;
    assert_eq!(stream.hear_ack().await, None);
    assert_eq!((process.attempts(), process.health().revision), (5, 3));
}
