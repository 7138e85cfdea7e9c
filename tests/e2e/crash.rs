//! `kill -9` at any moment, under writers at work, again and again over one data directory: whatever
//! was acknowledged is there, whole, and the server is back within seconds.
//!
//! Twenty rounds a test by default. The long form, and one that went wrong once more:
//!
//! ```text
//! FUSEBOX_CRASH_ROUNDS=200 cargo test -p fusebox-tests --test crash -- --nocapture
//! FUSEBOX_CRASH_SEED=1234 cargo test -p fusebox-tests --test crash NAME
//! ```
//!
//! The seed decides who writes what and when the kill comes; what the machine makes of it in between
//! is its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fusebox_tests::chaos::damage::{contents, flip, journal, tear, truncate, used};
use fusebox_tests::chaos::storm::Storm;
use fusebox_tests::dice::Dice;
use fusebox_tests::server::Options;

#[test]
fn no_acknowledged_write_is_lost_and_none_is_half_there_whenever_the_kill_comes() {
    let mut storm = Storm::over(Options::new());
    for _ in 0..Storm::rounds() {
        storm.strike();
        storm.recover();
    }
}

#[test]
fn a_torn_end_of_the_journal_was_never_acknowledged_and_stops_no_start() {
    let mut storm = Storm::over(Options::new());
    for _ in 0..Storm::rounds() {
        storm.strike();
        tear(&journal(&storm.data()), &mut storm.dice);
        storm.recover();
    }
}

/// Strikes, damages the database that is only a copy of the journal, and sees that nothing is
/// missing; then how many databases were set aside.
fn rounds_of(damage: impl Fn(&Path, &mut Dice)) -> usize {
    let mut storm = Storm::over(Options::new());
    for _ in 0..Storm::rounds() {
        storm.strike();
        let before = storm.set_aside();
        damage(&storm.data().join("sled"), &mut storm.dice);
        storm.recover();
        if storm.set_aside() > before {
            storm.assert_told_of_damage();
        }
    }
    storm.set_aside()
}

/// The files of a database in which there is anything.
fn filled(database: &Path) -> Vec<PathBuf> {
    let files = contents(database).into_iter();
    let filled = files.filter(|(_, bytes)| !bytes.is_empty());
    filled.map(|(path, _)| path).collect()
}

#[test]
fn a_database_cut_off_anywhere_is_set_aside_and_nothing_is_missing() {
    let aside = rounds_of(|database, dice| {
        // Made anew, and killed before anything reached it, it has nothing to lose yet.
        for file in filled(database) {
            if file.ends_with("db") || file.starts_with(database.join("blobs")) {
                truncate(&file, dice);
            }
        }
    });
    assert!(aside > 0, "no cut was ever noticed");
}

#[test]
fn a_database_with_flipped_bits_is_set_aside_and_nothing_is_missing() {
    let aside = rounds_of(|database, dice| {
        let files = filled(database);
        if files.is_empty() {
            return;
        }
        for _ in 0..=dice.pick(0..4) {
            let file = &files[dice.index(files.len())];
            let length = fs::metadata(file).unwrap().len();
            let at = dice.pick(0..length);
            flip(file, usize::try_from(at).unwrap(), dice);
        }
    });
    assert!(aside > 0, "no flip was ever noticed");
}

#[test]
fn a_database_that_is_gone_is_made_anew_and_nothing_is_missing() {
    let aside = rounds_of(|database, _| fs::remove_dir_all(database).unwrap());
    assert_eq!(aside, 0, "what is gone cannot be set aside");
}

/// Every file below with its bytes, but for the one that names the directory's last user.
fn kept(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = contents(data);
    files.retain(|path, _| path.file_name().is_none_or(|name| name != "LOCK"));
    files
}

/// The first number behind `word`.
fn number_after(text: &str, word: &str) -> Option<usize> {
    let behind = text.split_once(word)?.1;
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn a_journal_damaged_in_the_middle_stops_the_start_at_its_place_and_nothing_on_the_disk_is_changed()
{
    let mut storm = Storm::over(Options::new());
    storm.strike();
    storm.recover();
    for _ in 0..Storm::rounds() {
        storm.server.kill9();
        let journal = journal(&storm.data());
        let whole = fs::read(&journal).unwrap();
        // Before the last quarter, so that whole commits stand behind it.
        let at = storm.dice.index(used(&whole) * 3 / 4);
        flip(&journal, at, &mut storm.dice);
        let damaged = kept(&storm.data());

        let refused = storm.server.try_restart();
        let output = refused.expect_err("a damaged journal").output;
        assert!(output.contains(&*journal.to_string_lossy()), "{output}");
        if let Some(offset) = number_after(&output, "damaged at byte ") {
            assert!(offset <= at, "byte {at} was flipped: {output}");
        } else {
            // What the first bytes say is whose file it is, and of which format.
            assert!(at < 64, "byte {at} was flipped: {output}");
        }
        let after = kept(&storm.data());
        let same = after.keys().eq(damaged.keys());
        assert!(same, "files came or went: {:?}", after.keys());
        for (path, bytes) in &damaged {
            assert!(after[path] == *bytes, "{} was changed", path.display());
        }

        fs::write(&journal, whole).unwrap();
        storm.recover();
    }
}
