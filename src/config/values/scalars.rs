//! Whole numbers, booleans, texts, paths, secrets, and the choices among a few words.
//!
//! Numbers are decimal digits and nothing else: no sign, no exponent, no separator, no leading zero (which other
//! programs read as octal).

use std::path::PathBuf;

use super::super::secret::Secret;
use super::{Reason, TEXT_BYTES_MAX, Value, expected};

macro_rules! whole_number {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            const EXPECTED: &'static str = "a whole number";
            const PLAIN_ONLY: bool = true;

            fn from_text(text: &str) -> Result<Self, Reason> {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                if !digits || (text.len() > 1 && text.starts_with('0')) {
                    return Err(expected::<Self>(text));
                }
                text.parse().map_err(|_| format!("the number is too large: at most {}", <$ty>::MAX))
            }

            fn magnitude(&self) -> Option<u128> {
                Some(u128::from(*self))
            }

            fn render(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
whole_number!(u16, u32, u64);

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    const PLAIN_ONLY: bool = true;

    fn from_text(text: &str) -> Result<Self, Reason> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(expected::<Self>(text)),
        }
    }

    fn render(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// The rule for texts that end up in system or library calls.
fn check_text(text: &str) -> Result<(), Reason> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".to_owned());
    }
    Ok(())
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, Reason> {
        check_text(text).map(|()| text.to_owned())
    }

    fn render(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Result<Self, Reason> {
        check_text(text)?;
        if text.trim().is_empty() {
            return Err("must not be blank".to_owned());
        }
        Ok(PathBuf::from(text))
    }

    fn render(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a text";
    const SECRET: bool = true;

    fn from_text(text: &str) -> Result<Self, Reason> {
        check_text(text).map(|()| Secret::new(text.to_owned()))
    }

    fn render(&self) -> Option<String> {
        Some(super::super::secret::REDACTED.to_owned())
    }
}

macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident, $expected:literal, { $($(#[doc = $vdoc:literal])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $vdoc])* $variant,)*
        }

        impl $name {
            /// The word that stands for this choice in a file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl Value for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, Reason> {
                match text {
                    $($word => Ok($name::$variant),)*
                    _ => Err(expected::<Self>(text)),
                }
            }

            fn render(&self) -> Option<String> {
                Some(self.as_str().to_owned())
            }
        }
    };
}

choice!(
    /// The least severe line that is logged.
    LogLevel, "error, warn, info, debug or trace", {
        /// Failures that someone must look at.
        Error = "error",
        /// Also what went wrong and was coped with.
        Warn = "warn",
        /// Also the events of a normal life.
        Info = "info",
        /// Also what a developer wants.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
);

choice!(
    /// How log lines look.
    LogFormat, "console or json", {
        /// For people.
        Console = "console",
        /// One JSON object a line, for log collectors.
        Json = "json",
    }
);

choice!(
    /// How far the connection to PostgreSQL is protected, in libpq's words.
    SslMode, "disable, prefer, require, verify-ca or verify-full", {
        /// Never TLS.
        Disable = "disable",
        /// TLS when the server offers it.
        Prefer = "prefer",
        /// TLS, whatever certificate the server shows.
        Require = "require",
        /// TLS with a certificate of a trusted authority.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate must name the host.
        VerifyFull = "verify-full",
    }
);
