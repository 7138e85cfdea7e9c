//! Journals that were cut, flipped and forged, byte by byte.

use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::super::fixture;
use super::super::record::encode_version;
use super::super::table::Table;
use super::super::{Cause, Committed, What};
use super::*;
use fusebox_core::revision::Incarnation;
use fusebox_proto::store_v1::JournalHeader;
use prost::Message;

const LIFE: Life = Life {
    incarnation: Incarnation(0xfeed),
    adopted: false,
};

/// A data directory with a journal of commits, and what the file was after each.
struct Written {
    dir: TempDir,
    lock: DataDir,
    /// The file's length in bytes: with the header alone, then after each commit.
    lengths: Vec<usize>,
    bytes: Vec<u8>,
}

fn time(revision: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(revision)
}

/// Odd revisions put a policy, even ones delete it.
fn version(revision: u64) -> Version {
    let policy = fixture::policy("a", revision);
    let stored = fusebox_core::policy::Stored {
        policy,
        revision: Revision(revision),
        create_time: time(revision),
        update_time: time(revision),
        updated_by: fixture::AUTHOR.into(),
    };
    let put = revision % 2 == 1;
    Version {
        revision: Revision(revision),
        what: What::Policy {
            id: fixture::id("a"),
            stored: put.then(|| stored.into()),
        },
        replaced: (!put).then(|| Revision(revision - 1)),
        time: time(revision),
        by: Arc::new(fixture::by(Cause::Update)),
    }
}

fn payload(revisions: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut payload = Vec::new();
    for revision in revisions {
        encode_version(&version(revision), &mut payload);
    }
    payload
}

/// Three commits: revisions 1, 2 to 3, and 4 to 5.
fn written() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let lock = DataDir::lock(dir.path()).unwrap();
    Journal::create(&lock, Origins::new(LIFE, time(0))).unwrap();
    let file = dir.path().join(JOURNAL_FILE);
    let length = || fs::read(&file).unwrap().len();
    let (mut journal, _) = Journal::open(&lock, Retention::default()).unwrap().unwrap();
    let mut lengths = vec![length()];
    for revisions in [1..=1, 2..=3, 4..=5] {
        journal.commit(&payload(revisions)).unwrap();
        journal.trim().unwrap();
        lengths.push(length());
    }
    let bytes = fs::read(&file).unwrap();
    Written {
        dir,
        lock,
        lengths,
        bytes,
    }
}

impl Written {
    fn file(&self) -> PathBuf {
        self.dir.path().join(JOURNAL_FILE)
    }

    fn open(&self) -> Result<(Journal, Table), OpenError> {
        Ok(Journal::open(&self.lock, Retention::default())?.unwrap())
    }

    /// Opens `bytes` in the journal's place; they must not be changed by it.
    fn open_instead(&self, bytes: &[u8]) -> Result<(Journal, Table), OpenError> {
        fs::write(self.file(), bytes).unwrap();
        let opened = self.open();
        assert_eq!(fs::read(self.file()).unwrap(), bytes);
        opened
    }

    fn damage_in(&self, bytes: &[u8]) -> (u64, String) {
        match self.open_instead(bytes) {
            Err(OpenError::Damaged {
                offset, problem, ..
            }) => (offset, problem),
            other => panic!("{other:?}"),
        }
    }

    /// Where the last commit's frame begins, in bytes.
    fn last_frame(&self) -> usize {
        self.lengths[2]
    }
}

/// What was committed after a revision, as `table` holds it.
fn after(table: &Table, revision: u64) -> Vec<Committed> {
    table.archive().since(Revision(revision)).unwrap().into()
}

fn writes(revisions: impl IntoIterator<Item = u64>) -> Vec<Committed> {
    let write = |revision| Committed {
        revision: Revision(revision),
        versions: [Arc::new(version(revision))].into(),
    };
    revisions.into_iter().map(write).collect()
}

#[test]
fn what_was_committed_is_read_back_in_order() {
    let written = written();
    let (journal, table) = written.open().unwrap();
    assert_eq!(journal.life(), LIFE);
    assert_eq!(journal.bytes(), written.bytes.len() as u64);
    assert_eq!(table.revision(), Revision(5));
    for revision in 0..=5 {
        assert_eq!(after(&table, revision), writes(revision + 1..=5));
    }
}

#[test]
fn a_tail_torn_at_any_byte_loses_the_unacknowledged_commit_alone() {
    let written = written();
    for end in written.last_frame() + 1..written.bytes.len() {
        let (mut journal, table) = written.open_instead(&written.bytes[..end]).unwrap();
        assert_eq!(table.revision(), Revision(3), "cut at {end}");
        journal.cut_torn_tail().unwrap();
        let kept = fs::read(written.file()).unwrap();
        assert_eq!(kept, written.bytes[..written.last_frame()]);
        journal.commit(&payload([4])).unwrap();
        journal.trim().unwrap();
        assert_eq!(after(&written.open().unwrap().1, 0), writes(1..=4));
    }
}

#[test]
fn a_last_frame_with_any_byte_flipped_was_never_acknowledged() {
    let written = written();
    for at in written.last_frame()..written.bytes.len() {
        let (_, table) = written.open_instead(&flipped(&written.bytes, at)).unwrap();
        assert_eq!(table.revision(), Revision(3), "flipped at {at}");
    }
}

#[test]
fn any_byte_flipped_before_the_last_frame_is_damage_and_named() {
    let written = written();
    for at in 0..written.last_frame() {
        let (offset, _) = written.damage_in(&flipped(&written.bytes, at));
        let starts = [0, MAGIC.len()].into_iter().chain(written.lengths.clone());
        let frame = starts.filter(|&start| start <= at).max().unwrap();
        assert_eq!(offset, frame as u64, "flipped at {at}");
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn damage_says_where_it_is_and_what_to_do() {
    let written = written();
    let error = written
        .open_instead(&flipped(&written.bytes, 60))
        .unwrap_err();
    let said = error.to_string();
    assert!(said.contains("journal.log is damaged at byte "), "{said}");
    assert!(said.contains("it was left as it is"), "{said}");
    assert!(
        said.contains("restore the data directory from a backup"),
        "{said}"
    );
}

#[test]
fn a_journal_without_a_whole_header_is_damaged() {
    let written = written();
    for end in 0..written.lengths[0] {
        written.damage_in(&written.bytes[..end]);
    }
}

#[test]
fn zeros_that_a_file_system_left_behind_are_a_torn_tail() {
    let written = written();
    let zeros = [&written.bytes[..], &[0; 4096]].concat();
    let (_, table) = written.open_instead(&zeros).unwrap();
    assert_eq!(table.revision(), Revision(5));
}

#[test]
fn more_than_one_write_could_leave_is_damage() {
    let written = written();
    let longest = usize::try_from(TORN_BYTES).unwrap();
    let junk = |bytes| [&written.bytes[..], &vec![0xff; bytes]].concat();
    assert!(written.open_instead(&junk(longest)).is_ok());
    let (offset, _) = written.damage_in(&junk(longest + 1));
    assert_eq!(offset, written.bytes.len() as u64);
}

#[test]
fn room_made_ahead_is_kept_and_written_into() {
    let written = written();
    let (mut journal, _) = written.open().unwrap();
    let length = || fs::metadata(written.file()).unwrap().len();
    journal.commit(&payload([6])).unwrap();
    let (end, roomy) = (journal.bytes(), length());
    assert!(roomy >= end + ROOM_STEP - 1000, "{roomy}");
    drop(journal);
    let (mut journal, table) = written.open().unwrap();
    journal.cut_torn_tail().unwrap();
    assert_eq!((journal.bytes(), length()), (end, roomy));
    assert_eq!(table.revision(), Revision(6));
    journal.commit(&payload([7])).unwrap();
    assert_eq!(length(), roomy);
    journal.trim().unwrap();
    assert_eq!(length(), journal.bytes());
    assert_eq!(after(&written.open().unwrap().1, 5), writes(6..=7));
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
    let mut bytes = u32::MAX.to_le_bytes().to_vec();
    bytes.extend([0; 100]);
    let problem = format!(
        "a frame of {} bytes; 1 to {} are allowed",
        u32::MAX,
        frame::PAYLOAD_BYTES
    );
    assert_eq!(
        frame::read(&mut &bytes[..]).unwrap(),
        frame::Found::Bad(problem)
    );
    assert!(frame::frame(&[]).is_err());
    assert!(frame::frame(&vec![0; frame::PAYLOAD_BYTES + 1]).is_err());
    assert!(frame::frame(&vec![0; frame::PAYLOAD_BYTES]).is_ok());
}

#[test]
fn revisions_that_skip_or_repeat_are_damage() {
    let written = written();
    for wrong in [3, 5, 7] {
        let forged = frame::frame(&payload([wrong])).unwrap();
        let bytes = [&written.bytes[..], &forged].concat();
        let (offset, problem) = written.damage_in(&bytes);
        assert_eq!(offset, written.bytes.len() as u64);
        assert_eq!(problem, format!("revision {wrong} follows revision 5"));
    }
}

#[test]
fn a_journal_of_a_newer_format_is_refused_and_named() {
    let written = written();
    let header = JournalHeader {
        format: FORMAT + 1,
        incarnation: vec![1, 2, 3],
        ..JournalHeader::default()
    };
    let header = frame::frame(&header.encode_to_vec()).unwrap();
    let newer = [MAGIC, &header, b"what this server cannot know"].concat();
    let said = written.open_instead(&newer).unwrap_err().to_string();
    let formats = format!(
        "has format {}, this server knows up to {FORMAT}",
        FORMAT + 1
    );
    assert!(said.contains(&formats), "{said}");
}

#[test]
fn a_creation_that_was_interrupted_is_done_anew() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DataDir::lock(dir.path()).unwrap();
    fs::write(dir.path().join(NEW_FILE), "fusebox jour").unwrap();
    let opened = Journal::open(&lock, Retention::default());
    assert!(opened.unwrap().is_none());
    Journal::create(&lock, Origins::new(LIFE, time(0))).unwrap();
    let (_, table) = Journal::open(&lock, Retention::default()).unwrap().unwrap();
    assert_eq!(table.revision(), Revision::ZERO);
    assert!(!dir.path().join(NEW_FILE).exists());
}

/// Writes a journal anew with what `retention` keeps of it.
fn compact(journal: &mut Journal, table: &Table) {
    let archive = table.archive();
    let draft = journal.draft(archive.floor(), archive.iter().cloned().collect());
    let wanted = AtomicBool::new(false);
    journal.replace_by(draft(&wanted).unwrap()).unwrap();
}

#[test]
fn a_compacted_journal_holds_what_the_archive_kept_and_goes_on() {
    let written = written();
    let few = Retention {
        changes: 2,
        versions: 1,
        ..Retention::default()
    };
    let (mut journal, table) = Journal::open(&written.lock, few).unwrap().unwrap();
    assert_eq!(table.archive().floor(), Revision(3));
    let draft = journal.draft(Revision(3), table.archive().iter().cloned().collect());
    let draft = draft(&AtomicBool::new(false)).unwrap();
    // What is committed meanwhile is not lost.
    journal.commit(&payload([6, 7])).unwrap();
    journal.replace_by(draft).unwrap();
    journal.commit(&payload([8])).unwrap();
    assert!(!written.dir.path().join(NEW_FILE).exists());
    let (again, table) = written.open().unwrap();
    assert_eq!(again.life(), LIFE);
    assert_eq!(after(&table, 3), writes(4..=8));
    assert_eq!(table.archive().since(Revision(2)), None);
    assert_eq!(table.revision(), Revision(8));
}

#[test]
fn a_compacted_journal_that_lost_any_of_what_it_kept_is_damaged() {
    let written = written();
    let few = Retention {
        changes: 1,
        versions: 9,
        ..Retention::default()
    };
    let (mut journal, table) = Journal::open(&written.lock, few).unwrap().unwrap();
    assert_eq!(table.archive().len(), 5);
    compact(&mut journal, &table);
    let whole = fs::read(written.file()).unwrap();
    let (_, table) = written.open().unwrap();
    assert_eq!((table.revision(), table.archive().len()), (Revision(5), 5));
    let header = MAGIC.len() + 8;
    for end in header + 40..whole.len() {
        if written.open_instead(&whole[..end]).is_ok() {
            panic!("cut at {end} of {}", whole.len());
        }
    }
}

#[test]
fn entries_of_one_revision_are_one_write_and_stay_within_a_frame() {
    let written = written();
    let (mut journal, _) = written.open().unwrap();
    let both = [
        version(6),
        Version {
            what: What::Policy {
                id: fixture::id("b"),
                stored: None,
            },
            ..version(6)
        },
    ];
    let encoded = both.clone().map(|version| {
        let mut payload = Vec::new();
        encode_version(&version, &mut payload);
        payload
    });
    journal.commit(&encoded.concat()).unwrap();
    journal.trim().unwrap();
    let (_, table) = written.open().unwrap();
    let [write] = &*after(&table, 5) else {
        panic!("one write");
    };
    assert_eq!(write.versions.len(), 2);
    let apart = encoded
        .map(|payload| frame::frame(&payload).unwrap())
        .concat();
    let bytes = [&written.bytes[..], &apart].concat();
    let (_, problem) = written.damage_in(&bytes);
    assert_eq!(problem, "revision 6 follows revision 6");
}

#[test]
fn a_journal_of_an_older_format_is_written_anew_when_it_is_opened() {
    let written = written();
    let header = JournalHeader {
        format: FORMAT - 1,
        incarnation: LIFE.incarnation.0.to_be_bytes().to_vec(),
        ..JournalHeader::default()
    };
    let header = frame::frame(&header.encode_to_vec()).unwrap();
    let frames = &written.bytes[written.lengths[0]..];
    let (mut journal, table) = written
        .open_instead(&[MAGIC, &header, frames].concat())
        .unwrap();
    journal.upgrade(&table).unwrap();
    journal.commit(&payload([6])).unwrap();
    let (again, table) = written.open().unwrap();
    assert!(!again.old);
    assert_eq!(after(&table, 0), writes(1..=6));
}
