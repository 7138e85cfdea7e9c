//! A journal that is being written and has no name yet.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::revision::Revision;
use fusebox_proto::convert::time::timestamp_to_wire;
use fusebox_proto::store_v1::JournalHeader;
use prost::Message;
use tempfile::TempPath;

use super::{FORMAT, MAGIC, frame};
use crate::store::Version;
use crate::store::local::Life;
use crate::store::record::encode_version;

/// A frame of a draft takes no further version once it holds this many bytes.
const FRAME_BYTES: usize = 1024 * 1024;

/// What a journal's header says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Origins {
    pub(in crate::store) life: Life,
    pub(in crate::store) created: SystemTime,
    /// Behind this revision every version is in the journal.
    pub(in crate::store) floor: Revision,
    /// How many versions are in it up to there.
    pub(in crate::store) below: u64,
    /// How many versions it begins with.
    pub(in crate::store) first: u64,
    /// Revisions up to this one may have been issued in another life.
    pub(in crate::store) reserved: Revision,
}

impl Origins {
    /// Of a journal without a write.
    pub(in crate::store) fn new(life: Life, created: SystemTime) -> Self {
        Self {
            life,
            created,
            floor: Revision::ZERO,
            below: 0,
            first: 0,
            reserved: Revision::ZERO,
        }
    }

    /// Of a journal that begins with `versions`, of which those behind `floor` are all there are.
    pub(in crate::store) fn of(
        life: Life,
        created: SystemTime,
        floor: Revision,
        versions: &[Arc<Version>],
    ) -> Self {
        let below = versions.partition_point(|version| version.revision <= floor);
        Self {
            life,
            created,
            floor,
            below: below as u64,
            first: versions.len() as u64,
            reserved: Revision::ZERO,
        }
    }

    /// The same, with these revisions never to be issued.
    pub(in crate::store) fn reserving(self, reserved: Revision) -> Self {
        Self { reserved, ..self }
    }

    fn to_header(self) -> JournalHeader {
        JournalHeader {
            format: FORMAT,
            incarnation: self.life.incarnation.0.to_be_bytes().to_vec(),
            create_time: Some(timestamp_to_wire(self.created)),
            adopted: self.life.adopted,
            compacted_revision: self.floor.0,
            compacted_entries: self.below,
            first_entries: self.first,
            reserved_revision: self.reserved.0,
        }
    }
}

/// A whole journal on the disk, under a name that nobody looks for.
#[derive(Debug)]
pub(in crate::store) struct Draft {
    /// Where it is until it takes its name; removed if it never does.
    path: TempPath,
    file: File,
    /// How much of the journal it is to replace it speaks for, in bytes.
    covered: u64,
}

impl Draft {
    /// Writes `versions`, which are in the order of their places, and syncs.
    pub(in crate::store) fn write<'a>(
        path: PathBuf,
        origins: Origins,
        versions: impl IntoIterator<Item = &'a Version>,
    ) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(&path)?);
        // From here on it is removed over any error.
        let path = TempPath::try_from_path(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&frame::frame(&origins.to_header().encode_to_vec())?)?;
        let mut payload = Vec::new();
        let mut last = None;
        for version in versions {
            // A write stays within one frame, as it was committed.
            if payload.len() >= FRAME_BYTES && last != Some(version.revision) {
                file.write_all(&frame::frame(&payload)?)?;
                payload.clear();
            }
            encode_version(version, &mut payload);
            last = Some(version.revision);
        }
        if !payload.is_empty() {
            file.write_all(&frame::frame(&payload)?)?;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(Self {
            path,
            file,
            covered: 0,
        })
    }

    /// Says how much of the journal it is to replace it speaks for.
    pub(super) fn covers(&mut self, bytes: u64) {
        self.covered = bytes;
    }

    /// Adds what `journal` holds beyond what this covers, up to `end`.
    pub(super) fn add_the_rest_of(&mut self, journal: &Path, end: u64) -> io::Result<()> {
        let mut rest = File::open(journal)?;
        rest.seek(SeekFrom::Start(self.covered))?;
        let bytes = end - self.covered;
        let copied = io::copy(&mut rest.take(bytes), &mut self.file)?;
        if copied != bytes {
            let problem = format!("{copied} bytes where {bytes} were committed");
            return Err(io::Error::other(problem));
        }
        self.covered = end;
        self.file.sync_all()
    }

    /// Takes the name `path`, which is then still to be synced; the answer is the file, to be
    /// written on, and its length.
    pub(in crate::store) fn take_name(self, path: &Path) -> io::Result<(File, u64)> {
        let end = self.file.metadata()?.len();
        self.path.persist(path).map_err(|refused| refused.error)?;
        Ok((self.file, end))
    }

    /// The same, where nothing may bear that name yet.
    pub(in crate::store) fn take_new_name(self, path: &Path) -> io::Result<()> {
        let taken = self.path.persist_noclobber(path);
        taken.map_err(|refused| refused.error)
    }
}
