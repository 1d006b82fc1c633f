//! Connections to PostgreSQL: two pools, what every connection is told first, and the limits of time.
//!
//! Clients' questions and the archivist have a pool each: however many questions wait, a batch finds a connection.
//!
//! After a failure that is not the request's own fault every idle connection is closed, that of the failed operation among them:
//! a server that was restarted, replaced or cut off is met anew, under the address that its name has by then. That no
//! connection was free is no such failure.

use super::error::ArchiveError;
use super::settings::{ArchiveSettings, ArchiveSslMode};
use super::tls;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What an operation may take beyond making a connection and one statement's time.
const MARGIN: Duration = Duration::from_secs(2);

/// Connections that only the archivist uses, where there are enough: one for batches, one for what is done beside them.
const WRITERS: usize = 2;

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client's question. There may be any number of them.
    Read,
    /// The archivist's work, which must not wait behind the questions.
    Write,
}

/// The way to the server.
#[derive(Clone)]
pub(super) struct Connections {
    readers: Pool,
    writers: Pool,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    connect_timeout: Duration,
    statement_timeout: Duration,
    operation_limit: Duration,
}

impl Connections {
    /// Sets the pools up; contacts nobody.
    ///
    /// # Errors
    /// TLS cannot be set up as the settings want it.
    pub(super) fn new(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        let tls = tls::connector(settings)?;
        let config = config(settings);
        let (readers, writers) = shares(settings.connections_max);
        let (connect_timeout, statement_timeout) = (settings.connect_timeout, settings.statement_timeout);
        Ok(Self {
            readers: pool(settings, &config, &tls, readers)?,
            writers: pool(settings, &config, &tls, writers)?,
            config,
            tls,
            connect_timeout,
            statement_timeout,
            operation_limit: connect_timeout + statement_timeout + MARGIN,
        })
    }

    /// A connection of the pool for that purpose.
    pub(super) async fn get(
        &self,
        purpose: Purpose,
        operation: &'static str,
    ) -> Result<Object, ArchiveError> {
        let pool = match purpose {
            Purpose::Read => &self.readers,
            Purpose::Write => &self.writers,
        };
        pool.get().await.map_err(|error| ArchiveError::of_pool(operation, &error))
    }

    /// A connection outside the pools, for what holds locks of the session.
    pub(super) async fn alone(
        &self,
        operation: &'static str,
    ) -> Result<tokio_postgres::Client, ArchiveError> {
        let failed = |error| ArchiveError::of(operation, &error);
        self.bounded_by(operation, self.connect_timeout, async {
            let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(failed)?;
            // Ends when the client is dropped. What goes wrong with it, the client's next statement tells.
            tokio::spawn(connection);
            client.batch_execute(&introduction(self.statement_timeout)).await.map_err(failed)?;
            Ok(client)
        })
        .await
    }

    /// Waits for an operation no longer than operations may take, and closes the idle connections when it was in vain.
    pub(super) async fn bounded<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        self.bounded_by(operation, self.operation_limit, work).await
    }

    /// The same with another limit.
    pub(super) async fn bounded_by<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        let Ok(result) = tokio::time::timeout(limit, work).await else {
            self.close_idle();
            let detail = format!("no answer within {} s", limit.as_secs_f32());
            return Err(ArchiveError::TooSlow { operation, detail });
        };
        // A server that says itself that something took too long is there, and so it is where no connection was free.
        if matches!(result, Err(ArchiveError::Unavailable { .. })) {
            self.close_idle();
        }
        result
    }

    fn close_idle(&self) {
        self.readers.retain(|_, _| false);
        self.writers.retain(|_, _| false);
    }
}

/// How many of all connections clients' questions get, and how many the archivist.
fn shares(connections_max: usize) -> (usize, usize) {
    let writers = if connections_max > WRITERS { WRITERS } else { 1 };
    (connections_max.saturating_sub(writers).max(1), writers)
}

fn pool(
    settings: &ArchiveSettings,
    config: &tokio_postgres::Config,
    tls: &MakeRustlsConnect,
    size: usize,
) -> Result<Pool, ArchiveError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
    let first = introduction(settings.statement_timeout);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(settings.connect_timeout))
        .wait_timeout(Some(settings.connect_timeout))
        .recycle_timeout(Some(settings.connect_timeout))
        .post_create(Hook::async_fn(move |client, _| {
            let first = first.clone();
            Box::pin(async move { client.batch_execute(&first).await.map_err(HookError::Backend) })
        }))
        .build()
        .map_err(|error| ArchiveError::Rejected {
            operation: "set up connections",
            detail: error.to_string(),
        })
}

fn config(settings: &ArchiveSettings) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name("zkpnet")
        .connect_timeout(settings.connect_timeout)
        // The kernel notices a server that vanished, though nothing is being sent.
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .ssl_mode(match settings.ssl_mode {
            ArchiveSslMode::Disable => SslMode::Disable,
            ArchiveSslMode::Prefer => SslMode::Prefer,
            ArchiveSslMode::Require | ArchiveSslMode::VerifyCa | ArchiveSslMode::VerifyFull => {
                SslMode::Require
            }
        });
    if let Some(password) = &settings.password {
        config.password(password);
    }
    config
}

/// What every connection is told first.
fn introduction(statement_timeout: Duration) -> String {
    // 0 would mean no limit. The limit of idling is for a leader that was cut off in the middle of a batch: it holds the cursor's
    // row until the server gives its transaction up.
    let limit = statement_timeout.as_millis().clamp(1, i32::MAX as u128);
    // One plan for all values: what the statistics say of a value (an epoch that began after they were made has no rows, as far as
    // they know) must not lead to an index that leaves the filtering to the reader.
    let plans = "SET jit = off; SET plan_cache_mode = force_generic_plan";
    // The ledger forgets what is archived, so that a commit must be on the disk when it is answered.
    let durable = "SELECT set_config('synchronous_commit', 'on', false) \
                   WHERE current_setting('synchronous_commit') = 'off'";
    format!(
        "SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {limit}; \
         SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
         SET TimeZone = 'UTC'; {plans}; {durable}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pools_have_a_connection_and_together_no_more_than_is_allowed() {
        assert_eq!(shares(ArchiveSettings::CONNECTIONS_MAX), (6, 2));
        assert_eq!((shares(2), shares(3), shares(256)), ((1, 1), (1, 2), (254, 2)));
    }
}
