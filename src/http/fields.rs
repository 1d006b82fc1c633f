//! Taking a request's fields out of its JSON, one by one, so that a refusal names the field and the reason.
//!
//! Refuses unknown fields with the nearest known name, and never repeats a value: leaves, indices and paths are secrets.

use super::json::{Json, NotWhole, shown_key};
use crate::proof::Bytes32;
use std::collections::BTreeMap;

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub(super) struct FieldError {
    /// Which, as a path such as `leaves[1]`.
    pub(super) field: String,
    /// Why; never holds the value.
    pub(super) reason: String,
    /// Whether it is fine in itself, and this version does not support it.
    pub(super) unsupported: bool,
}

impl FieldError {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), unsupported: false }
    }

    pub(super) fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { unsupported: true, ..Self::new(field, reason) }
    }
}

/// The fields of an object that are not taken yet.
pub(super) struct Fields {
    left: BTreeMap<String, Json>,
}

impl Fields {
    /// The fields of a request's body, all of which must be among `known`.
    pub(super) fn of_body(body: Json, known: &[&[&str]]) -> Result<Self, FieldError> {
        let Json::Object(left) = body else {
            return Err(FieldError::new("body", format!("expected a JSON object, got {}", body.kind())));
        };
        let known = || known.iter().copied().flatten().copied();
        if let Some(name) = left.keys().find(|name| !known().any(|known| known == *name)) {
            return Err(unknown(name, known()));
        }
        Ok(Self { left })
    }

    /// Whether the field is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|json| !matches!(json, Json::Null))
    }

    /// Takes a field that may be absent; null counts as absent.
    pub(super) fn optional(&mut self, name: &str) -> Option<Json> {
        self.left.remove(name).filter(|json| !matches!(json, Json::Null))
    }

    /// Takes a field that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<Json, FieldError> {
        self.left.remove(name).ok_or_else(|| FieldError::new(name, "is missing"))
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> FieldError {
    let Some(shown) = shown_key(name) else {
        return FieldError::new("body", "has a field that is not known");
    };
    let reason = match nearest(shown, known) {
        Some(nearest) => format!("is not a known field; did you mean `{nearest}`?"),
        None => "is not a known field".to_owned(),
    };
    FieldError::new(shown, reason)
}

/// The known name that looks most like `name`, when a third of it or less is different.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_ascii_lowercase().replace('-', "_");
    let allowed = (folded.chars().count() / 3).max(1);
    known
        .map(|known| (strsim::damerau_levenshtein(&folded, known), known))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, known)| known)
}

fn wrong_kind(field: &str, expected: &str, got: &Json) -> FieldError {
    FieldError::new(field, format!("expected {expected}, got {}", got.kind()))
}

/// A string.
pub(super) fn text(field: &str, json: Json) -> Result<String, FieldError> {
    match json {
        Json::Text(text) => Ok(text),
        other => Err(wrong_kind(field, "a string", &other)),
    }
}

/// True or false.
pub(super) fn boolean(field: &str, json: &Json) -> Result<bool, FieldError> {
    match json {
        Json::Bool(value) => Ok(*value),
        other => Err(wrong_kind(field, "true or false", other)),
    }
}

/// An array.
pub(super) fn array(field: &str, json: Json) -> Result<Vec<Json>, FieldError> {
    match json {
        Json::Array(items) => Ok(items),
        other => Err(wrong_kind(field, "an array", &other)),
    }
}

/// A whole number, not negative.
pub(super) fn whole_number(field: &str, json: &Json) -> Result<u64, FieldError> {
    match json {
        Json::Whole(number) => Ok(*number),
        Json::NotWhole(NotWhole::Negative) => Err(FieldError::new(field, "must not be negative")),
        Json::NotWhole(NotWhole::Inexact) => Err(FieldError::new(
            field,
            "expected a whole number below 2^64, written without a fraction or an exponent",
        )),
        other => Err(wrong_kind(field, "a whole number", other)),
    }
}

/// A whole number from `min` to `max`.
pub(super) fn whole_number_between(field: &str, json: &Json, min: u64, max: u64) -> Result<u64, FieldError> {
    let number = whole_number(field, json)?;
    if !(min..=max).contains(&number) {
        return Err(FieldError::new(field, format!("must be from {min} to {max}")));
    }
    Ok(number)
}

/// A 32-byte value: a string of `0x` and 1 to 64 hex digits.
pub(super) fn bytes32(field: &str, json: &Json) -> Result<Bytes32, FieldError> {
    match json {
        Json::Text(text) => text.parse().map_err(|error| FieldError::new(field, format!("{error}"))),
        other => Err(wrong_kind(field, "a string of 0x and 1 to 64 hex digits", other)),
    }
}

/// An array of at most `max` 32-byte values.
pub(super) fn bytes32_array(field: &str, json: Json, max: usize) -> Result<Vec<Bytes32>, FieldError> {
    let items = array(field, json)?;
    if items.len() > max {
        let reason = format!("must have at most {max} elements, got {}", items.len());
        return Err(FieldError::new(field, reason));
    }
    items.iter().enumerate().map(|(place, item)| bytes32(&format!("{field}[{place}]"), item)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::json::parse;
    use super::*;

    fn json(text: &str) -> Json {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_nearest_known_name() {
        let known: &[&[&str]] = &[&["leaves", "leaf_index"], &["priority"]];
        let refused =
            |text: &str| Fields::of_body(json(text), known).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(
            refused(r#"{"leaf-indx":0}"#),
            Err("leaf-indx: is not a known field; did you mean `leaf_index`?".into())
        );
        assert_eq!(refused(r#"{"frobnicate":0}"#), Err("frobnicate: is not a known field".into()));
        assert_eq!(refused(r#"{"0x1234":0}"#), Err("body: has a field that is not known".into()));
        assert_eq!(refused("[1]"), Err("body: expected a JSON object, got an array".into()));
        assert_eq!(refused(r#"{"leaves":[],"priority":null}"#), Ok(()));
    }

    #[test]
    fn a_number_is_refused_for_what_it_is() {
        let reason = |text: &str| whole_number("n", &json(text)).unwrap_err().reason;
        assert_eq!(reason("-1"), "must not be negative");
        assert_eq!(reason("1.5"), "expected a whole number, got a fraction");
        assert_eq!(reason("\"1\""), "expected a whole number, got a string");
        assert_eq!(reason("null"), "expected a whole number, got null");
        assert!(reason("1e3").contains("exponent"));
        assert_eq!(whole_number("n", &json("7")), Ok(7));
    }

    #[test]
    fn a_leaf_is_refused_without_being_repeated() {
        let error = |text: &str| bytes32_array("leaves", json(text), 3).unwrap_err().to_string();
        assert_eq!(error(r#"["0x1","0x123..."]"#), "leaves[1]: character 4 after 0x is not a hex digit");
        assert_eq!(error("[5]"), "leaves[0]: expected a string of 0x and 1 to 64 hex digits, got a number");
        assert_eq!(error(r#"["1"]"#), "leaves[0]: must begin with 0x");
        assert_eq!(error(r#"["0x"]"#), "leaves[0]: has no digits after 0x");
        assert_eq!(error(r#"["","","",""]"#), "leaves: must have at most 3 elements, got 4");
        let long = format!("[\"0x{}\"]", "7".repeat(65));
        assert_eq!(error(&long), "leaves[0]: has 65 hex digits, at most 64 fit in 32 bytes");
    }
}
