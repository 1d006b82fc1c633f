//! Canonical encodings of 32-byte values and of scalar field elements.
//!
//! Owns [`Bytes32`], the one form in which leaves, nodes, roots and public inputs travel, and the two ways between
//! it and a field element. Refuses every second spelling of an element: 32 bytes at or above the modulus are an
//! error, never reduced, because a reduced input would let two different strings name one statement.
//!
//! Leaves are secrets and pass through here, so no error and no `Debug` shows a value: errors give counts and
//! positions, and only `Display`, which nobody calls by accident, prints the digits.

use std::fmt;
use std::str::FromStr;

use ff::PrimeField;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use zeroize::Zeroize;

/// Number of hex digits of a 32-byte value.
const DIGITS_MAX: usize = 64;

/// A big-endian number of 32 bytes: a leaf, a tree node, a root or a public input.
///
/// Text form: `0x` and 64 hex digits; 1 to 64 are read, and padded on the left. `Debug` is redacted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Zeroize)]
pub struct Bytes32([u8; 32]);

/// Why a text is not a 32-byte value. It never repeats the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HexError {
    /// The text does not begin with `0x`.
    #[error("must begin with 0x")]
    MissingPrefix,
    /// Nothing follows `0x`.
    #[error("has no digits after 0x")]
    Empty,
    /// A character is not a hex digit.
    #[error("character {position} after 0x is not a hex digit")]
    NotADigit {
        /// Place of the character after `0x`, counted from 1.
        position: usize,
    },
    /// More digits than 32 bytes hold.
    #[error("has {digits} hex digits, at most {DIGITS_MAX} fit in 32 bytes")]
    TooLong {
        /// Number of digits after `0x`.
        digits: usize,
    },
}

/// The value is not below the scalar field's modulus, so it is not the encoding of any element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not below the field's modulus")]
pub struct NotCanonical;

impl Bytes32 {
    /// The value 0.
    pub const ZERO: Bytes32 = Bytes32([0; 32]);

    /// Wraps 32 big-endian bytes.
    pub const fn new(bytes: [u8; 32]) -> Bytes32 {
        Bytes32(bytes)
    }

    /// The 32 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The high and the low 128 bits. Each is below the modulus, whatever the 32 bytes are.
    pub fn halves(&self) -> (u128, u128) {
        let half = |from: usize| {
            self.0[from..from + 16].iter().fold(0u128, |number, byte| (number << 8) | u128::from(*byte))
        };
        (half(0), half(16))
    }

    /// The canonical encoding of a field element.
    pub fn from_scalar<F: PrimeField<Repr = [u8; 32]>>(scalar: &F) -> Bytes32 {
        let mut bytes = scalar.to_repr();
        bytes.reverse();
        Bytes32(bytes)
    }

    /// The field element that these bytes encode.
    ///
    /// # Errors
    /// [`NotCanonical`] when the number is not below the modulus.
    pub fn to_scalar<F: PrimeField<Repr = [u8; 32]>>(&self) -> Result<F, NotCanonical> {
        // Both curve crates take little-endian representations.
        let mut repr = self.0;
        repr.reverse();
        Option::from(F::from_repr(repr)).ok_or(NotCanonical)
    }
}

impl From<[u8; 32]> for Bytes32 {
    fn from(bytes: [u8; 32]) -> Self {
        Bytes32(bytes)
    }
}

impl FromStr for Bytes32 {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let digits = text.strip_prefix("0x").ok_or(HexError::MissingPrefix)?;
        if digits.is_empty() {
            return Err(HexError::Empty);
        }
        // Characters are looked at before they are counted: the length of something that is no number says little.
        if let Some(index) = digits.chars().position(|c| !c.is_ascii_hexdigit()) {
            return Err(HexError::NotADigit { position: index + 1 });
        }
        if digits.len() > DIGITS_MAX {
            return Err(HexError::TooLong { digits: digits.len() });
        }
        let mut bytes = [0u8; 32];
        for (place, digit) in digits.bytes().rev().enumerate() {
            bytes[31 - place / 2] |= hex_value(digit) << (4 * (place % 2));
        }
        Ok(Bytes32(bytes))
    }
}

/// Value of a character that is known to be a hex digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10) & 0x0f,
    }
}

impl fmt::Display for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bytes32(redacted)")
    }
}

impl Serialize for Bytes32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(HexVisitor)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Bytes32)
        }
    }
}

/// Reads the text form. The other `visit_` methods exist because serde's own "invalid type" messages repeat the
/// value, and a leaf sent as a number is as secret as one sent as text.
struct HexVisitor;

impl HexVisitor {
    fn refuse<E: de::Error>(found: &str) -> Result<Bytes32, E> {
        Err(E::custom(format_args!("must be a string of 0x and 1 to 64 hex digits, not {found}")))
    }
}

impl<'de> de::Visitor<'de> for HexVisitor {
    type Value = Bytes32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of 0x and 1 to 64 hex digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes32, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Bytes32, E> {
        Self::refuse("a boolean")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Bytes32, E> {
        Self::refuse("a number")
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Bytes32, E> {
        Self::refuse("a number")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Bytes32, E> {
        Self::refuse("a number")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Bytes32, E> {
        Self::refuse("null")
    }
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;
