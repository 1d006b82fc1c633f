//! Proving keys on the wire: a coordinator sends a key's bundle in pieces; a worker collects them.
//!
//! Nothing that comes is believed here but its size: the worker's key store checks digest, manifest and every point.

use super::KEY_PIECE_BYTES;
use super::wire::proto::KeyPiece;
use crate::ledger::Digest;
use crate::proof::{BUNDLE_BYTES_MAX, Digest32, KeyError, KeyStore};
use futures_util::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::{Status, Streaming};

/// Keys that are sent at a time: each piece is read from the disk.
const SENT_AT_ONCE: usize = 8;
/// A piece must follow the one before within this time.
const PIECE_LIMIT: Duration = Duration::from_secs(10);

/// A key on its way.
pub(super) type KeyPieces = BoxStream<'static, Result<KeyPiece, Status>>;

/// Sends the keys of a folder.
pub(super) struct KeyServer {
    store: KeyStore,
    room: Arc<Semaphore>,
}

impl KeyServer {
    pub(super) fn new(store: KeyStore) -> Self {
        Self { store, room: Arc::new(Semaphore::new(SENT_AT_ONCE)) }
    }

    pub(super) async fn pieces(&self, digest: Digest) -> Result<KeyPieces, Status> {
        let busy = |_| Status::resource_exhausted("too many keys are being fetched");
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(busy)?;
        // The first piece now: a key that is not there is an error of the call.
        let first = read(self.store.clone(), digest, 0).await?;
        let (store, offset, total) = (self.store.clone(), first.bytes.len() as u64, first.bytes_total);
        let rest = futures_util::stream::unfold((offset, place), move |(offset, place)| {
            let store = store.clone();
            async move {
                if offset >= total {
                    return None;
                }
                let piece = read(store, digest, offset).await;
                // After an error, or a file that became shorter, the stream ends.
                let sent = piece.as_ref().map_or(0, |piece| piece.bytes.len() as u64);
                let next = if sent == 0 { total } else { offset + sent };
                Some((piece, (next, place)))
            }
        });
        Ok(futures_util::stream::iter([Ok(first)]).chain(rest).boxed())
    }
}

async fn read(store: KeyStore, digest: Digest, offset: u64) -> Result<KeyPiece, Status> {
    let reading = tokio::task::spawn_blocking(move || {
        store.read_piece(&Digest32::new(digest.0), offset, KEY_PIECE_BYTES)
    });
    let read = reading.await.map_err(|_| Status::internal("reading the key failed"))?;
    let (bytes, bytes_total) = read.map_err(|error| match error {
        KeyError::NotFound { .. } => Status::not_found("this coordinator does not have the key"),
        error => {
            tracing::error!(%error, "a key that a worker asks for cannot be read");
            Status::internal("the key cannot be read here")
        }
    })?;
    Ok(KeyPiece { bytes, bytes_total })
}

/// Collects a key's bundle.
pub(super) async fn collect(mut pieces: Streaming<KeyPiece>) -> Result<Vec<u8>, String> {
    let mut bundle = Vec::new();
    let mut total = 0;
    while let Some(KeyPiece { bytes, bytes_total }) = next(&mut pieces).await? {
        total = bytes_total;
        if total > BUNDLE_BYTES_MAX {
            return Err(format!("the key has {total} bytes, at most {BUNDLE_BYTES_MAX} are taken"));
        }
        bundle.extend_from_slice(&bytes);
        if bundle.len() as u64 > total {
            return Err(format!("the key is longer than the {total} bytes that were announced"));
        }
    }
    if (bundle.len() as u64) < total {
        return Err(format!("the key ends after {} of {total} bytes", bundle.len()));
    }
    Ok(bundle)
}

async fn next(pieces: &mut Streaming<KeyPiece>) -> Result<Option<KeyPiece>, String> {
    match tokio::time::timeout(PIECE_LIMIT, pieces.message()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err("the rest of the key does not come".to_owned()),
    }
}
