//! The names of things: one newtype for every id, so that a task's number cannot be taken for a term.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A task, named by a UUID (version 7: its first 48 bits are the submission's time in milliseconds).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub uuid::Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Whose task it is. There is one tenant, [`TenantId::DEFAULT`], until API keys exist.
    TenantId(u64)
);
number!(
    /// A Raft term.
    Term(u64)
);
number!(
    /// The index of an entry in the Raft log.
    LogIndex(u64)
);
number!(
    /// The number of a lease of one task, from 1. `(task, attempt)` names one lease for ever.
    Attempt(u32)
);
number!(
    /// Which life of a worker: it grows by one with every registration of a new process under the same name.
    Incarnation(u64)
);
number!(
    /// Milliseconds since 1970-01-01 UTC, as stamped by a leader.
    UnixMillis(u64)
);

impl TenantId {
    /// The tenant of everything submitted without a key.
    pub const DEFAULT: Self = Self(0);
}

impl UnixMillis {
    /// This instant and `milliseconds` more; stops at the largest value instead of wrapping.
    #[must_use]
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// Where a command stands in the Raft log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term of the leader that appended the entry.
    pub term: Term,
    /// The entry's index.
    pub index: LogIndex,
}

/// 32 bytes: a hash, or a canonical field element (big-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than the id may be.
    #[error("must be at most {max} characters, got {length}")]
    TooLong {
        /// The largest number of characters.
        max: usize,
        /// The number of characters that the text has.
        length: usize,
    },
    /// A character is not allowed.
    #[error("must consist of {allowed}")]
    Character {
        /// The allowed characters, in words.
        allowed: &'static str,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Box<str>);

        impl $name {
            /// The largest number of characters; the id is kept in memory for every task that names it.
            pub const LENGTH_MAX: usize = $max;

            /// Takes `text` as an id.
            ///
            /// # Errors
            /// When it is empty, too long, or has a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let is_allowed: fn(char) -> bool = $is_allowed;
                let length = text.chars().count();
                if text.is_empty() {
                    return Err(IdError::Empty);
                }
                if length > Self::LENGTH_MAX {
                    return Err(IdError::TooLong { max: Self::LENGTH_MAX, length });
                }
                if !text.chars().all(is_allowed) {
                    return Err(IdError::Character { allowed: $allowed });
                }
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A worker's configured name.
    WorkerId,
    64,
    "letters, digits, '.', '_' and '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);
name!(
    /// A circuit's name, such as `merkle-poseidon-4`.
    CircuitId,
    64,
    "letters, digits, '.', '_' and '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);
name!(
    /// A client's `Idempotency-Key`.
    IdempotencyKey,
    128,
    "printable ASCII characters",
    |c| c.is_ascii_graphic() || c == ' '
);

/// How the keys begin that a gateway makes for submissions without one. Such a key lives for one submission's repetitions.
pub const RETRY_KEY_PREFIX: &str = "zkpnet-retry:";

impl IdempotencyKey {
    /// Whether it was made for the repetitions of one submission, and not by a client who may come back to it.
    #[must_use]
    pub fn is_for_repetition(&self) -> bool {
        self.as_str().starts_with(RETRY_KEY_PREFIX)
    }
}
