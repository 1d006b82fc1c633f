//! What a running member notices and its operator should be told: that peers have another list of first members, that the
//! cluster knows this node by another name or address than its settings say, and that the others go on without it. It only
//! tells: who belongs to the cluster is decided by the cluster.

use super::founding::{self, OtherLists};
use crate::config::Config;
use crate::raft::{PeerReport, RaftService};
use std::sync::Arc;
use std::time::Duration;

/// How often it looks around.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// For so long a member may miss a leader that others hear: a snapshot, or an election, is over by then.
const MISSED_MAX: Duration = Duration::from_secs(10);

/// Looks around until it is aborted.
pub(super) async fn run(config: Arc<Config>, raft: RaftService) {
    let own_list = founding::digest_of(&founding::first_members(&config.raft.peers));
    let mut lists = OtherLists::default();
    let mut led_or_followed = tokio::time::Instant::now();
    let mut is_told = false;
    let mut known_as = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let reports: Vec<PeerReport> = raft
            .peer_reports()
            .into_values()
            .filter_map(|(report, age)| (age <= RaftService::REPORT_AGE_MAX).then_some(report))
            .collect();
        for report in &reports {
            lists.tell(&report.name, own_list, report.first_members);
        }
        let recorded = raft.members().into_iter().find(|member| member.id == raft.node());
        let recorded = recorded.map(|member| (member.name, member.address));
        if recorded != known_as {
            tell_of_other_name(&config, recorded.as_ref());
            known_as = recorded;
        }
        // A leader hears no other one, however long it leads.
        if raft.status().is_leading() || raft.leader_heard_ago().is_some_and(|ago| ago <= LOOK_EVERY) {
            led_or_followed = tokio::time::Instant::now();
        }
        let is_left_out = is_left_out(led_or_followed.elapsed(), &reports);
        if is_left_out && !is_told {
            tracing::warn!(
                "the other members follow a leader that does not call this node: if it was removed (`zkpnet cluster status` of \
                 another node tells), stop it; to come back it needs an empty raft.data_dir, a new raft.node_id and raft.join"
            );
        }
        is_told = is_left_out;
    }
}

fn tell_of_other_name(config: &Config, recorded: Option<&(String, String)>) {
    let raft = &config.raft;
    let Some((name, address)) = recorded else { return };
    if name != raft.node_id.as_str() {
        tracing::warn!(
            recorded = name,
            configured = raft.node_id.as_str(),
            "the cluster knows this node's storage by another name: correct raft.node_id or raft.data_dir"
        );
    }
    if *address != raft.advertise_address.to_string() {
        tracing::warn!(
            recorded = address,
            configured = %raft.advertise_address,
            "the other members reach this node under another address than raft.advertise_address: correct it, or let the node \
             join anew (zkpnet cluster remove, then an empty raft.data_dir and raft.join)"
        );
    }
}

/// Whether others hear a leader, and this node has missed one for too long.
fn is_left_out(missed: Duration, reports: &[PeerReport]) -> bool {
    missed > MISSED_MAX && reports.iter().any(|report| report.leader.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::NodeId;

    #[test]
    fn a_node_is_left_out_when_others_hear_a_leader_that_it_does_not() {
        let with_leader = PeerReport { leader: Some(NodeId(2)), ..PeerReport::default() };
        let long = MISSED_MAX * 2;
        assert!(is_left_out(long, &[PeerReport::default(), with_leader.clone()]));
        assert!(!is_left_out(Duration::ZERO, &[with_leader]));
        assert!(!is_left_out(long, &[PeerReport::default()]), "nobody leads: nobody is left out");
        assert!(!is_left_out(long, &[]));
    }
}
