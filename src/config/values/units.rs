//! Durations (`500ms`, `3s`, `5m`, `24h`, `7d`) and sizes (`512KiB`, `10MiB`).
//!
//! One whole number and one unit. A duration without a unit is refused, since seconds and milliseconds are both
//! plausible; a size without one is a number of bytes, as the keys' names say. `MB` is refused: half of the world
//! reads it as 1000², the other as 1024².

use std::fmt;
use std::time::Duration;

use super::{Reason, Value, expected, quote};

/// Milliseconds in each unit, largest first, which is the order that printing tries.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of so many bytes.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(self.0, &SIZE_UNITS))
    }
}

/// The largest unit that divides the value, so that printing loses nothing.
fn render(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, size)| value != 0 && value.is_multiple_of(*size)).or(units.last());
    unit.map_or_else(|| value.to_string(), |(name, size)| format!("{}{name}", value / size))
}

/// Splits `10MiB` into its number and its unit.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if digits.is_empty() || leading_zero { None } else { Some((digits, unit)) }
}

/// The value in the smallest unit, or `None` when it does not fit.
fn scale(digits: &str, size: u64) -> Option<u64> {
    digits.parse::<u64>().ok()?.checked_mul(size)
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration such as 500ms, 3s, 5m, 24h or 7d";

    fn from_text(text: &str) -> Result<Self, Reason> {
        let (digits, unit) = split(text).ok_or_else(|| expected::<Self>(text))?;
        if unit.is_empty() {
            return Err(format!("the duration {} has no unit: write {digits}s or {digits}ms", quote(text)));
        }
        let (_, size) =
            DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| expected::<Self>(text))?;
        scale(digits, *size)
            .map(Duration::from_millis)
            .ok_or_else(|| format!("the duration {} is too long", quote(text)))
    }

    fn magnitude(&self) -> Option<u128> {
        Some(self.as_nanos())
    }

    fn render(&self) -> Option<String> {
        // Durations here come from whole milliseconds, so that the cast cannot cut anything.
        Some(render(u64::try_from(self.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS))
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as 512KiB, 10MiB or 1GiB";

    fn from_text(text: &str) -> Result<Self, Reason> {
        let (digits, unit) = split(text).ok_or_else(|| expected::<Self>(text))?;
        if matches!(unit, "KB" | "kB" | "MB" | "GB" | "TB" | "K" | "M" | "G" | "T" | "k" | "m" | "g") {
            let initial = unit[..1].to_ascii_uppercase();
            return Err(format!("the unit of {} is ambiguous: write {digits}{initial}iB", quote(text)));
        }
        let unit = if unit.is_empty() { "B" } else { unit };
        let (_, size) =
            SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| expected::<Self>(text))?;
        scale(digits, *size).map(ByteSize).ok_or_else(|| format!("the size {} is too large", quote(text)))
    }

    fn magnitude(&self) -> Option<u128> {
        Some(u128::from(self.0))
    }

    fn render(&self) -> Option<String> {
        Some(self.to_string())
    }
}
