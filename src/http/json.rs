//! JSON as requests hold it: read once, strictly, into a tree that can name what is wrong with it.
//!
//! Refuses what `serde_json::Value` lets pass or hides: a key that occurs twice (readers disagree on which one counts),
//! more values than any request needs (a body of `[0,0,0,…` would grow thirtyfold in memory), text that is not UTF-8.
//! Nesting is limited by `serde_json` itself, to 128. A body may hold secrets: no error and no `Debug` shows a value.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

/// Values in one body at most: ten times the leaves of the largest tree, so that a tree that is only too large is told so.
const VALUES_MAX: u32 = 1_000_000;
/// Characters of an unknown key that an error shows.
const SHOWN_KEY_LENGTH_MAX: usize = 40;

/// A value. Numbers that are not whole are kept only as what they are not: no request has a use for them.
pub(super) enum Json {
    Null,
    Bool(bool),
    Whole(u64),
    NotWhole(NotWhole),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Why a number is no whole number of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotWhole {
    Negative,
    Fraction,
    /// Above `u64::MAX`, or written with an exponent or a zero fraction.
    Inexact,
}

impl Json {
    /// What it is, for an error; never its value.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Whole(_) | Self::NotWhole(NotWhole::Inexact) => "a number",
            Self::NotWhole(NotWhole::Negative) => "a negative number",
            Self::NotWhole(NotWhole::Fraction) => "a fraction",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A body is not JSON that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// Not UTF-8.
    #[error("the body is not UTF-8: byte {offset} is wrong")]
    NotUtf8 {
        /// The first wrong byte, from 0.
        offset: usize,
    },
    /// Not JSON, or not ours.
    #[error("the body is not valid JSON: {reason} at line {line}, column {column}")]
    Malformed {
        /// Where: line, from 1.
        line: usize,
        /// Where: column, from 1.
        column: usize,
        /// Why.
        reason: String,
    },
}

/// Reads a body.
///
/// # Errors
/// See [`JsonError`].
pub(super) fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 { offset: error.valid_up_to() })?;
    let left = Cell::new(VALUES_MAX);
    let mut reader = serde_json::Deserializer::from_str(text);
    let json = Reading { left: &left }.deserialize(&mut reader).map_err(|error| malformed(&error))?;
    reader.end().map_err(|error| malformed(&error))?;
    Ok(json)
}

fn malformed(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    // serde_json ends its message with the place, which has fields of its own here.
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    JsonError::Malformed { line: error.line(), column: error.column(), reason: reason.to_owned() }
}

/// A key as an error may show it: what looks like a name, and nothing that could be a misplaced leaf.
pub(super) fn shown_key(key: &str) -> Option<&str> {
    let is_name = !key.is_empty()
        && key.len() <= SHOWN_KEY_LENGTH_MAX
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !(key.len() > 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_name.then_some(key)
}

#[derive(Clone, Copy)]
struct Reading<'c> {
    left: &'c Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let left = self.left.get().checked_sub(1);
        let left = left.ok_or_else(|| D::Error::custom(format_args!("more than {VALUES_MAX} values")))?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(u64::try_from(number).map_or(Json::NotWhole(NotWhole::Negative), Json::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::NotWhole(if number.fract() != 0.0 {
            NotWhole::Fraction
        } else if number < 0.0 {
            NotWhole::Negative
        } else {
            NotWhole::Inexact
        }))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if object.contains_key(&key) {
                let shown = shown_key(&key).map_or_else(|| "a key".to_owned(), |key| format!("key `{key}`"));
                return Err(A::Error::custom(format_args!("{shown} occurs twice in one object")));
            }
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_line_and_column() {
        let JsonError::Malformed { line, column, reason } = parse(b"{\n  \"a\": 1,\n}").unwrap_err() else {
            panic!("another error");
        };
        assert_eq!((line, column), (3, 1));
        assert_eq!(reason, "trailing comma");
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused_at_any_depth() {
        assert!(refusal(r#"{"leaves":[],"leaves":[]}"#).contains("key `leaves` occurs twice"));
        assert!(refusal(r#"[{"a":{"b":1,"b":1}}]"#).contains("occurs twice"));
        assert!(parse(br#"[{"a":1},{"a":1}]"#).is_ok());
    }

    #[test]
    fn a_key_that_could_be_a_leaf_is_not_shown() {
        let leaf = "0x1234567890abcdef";
        assert!(!refusal(&format!(r#"{{"{leaf}":1,"{leaf}":2}}"#)).contains("1234"));
        assert_eq!(shown_key("leave_index"), Some("leave_index"));
        assert_eq!(shown_key("deadbeefdeadbeefdeadbeef"), None);
        assert_eq!(shown_key("line\nbreak"), None);
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
        assert!(refusal(&"[".repeat(1_000_000)).contains("recursion limit"));
        assert!(parse(format!("{}{}", "[".repeat(100), "]".repeat(100)).as_bytes()).is_ok());
    }

    #[test]
    fn too_many_values_are_refused_before_they_fill_the_memory() {
        let many = format!("[0{}]", ",0".repeat(VALUES_MAX as usize));
        assert!(refusal(&many).contains("more than 1000000 values"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err(), JsonError::NotUtf8 { offset: 6 });
        assert!(refusal("\"a\0b\"").contains("control character"));
        assert!(refusal("").contains("EOF"));
        assert!(refusal("{} {}").contains("trailing characters"));
        assert!(parse(br#""\ud800""#).is_err(), "half of a surrogate pair");
    }

    #[test]
    fn numbers_are_told_apart() {
        let kind = |text: &str| match parse(text.as_bytes()) {
            Ok(Json::NotWhole(kind)) => Some(kind),
            _ => None,
        };
        assert!(matches!(parse(b"18446744073709551615"), Ok(Json::Whole(u64::MAX))));
        assert_eq!(kind("18446744073709551616"), Some(NotWhole::Inexact));
        assert_eq!(kind("-1"), Some(NotWhole::Negative));
        assert_eq!(kind("0.5"), Some(NotWhole::Fraction));
        assert_eq!(kind("1e2"), Some(NotWhole::Inexact));
        assert!(refusal("1e999").contains("number out of range"));
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_value() {
        let json = parse(br#""0xsecret""#).unwrap();
        assert_eq!(format!("{json:?}"), "a string");
        assert!(!refusal(r#"{"a":"0xsecret" x"#).contains("secret"));
    }
}
