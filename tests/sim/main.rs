//! Distribution, simulated: core's two ends over a network, a store and disks that fail as a seed
//! tells them.
//!
//! One loop takes events out of an agenda in virtual time; there is no clock, thread or socket, and
//! one generator makes every choice, so that a seed tells a whole run. Each message crosses the wire
//! as the bytes it would have, through the contract's own conversions, and each file is the SDK's
//! format. `History`, `Subscription` and `Replica` are the real ones. What stands around them in
//! server and SDK without deciding anything (hub, standing, link) is rebuilt here without a runtime.
//!
//! ```text
//! FUSEBOX_SIM_SEEDS=100000 cargo test --release -p fusebox-tests --test sim    the long form
//! FUSEBOX_SIM_SEED=7 cargo test -p fusebox-tests --test sim                    one seed again
//! FUSEBOX_SIM_SEED=7 FUSEBOX_SIM_TRACE=1 cargo test ... -- --nocapture         and all it did
//! ```
//!
//! | file | is |
//! |---|---|
//! | `world`, `agenda` | everything at one moment, and what is yet to happen |
//! | `store`, `server`, `standing`, `process`, `disk` | who is there |
//! | `policies`, `older` | what operators write, and what an older build makes of it |
//! | `link`, `network` | how messages travel |
//! | `serving`, `living` | what servers and processes do |
//! | `faults` | what goes wrong |
//! | `oracle` | what must be so, at every event and in the end |
//! | `tally` | what was met on the way |

mod agenda;
mod disk;
mod faults;
mod link;
mod living;
mod network;
mod older;
mod oracle;
mod policies;
mod process;
mod server;
mod serving;
mod standing;
mod store;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use fusebox_tests::dice::number;

use tally::Tally;
use world::World;

/// How many seeds the short form takes.
const SEEDS: u64 = 300;
/// Lines of a failing seed's trace that are shown unasked.
const SHOWN: usize = 60;

#[test]
fn whatever_breaks_everybody_ends_up_with_what_the_store_holds_and_never_goes_back() {
    if let Some(seed) = number("FUSEBOX_SIM_SEED") {
        let mut world = World::new(seed, true);
        let broken = run(&mut world);
        let all = number("FUSEBOX_SIM_TRACE").is_some_and(|it| it > 0);
        if all || broken.is_some() {
            show(&world, if all { usize::MAX } else { SHOWN });
        }
        println!("{:?}", world.tally);
        assert_eq!(broken, None, "seed {seed}");
        return;
    }
    let seeds = number("FUSEBOX_SIM_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let mut total = Tally::default();
    for seed in 1..=seeds {
        let mut world = World::new(seed, false);
        if let Some(broken) = run(&mut world) {
            let mut again = World::new(seed, true);
            run(&mut again);
            show(&again, SHOWN);
            panic!(
                "{broken}\nagain: FUSEBOX_SIM_SEED={seed} FUSEBOX_SIM_TRACE=1 \
                 cargo test -p fusebox-tests --test sim -- --nocapture"
            );
        }
        total.add(&world.tally);
    }
    println!("{seeds} seeds in {:?}: {total:?}", began.elapsed());
    total.has_been_everywhere();
}

#[test]
fn a_seed_tells_a_whole_run() {
    let trace = || {
        let mut world = World::new(8, true);
        run(&mut world);
        world.trace().to_vec()
    };
    assert_eq!(trace(), trace());
}

/// What broke, if anything did; a panic in the code under test counts.
fn run(world: &mut World) -> Option<String> {
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    ran.unwrap_or_else(|_| Err("panicked".into())).err()
}

fn show(world: &World, lines: usize) {
    let trace = world.trace();
    for line in &trace[trace.len().saturating_sub(lines)..] {
        println!("{line}");
    }
}
