//! Backups of a running node: one at a time, as a stream of pieces.
//!
//! The pieces are made on a blocking thread and wait in a short queue. Whoever takes them too slowly loses the backup: as long
//! as it is read, the ledger's file cannot reuse the space of what it drops, and grows.
//!
//! The desk knows when it last handed one out to its end. It does not know what became of it: who takes a backup checks it.

use super::manifest::KeysIncluded;
use super::take::{Sources, write};
use crate::ledger::CircuitId;
use crate::proof::{Digest32, KeyStore};
use crate::raft::{ImageError, LedgerImage, RaftService};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes that are handed on at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait.
const PIECES_WAITING: usize = 8;
/// A piece must be taken within this time, which asks for some tens of kB a second.
const PIECE_LIMIT: Duration = Duration::from_secs(10);

/// No backup can be taken now.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefusal {
    /// *Unavailable*: another one is under way.
    #[error("another backup of this node is under way; one at a time")]
    Busy,
    /// *Unavailable*: this node lacks the file of a key.
    #[error("this node does not hold the key of {0} yet: try another coordinator, or leave the keys out")]
    NoKey(CircuitId),
    /// No image of the ledger can be taken.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Takes backups of the node. Clones are the same.
#[derive(Clone)]
pub struct BackupDesk {
    raft: RaftService,
    store: KeyStore,
    data_key_print: String,
    room: Arc<Semaphore>,
    latest: Latest,
}

/// When the latest backup was handed out to its end, in seconds since 1970; 0 while none was.
#[derive(Clone, Debug, Default)]
struct Latest(Arc<AtomicU64>);

impl Latest {
    fn is_now(&self) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.store(since_epoch.as_secs(), Ordering::Relaxed);
    }
}

/// A backup that is being taken; dropping it ends it.
#[derive(Debug)]
pub struct BackupPieces {
    pieces: mpsc::Receiver<Piece>,
    has_ended: bool,
    latest: Latest,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// The backup is whole. A stream that ends without it was given up.
    End,
}

impl BackupPieces {
    /// Ends it before its end.
    pub fn give_up(&mut self) {
        self.has_ended = true;
        self.pieces.close();
    }

    /// The next piece; `None` after the last one of a whole backup, or after an error.
    pub async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        if self.has_ended {
            return None;
        }
        match self.pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Some(Ok(bytes)),
            Some(Piece::End) => {
                self.has_ended = true;
                self.latest.is_now();
                None
            }
            None => {
                self.has_ended = true;
                Some(Err(io::Error::other("the backup was given up")))
            }
        }
    }
}

impl BackupDesk {
    /// A desk for the node of this ledger, these keys and this data key's print.
    #[must_use]
    pub fn new(raft: RaftService, store: KeyStore, data_key_print: String) -> Self {
        Self { raft, store, data_key_print, room: Arc::new(Semaphore::new(1)), latest: Latest::default() }
    }

    /// When the latest backup of this node was handed out to its end, in seconds since 1970; 0 before the first since the process
    /// began.
    #[must_use]
    pub fn latest_unix_seconds(&self) -> u64 {
        self.latest.0.load(Ordering::Relaxed)
    }

    /// Begins a backup of everything that was acknowledged up to now.
    ///
    /// # Errors
    /// See [`BackupRefusal`].
    pub async fn begin(&self, keys: KeysIncluded) -> Result<BackupPieces, BackupRefusal> {
        let permit = self.room.clone().try_acquire_owned().map_err(|_| BackupRefusal::Busy)?;
        let image = self.raft.image().await?;
        if keys == KeysIncluded::Yes {
            self.require_keys().await?;
        }
        let (sender, pieces) = mpsc::channel(PIECES_WAITING);
        let work = Work { desk: self.clone(), image, keys, sender, _permit: permit };
        // Detached: who asked may go, and the thread notices when it has a piece to hand on.
        drop(self.raft.run_blocking(move || work.run()));
        Ok(BackupPieces { pieces, has_ended: false, latest: self.latest.clone() })
    }

    /// Refuses before the first byte what would fail at the last. Circuits never go, so those of now are those of the image.
    async fn require_keys(&self) -> Result<(), BackupRefusal> {
        let wanted: Vec<(CircuitId, Digest32)> = self.raft.with_ledger(|ledger| {
            let named =
                |circuit: &crate::ledger::Circuit| (circuit.id.clone(), Digest32::new(circuit.proving_key.0));
            ledger.circuits().map(named).collect()
        });
        let store = self.store.clone();
        let look = move || wanted.into_iter().find(|(_, digest)| store.manifest(digest).is_err());
        match self.raft.run_blocking(look).await.flatten() {
            Some((circuit, _)) => Err(BackupRefusal::NoKey(circuit)),
            None => Ok(()),
        }
    }
}

struct Work {
    desk: BackupDesk,
    image: LedgerImage,
    keys: KeysIncluded,
    sender: mpsc::Sender<Piece>,
    _permit: OwnedSemaphorePermit,
}

impl Work {
    fn run(self) {
        let applied = self.image.applied().index;
        let mut out = Pieces { sender: self.sender, piece: Vec::with_capacity(PIECE_BYTES), bytes: 0 };
        let sources = Sources {
            image: &self.image,
            keys: (self.keys == KeysIncluded::Yes).then_some(&self.desk.store),
            data_key_print: self.desk.data_key_print.clone(),
        };
        // Without the end that is handed on last, what was taken of the stream does not pass for a whole backup.
        match write(&mut out, Path::new("the backup"), sources) {
            Ok(manifest) if out.hand_on(Piece::End).is_ok() => {
                let keys = manifest.keys.iter().filter(|key| key.included).count();
                tracing::info!(applied = applied.0, bytes = out.bytes, keys, "a backup was taken");
            }
            Ok(_) => tracing::warn!(bytes = out.bytes, "a backup was not taken to its end"),
            Err(error) => tracing::warn!(%error, bytes = out.bytes, "a backup was given up"),
        }
    }
}

/// Hands pieces on.
struct Pieces {
    sender: mpsc::Sender<Piece>,
    piece: Vec<u8>,
    bytes: u64,
}

impl Pieces {
    fn hand_on(&mut self, piece: Piece) -> io::Result<()> {
        let handed = Handle::current()
            .block_on(async { tokio::time::timeout(PIECE_LIMIT, self.sender.send(piece)).await });
        match handed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes it any more")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it is taken too slowly")),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (taken, _) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
        self.piece.extend_from_slice(taken);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.bytes += piece.len() as u64;
        self.hand_on(Piece::Bytes(piece))
    }
}
