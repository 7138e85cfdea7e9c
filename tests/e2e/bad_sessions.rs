//! Sessions that lie, flood, freeze or say nothing: each is bounded, counted, named in a log line,
//! and nobody beside it notices.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::net::TcpStream;
use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_proto::v1::sync_service_client::SyncServiceClient;
use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::lines::Stream;
use fusebox_tests::operator::{list, revision};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::Upstream;
use fusebox_tests::wait::poll;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const LONG: Duration = Duration::from_secs(30);
/// What a server may take beyond what it took, whatever is thrown at it.
const SOME_KIB: u64 = 128 * 1024;

/// A server, and a process that behaves.
struct Scene {
    server: Server,
    bystander: Caller,
    _upstream: Upstream,
    runtime: Runtime,
    policies: u32,
}

impl Scene {
    fn new(options: Options) -> Self {
        let (server, upstream) = (Server::start(options), Upstream::start());
        let calling = Calling::new("bystander", "b-1", "payments", &upstream.url("/"));
        let bystander = calling.server(server.grpc_addr()).start();
        bystander.wait_for_link(true);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        Self {
            server,
            bystander,
            _upstream: upstream,
            runtime: runtime.worker_threads(1).enable_all().build().unwrap(),
            policies: 0,
        }
    }

    /// A write reaches whoever behaves.
    fn assert_unharmed(&mut self) {
        self.policies += 1;
        let name = format!("everybody-{}", self.policies);
        let policy = json!({"name": name, "selector": {"operation": "*"}});
        let written = self.server.grpcurl().put(&policy).unwrap();
        self.bystander.wait_for_revision(revision(&written));
    }

    fn assert_logged(&self, texts: &[&str]) {
        let lines = self.server.lines();
        let found = lines.wait_for(LONG, |line| {
            line.stream == Stream::Err && texts.iter().all(|text| line.text.contains(text))
        });
        assert!(found.is_some(), "no {texts:?} in:\n{}", lines.dump());
    }

    fn offend(&self, hello: v1::Hello) -> Offender {
        self.runtime.block_on(async {
            let url = format!("http://{}", self.server.grpc_addr());
            let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
            let mut client = SyncServiceClient::new(channel);
            let (up, requests) = mpsc::channel(64);
            let hello = Some(Up::Hello(hello));
            up.send(v1::ConnectRequest { message: hello })
                .await
                .unwrap();
            let down = client.connect(ReceiverStream::new(requests)).await;
            let down = down.unwrap().into_inner();
            Offender { up, down }
        })
    }

    fn say(&self, offender: &Offender, message: Up) {
        let message = Some(message);
        let said = offender.up.send(v1::ConnectRequest { message });
        self.runtime.block_on(said).unwrap();
    }

    /// The next snapshot; the answer is its incarnation, revision and digest.
    fn snapshot(&self, offender: &mut Offender) -> v1::Snapshot {
        loop {
            match self.hear(offender) {
                Ok(Some(Down::Snapshot(snapshot))) => return snapshot,
                Ok(Some(_)) => {}
                end => panic!("a snapshot was expected, found {end:?}"),
            }
        }
    }

    fn end(&self, offender: &mut Offender) -> Status {
        loop {
            match self.hear(offender) {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }

    fn hear(&self, offender: &mut Offender) -> Result<Option<Down>, Status> {
        let heard = self.runtime.block_on(async {
            let next = offender.down.message();
            tokio::time::timeout(LONG, next).await.expect("a word")
        });
        Ok(heard?.and_then(|response| response.message))
    }

    fn instances(&self, service: &str) -> Vec<Value> {
        let method = "fusebox.v1.FleetService/ListInstances";
        let answer = self
            .server
            .grpcurl()
            .call(method, &json!({"service": service}))
            .unwrap();
        list(&answer, "instances")
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid()));
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}

struct Offender {
    up: mpsc::Sender<v1::ConnectRequest>,
    down: Streaming<v1::ConnectResponse>,
}

fn hello(epoch: u64) -> v1::Hello {
    v1::Hello {
        service: "offender".into(),
        instance_id: "o-1".into(),
        epoch,
        schema: 1,
        ..v1::Hello::default()
    }
}

#[test]
fn a_hello_that_lies_about_what_it_holds_is_named_and_sent_the_truth() {
    let mut scene = Scene::new(Options::new());
    scene.assert_unharmed();
    let truth = {
        let mut honest = scene.offend(hello(1));
        scene.snapshot(&mut honest)
    };
    let claim = |epoch, revision| v1::Hello {
        incarnation: truth.incarnation.clone(),
        revision,
        digest: truth.digest ^ 1,
        ..hello(epoch)
    };
    let mut liar = scene.offend(claim(2, truth.revision));
    assert_eq!(scene.snapshot(&mut liar).digest, truth.digest);
    scene.assert_logged(&["offender", "o-1", "is not what that was"]);
    let mut prophet = scene.offend(claim(3, truth.revision + 1));
    scene.assert_logged(&["offender", "o-1", "it says that it holds revision"]);
    scene.assert_unharmed();
    assert_eq!(scene.snapshot(&mut prophet).policies.len(), 2);
}

#[test]
fn acks_of_what_was_never_sent_or_out_of_order_are_named_and_change_nothing() {
    let mut scene = Scene::new(Options::new());
    scene.assert_unharmed();
    let mut offender = scene.offend(hello(1));
    let sent = scene.snapshot(&mut offender);
    for revision in [sent.revision + 7, 0, u64::MAX] {
        scene.say(&offender, Up::Ack(v1::Ack { revision }));
    }
    scene.assert_logged(&["offender", "o-1", "acknowledged revision"]);
    let revision = sent.revision + 1;
    let refusals = Vec::new();
    scene.say(&offender, Up::Nack(v1::Nack { revision, refusals }));
    scene.assert_logged(&["offender", "o-1", "refused policies of revision"]);
    scene.assert_unharmed();
    assert!(scene.instances("offender")[0]["appliedRevision"].is_null());
    let revision = sent.revision;
    scene.say(&offender, Up::Ack(v1::Ack { revision }));
    assert_eq!(scene.snapshot(&mut offender).policies.len(), 2);
}

#[test]
fn two_processes_with_one_instance_id_are_both_there_and_flagged() {
    let mut scene = Scene::new(Options::new());
    let mut older = scene.offend(hello(1));
    let _other = scene.offend(hello(2));
    let flagged = poll(LONG, || {
        let seen = scene.instances("offender");
        let twins = seen.iter().filter(|one| one["duplicate"] == true).count();
        (twins == 2).then_some(())
    });
    assert!(flagged.is_some(), "{:#?}", scene.instances("offender"));
    let _newer = scene.offend(hello(1));
    assert_eq!(scene.end(&mut older).code(), Code::Aborted);
    scene.assert_unharmed();
}

#[test]
fn a_flood_of_reports_costs_others_nothing_and_the_server_little() {
    let mut scene = Scene::new(Options::new());
    let mut offender = scene.offend(hello(1));
    scene.snapshot(&mut offender);
    let before = scene.resident_kib();
    let up = offender.up.clone();
    let flood = std::thread::spawn(move || {
        let operation = v1::OperationStats {
            operation: "x".repeat(150),
            ..v1::OperationStats::default()
        };
        for number in 1..=14_000 {
            let operations = vec![operation.clone(); 20];
            let report = Up::StatsReport(v1::StatsReport {
                number,
                operations,
                span: None,
            });
            let message = Some(report);
            if up.blocking_send(v1::ConnectRequest { message }).is_err() {
                break;
            }
        }
    });
    let drained = scene.runtime.block_on(async {
        let reading = async { while let Ok(Some(_)) = offender.down.message().await {} };
        tokio::time::timeout(Duration::from_secs(10), reading).await
    });
    assert!(drained.is_err(), "the session goes on, slower");
    scene.assert_logged(&["offender", "o-1", "more messages"]);
    scene.assert_unharmed();
    let more = scene.resident_kib().saturating_sub(before);
    assert!(more < SOME_KIB, "{more} KiB more");
    drop(offender);
    flood.join().unwrap();
}

#[test]
fn a_thousand_connections_that_say_nothing_are_closed_and_written_down() {
    let mut scene = Scene::new(Options::new());
    let addr = scene.server.grpc_addr();
    let silent: Vec<_> = (0..1_000)
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    scene.assert_unharmed();
    for mut stream in silent {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let read = std::io::Read::read(&mut stream, &mut [0]);
        assert!(matches!(read, Ok(0)), "closed, found {read:?}");
    }
    scene.assert_logged(&["127.0.0.1", "it said nothing on the gRPC port"]);
    scene.assert_unharmed();
}

#[test]
fn a_process_that_is_there_no_more_without_a_word_is_noticed() {
    let options = Options::new().env("FUSEBOX_SERVER_HEARTBEAT_INTERVAL", "200ms");
    let mut scene = Scene::new(options);
    let upstream = Upstream::start();
    let calling = Calling::new("frozen", "f-1", "payments", &upstream.url("/"));
    let frozen = calling.server(scene.server.grpc_addr()).start();
    frozen.wait_for_link(true);
    frozen.freeze();
    scene.assert_logged(&["frozen", "f-1", "nothing heard for"]);
    let gone = poll(LONG, || {
        let seen = scene.instances("frozen");
        seen[0]["connected"].is_null().then_some(())
    });
    assert!(gone.is_some(), "{:#?}", scene.instances("frozen"));
    scene.assert_unharmed();
    frozen.thaw();
    frozen.wait_for_link(true);
}

#[test]
fn labels_without_end_are_refused_by_field_with_their_number() {
    let mut scene = Scene::new(Options::new());
    let labels = (0..1_000).map(|i| (format!("key-{i}"), "value".to_owned()));
    let mut offender = scene.offend(v1::Hello {
        labels: labels.collect(),
        ..hello(1)
    });
    let status = scene.end(&mut offender);
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    scene.assert_logged(&["hello.labels", "1000"]);
    scene.assert_unharmed();
}

#[test]
fn fifty_sessions_that_leave_at_once_are_all_gone() {
    let mut scene = Scene::new(Options::new());
    let mut streams: Vec<_> = (0..50).map(|epoch| scene.offend(hello(epoch))).collect();
    for offender in &mut streams {
        scene.snapshot(offender);
    }
    scene.assert_unharmed();
    drop(streams);
    let gone = poll(LONG, || {
        let seen = scene.instances("offender");
        let there = seen.iter().filter(|one| one["connected"] == true).count();
        (there == 0).then_some(())
    });
    assert!(gone.is_some(), "{:#?}", scene.instances("offender"));
}
