//! What the demonstration showed, in a few lines.

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use super::fleet::Outcomes;
use super::observer::Observer;
use super::plain;

/// Prints the last table and the sums.
pub(super) fn print(
    out: &mut impl Write,
    observer: &Observer,
    outcomes: &Outcomes,
    instances: usize,
    server_counted: u64,
) -> io::Result<()> {
    writeln!(out)?;
    plain::table(out, &observer.frame)?;
    let [answered, failed, refused] = [&outcomes.answered, &outcomes.failed, &outcomes.refused]
        .map(|counter| counter.load(Ordering::Relaxed));
    let total = answered + failed + refused;
    let tally = &observer.tally;
    writeln!(out, "\nIn {:.0} s:", observer.frame.elapsed.as_secs_f64())?;
    writeln!(
        out,
        "  {total} calls by {instances} instances: {answered} answered, {failed} failed, \
         {refused} refused at once by open breakers"
    )?;
    writeln!(
        out,
        "  breakers opened {} times and healed {} times, each by its own instance",
        tally.opened, tally.healed
    )?;
    writeln!(
        out,
        "  {} policy changes were applied while the calls went on, without a restart",
        tally.policy_changes
    )?;
    writeln!(
        out,
        "  the server counted {server_counted} calls: what the instances reported"
    )
}
