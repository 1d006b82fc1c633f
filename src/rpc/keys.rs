//! Proving keys on the wire: a coordinator sends a key's manifest and then its file in pieces; a worker collects them.
//!
//! Nothing that comes is believed here but its size: the worker's key store checks digest, manifest and every point.

use super::wire::proto::{self, key_piece::Piece};
use super::{KEY_PIECE_BYTES, MESSAGE_BYTES_MAX};
use crate::ledger::Digest;
use crate::proof::{Digest32, KEY_BYTES_MAX, KeyError, KeyManifest, KeyStore};
use futures_util::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::{Status, Streaming};

/// Keys that are sent at a time: each is a file in memory.
const SENT_AT_ONCE: usize = 4;
/// A piece must follow the one before within this time.
const PIECE_LIMIT: Duration = Duration::from_secs(10);

/// A key on its way.
pub(super) type KeyPieces = BoxStream<'static, Result<proto::KeyPiece, Status>>;

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
        let store = self.store.clone();
        let reading = tokio::task::spawn_blocking(move || store.read(&Digest32::new(digest.0)));
        let read = reading.await.map_err(|_| Status::internal("reading the key failed"))?;
        let (manifest, bytes) = read.map_err(|error| match error {
            KeyError::NotFound { .. } => Status::not_found("this coordinator does not have the key"),
            error => {
                tracing::error!(%error, "a key that a worker asks for cannot be read");
                Status::internal("the key cannot be read here")
            }
        })?;
        let manifest = serde_json::to_vec(&manifest).map_err(|error| Status::internal(error.to_string()))?;
        let piece = |piece| Ok(proto::KeyPiece { piece: Some(piece) });
        let count = bytes.len().div_ceil(KEY_PIECE_BYTES);
        let file = futures_util::stream::iter(0..count).map(move |number| {
            // The place is kept until the last piece is taken.
            let _ = &place;
            let start = number * KEY_PIECE_BYTES;
            let end = (start + KEY_PIECE_BYTES).min(bytes.len());
            piece(Piece::Bytes(bytes.get(start..end).unwrap_or_default().to_vec()))
        });
        Ok(futures_util::stream::iter([piece(Piece::Manifest(manifest))]).chain(file).boxed())
    }
}

/// Collects a key.
pub(super) async fn collect(
    mut pieces: Streaming<proto::KeyPiece>,
) -> Result<(KeyManifest, Vec<u8>), String> {
    let Some(Piece::Manifest(manifest)) = next(&mut pieces).await? else {
        return Err("the key does not begin with its manifest".to_owned());
    };
    let manifest: KeyManifest = serde_json::from_slice(&manifest)
        .map_err(|error| format!("the key's manifest is not readable: {error}"))?;
    let bytes_max = manifest.proving_key_bytes;
    if bytes_max > KEY_BYTES_MAX {
        return Err(format!("the key has {bytes_max} bytes, at most {KEY_BYTES_MAX} are taken"));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut pieces).await? {
        let Piece::Bytes(more) = piece else { return Err("the key has two manifests".to_owned()) };
        if (bytes.len() + more.len()) as u64 > bytes_max {
            return Err(format!("the key is longer than the {bytes_max} bytes of its manifest"));
        }
        bytes.extend_from_slice(&more);
    }
    Ok((manifest, bytes))
}

async fn next(pieces: &mut Streaming<proto::KeyPiece>) -> Result<Option<Piece>, String> {
    debug_assert!(KEY_PIECE_BYTES < MESSAGE_BYTES_MAX);
    match tokio::time::timeout(PIECE_LIMIT, pieces.message()).await {
        Ok(Ok(None)) => Ok(None),
        Ok(Ok(Some(proto::KeyPiece { piece: Some(piece) }))) => Ok(Some(piece)),
        Ok(Ok(Some(_))) => Err("an empty piece of a key".to_owned()),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err("the rest of the key does not come".to_owned()),
    }
}
