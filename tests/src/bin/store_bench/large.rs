//! Many policies in one store: reading, paging, explaining, starting.

use std::fs;

use fusebox_proto::v1;
use fusebox_tests::dice::Dice;
use fusebox_tests::server::Server;
use tokio::runtime::Runtime;
use tonic::Code;

use crate::load::{Times, share};
use crate::ours::{self, Client};
use crate::report::{Hold, Row};
use crate::{Effort, Result, directory};

const NAMESPACES: usize = 4;
const OWNERS: usize = 50;
/// Policies that name the same service.
const PER_SERVICE: usize = 50;
/// In one ApplyPolicies.
const SET: usize = 1000;
const PAGE: i32 = 100;
const WRITERS: usize = 64;
const CONNECTIONS: usize = 8;
const STARTS: usize = 3;
const SEED: u64 = 7;

/// What is loaded, then everything that is asked of it.
pub(crate) fn measure(runtime: &Runtime, effort: &Effort) -> Result<Vec<Row>> {
    let home = directory()?;
    let data = home.path().join("data");
    let mut server = ours::start(&data);
    let policies: Vec<_> = (0..effort.policies).map(policy).collect();
    let mut rows = Vec::new();
    rows.push(runtime.block_on(load(&server, &policies))?);
    rows.extend(runtime.block_on(reads(&server, &policies, effort))?);
    rows.extend(sizes(runtime, &server)?);

    let starts = |server: &mut Server, end: fn(&mut Server)| {
        let seconds = (0..STARTS).map(|_| {
            end(server);
            ours::restart(server)
        });
        seconds.fold(0.0, f64::max)
    };
    let count = effort.policies;
    let start = |what: &str, seconds, most| {
        let name = format!("{count} policies: start {what}");
        Row::new(name, seconds, "s").held_to(Hold::AtMost(most))
    };
    rows.push(start(
        "after a stop, slowest of 3",
        starts(&mut server, ours::stop),
        5.0,
    ));
    rows.push(start(
        "after kill -9, slowest of 3",
        starts(&mut server, Server::kill9),
        5.0,
    ));
    server.kill9();
    fs::remove_dir_all(data.join("sled"))?;
    rows.push(start("without the index", ours::restart(&mut server), 10.0));
    Ok(rows)
}

fn policy(index: usize) -> v1::Policy {
    let service = format!("service-{}", index / PER_SERVICE);
    v1::Policy {
        namespace: format!("namespace-{}", index / PER_SERVICE % NAMESPACES),
        owner: owner(index),
        ..ours::policy(&format!("policy-{index:06}"), &service)
    }
}

fn owner(index: usize) -> String {
    format!("team-{}", index % OWNERS)
}

/// By sets, or by as many writers as it takes if the server knows no sets.
async fn load(server: &Server, policies: &[v1::Policy]) -> Result<Row> {
    let mut client = ours::client(server).await?;
    let mut times = Times::default();
    for set in policies.chunks(SET) {
        let request = v1::ApplyPoliciesRequest {
            policies: set.to_vec(),
            ..v1::ApplyPoliciesRequest::default()
        };
        match times.take(client.apply_policies(request)).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::Unimplemented => {
                return load_one_by_one(server, policies).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
    let per_second = times.per_second() * SET as f64;
    Ok(Row::new(
        format!("loading {} policies by sets", policies.len()),
        per_second,
        "policies/s",
    ))
}

async fn load_one_by_one(server: &Server, policies: &[v1::Policy]) -> Result<Row> {
    let writers = ours::writers(server, WRITERS, CONNECTIONS, policies).await?;
    let turns = policies.len().div_ceil(WRITERS) as u64;
    let (_, times) = share(writers, 0, turns).await?;
    let name = format!("loading {} policies one by one", policies.len());
    Ok(Row::new(name, times.per_second(), "policies/s"))
}

async fn reads(server: &Server, policies: &[v1::Policy], effort: &Effort) -> Result<Vec<Row>> {
    let mut client = ours::client(server).await?;
    let mut dice = Dice::new(SEED);
    let count = policies.len();
    let row = |what: &str, micros: std::result::Result<f64, String>, most| {
        let millis = micros.map(|micros| micros / 1000.0);
        Row::of(format!("{count} policies: {what}, p99"), millis, "ms").held_to(Hold::AtMost(most))
    };
    let mut gets = Times::default();
    for _ in 0..effort.reads {
        let v1::Policy {
            namespace, name, ..
        } = policies[dice.index(count)].clone();
        gets.take(client.get_policy(v1::GetPolicyRequest { namespace, name }))
            .await?;
    }
    let pages = pages(&mut client, effort, &mut dice).await?;
    let by_service = by_service(&mut client, policies, effort, &mut dice).await?;
    let by_owner = by_owner(&mut client, effort, &mut dice).await?;
    let explained = explained(&mut client, policies, effort, &mut dice).await?;
    Ok(vec![
        row("get", Ok(gets.percentile(99)), 1.0),
        row("a page of 100", Ok(pages.percentile(99)), 20.0),
        row("a page of 100 of a service", by_service, 20.0),
        row("a page of 100 of an owner", by_owner, 20.0),
        row("explain", explained, 1.0),
    ])
}

/// Pages from everywhere, in no order.
async fn pages(client: &mut Client, effort: &Effort, dice: &mut Dice) -> Result<Times> {
    let mut tokens = vec![String::new()];
    while let Some(token) = tokens.last().cloned() {
        let page = client.list_policies(page(&token)).await?.into_inner();
        if page.next_page_token.is_empty() {
            break;
        }
        tokens.push(page.next_page_token);
    }
    let mut times = Times::default();
    for _ in 0..effort.reads / 2 {
        let token = &tokens[dice.index(tokens.len())];
        times.take(client.list_policies(page(token))).await?;
    }
    Ok(times)
}

fn page(token: &str) -> v1::ListPoliciesRequest {
    v1::ListPoliciesRequest {
        page_size: PAGE,
        page_token: token.to_owned(),
        ..v1::ListPoliciesRequest::default()
    }
}

async fn by_service(
    client: &mut Client,
    policies: &[v1::Policy],
    effort: &Effort,
    dice: &mut Dice,
) -> Result<std::result::Result<f64, String>> {
    let mut times = Times::default();
    for _ in 0..effort.reads / 5 {
        let service = service(&policies[dice.index(policies.len())]);
        let request = v1::ListPoliciesRequest {
            service,
            ..page("")
        };
        let found = times
            .take(client.list_policies(request))
            .await?
            .into_inner();
        if found.policies.len() != PER_SERVICE {
            return Ok(Err(format!(
                "not by service: {} policies",
                found.policies.len()
            )));
        }
    }
    Ok(Ok(times.percentile(99)))
}

/// One page after the other of owners that are picked at random.
async fn by_owner(
    client: &mut Client,
    effort: &Effort,
    dice: &mut Dice,
) -> Result<std::result::Result<f64, String>> {
    let mut times = Times::default();
    let (mut owner, mut token) = (String::new(), String::new());
    for _ in 0..effort.reads / 5 {
        if token.is_empty() {
            owner = self::owner(dice.index(OWNERS));
        }
        let request = v1::ListPoliciesRequest {
            owner: owner.clone(),
            ..page(&token)
        };
        let found = times
            .take(client.list_policies(request))
            .await?
            .into_inner();
        if let Some(other) = found.policies.iter().find(|policy| policy.owner != owner) {
            return Ok(Err(format!(
                "not by owner: {} is {}'s",
                other.name, other.owner
            )));
        }
        token = found.next_page_token;
    }
    Ok(Ok(times.percentile(99)))
}

async fn explained(
    client: &mut Client,
    policies: &[v1::Policy],
    effort: &Effort,
    dice: &mut Dice,
) -> Result<std::result::Result<f64, String>> {
    let mut times = Times::default();
    for _ in 0..effort.reads {
        let policy = &policies[dice.index(policies.len())];
        let request = v1::ExplainPolicyRequest {
            namespace: policy.namespace.clone(),
            service: service(policy),
            operation: format!("{}.charge", policy.name),
            ..v1::ExplainPolicyRequest::default()
        };
        match times.take(client.explain_policy(request)).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::Unimplemented => {
                return Ok(Err(status.message().to_owned()));
            }
            Err(status) => return Err(status.into()),
        }
    }
    Ok(Ok(times.percentile(99)))
}

fn service(policy: &v1::Policy) -> String {
    let selector = policy.selector.as_ref();
    selector.map_or_else(String::new, |selector| selector.service.clone())
}

fn sizes(runtime: &Runtime, server: &Server) -> Result<Vec<Row>> {
    let (live, count) = runtime.block_on(async {
        let mut client = ours::client(server).await?;
        ours::live_bytes(&mut client).await
    })?;
    let data = server.data_dir();
    let name = |what: &str| format!("{count} policies: {what}");
    Ok(vec![
        Row::new(name("live"), live as f64, "bytes"),
        Row::new(name("data directory"), ours::disk_bytes(&data)?, "bytes"),
        Row::new(
            name("of it sled"),
            ours::disk_bytes(&data.join("sled"))?,
            "bytes",
        ),
        Row::new(name("memory"), ours::resident_bytes(server)?, "bytes"),
    ])
}
