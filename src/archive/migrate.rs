//! The schema: migrations that are part of the binary, run by one process at a time.
//!
//! A schema that is there already is only looked at, so that a role without the right to change it can archive. A schema of
//! a newer release is refused: this one does not know what the newer one wants of its rows.

use super::error::ArchiveError;
use super::store::ArchiveStore;
use refinery::Runner;
use std::error::Error as _;
use std::time::Duration;
use tokio_postgres::Client;

mod embedded {
    refinery::embed_migrations!("migrations");
}

const OPERATION: &str = "prepare the archive's schema";
/// "zkpnetar" in ASCII: what processes that migrate one database take turns by. Advisory locks are of one database.
const TURN: i64 = 0x7a6b_706e_6574_6172;
/// A migration of a large archive may build indexes; a lock that is never released must not be waited for until tomorrow. Who
/// only looks at the schema gets the time of any other operation.
const LIMIT: Duration = Duration::from_secs(30 * 60);

impl ArchiveStore {
    /// Brings the schema to this release's. Repeating it is harmless; processes that do it at once take turns.
    ///
    /// # Errors
    /// `Rejected` when the schema is of a newer release or was changed, the role may not change it, or the database's encoding
    /// is not UTF-8.
    pub async fn migrate(&self) -> Result<(), ArchiveError> {
        let connections = &self.connections;
        // Dropping the client ends its session, and with it the lock, whatever happens.
        let mut client = connections.alone(OPERATION).await?;
        let is_done = async {
            check_encoding(&client).await?;
            is_current(&client).await
        };
        if connections.bounded(OPERATION, is_done).await? {
            return Ok(());
        }
        let turn = async {
            let limit = format!("SET statement_timeout = {}", LIMIT.as_millis());
            client.batch_execute(&limit).await.map_err(failed)?;
            client.execute("SELECT pg_advisory_lock($1)", &[&TURN]).await.map_err(failed)
        };
        connections.bounded_by(OPERATION, LIMIT, turn).await?;
        if connections.bounded(OPERATION, is_current(&client)).await? {
            return Ok(());
        }
        let run =
            async { embedded::migrations::runner().run_async(&mut client).await.map_err(|error| of(&error)) };
        connections.bounded_by(OPERATION, LIMIT, run).await.map(drop)
    }
}

fn failed(error: tokio_postgres::Error) -> ArchiveError {
    ArchiveError::of(OPERATION, &error)
}

fn rejected(detail: String) -> ArchiveError {
    ArchiveError::Rejected { operation: OPERATION, detail }
}

fn of(error: &refinery::Error) -> ArchiveError {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(server) = found.downcast_ref::<tokio_postgres::Error>() {
            return ArchiveError::of(OPERATION, server);
        }
        cause = found.source();
    }
    rejected(error.to_string())
}

/// Texts can hold any character.
async fn check_encoding(client: &Client) -> Result<(), ArchiveError> {
    let row = client.query_one("SELECT current_setting('server_encoding')", &[]).await.map_err(failed)?;
    let encoding: String = row.try_get(0).map_err(failed)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(rejected(format!("the database's encoding is {encoding}; create it with ENCODING 'UTF8'")))
}

/// Whether every migration of this release is applied, and no other.
async fn is_current(client: &Client) -> Result<bool, ArchiveError> {
    let history = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
    let has_history: bool =
        client.query_one(history, &[]).await.map_err(failed)?.try_get(0).map_err(failed)?;
    if !has_history {
        return Ok(false);
    }
    let applied = "SELECT version, checksum FROM refinery_schema_history ORDER BY version";
    let rows = client.query(applied, &[]).await.map_err(failed)?;
    let runner: Runner = embedded::migrations::runner();
    let known = runner.get_migrations();
    for row in &rows {
        let version: i32 = row.try_get(0).map_err(failed)?;
        let checksum: Option<String> = row.try_get(1).map_err(failed)?;
        let Some(own) = known.iter().find(|migration| i64::from(migration.version()) == i64::from(version))
        else {
            return Err(rejected(format!(
                "its version is {version}, which this release does not know: a newer release has used this database"
            )));
        };
        if checksum.as_deref() != Some(own.checksum().to_string().as_str()) {
            return Err(rejected(format!("its version {version} is not this release's version {version}")));
        }
    }
    Ok(rows.len() == known.len())
}
