//! Opening redb files and naming what fails in them: both databases of a node are opened, locked and read this way.

use super::error::StoreError;
use redb::{
    Database, DatabaseError, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _,
    WriteTransaction,
};
use std::any::Any;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A database and the name that its errors carry.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    /// Taken only when this is dropped.
    database: Option<Opened>,
    pub(super) path: PathBuf,
}

enum Opened {
    ForWriting(Database),
    ForReading(ReadOnlyDatabase),
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForWriting(_) => "for writing",
            Self::ForReading(_) => "for reading",
        })
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        // Closing writes the allocator's state, and a damaged file can make that panic.
        let database = self.database.take();
        let closed = guarded(&self.path, || {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "a database was not closed in order");
        }
    }
}

impl DatabaseFile {
    /// Opens the file, or makes it; redb holds a lock on it until every clone is dropped.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        if !path.exists() {
            make(path)?;
        }
        let opened = guarded(path, || Ok(Database::builder().set_cache_size(cache_bytes).open(path)))?;
        Ok(Self::new(opened.map_err(|error| not_opened(path, error))?, path))
    }

    pub(super) fn new(database: Database, path: &Path) -> Self {
        Self { database: Some(Opened::ForWriting(database)), path: path.to_owned() }
    }

    /// Opens a file that exists, and changes nothing in it; several may do so at a time, but none beside a running node.
    pub(super) fn open_for_reading(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        // redb's own error for a missing file reads like a damaged one.
        File::open(path).map_err(|source| StoreError::File {
            file: path.to_owned(),
            doing: "opening",
            source,
        })?;
        let opened =
            guarded(path, || Ok(Database::builder().set_cache_size(cache_bytes).open_read_only(path)))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::RepairAborted => StoreError::NotClosed { file: path.to_owned() },
            other => not_opened(path, other),
        })?;
        Ok(Self { database: Some(Opened::ForReading(database)), path: path.to_owned() })
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        let database = self.database.as_ref().ok_or_else(|| self.closed())?;
        let begun = match database {
            Opened::ForWriting(database) => database.begin_read(),
            Opened::ForReading(database) => database.begin_read(),
        };
        begun.map_err(self.failed("reading"))
    }

    /// Waits for the write transaction before it, if there is one.
    pub(super) fn begin_write(&self, durability: Durability) -> Result<WriteTransaction, StoreError> {
        let Some(Opened::ForWriting(database)) = &self.database else { return Err(self.closed()) };
        let mut transaction = database.begin_write().map_err(self.failed("writing"))?;
        transaction.set_durability(durability).map_err(self.failed("writing"))?;
        Ok(transaction)
    }

    /// Wraps an error of redb with the file and what was being done.
    pub(super) fn failed<E: Into<redb::Error>>(
        &self,
        doing: &'static str,
    ) -> impl FnOnce(E) -> StoreError + use<'_, E> {
        move |error| StoreError::Database { file: self.path.clone(), doing, source: Box::new(error.into()) }
    }

    pub(super) fn closed(&self) -> StoreError {
        StoreError::Closed { file: self.path.clone() }
    }

    pub(super) fn inconsistent(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Inconsistent { file: self.path.clone(), detail: detail.into() }
    }
}

fn not_opened(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { file: path.to_owned() },
        other => StoreError::Unreadable { file: path.to_owned(), detail: other.to_string() },
    }
}

/// Makes an empty database under another name, and gives it its own when it is whole: a process that is killed while redb
/// writes a new file's header would leave one that nobody can open.
fn make(path: &Path) -> Result<(), StoreError> {
    let half_made = path.with_extension("new");
    let failed = |source| StoreError::File { file: half_made.clone(), doing: "creating", source };
    match std::fs::remove_file(&half_made) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let made = guarded(&half_made, || Ok(Database::builder().create(&half_made)))?;
    drop(made.map_err(|error| not_opened(path, error))?);
    // Windows syncs only what is open for writing.
    File::options().write(true).open(&half_made).and_then(|file| file.sync_all()).map_err(failed)?;
    // A link does not take the place of a file that another process has put there meanwhile; a rename would.
    match std::fs::hard_link(&half_made, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            std::fs::rename(&half_made, path).map_err(failed)?;
        }
        _ => std::fs::remove_file(&half_made).map_err(failed)?,
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Runs code that reads a file which may hold anything. redb checks most of what it reads; where damage still makes it
/// panic, that is an error of this file and not the end of the process.
pub(super) fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        Err(StoreError::Unreadable { file: path.to_owned(), detail: panic_text(&*panic) })
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("reading it panicked").to_owned()
}

/// Makes the names in a directory durable; where a directory cannot be opened as a file, the system needs no such thing.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(directory).and_then(|handle| handle.sync_all()).map_err(|source| StoreError::File {
            file: directory.to_owned(),
            doing: "syncing",
            source,
        })?;
    }
    Ok(())
}

/// Locks, also after a panic elsewhere: the caller's data is replaced as a whole or guarded by the store's failure flag.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
