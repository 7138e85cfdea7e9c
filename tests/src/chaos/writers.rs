//! Writers at work against a server that may vanish: each with a connection of its own.
//!
//! They share a few hot names, which they fight over, and each has cold ones that nobody else
//! touches. Sets are written as one, a hot name among them. A writer whose server vanishes connects again until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::ledger::{Found, Kind, Ledger, Write};
use super::stamp;
use crate::dice::Dice;

const HOT_NAMES: usize = 4;
const COLD_NAMES: usize = 8;
/// Groups of names that are only ever written together.
const SETS: usize = 2;
const SET_NAMES: usize = 5;
/// A server that is there answers far sooner; one that is gone breaks the connection.
const ANSWER: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(2);
/// Before another try: of a server that is gone, or takes no writes.
const PAUSE: Duration = Duration::from_millis(5);

type Client = PolicyServiceClient<Channel>;

/// Writers that run until they are stopped.
pub struct Writers {
    runtime: Handle,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Lets `count` of them loose on the server there.
    pub fn start(
        runtime: &Handle,
        count: usize,
        server: SocketAddr,
        ledger: &Ledger,
        dice: &mut Dice,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let writer = |index| Writer {
            index,
            server,
            ledger: ledger.clone(),
            dice: dice.split(),
            over: Arc::clone(&over),
        };
        let tasks = (0..count).map(writer);
        let tasks = tasks.map(|writer| runtime.spawn(writer.run())).collect();
        Self {
            runtime: runtime.clone(),
            over,
            tasks,
        }
    }

    /// Waits until each has ended what it was doing.
    ///
    /// # Panics
    /// If one of them panicked.
    pub fn stop(self) {
        // Relaxed: nothing else is handed over by it.
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let ended = self.runtime.block_on(task);
            ended.unwrap_or_else(|error| panic!("a writer failed: {error}"));
        }
    }
}

struct Writer {
    index: usize,
    server: SocketAddr,
    ledger: Ledger,
    dice: Dice,
    over: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self) {
        while !self.over() {
            if let Ok(mut client) = connect(self.server).await {
                self.work(&mut client).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Until the server is gone, or takes no writes.
    async fn work(&mut self, client: &mut Client) {
        while !self.over() {
            if let Err(status) = self.step(client).await
                && !is_refusal(&status)
            {
                return;
            }
        }
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn step(&mut self, client: &mut Client) -> Result<(), Status> {
        let name = self.name();
        match self.dice.pick(0..12) {
            0..2 => self.create(client, &name).await,
            2..5 => self.replace(client, &name).await,
            5..8 => self.put(client, &name, String::new()).await,
            8..10 => self.delete(client, &name).await,
            _ => self.apply(client).await,
        }
    }

    fn name(&mut self) -> String {
        if self.dice.one_in(2) {
            format!("hot-{}", self.dice.index(HOT_NAMES))
        } else {
            format!("cold-{}-{}", self.index, self.dice.index(COLD_NAMES))
        }
    }

    async fn create(&mut self, client: &mut Client, name: &str) -> Result<(), Status> {
        let write = self.ledger.begin(Kind::Put, &[name]);
        let request = v1::CreatePolicyRequest {
            policy: Some(stamp::policy(name, write.stamp)),
            ..v1::CreatePolicyRequest::default()
        };
        let answer = client.create_policy(request).await;
        self.end(
            write,
            answer.map(|answer| stored(answer.into_inner().policy)),
        )
    }

    /// Reads first, and writes only if nobody came in between.
    async fn replace(&mut self, client: &mut Client, name: &str) -> Result<(), Status> {
        let etag = etag(client, name).await?;
        self.put(client, name, etag).await
    }

    async fn put(&mut self, client: &mut Client, name: &str, etag: String) -> Result<(), Status> {
        let write = self.ledger.begin(Kind::Put, &[name]);
        let request = v1::UpdatePolicyRequest {
            allow_missing: etag.is_empty(),
            policy: Some(v1::Policy {
                etag,
                ..stamp::policy(name, write.stamp)
            }),
            ..v1::UpdatePolicyRequest::default()
        };
        let answer = client.update_policy(request).await;
        self.end(
            write,
            answer.map(|answer| stored(answer.into_inner().policy)),
        )
    }

    async fn delete(&mut self, client: &mut Client, name: &str) -> Result<(), Status> {
        let etag = match self.dice.one_in(2) {
            true => etag(client, name).await?,
            false => String::new(),
        };
        let write = self.ledger.begin(Kind::Delete, &[name]);
        let request = v1::DeletePolicyRequest {
            name: name.to_owned(),
            etag,
            ..v1::DeletePolicyRequest::default()
        };
        let answer = client.delete_policy(request).await;
        self.end(write, answer.map(|answer| answer.into_inner().revision))
    }

    /// One write to many names.
    async fn apply(&mut self, client: &mut Client) -> Result<(), Status> {
        let set = self.dice.index(SETS);
        let names = (0..SET_NAMES).map(|index| format!("set-{set}-{index}"));
        let hot = format!("hot-{}", self.dice.index(HOT_NAMES));
        let names: Vec<_> = names.chain([hot]).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let write = self.ledger.begin(Kind::Put, &names);
        let policies = names.iter().map(|name| stamp::policy(name, write.stamp));
        let request = v1::ApplyPoliciesRequest {
            policies: policies.collect(),
            ..v1::ApplyPoliciesRequest::default()
        };
        let answer = client.apply_policies(request).await;
        self.end(write, answer.map(|answer| answer.into_inner().revision))
    }

    /// Notes how a write ended; one that nobody answered stays in doubt.
    fn end(&self, write: Write, answer: Result<u64, Status>) -> Result<(), Status> {
        match answer {
            Ok(revision) => self.ledger.acknowledge(write, revision),
            Err(status) if is_refusal(&status) => self.ledger.refuse(write),
            Err(status) => return Err(status),
        }
        Ok(())
    }
}

/// Whether the server says that it changed nothing. Of what else it may say, the change may be true.
///
/// # Panics
/// If it says that the request itself is wrong.
fn is_refusal(status: &Status) -> bool {
    match status.code() {
        Code::NotFound | Code::AlreadyExists | Code::Aborted | Code::ResourceExhausted => true,
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => {
            panic!("a legal write was refused: {status:?}")
        }
        _ => false,
    }
}

fn stored(policy: Option<v1::Policy>) -> u64 {
    policy.expect("an answer has its policy").revision
}

async fn etag(client: &mut Client, name: &str) -> Result<String, Status> {
    let request = v1::GetPolicyRequest {
        name: name.to_owned(),
        ..v1::GetPolicyRequest::default()
    };
    let policy = client.get_policy(request).await?.into_inner().policy;
    Ok(policy.expect("an answer has its policy").etag)
}

/// A client over a connection of its own, which has been made.
pub async fn connect(server: SocketAddr) -> Result<Client, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{server}"))?;
    let endpoint = endpoint.timeout(ANSWER).connect_timeout(CONNECT);
    Ok(PolicyServiceClient::new(endpoint.connect().await?))
}

/// Everything the server there has, read page by page while nobody writes.
///
/// # Panics
/// If it cannot be read.
pub async fn read_all(server: SocketAddr) -> Found {
    let client = connect(server).await;
    let mut client = client.unwrap_or_else(|error| panic!("{server} takes no connection: {error}"));
    let mut found = Found::default();
    let mut page_token = String::new();
    loop {
        let request = v1::ListPoliciesRequest {
            page_size: 1000,
            page_token,
            ..v1::ListPoliciesRequest::default()
        };
        let answer = client.list_policies(request).await;
        let page = answer.unwrap_or_else(|status| panic!("ListPolicies: {status:?}"));
        let page = page.into_inner();
        found.revision = page.revision;
        found.policies.extend(page.policies);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}
