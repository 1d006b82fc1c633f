//! Why the archive did not do it, told apart by what its caller can do: try again, stop, or call a person.
//!
//! Texts hold what the server says of itself, never what it says of a row: `DETAIL` and the messages about data are left out.

use std::error::Error as StdError;
use std::io;
use tokio_postgres::error::{DbError, SqlState};

/// The archive did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be reached, or cannot work now: no connection, a limit of time, a server that stops, starts, is full or takes
    /// no writes. Try again. Whether a batch counted is *unknown*: claim again, the claim's position says it.
    #[error("cannot {operation} now: {detail}")]
    Unavailable {
        /// What was to be done.
        operation: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// *Unavailable*: the server did not end it in the time that is allowed. Perhaps less of it at a time can be done. Whether a
    /// batch counted is *unknown*.
    #[error("cannot {operation} in the time allowed: {detail}")]
    TooSlow {
        /// What was to be done.
        operation: &'static str,
        /// Which limit of time.
        detail: String,
    },
    /// *Unavailable*: all connections for this kind of work are in use. Nothing was asked, and nothing is known to be wrong with the
    /// server.
    #[error("cannot {operation} now: every connection for it is in use")]
    Busy {
        /// What was to be done.
        operation: &'static str,
    },
    /// Somebody else has claimed the cluster's cursor, or it is not where the writer believed. Nothing was written.
    #[error("the archive's cursor of cluster {cluster} is not ours: {detail}")]
    Fenced {
        /// Whose cursor.
        cluster: String,
        /// How that was noticed.
        detail: String,
    },
    /// The server was reached and refuses: credentials, permissions, the schema, or this very data. Trying again does not help
    /// before somebody mends something, be it on the server's side.
    #[error("the archive refuses to {operation}: {detail}")]
    Rejected {
        /// What was to be done.
        operation: &'static str,
        /// Why not.
        detail: String,
    },
    /// A stored row is not one that was written here.
    #[error("{row} cannot be read back: {detail}")]
    Damaged {
        /// Which row.
        row: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl ArchiveError {
    /// What `failure` of the server or of the way to it means.
    pub(super) fn of(operation: &'static str, failure: &tokio_postgres::Error) -> Self {
        if let Some(said) = failure.as_db_error() {
            let detail = detail_of(said);
            return if *said.code() == SqlState::QUERY_CANCELED {
                Self::TooSlow { operation, detail }
            } else if is_passing(said.code()) {
                Self::Unavailable { operation, detail }
            } else {
                Self::Rejected { operation, detail }
            };
        }
        let detail = chain(failure);
        match failure.source() {
            // Without a source: the connection was closed, a limit of time was reached, or the answer made no sense.
            None => Self::Unavailable { operation, detail },
            Some(source) => match source.downcast_ref::<io::Error>() {
                Some(error) if !is_refused_certificate(error) => Self::Unavailable { operation, detail },
                // A certificate that is not trusted, TLS that the server does not offer, a password that is missing.
                _ => Self::Rejected { operation, detail },
            },
        }
    }

    /// What a pool's failure means.
    pub(super) fn of_pool(operation: &'static str, failure: &deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::{HookError, PoolError, TimeoutType};
        match failure {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::of(operation, error)
            }
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy { operation },
            PoolError::Timeout(_) => {
                Self::Unavailable { operation, detail: "no connection within the time allowed".to_owned() }
            }
            other => Self::Unavailable { operation, detail: other.to_string() },
        }
    }

    /// Whether it passes by itself.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TooSlow { .. } | Self::Busy { .. })
    }
}

/// Whether what the server says passes by itself, by the class of its SQLSTATE (PostgreSQL manual, appendix A).
fn is_passing(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    // 08 connection, 40 rolled back (deadlock, serialization), 53 resources (disk, memory, connections), 55 not in a state to
    // do it (a lock, a database being dropped), 57 an operator or a limit stepped in, 58 the system below.
    // 25: a stand-by or a server that takes no writes, and a transaction that was ended for idling.
    // 0A000 comes from a plan made before the schema changed; the connection is dropped with it, so that it passes.
    matches!(class, "08" | "25" | "40" | "53" | "55" | "57" | "58")
        || *code == SqlState::FEATURE_NOT_SUPPORTED
}

/// What the server says, without anything that may be of a row.
fn detail_of(said: &DbError) -> String {
    let code = said.code().code();
    // 22 and 23 speak of values, P0 are texts that somebody's trigger made up; the others of the server, its roles and its
    // schema.
    let names_values = matches!(code.get(..2), Some("22" | "23" | "P0") | None);
    let what = if names_values { "the data do not fit" } else { said.message() };
    let place = [("table", said.table()), ("column", said.column()), ("constraint", said.constraint())];
    let place: String =
        place.iter().filter_map(|(kind, name)| name.map(|name| format!(", {kind} {name}"))).collect();
    format!("{what} (SQLSTATE {code}{place})")
}

/// The failure with its causes.
fn chain(failure: &tokio_postgres::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Whether rustls gave up because of the certificate, rather than the network because of itself.
fn is_refused_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_and_what_does_not_are_told_apart() {
        let passing = [
            "08006", "25006", "25P03", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01",
            "57P03", "58030",
        ];
        let lasting = [
            "22021", "23505", "23514", "28P01", "28000", "3D000", "42501", "42P01", "42703", "XX001", "P0001",
        ];
        for code in passing {
            assert!(is_passing(&SqlState::from_code(code)), "{code}");
        }
        for code in lasting {
            assert!(!is_passing(&SqlState::from_code(code)), "{code}");
        }
    }
}
