//! The file of a backup: parts one after the other, written and read as streams, so that neither side holds more than a
//! piece of one.
//!
//! `zkpbakup`, the format's number (4 bytes, little-endian), then parts: a kind (1 ledger, 2 key, 3 manifest), pieces (4 bytes
//! of length, then the bytes; a length of 0 ends the part), and the BLAKE3 hash of kind and bytes. The manifest is the last
//! part, and nothing follows it: a file without one was cut short. It names the hashes of the others, so that no part can be
//! taken out or exchanged for another file's.

use super::error::{BackupError, io_error};
use crate::proof::Digest32;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The number of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"zkpbakup";
/// Bytes of a piece: what a reader or a writer holds at once.
const PIECE_BYTES: usize = 256 << 10;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// The ledger.
    Ledger,
    /// A proving key with its manifest.
    Key,
    /// The last part.
    Manifest,
}

impl PartKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ledger => 1,
            Self::Key => 2,
            Self::Manifest => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Ledger),
            2 => Some(Self::Key),
            3 => Some(Self::Manifest),
            _ => None,
        }
    }
}

/// A part as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartDigest {
    /// What it is.
    pub kind: PartKind,
    /// Its bytes.
    pub bytes: u64,
    /// BLAKE3 of its kind and bytes.
    pub blake3: Digest32,
}

/// Writes the head of a file.
pub(super) fn write_head(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT.to_le_bytes())
}

/// Writes one part.
pub(super) struct PartWriter<'a> {
    out: &'a mut dyn Write,
    kind: PartKind,
    piece: Vec<u8>,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl<'a> PartWriter<'a> {
    pub(super) fn begin(out: &'a mut dyn Write, kind: PartKind) -> io::Result<Self> {
        out.write_all(&[kind.byte()])?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind.byte()]);
        Ok(Self { out, kind, piece: Vec::with_capacity(PIECE_BYTES), bytes: 0, hasher })
    }

    /// Ends the part, and says what it was.
    pub(super) fn end(mut self) -> io::Result<PartDigest> {
        self.send()?;
        self.out.write_all(&0_u32.to_le_bytes())?;
        let hash = self.hasher.finalize();
        self.out.write_all(hash.as_bytes())?;
        Ok(PartDigest { kind: self.kind, bytes: self.bytes, blake3: Digest32::new(*hash.as_bytes()) })
    }

    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.hasher.update(&self.piece);
        self.bytes += self.piece.len() as u64;
        self.out.write_all(&(self.piece.len() as u32).to_le_bytes())?;
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

impl Write for PartWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.piece.len();
        let (taken, _) = bytes.split_at(bytes.len().min(room));
        self.piece.extend_from_slice(taken);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file from its beginning, part by part.
pub(super) struct ContainerReader<R> {
    source: R,
    path: PathBuf,
}

impl<R: Read> ContainerReader<R> {
    /// Begins to read; `path` is what errors call it.
    pub(super) fn open(source: R, path: &Path) -> Result<Self, BackupError> {
        let mut reader = Self { source, path: path.to_owned() };
        let mut magic = [0; MAGIC.len()];
        let is_whole = reader.source.read_exact(&mut magic);
        match is_whole {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(io_error("reading", path)(error));
            }
            _ => return Err(BackupError::NoBackup { path: path.to_owned() }),
        }
        let found = u32::from_le_bytes(reader.take()?);
        if found != FORMAT {
            return Err(BackupError::OtherFormat { path: path.to_owned(), found });
        }
        Ok(reader)
    }

    /// The next part.
    pub(super) fn next_part(&mut self) -> Result<PartReader<'_, R>, BackupError> {
        let [byte] = self.take()?;
        let Some(kind) = PartKind::of(byte) else {
            return Err(BackupError::damaged(&self.path, format!("it has a part of unknown kind {byte}")));
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[byte]);
        Ok(PartReader { container: self, kind, left: 0, has_ended: false, bytes: 0, hasher, failure: None })
    }

    /// Refuses a file that goes on after its last part.
    pub(super) fn end(mut self) -> Result<(), BackupError> {
        let mut more = [0];
        match self.source.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(BackupError::damaged(&self.path, "something follows its manifest")),
            Err(error) => Err(io_error("reading", &self.path)(error)),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        match self.source.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> BackupError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::CutShort { path: self.path.clone() },
            _ => io_error("reading", &self.path)(error),
        }
    }
}

/// Reads one part as a stream. What it gave counts once [`PartReader::end`] has found the part whole.
pub(super) struct PartReader<'a, R> {
    container: &'a mut ContainerReader<R>,
    kind: PartKind,
    /// Bytes of the piece that are still to be read.
    left: usize,
    has_ended: bool,
    bytes: u64,
    hasher: blake3::Hasher,
    /// What [`Read`] can only say as an error of the system's.
    failure: Option<BackupError>,
}

impl<R: Read> PartReader<'_, R> {
    pub(super) const fn kind(&self) -> PartKind {
        self.kind
    }

    /// Reads what is left of the part, and checks it.
    pub(super) fn end(mut self) -> Result<PartDigest, BackupError> {
        let copied = io::copy(&mut self, &mut io::sink());
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        copied.map_err(io_error("reading", &self.container.path))?;
        let stored: [u8; blake3::OUT_LEN] = self.container.take()?;
        let hash = *self.hasher.finalize().as_bytes();
        if stored != hash {
            let detail = format!("the hash of its {} part does not match", self.kind.word());
            return Err(BackupError::damaged(&self.container.path, detail));
        }
        Ok(PartDigest { kind: self.kind, bytes: self.bytes, blake3: Digest32::new(hash) })
    }

    /// What went wrong while somebody read this as a stream, in place of the error that they made of it.
    pub(super) fn failure_or(&mut self, error: impl Into<BackupError>) -> BackupError {
        self.failure.take().unwrap_or_else(|| error.into())
    }

    fn fail(&mut self, error: BackupError) -> io::Error {
        let text = error.to_string();
        self.failure.get_or_insert(error);
        io::Error::other(text)
    }
}

impl PartKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Key => "key",
            Self::Manifest => "manifest",
        }
    }
}

impl<R: Read> Read for PartReader<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.has_ended {
            let length = self.container.take().map(u32::from_le_bytes);
            let length = length.map_err(|error| self.fail(error))? as usize;
            if length > PIECE_BYTES {
                let detail = format!("it has a piece of {length} bytes");
                let error = BackupError::damaged(&self.container.path, detail);
                return Err(self.fail(error));
            }
            self.left = length;
            self.has_ended = length == 0;
        }
        let wanted = into.len().min(self.left);
        let Some(into) = into.get_mut(..wanted).filter(|into| !into.is_empty()) else { return Ok(0) };
        let read = match self.container.source.read(into) {
            Ok(0) => Err(BackupError::CutShort { path: self.container.path.clone() }),
            Ok(read) => Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => Err(self.container.failed(error)),
        };
        let read = read.map_err(|error| self.fail(error))?;
        self.hasher.update(into.get(..read).unwrap_or_default());
        self.left -= read;
        self.bytes += read as u64;
        Ok(read)
    }
}
