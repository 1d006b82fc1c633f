//! Inputs are secrets: they are encrypted before they are proposed, so that log, ledger, snapshots and backups hold
//! nothing that a reader of the disk could use, and opened only to be handed to a worker.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with a random 24-byte nonce before the ciphertext; the task's id is the
//! associated data, so that one task's input cannot be passed off as another's.

use crate::ledger::{Digest, TaskId, TenantId};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand_core::{OsRng, RngCore};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The cluster's data key. All coordinators hold the same one.
#[derive(Clone)]
pub struct DataKey {
    cipher: XChaCha20Poly1305,
    fingerprints: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}

/// A data key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DataKeyError {
    /// The file could not be read or written.
    #[error("data key file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store's inputs are sealed with another key.
    #[error(
        "data key file {path} is missing or holds another key than this store's inputs are sealed with; restore it from a backup"
    )]
    NotTheStores {
        /// Which file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "data key file {path} must hold 64 hexadecimal digits; restore it from a backup, inputs cannot be opened without it"
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// A sealed input could not be opened: another data key sealed it, or it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored input cannot be opened with this node's data key")]
pub struct OpenError;

impl DataKey {
    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let fingerprints = blake3::derive_key("zkpnet 2026 request fingerprints", bytes);
        Self { cipher: XChaCha20Poly1305::new(bytes.into()), fingerprints: Zeroizing::new(fingerprints) }
    }

    /// Reads the key from a file of 64 hexadecimal digits; makes one, readable by its owner only, when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, DataKeyError> {
        let io = |source| DataKeyError::Io { path: path.into(), source };
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        OsRng.fill_bytes(bytes.as_mut());
        write_private(path, hex::encode(bytes.as_ref()).as_bytes()).map_err(io)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Reads the key from a file of 64 hexadecimal digits; `None` when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Option<Self>, DataKeyError> {
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                let mut bytes = Zeroizing::new([0; KEY_BYTES]);
                hex::decode_to_slice(text.trim(), bytes.as_mut())
                    .map_err(|_| DataKeyError::Malformed { path: path.into() })?;
                Ok(Some(Self::from_bytes(&bytes)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataKeyError::Io { path: path.into(), source }),
        }
    }

    /// The key of a store: the file's, if it is the one that the store was begun with. Made when neither exists.
    ///
    /// The store remembers a one-way digest of its key in `marker`. Without it a lost or exchanged key file would only be
    /// noticed when the open tasks fail one by one, unreadable for good.
    ///
    /// # Errors
    /// As [`Self::load_or_create`]; and when the store was begun with a key that the file does not hold.
    pub fn for_store(path: &Path, marker: &Path) -> Result<Self, DataKeyError> {
        let io = |source| DataKeyError::Io { path: marker.into(), source };
        let remembered = match std::fs::read_to_string(marker) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io(error)),
        };
        if remembered.is_some() && !path.try_exists().map_err(io)? {
            return Err(DataKeyError::NotTheStores { path: path.into() });
        }
        let key = Self::load_or_create(path)?;
        let id = key.print();
        match remembered {
            Some(text) if text.trim() != id => Err(DataKeyError::NotTheStores { path: path.into() }),
            Some(_) => Ok(key),
            None => write_private(marker, id.as_bytes()).map_err(io).map(|()| key),
        }
    }

    /// Encrypts an input for a task.
    ///
    /// # Errors
    /// Never in practice: the cipher only refuses inputs beyond 256 GB.
    pub fn seal(&self, task: TaskId, input: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        let payload = Payload { msg: input, aad: task.0.as_bytes() };
        let ciphertext = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| OpenError)?;
        Ok([nonce.as_slice(), &ciphertext].concat())
    }

    /// Decrypts a task's input.
    ///
    /// # Errors
    /// When another key or another task's id sealed it, or when it is damaged.
    pub fn open(&self, task: TaskId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(OpenError)?;
        let payload = Payload { msg: ciphertext, aad: task.0.as_bytes() };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| OpenError)
    }

    /// Tells this key from others without telling anything of it: the same on every coordinator that has the same key.
    #[must_use]
    pub fn print(&self) -> String {
        self.fingerprint(TenantId(u64::MAX), b"data key of this store").to_string()
    }

    /// The keyed hash by which equal requests of one tenant are recognised. Without the key it tells nothing of them.
    #[must_use]
    pub fn fingerprint(&self, tenant: TenantId, request: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.fingerprints);
        hasher.update(&tenant.0.to_le_bytes()).update(request);
        Digest(*hasher.finalize().as_bytes())
    }
}

/// Writes a whole file that only its owner may read, or none: a half-written key would lock every input away.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // Only unix lets a folder be opened and fsynced.
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn task(n: u128) -> TaskId {
        TaskId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn an_input_opens_for_its_own_task_only() {
        let key = DataKey::from_bytes(&[7; 32]);
        let sealed = key.seal(task(1), b"a witness").unwrap();
        assert_eq!(key.open(task(1), &sealed).unwrap().as_slice(), b"a witness");
        assert_eq!(key.open(task(2), &sealed), Err(OpenError));
        assert_eq!(DataKey::from_bytes(&[8; 32]).open(task(1), &sealed), Err(OpenError));
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let key = DataKey::from_bytes(&[7; 32]);
        let sealed = key.seal(task(1), b"a witness").unwrap();
        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 1;
            assert_eq!(key.open(task(1), &damaged), Err(OpenError), "byte {position}");
            assert_eq!(key.open(task(1), &sealed[..position]), Err(OpenError), "cut to {position}");
        }
    }

    #[test]
    fn the_sealed_form_does_not_hold_the_input() {
        let key = DataKey::from_bytes(&[7; 32]);
        let sealed = key.seal(task(1), b"a witness of some length").unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"witn"));
    }

    #[test]
    fn a_key_file_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.key");
        let sealed = DataKey::load_or_create(&path).unwrap().seal(task(1), b"x").unwrap();
        assert_eq!(DataKey::load_or_create(&path).unwrap().open(task(1), &sealed).unwrap().as_slice(), b"x");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777,
            0o600
        );
    }

    #[test]
    fn a_store_takes_no_key_but_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (path, marker) = (folder.path().join("data.key"), folder.path().join("data-key.id"));
        let sealed = DataKey::for_store(&path, &marker).unwrap().seal(task(1), b"x").unwrap();
        assert!(DataKey::for_store(&path, &marker).unwrap().open(task(1), &sealed).is_ok());
        let own = std::fs::read(&path).unwrap();
        assert!(!std::fs::read_to_string(&marker).unwrap().contains(std::str::from_utf8(&own).unwrap()));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(DataKey::for_store(&path, &marker), Err(DataKeyError::NotTheStores { .. })));
        assert!(!path.exists(), "a key was made in place of the lost one");
        std::fs::write(&path, hex::encode([9; 32])).unwrap();
        assert!(matches!(DataKey::for_store(&path, &marker), Err(DataKeyError::NotTheStores { .. })));
        std::fs::write(&path, own).unwrap();
        assert!(DataKey::for_store(&path, &marker).is_ok());
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.key");
        std::fs::write(&path, "abc").unwrap();
        assert!(matches!(DataKey::load_or_create(&path), Err(DataKeyError::Malformed { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
    }

    #[test]
    fn fingerprints_differ_between_tenants_and_between_keys() {
        let key = DataKey::from_bytes(&[7; 32]);
        let of = |tenant| key.fingerprint(TenantId(tenant), b"request");
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_ne!(of(1), DataKey::from_bytes(&[8; 32]).fingerprint(TenantId(1), b"request"));
    }
}
