//! The cluster's token: a secret of a file that every process of a cluster holds, where there are no certificates.

use rand_core::{OsRng, RngCore as _};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Fewer characters can be guessed.
const CHARACTERS_MIN: usize = 16;
/// More is not a token but the wrong file.
const FILE_BYTES_MAX: u64 = 4096;

/// The token. Clones share it.
#[derive(Clone)]
pub struct ClusterToken(Arc<Zeroizing<String>>);

impl fmt::Debug for ClusterToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterToken(redacted)")
    }
}

/// A token could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file could not be read.
    #[error("token file {}: {source}; `zkpnet tls token --out FILE` makes one", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds no token.
    #[error(
        "token file {} must hold one line of {CHARACTERS_MIN} to {FILE_BYTES_MAX} printable ASCII characters without spaces; \
         `zkpnet tls token --out FILE` makes one",
        path.display()
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

impl ClusterToken {
    /// Reads the token from a file, without the white space around it.
    ///
    /// # Errors
    /// When the file cannot be read, or what it holds is too short, too long, or cannot stand in an HTTP header.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let io = |source| TokenError::Io { path: path.to_owned(), source };
        let malformed = || TokenError::Malformed { path: path.to_owned() };
        if std::fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
            return Err(malformed());
        }
        let bytes = Zeroizing::new(std::fs::read(path).map_err(io)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
        Self::from_text(text).ok_or_else(malformed)
    }

    /// The token of this text, without the white space around it; `None` when it is none.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_good = text.len() >= CHARACTERS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_good.then(|| Self(Arc::new(Zeroizing::new(text.to_owned()))))
    }

    /// Whether `shown` is this token. The time that this takes tells nothing about the token.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        // blake3 compares hashes in constant time, and hashing takes a time that depends on the length of `shown` alone.
        blake3::hash(shown.as_bytes()) == blake3::hash(self.0.as_bytes())
    }

    /// The token itself, to be sent over a connection that keeps it secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A key made of the token for one purpose; it does not give the token away, nor the keys for other purposes.
    #[must_use]
    pub fn derive_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, self.0.as_bytes()))
    }
}

/// 32 random bytes as 64 hexadecimal digits: a token, or a data key.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn random_secret() -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    OsRng.try_fill_bytes(bytes.as_mut()).map_err(std::io::Error::other)?;
    Ok(Zeroizing::new(hex::encode(bytes.as_ref())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_at_least_sixteen_printable_characters_without_spaces() {
        for wrong in [
            "",
            "fifteen-letters",
            "sixteen or more with spaces",
            "sixteen-letters-ä",
            "sixteen\nletters-and-more",
        ] {
            assert!(ClusterToken::from_text(wrong).is_none(), "{wrong:?}");
        }
        assert!(ClusterToken::from_text(" sixteen-letters-\n").is_some());
    }

    #[test]
    fn a_token_matches_itself_alone_and_is_never_printed() {
        let token = ClusterToken::from_text("correct-horse-battery").unwrap();
        assert!(token.matches("correct-horse-battery"));
        for wrong in ["", "correct-horse-batterz", "correct-horse-battery ", "correct-horse-batter"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
        assert!(!format!("{token:?}").contains("horse"));
    }

    #[test]
    fn a_file_that_is_no_token_is_named_and_its_content_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let missing = ClusterToken::read(&path).unwrap_err().to_string();
        assert!(missing.contains("zkpnet tls token"), "{missing}");
        std::fs::write(&path, "too-short").unwrap();
        let malformed = ClusterToken::read(&path).unwrap_err().to_string();
        assert!(
            malformed.contains(path.to_str().unwrap()) && !malformed.contains("too-short"),
            "{malformed}"
        );
        std::fs::write(&path, "a".repeat(5000)).unwrap();
        assert!(ClusterToken::read(&path).is_err());
        std::fs::write(&path, random_secret().unwrap().as_bytes()).unwrap();
        assert!(ClusterToken::read(&path).is_ok());
    }

    #[test]
    fn secrets_and_derived_keys_differ() {
        assert_ne!(*random_secret().unwrap(), *random_secret().unwrap());
        let token = ClusterToken::from_text("correct-horse-battery").unwrap();
        assert_ne!(token.derive_key("one"), token.derive_key("two"));
    }
}
