//! Names that people choose: ids of nodes and workers, and names of circuits.

use std::fmt;

use super::{Reason, Value, expected, quote};

/// Longest id. It stands in log lines, metric labels and every health answer.
const ID_CHARS_MAX: usize = 64;

/// The id of a coordinator, a Raft node or a worker: 1 to 64 characters of `A–Z a–z 0–9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

/// The name of a circuit: 1 to 64 characters of `a–z 0–9 -`, beginning and ending with a letter or digit. Whether such
/// a circuit exists is for the prover to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitName(String);

macro_rules! name {
    ($ty:ident) => {
        impl $ty {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name!(Id);
name!(CircuitName);

impl Value for Id {
    const EXPECTED: &'static str = "an id of 1 to 64 letters, digits, `.`, `_` or `-`";

    fn from_text(text: &str) -> Result<Self, Reason> {
        if text.len() > ID_CHARS_MAX {
            return Err(format!("the id {} is longer than {ID_CHARS_MAX} characters", quote(text)));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(expected::<Self>(text));
        }
        Ok(Id(text.to_owned()))
    }

    fn render(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

impl Value for CircuitName {
    const EXPECTED: &'static str = "a circuit's name such as merkle-poseidon-4";

    fn from_text(text: &str) -> Result<Self, Reason> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed = (1..=ID_CHARS_MAX).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if well_formed { Ok(CircuitName(text.to_owned())) } else { Err(expected::<Self>(text)) }
    }

    fn render(&self) -> Option<String> {
        Some(self.0.clone())
    }
}
