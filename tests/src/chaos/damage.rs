//! Does to files what disks, power cuts and people do; what a place is, the dice say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// Every file below `directory` with its bytes.
///
/// # Panics
/// If it cannot be read.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).expect("a readable file");
            files.insert(path, bytes);
        }
    }
    files
}

/// The journal in a data directory: of the files that are called so, the longest.
///
/// # Panics
/// If there is none.
pub fn journal(data: &Path) -> PathBuf {
    let files = contents(data).into_iter();
    let named = files.filter(|(path, _)| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().contains("journal")
    });
    let longest = named.max_by_key(|(_, bytes)| bytes.len());
    longest.expect("a journal in the data directory").0
}

/// Cuts `file` off somewhere, and says where.
///
/// # Panics
/// If it cannot be written to, or is empty.
pub fn truncate(file: &Path, dice: &mut Dice) -> u64 {
    let open = File::options().write(true).open(file);
    let open = open.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let length = open.metadata().expect("a file's length").len();
    let kept = dice.pick(0..length);
    open.set_len(kept).expect("a shorter file");
    kept
}

/// Flips one bit at `at`.
///
/// # Panics
/// If the file has no such byte, or cannot be written to.
pub fn flip(file: &Path, at: usize, dice: &mut Dice) {
    let mut bytes = fs::read(file).expect("a readable file");
    bytes[at] ^= 1 << dice.pick(0..8);
    fs::write(file, bytes).expect("a writable file");
}

/// How much of a journal has been written, in bytes: behind it is room made ahead, all zeros, and no
/// commit ends with one.
pub fn used(journal: &[u8]) -> usize {
    journal
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1)
}

/// Writes behind the last commit what a power cut may leave of a frame: its head, and less of it than the head says.
///
/// # Panics
/// If the file cannot be written to.
pub fn tear(journal: &Path, dice: &mut Dice) {
    let length = dice.pick(16..8192);
    let there = usize::try_from(dice.pick(0..length)).expect("a few kilobytes");
    let length = u32::try_from(length).expect("a few kilobytes");
    let head = [&length.to_le_bytes()[..], &dice.bytes(4)].concat();
    let mut torn = [head, dice.bytes(there)].concat();
    // Not even the head may be whole.
    if dice.one_in(4) {
        torn.truncate(1 + dice.index(7));
    }
    let end = used(&fs::read(journal).expect("a readable file"));
    let open = File::options().write(true).open(journal);
    let open = open.unwrap_or_else(|error| panic!("{}: {error}", journal.display()));
    // Into the room made ahead, or beyond the file's end.
    open.write_all_at(&torn, end as u64).expect("a torn commit");
}
