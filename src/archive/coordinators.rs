//! The members of a cluster, as its leader sees them: for people who look into the database.

use super::connection::Purpose;
use super::error::ArchiveError;
use super::form::{self, number};
use super::store::ArchiveStore;
use crate::ledger::Term;

const OPERATION: &str = "record the coordinators";

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorRow {
    /// Its number.
    pub node: u64,
    /// Its configured name.
    pub name: String,
    /// Where its peers reach it.
    pub raft_address: String,
    /// Where clients reach it.
    pub http_address: String,
    /// The version of its software.
    pub version: String,
    /// `voter` or `learner`.
    pub role: String,
    /// Whether it leads.
    pub is_leader: bool,
    /// The term in which this was seen.
    pub term: Term,
}

impl ArchiveStore {
    /// Records who belongs to the cluster; members that are not among them are marked as having left. What a leader of a newer
    /// term has recorded stays.
    ///
    /// # Errors
    /// `Unavailable`, or `Rejected` when there is no schema.
    pub async fn record_coordinators(
        &self,
        cluster: &str,
        members: &[CoordinatorRow],
    ) -> Result<(), ArchiveError> {
        self.connections.bounded(OPERATION, self.record(cluster, members)).await
    }

    async fn record(&self, cluster: &str, members: &[CoordinatorRow]) -> Result<(), ArchiveError> {
        let failed = |error| ArchiveError::of(OPERATION, &error);
        let nodes: Vec<i64> = members.iter().map(|member| number(member.node)).collect();
        let term = number(members.iter().map(|member| member.term.0).max().unwrap_or_default());
        let mut client = self.connections.get(Purpose::Write, OPERATION).await?;
        let transaction = client.transaction().await.map_err(failed)?;
        let upsert = "INSERT INTO coordinators AS c \
            (cluster_id, node, name, raft_address, http_address, version, role, is_leader, term) \
            SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
            $8::boolean[], $9::bigint[]) \
            ON CONFLICT (cluster_id, node) DO UPDATE SET name = excluded.name, raft_address = excluded.raft_address, \
            http_address = excluded.http_address, version = excluded.version, role = excluded.role, \
            is_leader = excluded.is_leader, term = excluded.term, seen_at = now(), left_at = NULL \
            WHERE c.term <= excluded.term";
        let texts = |of: fn(&CoordinatorRow) -> &str| -> Vec<String> {
            members.iter().map(|member| form::text(of(member))).collect()
        };
        let are_leaders: Vec<bool> = members.iter().map(|member| member.is_leader).collect();
        let terms: Vec<i64> = members.iter().map(|member| number(member.term.0)).collect();
        transaction
            .execute(
                upsert,
                &[
                    &cluster,
                    &nodes,
                    &texts(|member| &member.name),
                    &texts(|member| &member.raft_address),
                    &texts(|member| &member.http_address),
                    &texts(|member| &member.version),
                    &texts(|member| &member.role),
                    &are_leaders,
                    &terms,
                ],
            )
            .await
            .map_err(failed)?;
        let leave = "UPDATE coordinators SET left_at = now(), is_leader = false \
                     WHERE cluster_id = $1 AND node <> ALL($2) AND left_at IS NULL AND term <= $3";
        transaction.execute(leave, &[&cluster, &nodes, &term]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}
