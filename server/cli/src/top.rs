//! `fusebox top`: the fleet in a terminal, and what an operator does about it at 3 a.m.
//!
//! `model` decides what there is to see and what a key means, `view` draws it, `feed` speaks with the
//! server; this file brings them together.

mod choices;
mod columns;
mod dialogue;
mod feed;
mod fleet;
mod model;
mod once;
mod order;
mod view;

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Channel;

use feed::{Feed, Scope};
use model::{Ask, Model, Told};
use once::Look;
use view::Stage;

use crate::Failure;
use crate::overrides::print;
use crate::remote::{Author, Remote};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::wait::length;

/// How often keys are looked for and the view is drawn.
const FRAME: Duration = Duration::from_millis(50);
/// What the server has said and the view has not taken in yet.
const WAITING: usize = 64;

/// What to look at, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this namespace
    #[arg(long, value_name = "NS", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// Only services of this name; a glob with `*` for several
    #[arg(long, value_name = "GLOB", value_parser = NonEmpty::new())]
    service: Option<String>,
    /// Only operations of this name; a glob with `*` for several
    #[arg(long, value_name = "GLOB", value_parser = NonEmpty::new())]
    operation: Option<String>,
    /// Print what there is to see now, and end
    #[arg(long)]
    once: bool,
    /// As one JSON object
    #[arg(long, requires = "once")]
    json: bool,
    /// How often figures are told, from 100ms to 1m; changes of state are told at once
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Interval,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    author: Author,
}

/// How often figures are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval(Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let every = length(text)?;
        match (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&every) {
            true => Ok(Self(every)),
            false => Err("it must be from 100ms to 1m".to_owned()),
        }
    }
}

/// Shows the fleet until somebody has seen enough.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.once {
        let look = async |client| Look::take(client, &args.scope()).await;
        let look = args.remote.fleet(look)?;
        let text = match args.json {
            true => look.json()?,
            false => look.text(Instant::now()),
        };
        print(&text)?;
    } else if io::stdout().is_terminal() {
        args.remote
            .watch(async |client| args.look_on(client).await)?;
    } else {
        let line = "there is no terminal to draw in; say --once for one look";
        return Err(Failure::told(line.to_owned()));
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn scope(&self) -> Scope {
        Scope {
            namespace: self.namespace.clone().unwrap_or_default(),
            service: self.service.clone().unwrap_or_default(),
            operation: self.operation.clone().unwrap_or_default(),
        }
    }

    async fn look_on(&self, client: FleetServiceClient<Channel>) -> Result<(), Failure> {
        // A name that no server takes is refused before the terminal is taken over.
        self.author.sign(())?;
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let stage = Stage {
            server: self.remote.server(),
            colours,
        };
        let mut signalled = pin!(Signals::install()?.graceful());
        let (told, mut news) = mpsc::channel(WAITING);
        let (closely, wanted) = watch::channel(None);
        let feed = Feed { client, told };
        let scope = self.scope();
        let Interval(every) = self.interval;
        tokio::spawn(feed.clone().overrides(scope.namespace.clone()));
        tokio::spawn(feed.clone().follow(scope, every));
        tokio::spawn(feed.clone().details(wanted, every));
        let (mut model, mut screen) = (Model::default(), Screen::open()?);
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut signalled => return Ok(()),
                Some(told) = news.recv() => {
                    model.told(told, Instant::now());
                    continue;
                }
                _ = frames.tick() => {}
            }
            for key in screen.keys()? {
                match model.key(key) {
                    None => {}
                    Some(Ask::Quit) => return Ok(()),
                    Some(Ask::Judge(number, order)) => self.ask(&feed, number, order, true),
                    Some(Ask::Give(number, order)) => self.ask(&feed, number, order, false),
                }
            }
            closely.send_if_modified(|id| {
                let now = model.detail.as_ref().map(|detail| detail.id.clone());
                std::mem::replace(id, now.clone()) != now
            });
            let now = Instant::now();
            model.tick(now);
            screen.draw(|canvas| view::draw(canvas, stage, &model, now))?;
        }
    }

    fn ask(&self, feed: &Feed, number: u64, order: order::Order, validate_only: bool) {
        let (feed, author) = (feed.clone(), self.author.clone());
        tokio::spawn(async move {
            let answer = order.give(feed.client, &author, validate_only).await;
            // Where nobody looks any longer nobody has to be told.
            let _ = feed.told.send(Told::Answered(number, answer)).await;
        });
    }
}
