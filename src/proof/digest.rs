//! Digests that name things: key files, verifying keys, constraint systems.
//!
//! Owns [`Digest32`], which is not a [`super::Bytes32`] on purpose: a digest is public, printed without `0x`, and
//! no arithmetic is ever done on it. Key material is named by BLAKE3, because those files are the large ones (tens
//! of megabytes and more), are hashed at every load, and BLAKE3 lets a receiver check parts of a file as they come.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A 256-bit digest; its text form is 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest32([u8; 32]);

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct DigestError;

impl Digest32 {
    /// Wraps the 32 bytes of a digest.
    pub const fn new(bytes: [u8; 32]) -> Digest32 {
        Digest32(bytes)
    }

    /// The digest that names `content`: BLAKE3.
    pub fn of(content: &[u8]) -> Digest32 {
        Digest32(*blake3::hash(content).as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest32 {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        // One spelling only: a digest is a file's name, and names are compared as text elsewhere.
        if text.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(DigestError);
        }
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError)?;
        Ok(Digest32(bytes))
    }
}

impl fmt::Display for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest32({self})")
    }
}

impl Serialize for Digest32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Digest32)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back_and_has_one_spelling() {
        let digest = Digest32::of(b"zkpnet");
        assert_eq!(digest.to_string().parse::<Digest32>(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest32>(), Err(DigestError));
        assert_eq!("ab".parse::<Digest32>(), Err(DigestError));
        assert_eq!(format!("{digest}0").parse::<Digest32>(), Err(DigestError));
    }

    #[test]
    fn the_empty_content_has_the_published_blake3_digest() {
        let published = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest32::of(b"").to_string(), published);
    }
}
