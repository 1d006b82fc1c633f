//! A folder of key files, each named by its digest.
//!
//! Owns two files a key: `<digest>.params` (the key pair) and `<digest>.json` (its manifest). Both are written under
//! another name, fsynced and renamed, the manifest last, so that a manifest that can be read stands for a key that is
//! whole on disk. Refuses to use a file whose content is not what its name says, and says which file and what to do.
//!
//! Blocking file I/O: callers bring their own thread. Several processes may share a folder, since a name can only
//! ever stand for one content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellman::SynthesisError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{KeyOrigin, PointChecks, ProvingKey, VerifyingKey};
use crate::proof::circuits::catalog::{self, CircuitSpec};
use crate::proof::digest::Digest32;
use crate::proof::groth16::VerifyingKeyError;

/// Version of the manifest's form and of the key file's.
const FORMAT: u32 = 1;
/// A manifest is about 3 kB; something much larger is not one.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Largest key file that is read into memory: twenty times the deepest circuit's.
pub(super) const KEY_BYTES_MAX: u64 = 1 << 28;

/// What is wrong with key material, and the remedy.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Generation failed.
    #[error("no key could be generated for {circuit}")]
    Generate {
        /// The circuit.
        circuit: &'static str,
        /// bellman's reason.
        #[source]
        source: SynthesisError,
    },
    /// The operating system refused.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The folder has no such key.
    #[error("no key {digest} in {folder}: fetch it from a node that has it")]
    NotFound {
        /// The key that was asked for.
        digest: Digest32,
        /// The store's folder.
        folder: PathBuf,
    },
    /// The manifest cannot be used.
    #[error(
        "{path} is no usable key manifest ({reason}): delete it, and fetch the key again or generate a new one"
    )]
    Manifest {
        /// The manifest's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file's content is not what its name says.
    #[error(
        "{path} is truncated or altered ({reason}): delete it, and fetch the key again or generate a new one"
    )]
    Content {
        /// The key's file.
        path: PathBuf,
        /// What does not match.
        reason: String,
    },
    /// The content matches its digest, but is no key for the circuit.
    #[error("{path} is no key for {circuit} ({reason}): delete it, and generate a new one")]
    NotAKey {
        /// The key's file.
        path: PathBuf,
        /// The circuit that its manifest names.
        circuit: String,
        /// What does not fit.
        reason: String,
    },
    /// The key was made for a circuit that this version does not have, or that had other constraints.
    #[error("{path} is for other constraints of {circuit} than this version's: generate a new key")]
    OtherConstraints {
        /// The key's file.
        path: PathBuf,
        /// The circuit that its manifest names.
        circuit: String,
    },
}

/// What is known of a key without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyManifest {
    /// Version of this form.
    pub format: u32,
    /// Name of the circuit.
    pub circuit: String,
    /// Digest of the constraints that the key is for.
    pub constraint_digest: Digest32,
    /// Who made the key.
    pub origin: KeyOrigin,
    /// BLAKE3 of the key file, and its name.
    pub proving_key: Digest32,
    /// Size of the key file.
    pub proving_key_bytes: u64,
    /// BLAKE3 of the verifying key.
    pub verifying_key: Digest32,
    /// The verifying key itself, as hex of bellman's byte form.
    pub verifying_key_hex: String,
}

impl KeyManifest {
    pub(super) fn of(key: &ProvingKey) -> KeyManifest {
        KeyManifest {
            format: FORMAT,
            circuit: key.circuit.name.to_owned(),
            constraint_digest: key.circuit.shape().digest,
            origin: key.origin,
            proving_key: key.digest,
            proving_key_bytes: key.bytes_len,
            verifying_key: key.verifying_key.digest(),
            verifying_key_hex: hex::encode(key.verifying_key.as_bytes()),
        }
    }

    /// The verifying key that the manifest holds.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read_verifying_key(&self) -> Result<VerifyingKey, VerifyingKeyError> {
        let bytes = hex::decode(&self.verifying_key_hex).map_err(|_| VerifyingKeyError::NotHex)?;
        let key = VerifyingKey::from_bytes(&bytes)?;
        if key.digest() == self.verifying_key { Ok(key) } else { Err(VerifyingKeyError::OtherDigest) }
    }

    /// Whether the key is for this circuit as this version builds it.
    pub fn is_for(&self, circuit: &CircuitSpec) -> bool {
        self.circuit == circuit.name && self.constraint_digest == circuit.shape().digest
    }
}

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct KeyStore {
    folder: PathBuf,
}

impl KeyStore {
    /// Opens the folder, making it when it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<KeyStore, KeyError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        Ok(KeyStore { folder })
    }

    /// Manifests of all keys, by circuit and digest. Files with other names are not looked at.
    ///
    /// # Errors
    /// The folder or a manifest cannot be read.
    pub fn list(&self) -> Result<Vec<KeyManifest>, KeyError> {
        self.read_all()?.into_iter().collect()
    }

    /// A key for the circuit as this version builds it; of several, the one with the smallest digest.
    ///
    /// # Errors
    /// The folder cannot be read; or there is no such key among the manifests that can be read, and one that cannot may
    /// be its.
    pub fn find(&self, circuit: &CircuitSpec) -> Result<Option<KeyManifest>, KeyError> {
        let mut unreadable = None;
        for manifest in self.read_all()? {
            match manifest {
                Ok(manifest) if manifest.is_for(circuit) => return Ok(Some(manifest)),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// Every manifest, or what is wrong with it, by circuit and digest.
    fn read_all(&self) -> Result<Vec<Result<KeyManifest, KeyError>>, KeyError> {
        let mut manifests = Vec::new();
        let entries = fs::read_dir(&self.folder).map_err(io_error("list", &self.folder))?;
        for entry in entries {
            let path = entry.map_err(io_error("list", &self.folder))?.path();
            let name =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
            if let Some(digest) = name.and_then(|name| name.parse::<Digest32>().ok()) {
                manifests.push(self.manifest(&digest));
            }
        }
        manifests.sort_by(|a, b| {
            let key = |m: &Result<KeyManifest, KeyError>| {
                m.as_ref().ok().map(|m| (m.circuit.clone(), m.proving_key))
            };
            key(a).cmp(&key(b))
        });
        Ok(manifests)
    }

    /// The manifest of one key.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn manifest(&self, digest: &Digest32) -> Result<KeyManifest, KeyError> {
        let path = self.path(digest, "json");
        let unusable = |reason: String| KeyError::Manifest { path: path.clone(), reason };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.not_found(digest)),
            opened => opened.map_err(io_error("open", &path))?,
        };
        let mut text = Vec::new();
        file.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(io_error("read", &path))?;
        let manifest: KeyManifest =
            serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(unusable(format!("format {} is not {FORMAT}", manifest.format)));
        }
        if manifest.proving_key != *digest {
            return Err(unusable("it names another key than its file does".to_owned()));
        }
        manifest.read_verifying_key().map_err(|error| unusable(error.to_string()))?;
        Ok(manifest)
    }

    /// Reads a key into memory, after checking that its content is what its name says.
    ///
    /// # Errors
    /// The key is not there, is damaged, or is for other constraints than this version's.
    pub fn load(&self, digest: &Digest32) -> Result<Arc<ProvingKey>, KeyError> {
        let manifest = self.manifest(digest)?;
        let path = self.path(digest, "params");
        let circuit = self.circuit_of(&manifest)?;
        let altered = |reason: String| KeyError::Content { path: path.clone(), reason };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.not_found(digest)),
            opened => opened.map_err(io_error("open", &path))?,
        };
        let found = file.metadata().map_err(io_error("examine", &path))?.len();
        let expected = manifest.proving_key_bytes;
        if found != expected || found > KEY_BYTES_MAX {
            return Err(altered(format!("{found} bytes instead of {expected}")));
        }
        let mut bytes = Vec::new();
        file.take(KEY_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error("read", &path))?;
        let found = Digest32::of(&bytes);
        if found != *digest {
            return Err(altered(format!("its digest is {found}")));
        }
        let key = ProvingKey::parse(circuit, manifest.origin, &bytes, PointChecks::AlreadyDone)
            .map_err(|error| self.not_a_key(digest, circuit, error.to_string()))?;
        // blst's decoder takes several spellings of a point; a key that is written otherwise than it was read would
        // have another name the next time.
        if key.digest != *digest {
            return Err(self.not_a_key(digest, circuit, "it is not canonically encoded".to_owned()));
        }
        if key.verifying_key.digest() != manifest.verifying_key {
            return Err(self.not_a_key(digest, circuit, "its manifest has another verifying key".to_owned()));
        }
        Ok(Arc::new(key))
    }

    /// Writes a key and its manifest; returns when both are on disk. Storing a key again changes nothing.
    ///
    /// # Errors
    /// The file system refused.
    pub fn store(&self, key: &ProvingKey) -> Result<KeyManifest, KeyError> {
        let manifest = key.manifest();
        let write_key = |file: &mut dyn Write| key.write(file);
        self.place(&self.path(&key.digest, "params"), &write_key)?;
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| KeyError::Manifest {
            path: self.path(&key.digest, "json"),
            reason: error.to_string(),
        })?;
        text.push(b'\n');
        let write_manifest = |file: &mut dyn Write| file.write_all(&text);
        self.place(&self.path(&key.digest, "json"), &write_manifest)?;
        Ok(manifest)
    }

    /// Takes in a key that another node sent, with every point checked, and stores it.
    ///
    /// # Errors
    /// The bytes are not those that the manifest names, or no key for its circuit.
    pub fn import(&self, manifest: &KeyManifest, bytes: &[u8]) -> Result<Arc<ProvingKey>, KeyError> {
        let digest = &manifest.proving_key;
        let circuit = self.circuit_of(manifest)?;
        let found = Digest32::of(bytes);
        if found != *digest {
            let path = self.path(digest, "params");
            return Err(KeyError::Content { path, reason: format!("its digest is {found}") });
        }
        let key = ProvingKey::parse(circuit, manifest.origin, bytes, PointChecks::Full)
            .map_err(|error| self.not_a_key(digest, circuit, error.to_string()))?;
        if key.manifest() != *manifest {
            return Err(self.not_a_key(digest, circuit, "its manifest is another key's".to_owned()));
        }
        self.store(&key)?;
        Ok(Arc::new(key))
    }

    pub(super) fn path(&self, digest: &Digest32, extension: &str) -> PathBuf {
        self.folder.join(format!("{digest}.{extension}"))
    }

    pub(super) fn not_found(&self, digest: &Digest32) -> KeyError {
        KeyError::NotFound { digest: *digest, folder: self.folder.clone() }
    }

    fn not_a_key(&self, digest: &Digest32, circuit: &CircuitSpec, reason: String) -> KeyError {
        KeyError::NotAKey { path: self.path(digest, "params"), circuit: circuit.name.to_owned(), reason }
    }

    fn circuit_of(&self, manifest: &KeyManifest) -> Result<&'static CircuitSpec, KeyError> {
        let circuit = catalog::find(&manifest.circuit).filter(|circuit| manifest.is_for(circuit));
        circuit.ok_or_else(|| KeyError::OtherConstraints {
            path: self.path(&manifest.proving_key, "params"),
            circuit: manifest.circuit.clone(),
        })
    }

    /// Puts a file in its place: under another name first, fsynced, renamed, and the folder fsynced.
    fn place(&self, path: &Path, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), KeyError> {
        // Distinct for each writer of each process, so that two at once do not write into one file.
        static WRITERS: AtomicU64 = AtomicU64::new(0);
        let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("tmp-{}-{writer}", std::process::id()));
        let outcome = self.place_through(&temporary, path, write);
        if outcome.is_err() {
            // The first error is the one to report; what is left behind is never read.
            let _ = fs::remove_file(&temporary);
        }
        outcome
    }

    fn place_through(
        &self,
        temporary: &Path,
        path: &Path,
        write: &dyn Fn(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), KeyError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(temporary);
        let mut buffered = io::BufWriter::new(file.map_err(io_error("create", temporary))?);
        write(&mut buffered).and_then(|()| buffered.flush()).map_err(io_error("write", temporary))?;
        buffered.get_ref().sync_all().map_err(io_error("fsync", temporary))?;
        fs::rename(temporary, path).map_err(io_error("rename to", path))?;
        self.sync_folder()
    }

    /// Makes renames durable. Only unix lets a folder be opened and fsynced.
    fn sync_folder(&self) -> Result<(), KeyError> {
        if cfg!(unix) {
            File::open(&self.folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io_error("fsync", &self.folder))?;
        }
        Ok(())
    }
}

pub(super) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError + use<> {
    let path = path.to_owned();
    move |source| KeyError::Io { operation, path, source }
}
