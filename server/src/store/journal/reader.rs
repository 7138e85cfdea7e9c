//! Goes through a journal frame by frame and takes in what it holds.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::revision::{Incarnation, Revision};
use fusebox_proto::convert::time::timestamp_from_wire;
use fusebox_proto::store_v1::JournalHeader;
use prost::Message;

use super::frame::Found;
use super::{FORMAT, MAGIC, TORN_BYTES, frame};
use crate::store::local::Life;
use crate::store::record::{Entry, decode_entries, version};
use crate::store::table::Table;
use crate::store::{OpenError, Retention, Version};

/// What stands in a journal, up to its last whole frame.
#[derive(Debug)]
pub(in crate::store) struct Contents {
    pub(in crate::store) life: Life,
    pub(in crate::store) created: SystemTime,
    pub(in crate::store) table: Table,
    /// Where the good frames end, in bytes.
    pub(in crate::store) end: u64,
    /// Why what follows them is none; not if it is room made ahead.
    pub(in crate::store) torn: Option<String>,
    /// How long the file is, in bytes.
    pub(in crate::store) length: u64,
    /// Revisions up to this one may have been issued in another life.
    pub(in crate::store) reserved: Revision,
    /// Its format is an older one than is written here.
    pub(in crate::store) old: bool,
}

/// Reads the journal at `path` from end to end.
pub(super) fn read(path: &Path, retention: Retention) -> Result<Contents, OpenError> {
    let mut reader = Reader::open(path)?;
    let header = reader.read_header()?;
    let mut table = Table::begun_at(header.floor, retention);
    let mut place = Place {
        floor: header.floor,
        below: header.below,
        owed: header.first,
        reserved: header.reserved,
        ..Place::default()
    };
    let torn = loop {
        match reader.step()? {
            Found::Frame(payload) => reader.take_in(&payload, &mut place, &mut table)?,
            Found::End => break None,
            Found::Bad(problem) => {
                let torn = reader.torn(problem);
                // In this order: what is written in turn is there before what comes behind it.
                if !reader.has_been_written_since()? {
                    break torn?;
                }
            }
        }
    };
    if place.owed > 0 {
        let problem = format!("it ends, and {} entries are missing", place.owed);
        return Err(reader.damaged(problem));
    }
    table.settle();
    table.reserve(header.reserved);
    Ok(Contents {
        length: reader.length,
        reserved: header.reserved,
        old: header.old,
        life: header.life,
        created: header.created,
        table,
        end: reader.offset,
        torn,
    })
}

struct Header {
    life: Life,
    created: SystemTime,
    floor: Revision,
    below: u64,
    first: u64,
    reserved: Revision,
    old: bool,
}

/// Where in the order of versions the reader is.
#[derive(Debug, Default)]
struct Place {
    floor: Revision,
    /// Entries still to come that a compaction kept from below its floor.
    below: u64,
    /// Entries still to come that were there when the file got its name.
    owed: u64,
    /// Up to here revisions may have been issued in another life, and are not in this one.
    reserved: Revision,
    last: Revision,
    /// The number of the next entry within its write.
    index: u32,
}

impl Place {
    /// Moves on to `entry`, the first of its frame or not; its number within its write, or what is
    /// wrong.
    fn follow(&mut self, revision: Revision, first: bool) -> Result<u32, String> {
        let last = self.last;
        let same_write = revision == last && !first;
        let next = match self.below {
            0 => {
                let next = last.max(self.floor).next();
                revision == next || (next <= self.reserved && revision == self.reserved.next())
            }
            _ => revision > last && revision <= self.floor,
        };
        self.below = self.below.saturating_sub(1);
        self.owed = self.owed.saturating_sub(1);
        if !same_write && !next {
            return Err(format!("revision {revision} follows revision {last}"));
        }
        self.index = if same_write { self.index + 1 } else { 0 };
        self.last = revision;
        Ok(self.index)
    }
}

struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// How long the file was when it was opened: it may be being written.
    length: u64,
    /// Where the frame last read begins, in bytes.
    offset: u64,
    /// Where the next one begins.
    next: u64,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).and_then(|file| {
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        });
        let (file, length) = file.map_err(OpenError::io("open the journal", path))?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            length,
            offset: 0,
            next: MAGIC.len() as u64,
        };
        reader.check_magic()?;
        Ok(reader)
    }

    fn check_magic(&mut self) -> Result<(), OpenError> {
        let mut magic = [0; MAGIC.len()];
        match self.file.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => Ok(()),
            Ok(()) => Err(self.damaged("its first line is not a journal's")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends within its first line"))
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn read_header(&mut self) -> Result<Header, OpenError> {
        let payload = match self.step()? {
            Found::Frame(payload) => payload,
            Found::End => return Err(self.damaged("it has no header")),
            Found::Bad(problem) => return Err(self.damaged(format!("its header: {problem}"))),
        };
        let header = JournalHeader::decode(payload.as_slice())
            .map_err(|error| self.damaged(format!("its header: {error}")))?;
        if header.format > FORMAT {
            return Err(OpenError::NewerFormat {
                file: self.path.clone(),
                found: header.format,
                known: FORMAT,
            });
        }
        let incarnation = <[u8; 16]>::try_from(header.incarnation)
            .map_err(|bytes| self.damaged(format!("an incarnation of {} bytes", bytes.len())))?;
        Ok(Header {
            life: Life {
                incarnation: Incarnation(u128::from_be_bytes(incarnation)),
                adopted: header.adopted,
            },
            created: timestamp_from_wire(header.create_time.as_ref()),
            floor: Revision(header.compacted_revision),
            below: header.compacted_entries,
            first: header.first_entries,
            reserved: Revision(header.reserved_revision),
            old: header.format < FORMAT,
        })
    }

    fn step(&mut self) -> Result<Found, OpenError> {
        self.offset = self.next;
        let step = frame::read(&mut self.file).map_err(|error| self.unreadable(error))?;
        if let Found::Frame(payload) = &step {
            self.next += (frame::HEAD_BYTES + payload.len()) as u64;
        }
        Ok(step)
    }

    fn take_in(
        &self,
        payload: &[u8],
        place: &mut Place,
        table: &mut Table,
    ) -> Result<(), OpenError> {
        let entries = decode_entries(payload).map_err(|problem| self.damaged(problem))?;
        for (number, Entry { wire, bytes }) in entries.into_iter().enumerate() {
            let version = version(wire).map_err(|problem| self.damaged(problem))?;
            let index = place
                .follow(version.revision, number == 0)
                .map_err(|problem| self.damaged(problem))?;
            let version = whole(version, table);
            table.apply(index, Arc::new(version), bytes);
        }
        Ok(())
    }

    /// Whether what was no frame a moment ago is one now: a server goes on writing while its journal
    /// is read. Then it is read again.
    fn has_been_written_since(&mut self) -> Result<bool, OpenError> {
        let from_here = SeekFrom::Start(self.offset);
        let again = self
            .file
            .seek(from_here)
            .and_then(|_| frame::read(&mut self.file))
            .and_then(|again| self.file.seek(from_here).map(|_| again))
            .map_err(|error| self.unreadable(error))?;
        self.next = self.offset;
        Ok(matches!(again, Found::Frame(_)))
    }

    /// Decides what a bad frame is: the end of an interrupted write, room made ahead, or damage.
    fn torn(&self, problem: String) -> Result<Option<String>, OpenError> {
        let mut rest = Vec::new();

        // One byte more than a torn write can have, to see that there is more.
        let mut file = self.file.get_ref();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.take(TORN_BYTES + 1).read_to_end(&mut rest))
            .map_err(|error| self.unreadable(error))?;
        let goes_on = rest.get(1..).is_some_and(frame::any_in);
        if goes_on || rest.len() as u64 > TORN_BYTES {
            return Err(self.damaged(problem));
        }
        let is_room = rest.iter().all(|&byte| byte == 0);
        Ok(Some(problem).filter(|_| !is_room))
    }

    fn damaged(&self, problem: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            file: self.path.clone(),
            offset: self.offset,
            problem: problem.into(),
        }
    }

    fn unreadable(&self, source: io::Error) -> OpenError {
        OpenError::io("read the journal", &self.path)(source)
    }
}

/// The first journals did not say what a version replaced; then it is what is there.
fn whole(version: Version, table: &Table) -> Version {
    let found = version.policy_id().and_then(|id| table.get(id));
    let found = found.map(|stored| stored.revision);
    Version {
        replaced: version.replaced.or(found),
        ..version
    }
}
