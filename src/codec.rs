//! The one encoding of everything that zkpnet writes to a disk or sends to a peer, and the only file that names bincode.
//!
//! A frame is a format version (one byte), the CRC-32 of the payload (four bytes, little-endian), and the payload, which
//! is bincode 2's standard configuration over serde. The version comes first so that a later format can be told apart
//! before anything of it is believed; the checksum covers the payload, so that a damaged record is an error here and not
//! a strange value further up. A frame is decoded whole: bytes left over are refused, because a record that is longer
//! than its meaning was written by someone else.
//!
//! bincode is no longer maintained (RUSTSEC-2025-0141). Its second format is specified and frozen, nothing that we decode
//! is unchecked, and a successor needs a new version byte and a change to this file alone.

use bincode::error::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the frames that are written, and the only one that is read.
pub const FORMAT_VERSION: u8 = 1;

/// Bytes of a frame that precede its payload.
pub const HEADER_BYTES: usize = 1 + 4;

/// The largest value that is decoded: far above the largest Raft entry that is proposed, and low enough that a length
/// made up by a damaged or hostile record cannot exhaust the memory.
pub const DECODE_BYTES_MAX: usize = 64 << 20;

/// Why bytes are not a frame of ours, or a value cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The frame ends before its payload does.
    #[error("truncated: {length_bytes} bytes are no whole frame")]
    Truncated {
        /// How many bytes there are.
        length_bytes: usize,
    },
    /// Another format wrote it.
    #[error("format version {found} is not supported, expected {FORMAT_VERSION}")]
    UnsupportedVersion {
        /// The version that it claims.
        found: u8,
    },
    /// The payload is not what was written.
    #[error("checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    ChecksumMismatch {
        /// The checksum in the frame.
        stored: u32,
        /// The checksum of the payload.
        computed: u32,
    },
    /// The payload is whole, yet no value of the expected type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value cannot be encoded.
    #[error("cannot be encoded: {0}")]
    Unencodable(String),
}

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_BYTES_MAX>()
}

/// Encodes a value into a frame.
///
/// # Errors
/// [`CodecError::Unencodable`] when the type's own `Serialize` fails; no type of this crate does.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut writer = FrameWriter(vec![0; HEADER_BYTES]);
    bincode::serde::encode_into_writer(value, &mut writer, config())
        .map_err(|error| CodecError::Unencodable(error.to_string()))?;
    let mut frame = writer.0;
    seal(&mut frame);
    Ok(frame)
}

/// Decodes a value from a frame.
///
/// # Errors
/// One variant of [`CodecError`] for each way in which the bytes may fail to be such a frame.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, CodecError> {
    let payload = open_frame(frame)?;
    let (value, read) =
        bincode::serde::decode_from_slice(payload, config()).map_err(|error| match error {
            // The checksum has vouched for the payload: it is whole, but of another type.
            DecodeError::UnexpectedEnd { .. } => CodecError::Malformed("the payload is too short".into()),
            other => CodecError::Malformed(other.to_string()),
        })?;
    if read == payload.len() {
        Ok(value)
    } else {
        Err(CodecError::Malformed(format!("{} bytes follow the value", payload.len() - read)))
    }
}

/// Frames bytes that are opaque already (a sealed input, a proof): the same header, no encoding.
#[must_use]
pub fn frame_bytes(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.resize(HEADER_BYTES, 0);
    frame.extend_from_slice(payload);
    seal(&mut frame);
    frame
}

/// Checks a frame's header and gives its payload.
///
/// # Errors
/// When the frame is truncated, of another version, or damaged.
pub fn open_frame(frame: &[u8]) -> Result<&[u8], CodecError> {
    let truncated = CodecError::Truncated { length_bytes: frame.len() };
    let Some((version, rest)) = frame.split_first() else { return Err(truncated) };
    if *version != FORMAT_VERSION {
        return Err(CodecError::UnsupportedVersion { found: *version });
    }
    let Some((checksum, payload)) = rest.split_first_chunk::<4>() else { return Err(truncated) };
    let stored = u32::from_le_bytes(*checksum);
    let computed = crc32fast::hash(payload);
    if stored == computed { Ok(payload) } else { Err(CodecError::ChecksumMismatch { stored, computed }) }
}

/// The length of [`encode`]'s frame, without making it.
///
/// # Errors
/// As [`encode`].
pub fn encoded_length<T: Serialize>(value: &T) -> Result<u64, CodecError> {
    let mut counter = ByteCounter(HEADER_BYTES as u64);
    bincode::serde::encode_into_writer(value, &mut counter, config())
        .map_err(|error| CodecError::Unencodable(error.to_string()))?;
    Ok(counter.0)
}

/// Fills in the header of a frame whose payload is in place.
fn seal(frame: &mut [u8]) {
    let checksum = crc32fast::hash(frame.get(HEADER_BYTES..).unwrap_or_default());
    if let Some(header) = frame.first_chunk_mut::<HEADER_BYTES>() {
        let [a, b, c, d] = checksum.to_le_bytes();
        *header = [FORMAT_VERSION, a, b, c, d];
    }
}

struct FrameWriter(Vec<u8>);

impl bincode::enc::write::Writer for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

struct ByteCounter(u64);

impl bincode::enc::write::Writer for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    enum Sample {
        Unit,
        Fields { id: u64, name: Box<str>, bytes: Vec<u8>, maybe: Option<i32> },
    }

    fn sample() -> Sample {
        Sample::Fields { id: 300, name: "zkp".into(), bytes: vec![0, 255], maybe: Some(-1) }
    }

    #[test]
    fn the_bytes_of_the_format_are_these() {
        // Files in the field have this form: a change here needs a new FORMAT_VERSION.
        // Variant 1; 300 as a 16-bit varint (251, then little-endian); lengths before contents; -1 in zigzag.
        let payload = [1, 251, 44, 1, 3, b'z', b'k', b'p', 2, 0, 255, 1, 1];
        let mut expected = vec![FORMAT_VERSION];
        expected.extend_from_slice(&0xa873_612a_u32.to_le_bytes());
        expected.extend_from_slice(&payload);
        assert_eq!(hex::encode(encode(&sample()).unwrap()), hex::encode(expected));
        assert_eq!(
            frame_bytes(b"123456789")[1..5],
            0xcbf4_3926_u32.to_le_bytes(),
            "the CRC-32 of the standard's check"
        );
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_refused() {
        let frame = encode(&sample()).unwrap();
        for length in 0..frame.len() {
            assert!(decode::<Sample>(&frame[..length]).is_err(), "cut to {length} bytes");
        }
        assert_eq!(decode::<Sample>(&frame[..4]), Err(CodecError::Truncated { length_bytes: 4 }));
        assert_eq!(decode::<Sample>(&[]), Err(CodecError::Truncated { length_bytes: 0 }));
    }

    #[test]
    fn each_kind_of_damage_has_its_own_error() {
        let good = encode(&sample()).unwrap();
        let mut other_version = good.clone();
        other_version[0] = 9;
        assert_eq!(decode::<Sample>(&other_version), Err(CodecError::UnsupportedVersion { found: 9 }));
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(matches!(decode::<Sample>(&flipped), Err(CodecError::ChecksumMismatch { .. })));
        let wrong_type = frame_bytes(&[7]);
        assert!(matches!(decode::<Sample>(&wrong_type), Err(CodecError::Malformed(_))));
        let trailing = frame_bytes(&[0, 0]);
        assert_eq!(
            decode::<Sample>(&trailing),
            Err(CodecError::Malformed("1 bytes follow the value".into()))
        );
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_without_being_allocated() {
        // A vector that claims 2^60 elements.
        let mut payload = vec![253];
        payload.extend_from_slice(&(1_u64 << 60).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&frame_bytes(&payload)), Err(CodecError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(id: u64, name: String, bytes: Vec<u8>, maybe: Option<i32>) {
            let value = Sample::Fields { id, name: name.into(), bytes, maybe };
            let frame = encode(&value).unwrap();
            prop_assert_eq!(encoded_length(&value).unwrap(), frame.len() as u64);
            prop_assert_eq!(decode::<Sample>(&frame).unwrap(), value);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode::<Sample>(&bytes);
            let _ = decode::<Sample>(&frame_bytes(&bytes));
        }

        #[test]
        fn one_flipped_bit_never_passes(id: u64, bytes: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let mut frame = encode(&Sample::Fields { id, name: "n".into(), bytes, maybe: None }).unwrap();
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            prop_assert!(decode::<Sample>(&frame).is_err());
        }
    }
}
