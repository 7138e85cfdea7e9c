//! A few policies, written over and over: what that leaves on the disk, and what a start takes that
//! has only the journal to go by.

use std::fs;

use tokio::runtime::Runtime;

use crate::load::share;
use crate::report::{Hold, Row};
use crate::{Effort, Result, directory, ours};

const POLICIES: usize = 100;
const WRITERS: usize = 50;
const CONNECTIONS: usize = 8;

/// Writes, weighs, takes the index away and starts.
pub(crate) fn measure(runtime: &Runtime, effort: &Effort) -> Result<Vec<Row>> {
    let home = directory()?;
    let data = home.path().join("data");
    let mut server = ours::start(&data);
    let (live, per_second) = runtime.block_on(async {
        let names = (0..POLICIES).map(|index| format!("policy-{index}"));
        let policies: Vec<_> = names.map(|name| ours::policy(&name, "checkout")).collect();
        let writers = ours::writers(&server, WRITERS, CONNECTIONS, &policies).await?;
        let (_, times) = share(writers, 0, effort.overwrites / WRITERS as u64).await?;
        let mut client = ours::client(&server).await?;
        let (live, _) = ours::live_bytes(&mut client).await?;
        crate::Result::Ok((live as f64, times.per_second()))
    })?;
    let name = |what: &str| format!("{} writes of 100 policies: {what}", effort.overwrites);
    let (disk, sled) = (
        ours::disk_bytes(&data)?,
        ours::disk_bytes(&data.join("sled"))?,
    );
    let mut rows = vec![
        Row::new(name("pace"), per_second, "writes/s"),
        Row::new(name("live"), live, "bytes"),
        Row::new(name("data directory"), disk, "bytes"),
        Row::new(name("of it sled"), sled, "bytes"),
        Row::new(name("data directory / live"), disk / live, "x").against("live"),
        Row::new(name("memory"), ours::resident_bytes(&server)?, "bytes"),
    ];
    server.kill9();
    fs::remove_dir_all(data.join("sled"))?;
    let start = Row::new(
        name("start without the index"),
        ours::restart(&mut server),
        "s",
    );
    rows.push(start.held_to(Hold::AtMost(10.0)));
    Ok(rows)
}
