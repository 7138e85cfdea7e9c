//! The journal: the truth about every acknowledged write.
//!
//! ```text
//!   "fusebox journal\n"          the same in every format, so that any server knows what it sees
//!   frame: JournalHeader         format and incarnation; its framing never changes either
//!   frame: JournalEntry...       one commit: its entries, each preceded by its length
//!   frame: JournalEntry...
//! ```
//!
//! A frame is a whole commit, not one entry, because that makes a torn write recognisable: the
//! next frame is written only after this one was synced, so a bad frame with a good one behind it
//! was acknowledged once and is damage, and a bad last one was not. (With a frame an entry, a power
//! cut could keep a commit's second frame and lose its first, and look like damage.)
//!
//! Invariants:
//! - Opening verifies every frame and changes nothing; [`Journal::cut_torn_tail`] is a step apart,
//!   so that the index may first object that it has seen what is about to be cut.
//! - A journal comes into being whole, by a rename: one without a good header is damaged.
//! - Within a journal revisions grow by one without gaps, from 1.

mod frame;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fusebox_core::revision::{Incarnation, Revision};
use fusebox_proto::convert::time::timestamp_to_wire;
use fusebox_proto::store_v1::{JournalEntry, JournalHeader};
use prost::Message;

use self::frame::Found;
use super::lock::{DataDir, sync_dir};
use super::record::decode_entries;
use super::{Event, OpenError, record};

/// The journal's name in the data directory.
pub(super) const JOURNAL_FILE: &str = "journal.log";
const NEW_FILE: &str = "journal.log.new";
const MAGIC: &[u8] = b"fusebox journal\n";
/// The highest format this server reads, and the one it writes.
const FORMAT: u32 = 1;
/// Longest remainder that one interrupted write can leave.
const TORN_BYTES: u64 = (frame::HEAD_BYTES + frame::PAYLOAD_BYTES) as u64;

/// An open journal, positioned at its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    incarnation: Incarnation,
    last: Revision,
    /// Where the good frames end, in bytes, and why what follows is none.
    torn: Option<(u64, String)>,
}

impl Journal {
    /// Verifies the journal in `dir` from end to end; `None` if there is none.
    pub(super) fn open(dir: &DataDir) -> Result<Option<Self>, OpenError> {
        let path = dir.path().join(JOURNAL_FILE);
        let exists = path
            .try_exists()
            .map_err(OpenError::io("look for the journal", &path))?;
        if !exists {
            return Ok(None);
        }
        let mut reader = Reader::open(&path)?;
        while reader.next_commit()?.is_some() {}
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(OpenError::io("write to the journal", &path))?;
        Ok(Some(Self {
            path,
            file,
            incarnation: reader.incarnation,
            last: reader.last,
            torn: reader.torn,
        }))
    }

    /// Begins an empty journal; its name appears only once it is whole and on the disk.
    pub(super) fn create(
        dir: &DataDir,
        incarnation: Incarnation,
        now: SystemTime,
    ) -> Result<(), OpenError> {
        let (new, path) = (dir.path().join(NEW_FILE), dir.path().join(JOURNAL_FILE));
        let header = JournalHeader {
            format: FORMAT,
            incarnation: incarnation.0.to_be_bytes().to_vec(),
            create_time: Some(timestamp_to_wire(now)),
            ..JournalHeader::default()
        };
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&[MAGIC, &frame::frame(&header.encode_to_vec())?].concat())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_dir(dir.path())
        };
        write().map_err(OpenError::io("create the journal", path.clone()))
    }

    /// The life of the store whose journal this is.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The revision of its last entry; zero if it has none.
    pub(super) fn last(&self) -> Revision {
        self.last
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the remainder of a write that was interrupted, and therefore never acknowledged.
    pub(super) fn cut_torn_tail(&mut self) -> Result<(), OpenError> {
        let Some((end, problem)) = self.torn.take() else {
            return Ok(());
        };
        tracing::warn!(
            journal = %self.path.display(), offset = end, %problem,
            "cutting off an interrupted, never acknowledged write"
        );
        self.file
            .set_len(end)
            .and_then(|()| self.file.sync_all())
            .map_err(OpenError::io("cut the torn end of", &self.path))
    }

    /// Hands every event after `after` to `visit`, in order.
    pub(super) fn replay(
        &self,
        after: Revision,
        mut visit: impl FnMut(Vec<Event>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let mut reader = Reader::open(&self.path)?;
        while let Some(mut entries) = reader.next_commit()? {
            entries.retain(|entry| entry.revision > after.0);
            let events = entries
                .into_iter()
                .map(record::event)
                .collect::<Result<_, _>>();
            visit(events.map_err(|problem| reader.damaged(problem))?)?;
        }
        Ok(())
    }

    /// The commit: one write, one fdatasync.
    ///
    /// After an error the file's end is unknown and nothing may be written to it any more: the
    /// kernel may have dropped the pages it could not write, and report the next sync as good.
    pub(super) fn commit(&mut self, payload: &[u8]) -> io::Result<()> {
        self.file.write_all(&frame::frame(payload)?)?;
        self.file.sync_data()
    }
}

/// Goes through a journal frame by frame.
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    incarnation: Incarnation,
    last: Revision,
    /// Where the frame last read begins, in bytes.
    offset: u64,
    /// Where the next one begins.
    next: u64,
    torn: Option<(u64, String)>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::io("open the journal", path))?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            incarnation: Incarnation(0),
            last: Revision::ZERO,
            offset: 0,
            next: MAGIC.len() as u64,
            torn: None,
        };
        reader.check_magic()?;
        reader.incarnation = reader.read_header()?;
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

    fn read_header(&mut self) -> Result<Incarnation, OpenError> {
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
        <[u8; 16]>::try_from(header.incarnation)
            .map(|bytes| Incarnation(u128::from_be_bytes(bytes)))
            .map_err(|bytes| self.damaged(format!("an incarnation of {} bytes", bytes.len())))
    }

    /// The next commit's entries; `None` at the end, torn or not.
    fn next_commit(&mut self) -> Result<Option<Vec<JournalEntry>>, OpenError> {
        match self.step()? {
            Found::Frame(payload) => self.follow(&payload).map(Some),
            Found::End => Ok(None),
            Found::Bad(problem) => self.end_torn(problem).map(|()| None),
        }
    }

    fn step(&mut self) -> Result<Found, OpenError> {
        self.offset = self.next;
        let step = frame::read(&mut self.file).map_err(|error| self.unreadable(error))?;
        if let Found::Frame(payload) = &step {
            self.next += (frame::HEAD_BYTES + payload.len()) as u64;
        }
        Ok(step)
    }

    fn follow(&mut self, payload: &[u8]) -> Result<Vec<JournalEntry>, OpenError> {
        let entries = decode_entries(payload).map_err(|problem| self.damaged(problem))?;
        for entry in &entries {
            if Revision(entry.revision) != self.last.next() {
                let (found, last) = (entry.revision, self.last);
                return Err(self.damaged(format!("revision {found} follows revision {last}")));
            }
            self.last = Revision(entry.revision);
        }
        Ok(entries)
    }

    /// Decides what a bad frame is: the end of an interrupted write, or damage.
    fn end_torn(&mut self, problem: String) -> Result<(), OpenError> {
        let mut rest = Vec::new();
        let from_here = File::open(&self.path).and_then(|mut file| {
            io::Seek::seek(&mut file, io::SeekFrom::Start(self.offset))?;
            // One byte more than a torn write can have, to see that there is more.
            file.take(TORN_BYTES + 1).read_to_end(&mut rest)
        });
        from_here.map_err(|error| self.unreadable(error))?;
        let goes_on = rest.get(1..).is_some_and(frame::any_in);
        if goes_on || rest.len() as u64 > TORN_BYTES {
            return Err(self.damaged(problem));
        }
        self.torn = Some((self.offset, problem));
        Ok(())
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
