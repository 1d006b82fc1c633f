//! The archive: PostgreSQL, where finished tasks and their audit trail go when a database is configured.
//!
//! Owned here: the connections and their limits ([`ArchiveStore::open`]), the schema ([`ArchiveStore::migrate`]), the claim that
//! fences out a deposed leader ([`ArchiveStore::claim`]), writing in batches ([`ArchiveStore::write_batch`]), and reading back.
//! Refused here: an open task, a batch out of order, a batch under a claim that somebody else has taken over. When to write and
//! what to make of a failure is the Archivist's; what is true is the ledger's.
//!
//! Exactly once: the first statement of a batch's transaction moves the cluster's cursor, and only from where the writer
//! believes it to be and under the writer's own claim. A batch whose outcome is unknown is settled by claiming again: the
//! claim's position says whether it counted.
//!
//! Neither sealed inputs nor fingerprints nor idempotency keys are stored, and no error names a row's contents.

mod batch;
mod claim;
mod connection;
mod coordinators;
mod error;
mod form;
mod item;
mod migrate;
mod read;
mod retention;
mod rows;
mod settings;
mod store;
mod tls;

pub use claim::Claim;
pub use coordinators::CoordinatorRow;
pub use error::ArchiveError;
pub use item::{ArchiveItem, ArchivePlace, ArchivedTask, ItemContent};
pub use read::ArchiveCounts;
pub use retention::{RetentionRule, RetentionRules};
pub use settings::{ArchiveSettings, ArchiveSslMode};
pub use store::ArchiveStore;
