//! The members of a cluster as rows.

use crate::support::Database;
use zkpnet::archive::CoordinatorRow;
use zkpnet::ledger::Term;

fn member(node: u64, leader: u64, term: u64) -> CoordinatorRow {
    CoordinatorRow {
        node,
        name: format!("coordinator-{node}"),
        raft_address: format!("coordinator-{node}:7000"),
        http_address: format!("coordinator-{node}:8090"),
        version: "0.1.0".to_owned(),
        role: "voter".to_owned(),
        is_leader: node == leader,
        term: Term(term),
    }
}

fn members(nodes: &[u64], leader: u64, term: u64) -> Vec<CoordinatorRow> {
    nodes.iter().map(|node| member(*node, leader, term)).collect()
}

const ROWS: &str = "SELECT node, is_leader, term, left_at IS NOT NULL FROM coordinators ORDER BY node";

#[tokio::test]
async fn members_are_recorded_and_those_that_left_are_marked() {
    let (database, store) = Database::migrated().await;
    store.record_coordinators("cluster", &members(&[1, 2, 3], 1, 4)).await.unwrap();
    store.record_coordinators("other", &members(&[1], 1, 9)).await.unwrap();
    database.sql("DELETE FROM coordinators WHERE cluster_id = 'other'");
    assert_eq!(database.sql(ROWS), "1|t|4|f\n2|f|4|f\n3|f|4|f");
    store.record_coordinators("cluster", &members(&[2, 3, 4], 2, 5)).await.unwrap();
    assert_eq!(database.sql(ROWS), "1|f|4|t\n2|t|5|f\n3|f|5|f\n4|f|5|f");
    store.record_coordinators("cluster", &members(&[1, 2, 3, 4], 2, 5)).await.unwrap();
    assert_eq!(database.sql(ROWS), "1|f|5|f\n2|t|5|f\n3|f|5|f\n4|f|5|f");
}

#[tokio::test]
async fn a_deposed_leader_does_not_overwrite_what_a_newer_one_recorded() {
    let (database, store) = Database::migrated().await;
    store.record_coordinators("cluster", &members(&[1, 2, 3], 2, 5)).await.unwrap();
    store.record_coordinators("cluster", &members(&[1, 2], 1, 4)).await.unwrap();
    assert_eq!(database.sql(ROWS), "1|f|5|f\n2|t|5|f\n3|f|5|f");
}
