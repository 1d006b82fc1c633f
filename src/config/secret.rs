//! A text that must not be seen: passwords and tokens from the configuration.
//!
//! Every way of printing it (`Debug`, `Display`, `Serialize`) gives the same placeholder, whatever the text is, so that
//! neither its length nor its being empty leaks. The memory is wiped on drop. That covers the copies which this
//! crate makes; the operating system's copy of a process's environment is out of reach.

use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// What is printed in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// A text that is redacted in every print and wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }

    /// The text itself, for the one place that hands it to the peer that asks for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}
