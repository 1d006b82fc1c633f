//! How a coordinator comes to its number and its cluster: from its disk, from the list of first members, by asking to be
//! admitted, or by waiting for an operator who has it added.
//!
//! Of several nodes that may found a cluster of one list, the first by name does, so that there is one cluster however they
//! are started: another one founds only after every peer that comes before it has said that it will not. Whoever finds
//! that a peer belongs to a cluster already founds nothing, shows that peer who it is, and waits to be called: if its number
//! is taken there by another storage, it is refused and told so.

use super::NodeError;
use crate::config::{Config, Peer};
use crate::ledger::Digest;
use crate::raft::{
    AddressError, AdmitReply, AdmitRequest, Aim, Identity, Member, NodeId, PeerReply, PeerReport,
    PeerRequest, PeerTransport as _, Probe, RaftService, Standing, StoreIdentity, TcpTransport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The pause between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(250);
/// A node that is asked answers within this time, or is not there.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Admission is a change of the membership: it waits for a majority.
const ADMIT_LIMIT: Duration = Duration::from_secs(15);
/// Whoever belongs to a cluster that runs is called within this time.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// What keeps a node waiting is told this often.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Whoever has it added may be a person at a keyboard.
const TELL_ADD_EVERY: Duration = Duration::from_secs(60);

/// The first members by number.
pub(super) fn first_members(peers: &[Peer]) -> BTreeMap<NodeId, Member> {
    numbered(peers.iter().map(|peer| Member::new(peer.id.as_str(), peer.address.to_string())).collect())
}

/// Numbers follow from the names alone, so that every node of one list gives the same.
fn numbered(mut members: Vec<Member>) -> BTreeMap<NodeId, Member> {
    members.sort_by(|a, b| a.name.cmp(&b.name));
    (1..).map(NodeId).zip(members).collect()
}

/// A digest of the list: two nodes that differ in it are told so.
pub(super) fn digest_of(members: &BTreeMap<NodeId, Member>) -> Option<Digest> {
    if members.is_empty() {
        return None;
    }
    let lines: Vec<String> =
        members.values().map(|member| format!("{}={}\n", member.name, member.address)).collect();
    Some(Digest(*blake3::hash(lines.concat().as_bytes()).as_bytes()))
}

/// How a node came to its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// It is a first member, or was a member before.
    Member,
    /// A running cluster has just admitted it, without a vote, and it is to get one.
    Admitted,
}

/// This node's number: what its disk says, its place in the list of first members, or what a running cluster gives it.
///
/// # Errors
/// When the disk is unreadable, the settings contradict each other, or the cluster refuses it.
pub(super) async fn number(
    config: &Config,
    transport: &Arc<TcpTransport>,
) -> Result<(NodeId, Entrance), NodeError> {
    let directory = config.raft.data_dir.clone();
    let identity = tokio::task::spawn_blocking(move || StoreIdentity::prepare(&directory)).await;
    let identity = identity.map_err(|error| NodeError::Config(error.to_string()))??;
    if let Some(node) = identity.node {
        return Ok((node, Entrance::Member));
    }
    let own = config.raft.node_id.as_str();
    let listed = first_members(&config.raft.peers);
    if let Some((&node, _)) = listed.iter().find(|(_, member)| member.name == own) {
        return Ok((node, Entrance::Member));
    }
    if !config.raft.join.is_empty() {
        return admitted(config, identity, transport).await.map(|node| (node, Entrance::Admitted));
    }
    if !listed.is_empty() {
        return Err(NodeError::Config(format!(
            "raft.node_id {own} is not in raft.peers: write it there on every first member, or set raft.join to enter a \
             cluster that runs"
        )));
    }
    if config.raft.bootstrap {
        return Ok((NodeId(1), Entrance::Member));
    }
    added(config, identity, transport).await
}

/// Waits until an operator has a running cluster add this node.
async fn added(
    config: &Config,
    identity: StoreIdentity,
    transport: &Arc<TcpTransport>,
) -> Result<(NodeId, Entrance), NodeError> {
    let (name, address) = (config.raft.node_id.as_str(), config.raft.advertise_address.to_string());
    let tell = async {
        loop {
            tracing::warn!(
                store = %identity.store,
                "this node belongs to no cluster, and waits to be added to one that runs: `zkpnet cluster add {name} {address}`; \
                 or set raft.bootstrap for a cluster of its own, raft.peers for the list of the first members, or raft.join"
            );
            tokio::time::sleep(TELL_ADD_EVERY).await;
        }
    };
    let (name, address) = (name.to_owned(), address.clone());
    let waiting = Identity { name, address, store: identity.store, node: None, cluster: None };
    let enrolment = tokio::select! {
        enrolment = transport.wait_to_be_added(waiting) => enrolment?,
        never = tell => never,
    };
    tracing::info!(node = %enrolment.node, cluster = %enrolment.cluster, "added to the cluster");
    let entrance = match enrolment.aim {
        Aim::Voter => Entrance::Admitted,
        Aim::Learner => Entrance::Member,
    };
    Ok((enrolment.node, entrance))
}

/// Asks the members named in `raft.join`, and whom they name as the leader, until one of them has admitted this node.
async fn admitted(
    config: &Config,
    identity: StoreIdentity,
    transport: &Arc<TcpTransport>,
) -> Result<NodeId, NodeError> {
    let given: Vec<String> = config.raft.join.iter().map(ToString::to_string).collect();
    let request = AdmitRequest {
        name: config.raft.node_id.as_str().to_owned(),
        address: config.raft.advertise_address.to_string(),
        store: identity.store,
    };
    let ask = async |address: String| {
        let asked = PeerRequest::Admit(request.clone());
        (transport.call_address(&address, asked, ADMIT_LIMIT).await, address)
    };
    let mut told = None::<tokio::time::Instant>;
    loop {
        let reason = match ask_for_admission(&given, &ask).await? {
            Admission::Granted(node) => return Ok(node),
            Admission::NotNow(reason) => reason,
        };
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            told = Some(tokio::time::Instant::now());
            tracing::warn!(reason, "waits to be admitted to the cluster");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a round of asking for admission gave.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Granted(NodeId),
    /// Why, as far as the last one that was asked knows.
    NotNow(String),
}

/// One round: asks each of `given`, and once whom it names as the leader. A leader that is gone is named for as long as
/// there is no other one, so the next round comes after a pause in any case.
async fn ask_for_admission(
    given: &[String],
    ask: &impl AsyncFn(String) -> (Result<PeerReply, AddressError>, String),
) -> Result<Admission, NodeError> {
    let mut last = "raft.join names nobody".to_owned();
    for address in given {
        let mut named = Some(address.clone());
        while let Some(whom) = named.take() {
            let (asked, whom) = ask(whom).await;
            match asked {
                Ok(PeerReply::Admit(AdmitReply::Admitted { node, cluster })) => {
                    tracing::info!(%node, %cluster, "admitted to the cluster");
                    return Ok(Admission::Granted(node));
                }
                Ok(PeerReply::Admit(AdmitReply::NotLeader { leader_address })) => {
                    last = leader_address.as_ref().map_or_else(
                        || format!("{whom} does not lead, and knows nobody who does"),
                        |leader| format!("{whom} says that the node at {leader} leads"),
                    );
                    named = leader_address.filter(|leader| whom == *address && leader != address);
                }
                Ok(PeerReply::Admit(AdmitReply::Refused(reason))) => {
                    return Err(NodeError::Config(format!("the cluster does not admit this node: {reason}")));
                }
                Err(error @ AddressError::Refused { .. }) => {
                    return Err(NodeError::Config(error.to_string()));
                }
                Ok(_) => last = format!("{whom} answered another kind of request"),
                Err(error) => last = error.to_string(),
            }
        }
    }
    Ok(Admission::NotNow(last))
}

/// Asks again, as long as a node that entered by `raft.join` has no vote: the leader that admitted it, and was to give it
/// one when it had caught up, may have gone meanwhile.
pub(super) async fn become_voter(config: Arc<Config>, raft: RaftService, transport: Arc<TcpTransport>) {
    let request = AdmitRequest {
        name: config.raft.node_id.as_str().to_owned(),
        address: config.raft.advertise_address.to_string(),
        store: raft.store_id(),
    };
    let own = raft.node();
    loop {
        tokio::time::sleep(ASK_LIMIT).await;
        let is_voter =
            raft.members().iter().any(|member| member.id == own && member.standing == Standing::Voter);
        if is_voter {
            return;
        }
        let Some(leader) = raft.status().leader else { continue };
        let asked = PeerRequest::Admit(request.clone());
        if let Err(error) = transport.call_address(&leader.address, asked, ADMIT_LIMIT).await {
            tracing::debug!(%error, "not a voter yet");
        }
    }
}

/// Sees to it that the node belongs to a cluster: founds it when it is this node's turn, or waits to be called.
pub(super) async fn found(config: Arc<Config>, raft: RaftService, transport: Arc<TcpTransport>) {
    let mut members = first_members(&config.raft.peers);
    if members.is_empty() && config.raft.join.is_empty() {
        let address = config.raft.advertise_address.to_string();
        members.insert(raft.node(), Member::new(config.raft.node_id.as_str(), address));
    }
    let own_list = digest_of(&members);
    let mut lists = OtherLists::default();
    let began = tokio::time::Instant::now();
    let mut told = None::<tokio::time::Instant>;
    loop {
        match raft.is_initialized().await {
            Ok(false) => {}
            // Founded before, or called by now; or Raft has stopped, which others report.
            Ok(true) | Err(_) => return,
        }
        let answers = ask_all(&raft, &members, &transport).await;
        let name_of = |id: &NodeId| members.get(id).map_or("", |member| member.name.as_str());
        for (id, report) in &answers {
            lists.tell(name_of(id), own_list, report.first_members);
        }
        if config.raft.bootstrap && is_turn(raft.node(), &members, &answers) {
            match raft.initialize(members.clone()).await {
                Ok(_) => return,
                Err(error) => tracing::error!(%error, "the cluster could not be founded"),
            }
        }
        let cluster = answers.values().find_map(|report| report.cluster);
        if cluster.is_some() {
            show(&raft, &members, &answers, &transport).await;
        }
        // For a moment it is no news that the cluster has not called yet.
        let is_late = cluster.is_none() || began.elapsed() >= CALL_LIMIT;
        if is_late && told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            told = Some(tokio::time::Instant::now());
            match cluster {
                Some(cluster) => tracing::warn!(
                    %cluster,
                    "the nodes of raft.peers belong to a cluster that does not call this one: if it was removed, or is new, give \
                     it an empty raft.data_dir, a new raft.node_id and raft.join instead of raft.peers"
                ),
                None => tell(&config, &members, &answers),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Speaks as a member to those that have a cluster already: they judge whether this node is the one that they know by its
/// number, and refuse it if it is not, which ends the process.
async fn show(
    raft: &RaftService,
    members: &BTreeMap<NodeId, Member>,
    answers: &Answers,
    transport: &TcpTransport,
) {
    let with_cluster = members.iter().filter(|(id, _)| answers.get(id).is_some_and(|r| r.cluster.is_some()));
    let shown = with_cluster.map(|(&id, member)| {
        let probe = PeerRequest::Probe(Probe { sender: raft.report(), state_hash_at: None });
        transport.call(id, member, probe, ASK_LIMIT)
    });
    for refused in futures_util::future::join_all(shown).await.into_iter().filter_map(Result::err) {
        tracing::debug!(error = %refused, "a member of the cluster does not take this node for one");
    }
}

/// Whose list of first members differs from this node's, as far as that was told.
#[derive(Debug, Default)]
pub(super) struct OtherLists(BTreeSet<String>);

impl OtherLists {
    /// Tells, once a peer, that its list is another one; whether it was told now.
    pub(super) fn tell(&mut self, peer: &str, own: Option<Digest>, theirs: Option<Digest>) -> bool {
        let differ = own.is_some() && theirs.is_some() && own != theirs;
        if !differ {
            self.0.remove(peer);
            return false;
        }
        let is_news = self.0.insert(peer.to_owned());
        if is_news {
            tracing::error!(
                peer,
                "raft.peers of this node and of the peer differ: write the same list on all first members, or they may not form \
                 one cluster"
            );
        }
        is_news
    }
}

type Answers = BTreeMap<NodeId, PeerReport>;

async fn ask_all(
    raft: &RaftService,
    members: &BTreeMap<NodeId, Member>,
    transport: &TcpTransport,
) -> Answers {
    let own = raft.node();
    let report = raft.report();
    let asked = members.iter().filter(|(id, _)| **id != own).map(|(&id, member)| {
        let probe = PeerRequest::Probe(Probe { sender: report.clone(), state_hash_at: None });
        async move {
            match transport.call_address(&member.address, probe, ASK_LIMIT).await {
                Ok(PeerReply::Probe(report, _)) => Some((id, *report)),
                _ => None,
            }
        }
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Whether this node is the one to found the cluster.
fn is_turn(own: NodeId, members: &BTreeMap<NodeId, Member>, answers: &Answers) -> bool {
    let somebody_has_a_cluster = answers.values().any(|report| report.cluster.is_some());
    let earlier_ones_leave_it = members
        .keys()
        .filter(|id| **id < own)
        .all(|id| answers.get(id).is_some_and(|report| !report.will_found));
    !somebody_has_a_cluster && earlier_ones_leave_it
}

/// Says what the node waits for.
fn tell(config: &Config, members: &BTreeMap<NodeId, Member>, answers: &Answers) {
    let silent: Vec<&str> =
        members.iter().filter(|(id, _)| !answers.contains_key(id)).map(|(_, m)| m.name.as_str()).collect();
    let silent: Vec<&&str> = silent.iter().filter(|name| **name != config.raft.node_id.as_str()).collect();
    if config.raft.bootstrap {
        tracing::info!(?silent, "waits for an earlier member of raft.peers, which founds the cluster");
    } else {
        tracing::info!(
            ?silent,
            "waits for a member that founds the cluster (raft.bootstrap) and calls this one"
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::raft::ClusterId;

    fn members(names: &[&str]) -> BTreeMap<NodeId, Member> {
        numbered(names.iter().map(|name| Member::new(*name, format!("{name}:7000"))).collect())
    }

    fn report(will_found: bool, cluster: Option<ClusterId>) -> PeerReport {
        PeerReport { will_found, cluster, ..PeerReport::default() }
    }

    #[test]
    fn numbers_follow_from_the_names_and_not_from_the_order_of_the_list() {
        let (a, b) = (members(&["c-1", "c-2", "c-3"]), members(&["c-3", "c-1", "c-2"]));
        assert_eq!(a, b);
        assert_eq!(a[&NodeId(1)].name, "c-1");
        assert_eq!(digest_of(&a), digest_of(&b));
        assert_ne!(digest_of(&a), digest_of(&members(&["c-1", "c-2"])));
        assert_eq!(digest_of(&BTreeMap::new()), None);
    }

    #[test]
    fn the_first_of_the_list_founds_without_waiting_and_a_later_one_only_when_the_earlier_ones_leave_it() {
        let all = members(&["c-1", "c-2", "c-3"]);
        let none = Answers::new();
        assert!(is_turn(NodeId(1), &all, &none));
        assert!(!is_turn(NodeId(2), &all, &none), "the first one may be about to");
        let first_will = Answers::from([(NodeId(1), report(true, None))]);
        assert!(!is_turn(NodeId(2), &all, &first_will));
        let first_will_not = Answers::from([(NodeId(1), report(false, None))]);
        assert!(is_turn(NodeId(2), &all, &first_will_not));
        assert!(!is_turn(NodeId(3), &all, &first_will_not), "the second is not heard of");
    }

    #[test]
    fn nobody_founds_a_second_cluster_beside_one_that_is_there() {
        let all = members(&["c-1", "c-2", "c-3"]);
        let cluster = Some(ClusterId::default());
        let answers = Answers::from([(NodeId(3), report(true, cluster))]);
        assert!(!is_turn(NodeId(1), &all, &answers));
    }

    #[test]
    fn a_peer_with_another_list_is_told_of_once() {
        let list = |names: &[&str]| digest_of(&members(names));
        let (own, other) = (list(&["c-1", "c-2"]), list(&["c-1", "c-3"]));
        let mut lists = OtherLists::default();
        assert!(!lists.tell("c-2", own, own));
        assert!(!lists.tell("c-2", own, None), "who joined has no list");
        assert!(lists.tell("c-2", own, other));
        assert!(!lists.tell("c-2", own, other));
        assert!(lists.tell("c-3", own, other), "another peer is news");
        assert!(!lists.tell("c-2", own, own) && lists.tell("c-2", own, other), "it was well in between");
    }

    #[tokio::test]
    async fn a_leader_that_is_gone_and_still_named_is_asked_once_a_round() {
        let asked = std::cell::RefCell::new(Vec::new());
        let ask = async |address: String| {
            asked.borrow_mut().push(address.clone());
            let reply = if address == "gone:7000" {
                Err(AddressError::Unreachable { address: address.clone(), reason: "refused".to_owned() })
            } else {
                let leader_address = Some("gone:7000".to_owned());
                Ok(PeerReply::Admit(AdmitReply::NotLeader { leader_address }))
            };
            (reply, address)
        };
        let given = ["a:7000".to_owned(), "b:7000".to_owned()];
        let round = ask_for_admission(&given, &ask).await.unwrap();
        assert!(matches!(round, Admission::NotNow(reason) if reason.contains("gone:7000")));
        assert_eq!(*asked.borrow(), ["a:7000", "gone:7000", "b:7000", "gone:7000"]);
    }
}
