//! The parameters of a query string, taken strictly: unknown ones and repeated ones are refused by name.

use super::fields::nearest;
use super::json::shown_key;
use super::problem::Problem;
use actix_web::{HttpRequest, web};
use std::collections::BTreeMap;

/// The parameters that are not taken yet.
pub(super) struct Query {
    left: BTreeMap<String, String>,
}

impl Query {
    /// The parameters of a request, all of which must be among `known`.
    pub(super) fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        Self::parse(request.query_string(), known)
    }

    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| Problem::field("query", "cannot be read"))?
            .into_inner();
        let mut left = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, known));
            }
            if left.contains_key(&name) {
                return Err(Problem::field(name, "occurs twice"));
            }
            left.insert(name, value);
        }
        Ok(Self { left })
    }

    /// Takes a parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    /// Takes a parameter and reads it; a refusal names it.
    pub(super) fn take_as<T, E: ToString>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        read(&text).map(Some).map_err(|reason| Problem::field(name, reason.to_string()))
    }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let Some(shown) = shown_key(name) else {
        return Problem::field("query", "has a parameter that is not known");
    };
    let hint = nearest(shown, known.iter().copied())
        .map(|nearest| format!("; did you mean `{nearest}`?"))
        .unwrap_or_default();
    Problem::field(shown, format!("is not a known parameter{hint}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Query::parse(text, &["status", "limit"]).err().map(|problem| problem.detail).unwrap_or_default()
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert_eq!(refusal("limt=1"), "limt: is not a known parameter; did you mean `limit`?");
        assert_eq!(refusal("limit=1&limit=2"), "limit: occurs twice");
        assert_eq!(refusal("%00=1"), "query: has a parameter that is not known");
        assert_eq!(refusal("status=a%20b&limit="), "");
    }

    #[test]
    fn a_value_that_cannot_be_read_is_refused_by_name() {
        let mut query = Query::parse("limit=many", &["limit"]).unwrap();
        let refused = query.take_as("limit", str::parse::<u16>).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("limit"));
    }
}
