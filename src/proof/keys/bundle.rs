//! A key as it travels between nodes: its manifest and its file as one run of bytes, read and sent in pieces.
//!
//! Layout: the length of the manifest (four bytes, little-endian), the manifest (JSON), the key file. Nothing of it is
//! believed before [`KeyStore::import`] has checked it against the digest that was asked for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::store::{KEY_BYTES_MAX, MANIFEST_BYTES_MAX, io_error};
use super::{KeyError, KeyManifest, KeyStore, ProvingKey};
use crate::proof::digest::Digest32;
use std::sync::Arc;

/// Bytes before the manifest.
const LENGTH_BYTES: usize = 4;

/// The largest bundle there can be.
pub const BUNDLE_BYTES_MAX: u64 = LENGTH_BYTES as u64 + MANIFEST_BYTES_MAX + KEY_BYTES_MAX;

impl KeyStore {
    /// At most `bytes_max` bytes of a key's bundle from `offset` on, and the length of the whole.
    ///
    /// # Errors
    /// The key is not there, or its files cannot be read.
    pub fn read_piece(
        &self,
        digest: &Digest32,
        offset: u64,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, u64), KeyError> {
        let head = self.bundle_head(digest)?;
        let path = self.path(digest, "params");
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.not_found(digest)),
            opened => opened.map_err(io_error("open", &path))?,
        };
        let file_bytes = file.metadata().map_err(io_error("examine", &path))?.len();
        let total = head.len() as u64 + file_bytes;
        let mut piece: Vec<u8> =
            usize::try_from(offset).ok().and_then(|at| head.get(at..)).unwrap_or_default().to_vec();
        piece.truncate(bytes_max);
        let into_file = (offset + piece.len() as u64).saturating_sub(head.len() as u64);
        if piece.len() < bytes_max && into_file < file_bytes {
            file.seek(SeekFrom::Start(into_file)).map_err(io_error("read", &path))?;
            let wanted = (bytes_max - piece.len()) as u64;
            file.take(wanted).read_to_end(&mut piece).map_err(io_error("read", &path))?;
        }
        Ok((piece, total))
    }

    fn bundle_head(&self, digest: &Digest32) -> Result<Vec<u8>, KeyError> {
        let manifest = self.manifest(digest)?;
        let path = self.path(digest, "json");
        let text = serde_json::to_vec(&manifest)
            .map_err(|error| KeyError::Manifest { path: path.clone(), reason: error.to_string() })?;
        let length = u32::try_from(text.len())
            .map_err(|_| KeyError::Manifest { path, reason: "it is too long".to_owned() })?;
        Ok([length.to_le_bytes().as_slice(), &text].concat())
    }

    /// Takes in a bundle that another node sent for `digest`, with every point checked, and stores the key.
    ///
    /// # Errors
    /// It is no bundle, or not the key that was asked for.
    pub fn import_bundle(&self, digest: &Digest32, bundle: &[u8]) -> Result<Arc<ProvingKey>, KeyError> {
        let malformed = |reason: &str| KeyError::Manifest {
            path: self.path(digest, "json"),
            reason: format!("as received: {reason}"),
        };
        let (length, rest) =
            bundle.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| malformed("it is too short"))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (manifest, key) = rest.split_at_checked(length).ok_or_else(|| malformed("it is too short"))?;
        let manifest: KeyManifest =
            serde_json::from_slice(manifest).map_err(|error| malformed(&error.to_string()))?;
        if manifest.proving_key != *digest {
            return Err(malformed("it is another key's"));
        }
        self.import(&manifest, key)
    }
}

/// Reads a bundle to its end: whether its key file is what its manifest names. The key's points are not looked at, which the
/// import does.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_bundle(mut bundle: impl Read) -> Result<KeyManifest, String> {
    let mut length = [0; LENGTH_BYTES];
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    bundle.read_exact(&mut length).map_err(unreadable)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > MANIFEST_BYTES_MAX {
        return Err(format!("has a manifest of {length} bytes"));
    }
    let mut manifest = Vec::new();
    (&mut bundle).take(length).read_to_end(&mut manifest).map_err(unreadable)?;
    let manifest: KeyManifest =
        serde_json::from_slice(&manifest).map_err(|error| format!("has no usable manifest: {error}"))?;
    manifest.read_verifying_key().map_err(|error| format!("has no usable verifying key: {error}"))?;
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut bundle, &mut hasher).map_err(unreadable)?;
    let found = Digest32::new(*hasher.finalize().as_bytes());
    if (found, bytes) != (manifest.proving_key, manifest.proving_key_bytes) {
        let KeyManifest { circuit, proving_key, .. } = &manifest;
        return Err(format!(
            "is not what its manifest says: the key of {circuit} is {found}, not {proving_key}"
        ));
    }
    Ok(manifest)
}
