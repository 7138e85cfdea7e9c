//! A server, the writers it is killed under, and what is compared once it is back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::ledger::Ledger;
use super::writers::{Writers, read_all};
use crate::dice::{self, Dice};
use crate::lines::Line;
use crate::server::{Options, Server};
use crate::wait::eventually;

/// Says how many rounds; 20 if unset.
const ROUNDS: &str = "FUSEBOX_CRASH_ROUNDS";
/// Says by what seed; another one in every run if unset.
const SEED: &str = "FUSEBOX_CRASH_SEED";
const WRITERS: usize = 6;
/// From the first acknowledged write of a round to the kill, in milliseconds, at most.
const KILL_WITHIN: u64 = 300;
/// From a start to a kill within it, in milliseconds, at most: some are ready by then.
const KILL_START_WITHIN: u64 = 150;
/// A start takes a fraction of a second; on two busy cores this is still soon.
const SOON: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// Rounds of writing, killing and comparing over one data directory.
pub struct Storm {
    /// The server as it is now.
    pub server: Server,
    /// What it owes.
    pub ledger: Ledger,
    /// What is chosen next.
    pub dice: Dice,
    /// Where the writers live.
    pub runtime: Runtime,
    what: String,
}

impl Storm {
    /// Over a server that has just started.
    ///
    /// # Panics
    /// If it does not start.
    pub fn over(options: Options) -> Self {
        let seed = dice::seed(SEED);
        let what = format!("{SEED}={seed}");
        println!("{what}");
        Self {
            server: Server::start(options.ready_within(SOON)),
            ledger: Ledger::default(),
            dice: Dice::new(seed),
            runtime: Runtime::new().expect("a runtime"),
            what,
        }
    }

    /// How many rounds are wanted.
    pub fn rounds() -> u64 {
        dice::number(ROUNDS).unwrap_or(20)
    }

    /// Writes from all sides, until the server is killed at a moment that nobody chose. Now and then
    /// it is killed again while it starts.
    ///
    /// # Panics
    /// If nothing is ever acknowledged, or a writer is told what cannot be.
    pub fn strike(&mut self) {
        let writers = self.writers();
        // A moment that is chosen, not one that is waited for.
        std::thread::sleep(self.dice.millis_below(KILL_WITHIN));
        self.server.kill9();
        while self.dice.one_in(3) {
            let after = self.dice.millis_below(KILL_START_WITHIN);
            self.server.restart_and_kill(after);
        }
        writers.stop();
    }

    /// The same on a disk that is full by then, as `fill` sees to, and that the server has said is.
    ///
    /// # Panics
    /// As [`Storm::strike`], or if the server never says so.
    pub fn strike_on_full_disk(&mut self, fill: impl Fn()) {
        let writers = self.writers();
        eventually("a server that is not of full use", PATIENCE, || {
            fill();
            let ready = self.server.http_get("/readyz").ok()?;
            (ready.status == 503).then_some(())
        });
        self.server.kill9();
        writers.stop();
    }

    /// Starts the server again and sees that it has all that it owes.
    ///
    /// # Panics
    /// If it does not start soon, or lacks anything.
    pub fn recover(&mut self) {
        let started = Instant::now();
        self.server.restart();
        let took = started.elapsed();
        assert!(took < SOON, "{}: a start of {took:?}", self.what);
        self.compare();
    }

    /// Sees that the running server has all that it owes; nobody may be writing.
    ///
    /// # Panics
    /// If it lacks anything.
    pub fn compare(&mut self) {
        let found = self.runtime.block_on(read_all(self.server.grpc_addr()));
        println!("{}", self.ledger);
        if let Err(breaches) = self.ledger.settle(&found) {
            panic!(
                "{}: {breaches}\nthe server printed:\n{}",
                self.what,
                self.server.lines().dump()
            );
        }
    }

    /// How many databases have been set aside so far.
    ///
    /// # Panics
    /// If the data directory cannot be read.
    pub fn set_aside(&self) -> usize {
        let entries = fs::read_dir(self.data()).expect("a data directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let aside = names.filter(|name| name.to_string_lossy().starts_with("sled.damaged-"));
        aside.count()
    }

    /// Sees that the log of this start tells, as an error, that a database was set aside.
    ///
    /// # Panics
    /// If not.
    pub fn assert_told_of_damage(&self) {
        let lines = self.server.lines();
        let told = |line: &Line| line.text.contains("ERROR") && line.text.contains("sled.damaged-");
        assert!(
            lines.wait_for(PATIENCE, told).is_some(),
            "{}: no error line tells that a database was set aside:\n{}",
            self.what,
            lines.dump()
        );
    }

    /// The server's data directory.
    pub fn data(&self) -> PathBuf {
        self.server.data_dir()
    }

    /// Writers of which one has been told that its write stands.
    fn writers(&mut self) -> Writers {
        let address = self.server.grpc_addr();
        let (ledger, dice) = (&self.ledger, &mut self.dice);
        let runtime = self.runtime.handle();
        let writers = Writers::start(runtime, WRITERS, address, ledger, dice);
        eventually("an acknowledged write", PATIENCE, || {
            (ledger.acknowledged() > 0).then_some(())
        });
        writers
    }
}
