//! What a process makes of servers that come, go, hang, disagree, and of a disk that does.

mod disagreement;
mod disk;
mod listener;
mod lives;
mod net;

use std::path::Path;
use std::time::Duration;

use fusebox_core::key::{Epoch, InstanceId, Labels, Namespace, Service};
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::stats::{InstanceFacts, InstanceKey};
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status as Answer;

use super::*;
use crate::builder::whoami;
use crate::cache::Cache;
use crate::enforcement::{Context, Restored};
use crate::health::PolicySource;
use crate::jitter::Jitter;
use crate::metrics::Metrics;
use crate::{Fusebox, Health, Kind, Operation};
use net::{Net, Stream, Streams, attempts};

const BEAT: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);
/// More than the longest pause between two addresses.
const MOMENT: Duration = Duration::from_millis(101);

/// A process whose link runs in the test's own runtime, by its clock.
struct Process {
    fusebox: Fusebox,
    operation: Operation,
}

impl Process {
    fn start(net: &Net, hosts: &[&str]) -> Self {
        Self::start_with(net, hosts, None)
    }

    fn start_with(net: &Net, hosts: &[&str], cache_dir: Option<&Path>) -> Self {
        let identity = identity();
        let (events, inbox) = queue();
        let context = Context {
            events,
            jitter: Jitter::seeded(7),
            metrics: Metrics::new(None),
        };
        let key = &identity.key;
        let enforcement = Arc::new(Enforcement::new(
            whoami(&identity),
            context,
            Restored::default(),
            PolicySource::Defaults,
        ));
        let cache = cache_dir.map(|dir| Cache::new(dir, &key.namespace, &key.service));
        let server = |host: &&str| tuned(Endpoint::from_shared(format!("http://{host}")).unwrap());
        let upstream = Upstream {
            servers: hosts.iter().map(server).collect(),
            writer: cache.map(|cache| Writer::start(cache, None).unwrap()),
            board: Arc::default(),
            identity,
        };
        let (link, keeper, stopped) =
            Link::prepare(upstream, Arc::clone(&enforcement), inbox, net.dial());
        tokio::spawn(keeper.keep(stopped));
        let link = Arc::new(link);
        let fusebox = Fusebox { enforcement, link };
        let operation = fusebox.operation("payments").kind(Kind::Api);
        let operation = operation.register().unwrap();
        Self { fusebox, operation }
    }

    fn health(&self) -> Health {
        self.fusebox.health()
    }

    fn problem(&self) -> String {
        self.health().last_problem.unwrap_or_default()
    }

    /// How many attempts its next call would make.
    fn attempts(&self) -> u32 {
        self.operation.inner().plans.load().plan.max_attempts
    }
}

fn identity() -> Identity {
    Identity {
        key: InstanceKey {
            namespace: Namespace::default_namespace(),
            service: Service::new("checkout").unwrap(),
            instance: InstanceId::new("one").unwrap(),
            epoch: Epoch(1),
        },
        facts: InstanceFacts {
            version: String::new(),
            zone: String::new(),
            labels: Labels::default(),
            sdk_version: "rust/test".into(),
        },
        schema: SCHEMA,
    }
}

/// The next session with that server, in which the process has been told how often to try.
async fn told(server: &mut Streams, incarnation: u8, revision: u64, most: u32) -> Stream {
    let mut stream = server.welcome(incarnation, BEAT).await;
    stream
        .say(Down::Snapshot(attempts(incarnation, revision, most)))
        .await;
    assert_eq!(stream.hear_ack().await, Some(revision));
    stream
}

/// How often the process comes to a server that says this to it each time, of 1500 times at most:
/// to whoever comes without a pause an hour would never pass.
async fn met_in_an_hour(server: &mut Streams, says: &Down) -> u32 {
    let mut met = 0;
    let meet = async {
        while met < 1500 {
            let stream = server.welcome(1, BEAT).await;
            met += 1;
            stream.say(says.clone()).await;
        }
    };
    // In vain is well.
    let _ = timeout(HOUR, meet).await;
    met
}

#[tokio::test(start_paused = true)]
async fn hours_without_any_server_change_nothing_that_is_in_force() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let stream = told(&mut a, 1, 3, 5).await;
    net.shut("a");
    drop((stream, a));
    let before = net.dials().len();
    sleep(6 * HOUR).await;
    let health = process.health();
    assert_eq!(
        (process.attempts(), health.policies, health.revision),
        (5, 1, 3)
    );
    assert_eq!(
        (health.source, health.connected_to),
        (PolicySource::Server, None)
    );
    assert!(health.staleness > Some(5 * HOUR), "{:?}", health.staleness);
    let dials = net.dials().len() - before;
    assert!(
        (2_000..10_000).contains(&dials),
        "a dial every 5 s or so: {dials}"
    );
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_at_the_server_s_interval() {
    let net = Net::default();
    let mut a = net.serve("a");
    let _process = Process::start(&net, &["a"]);
    let second = Duration::from_secs(1);
    let mut stream = a.welcome(1, second).await;
    let mut heard = 0;
    for _ in 0..10 {
        stream.say(Down::Heartbeat(v1::Heartbeat {})).await;
        let end = Instant::now() + second;
        while let Ok(message) = tokio::time::timeout_at(end, stream.hear()).await {
            heard += u32::from(matches!(message.unwrap(), Up::Heartbeat(_)));
        }
    }
    assert!((9..=10).contains(&heard), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_for_three_heartbeats_is_left_then_and_not_before() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = told(&mut a, 1, 3, 5).await;
    let silent_since = Instant::now();
    while stream.hear().await.is_some() {}
    let silence = silent_since.elapsed();
    assert!(
        silence >= 3 * BEAT && silence < 3 * BEAT + MOMENT,
        "{silence:?}"
    );
    assert!(
        process.problem().contains("silent for 30s"),
        "{}",
        process.problem()
    );
    a.welcome(1, BEAT).await;
    assert!(silent_since.elapsed() < 3 * BEAT + 2 * MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_without_a_word_is_noticed_by_pings_where_heartbeats_are_rare() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = a.welcome(1, HOUR).await;
    stream.say(Down::Snapshot(attempts(1, 3, 5))).await;
    assert_eq!(stream.hear_ack().await, Some(3));
    // A whole connection is not ended by them.
    sleep(10 * BEAT).await;
    assert!(process.health().connected_to.is_some());
    net.freeze();
    let gone = Instant::now();
    while process.health().connected_to.is_some() {
        sleep(MOMENT).await;
    }
    assert!(
        gone.elapsed() < 3 * BEAT + 2 * MOMENT,
        "{:?}",
        gone.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_spoken_in_lasts() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = told(&mut a, 1, 3, 5).await;
    // At twice the interval: late, and still no silence of three.
    stream.beat(2 * BEAT, 500).await;
    let health = process.health();
    assert_eq!((health.reconnects, net.dials().len()), (0, 1));
    assert!(health.staleness <= Some(2 * BEAT), "{:?}", health.staleness);
}

#[tokio::test(start_paused = true)]
async fn staleness_begins_with_the_first_word_that_confirms_what_is_held() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = a.welcome(1, BEAT).await;
    stream.beat(BEAT, 2).await;
    assert_eq!(process.health().staleness, None, "nothing is held yet");
    stream.say(Down::Snapshot(attempts(1, 3, 5))).await;
    stream.hear_ack().await.unwrap();
    assert_eq!(process.health().staleness, Some(Duration::ZERO));
    // Passed over: from now on what is held is known not to be what the server has.
    stream.say(Down::Snapshot(attempts(1, 2, 9))).await;
    stream.beat(BEAT, 4).await;
    assert_eq!(process.health().staleness, Some(4 * BEAT));
    assert_eq!(process.attempts(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_passed_over_is_a_problem_until_one_is_taken() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = told(&mut a, 1, 3, 5).await;
    stream.say(Down::Snapshot(attempts(1, 2, 9))).await;
    stream.beat(BEAT, 1).await;
    assert!(process.problem().contains("is older than 3"));
    stream.say(Down::Snapshot(attempts(1, 4, 6))).await;
    assert_eq!(stream.hear_ack().await, Some(4));
    assert_eq!(process.health().last_problem, None);
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_at_once_when_one_fails_and_reconnects_are_counted() {
    let net = Net::default();
    let (mut a, mut b) = (net.serve("a"), net.serve("b"));
    let process = Process::start(&net, &["a", "b"]);
    let stream = told(&mut a, 1, 3, 5).await;
    assert_eq!(process.health().connected_to.as_deref(), Some("http://a/"));
    let lost = Instant::now();
    drop(stream);
    let _stream = told(&mut b, 1, 4, 6).await;
    assert!(lost.elapsed() < MOMENT, "{:?}", lost.elapsed());
    let health = process.health();
    assert_eq!((health.reconnects, process.attempts()), (1, 6));
    assert_eq!(health.connected_to.as_deref(), Some("http://b/"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_full_or_stopping_is_left_for_the_next_at_once() {
    for refusal in [
        Answer::resource_exhausted("full"),
        Answer::unavailable("stopping"),
    ] {
        let net = Net::default();
        let (mut a, mut b) = (net.serve("a"), net.serve("b"));
        let process = Process::start(&net, &["a", "b"]);
        let begun = Instant::now();
        a.next().await.refuse(refusal.clone()).await;
        let _stream = told(&mut b, 1, 3, 5).await;
        assert!(begun.elapsed() < MOMENT, "{:?}", begun.elapsed());
        assert_eq!(process.attempts(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_leads_to_the_next_address_after_its_delay_and_never_for_longer_than_a_minute() {
    let minute = Duration::from_secs(60);
    for (asked, waited) in [(BEAT, BEAT), (24 * HOUR, minute)] {
        let net = Net::default();
        let (mut a, mut b) = (net.serve("a"), net.serve("b"));
        let process = Process::start(&net, &["a", "b"]);
        let stream = told(&mut a, 1, 3, 5).await;
        let delay = Some(duration_to_wire(asked));
        stream.say(Down::Drain(v1::Drain { delay })).await;
        let drained = Instant::now();
        let _stream = b.welcome(1, BEAT).await;
        let away = drained.elapsed();
        assert!(away >= waited && away < waited + MOMENT, "{away:?}");
        assert_eq!(process.attempts(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_says_nothing_is_left_after_ten_seconds() {
    let net = Net::default();
    let (_mute, mut b) = (net.listen("a"), net.serve("b"));
    let _process = Process::start(&net, &["a", "b"]);
    let begun = Instant::now();
    b.welcome(1, BEAT).await;
    let waited = begun.elapsed();
    assert!(waited >= BEAT && waited < BEAT + MOMENT, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_welcome_that_never_comes_is_waited_for_ten_seconds() {
    let net = Net::default();
    let (mut a, mut b) = (net.serve("a"), net.serve("b"));
    let process = Process::start(&net, &["a", "b"]);
    let _stream = a.next().await;
    let begun = Instant::now();
    let _other = b.next().await;
    let waited = begun.elapsed();
    assert!(waited >= BEAT && waited < BEAT + MOMENT, "{waited:?}");
    assert_eq!(process.problem(), "http://a/: no welcome within 10s");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_beyond_the_limit_ends_the_session_with_its_size_and_is_not_asked_for_in_haste()
{
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let stream = told(&mut a, 1, 3, 5).await;
    let mut huge = attempts(1, 4, 9);
    huge.policies[0].description = "x".repeat(3 << 20);
    stream.say(Down::Snapshot(huge.clone())).await;
    let met = met_in_an_hour(&mut a, &Down::Snapshot(huge)).await;
    assert_eq!(process.attempts(), 5, "what was held stays");
    assert!((300..1500).contains(&met), "every 5 s or so: {met}");
    let problem = process.problem();
    assert!(
        problem.contains("too large: found 3") && problem.contains("2097152"),
        "{problem}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_everybody_away_again_and_again_is_not_met_in_haste() {
    let net = Net::default();
    let mut a = net.serve("a");
    let _process = Process::start(&net, &["a"]);
    let drain = Down::Drain(v1::Drain { delay: None });
    let met = met_in_an_hour(&mut a, &drain).await;
    assert!((300..1500).contains(&met), "every 5 s or so: {met}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_a_last_report_and_hangs_on_no_server_that_does_not_answer() {
    let net = Net::default();
    let mut a = net.serve("a");
    let process = Process::start(&net, &["a"]);
    let mut stream = told(&mut a, 1, 3, 5).await;
    let begun = Instant::now();
    process.fusebox.shutdown().await;
    assert!(begun.elapsed() <= FAREWELL, "{:?}", begun.elapsed());
    let reported = timeout(MOMENT, async {
        while let Some(message) = stream.hear().await {
            if matches!(message, Up::StatsReport(_)) {
                return true;
            }
        }
        false
    });
    assert_eq!(reported.await, Ok(true));
}
