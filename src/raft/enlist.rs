//! A process that an operator names is added to the cluster: the leader goes to its address and looks who is there.
//!
//! Refused, with the part of the order that is wrong: an address where nobody of ours answers, or another node than the
//! operator meant, or one that the others would be told another address of; and a process whose disk belongs to a number
//! already. So nobody becomes a member by a slip of the pen. Everything may be repeated: a storage that was added keeps its
//! number, and is told it again.

use super::error::AdminError;
use super::files::lock;
use super::members::{self, Standing};
use super::service::local::Local;
use super::transport::{Aim, Enrolment, Identity, PeerReply, PeerRequest};
use super::types::{ClusterId, Member, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Two short questions, each of them a connection, TLS and a handshake.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// A process was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnlistError {
    /// *Refused*: at the address is nobody who could be added.
    #[error("{reason}")]
    Address {
        /// Why, and what to do.
        reason: String,
    },
    /// *Refused*: another node is there than the one that was named.
    #[error("the node at {address} is named {found:?}, not {named:?}")]
    Name {
        /// The address.
        address: String,
        /// Who was to be there.
        named: String,
        /// Who is there.
        found: String,
    },
    /// As for any change of the members.
    #[error(transparent)]
    Change(#[from] AdminError),
}

/// Adds the process at `address`, if it is named `name`, and gives its number.
pub(super) async fn enlist(
    local: &Local,
    name: String,
    address: String,
    aim: Aim,
) -> Result<NodeId, EnlistError> {
    // Only who can add it asks it; another one says who leads.
    if !local.is_openraft_leader() {
        return Err(AdminError::NotLeader { leader: local.leader_info() }.into());
    }
    let cluster = local.stores.log.cluster();
    let unnamed = || AdminError::Unavailable("the cluster has no name yet; try again".to_owned());
    let cluster = cluster.ok_or_else(unnamed)?;
    let identity = identify(local, &address).await?;
    let (_, members) = local.membership();
    judge(&identity, &name, &address, cluster, &members)?;
    let store = identity.store;
    let id = members::add_learner(local, name, identity.address, store).await?;
    let is_learner =
        members::list(local).iter().any(|member| member.id == id && member.standing == Standing::Learner);
    if aim == Aim::Voter && is_learner {
        lock(&local.admitted).insert(id);
    }
    if identity.node.is_none() {
        tell(local, &address, Enrolment { node: id, cluster, store, aim }).await?;
    }
    Ok(id)
}

async fn identify(local: &Local, address: &str) -> Result<Identity, EnlistError> {
    let asked = local.transport.call_address(address.to_owned(), PeerRequest::Identify, ASK_LIMIT).await;
    match asked {
        Ok(PeerReply::Identity(identity)) => Ok(*identity),
        Ok(_) => Err(EnlistError::Address { reason: format!("the node at {address} did not say who it is") }),
        Err(error) => Err(EnlistError::Address { reason: error.to_string() }),
    }
}

/// Whether this process is the one that was meant, and can be added or was.
fn judge(
    identity: &Identity,
    name: &str,
    address: &str,
    cluster: ClusterId,
    members: &BTreeMap<NodeId, Member>,
) -> Result<(), EnlistError> {
    let wrong = |reason: String| Err(EnlistError::Address { reason });
    if identity.name != name {
        let (address, named, found) = (address.to_owned(), name.to_owned(), identity.name.clone());
        return Err(EnlistError::Name { address, named, found });
    }
    if let Some(theirs) = identity.cluster.filter(|theirs| *theirs != cluster) {
        return wrong(format!("the node at {address} belongs to cluster {theirs}, and this is {cluster}"));
    }
    let recorded = members.iter().find(|(_, member)| member.store == Some(identity.store)).map(|(id, _)| *id);
    if let Some(node) = identity.node.filter(|node| recorded != Some(*node)) {
        return wrong(format!(
            "the node at {address} has number {node} already, which is no member's here with its storage: start it with an \
             empty raft.data_dir, and without raft.bootstrap, raft.peers and raft.join"
        ));
    }
    if identity.address != address {
        return wrong(format!(
            "the node at {address} says that the others reach it at {}: name that address, or correct its \
             raft.advertise_address",
            identity.address.escape_debug()
        ));
    }
    Ok(())
}

/// Tells the process its number. It is a member already: when this fails, the same order once more makes it good.
async fn tell(local: &Local, address: &str, enrolment: Enrolment) -> Result<(), EnlistError> {
    let id = enrolment.node;
    let asked = PeerRequest::Enrol(enrolment);
    let reason = match local.transport.call_address(address.to_owned(), asked, ASK_LIMIT).await {
        Ok(PeerReply::Enrolled(Ok(()))) => return Ok(()),
        Ok(PeerReply::Enrolled(Err(reason))) => reason,
        Ok(_) => "it answered another kind of request".to_owned(),
        Err(error) => error.to_string(),
    };
    let unknown = format!(
        "it was added as member {id}, and did not confirm that it heard so: {reason}; repeat the order"
    );
    Err(AdminError::OutcomeUnknown(unknown).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::raft::types::StoreId;

    const ADDRESS: &str = "coordinator-4:7000";

    fn waiting() -> Identity {
        let store = StoreId::random().unwrap();
        Identity { name: "four".into(), address: ADDRESS.into(), store, node: None, cluster: None }
    }

    fn reason(identity: &Identity, ours: ClusterId, members: &BTreeMap<NodeId, Member>) -> String {
        judge(identity, "four", ADDRESS, ours, members).unwrap_err().to_string()
    }

    #[test]
    fn who_waits_under_the_name_and_address_that_were_meant_may_be_added_and_nobody_else() {
        let (ours, none) = (ClusterId::random().unwrap(), BTreeMap::new());
        assert_eq!(judge(&waiting(), "four", ADDRESS, ours, &none), Ok(()));
        let five = Identity { name: "five".into(), ..waiting() };
        assert!(matches!(judge(&five, "four", ADDRESS, ours, &none), Err(EnlistError::Name { .. })));
        let elsewhere = Identity { cluster: Some(ClusterId::random().unwrap()), ..waiting() };
        assert!(reason(&elsewhere, ours, &none).contains("belongs to cluster"));
        let numbered = Identity { node: Some(NodeId(1)), ..waiting() };
        assert!(reason(&numbered, ours, &none).contains("number 1 already"));
        let other_address = Identity { address: "four:7000".into(), ..waiting() };
        assert!(reason(&other_address, ours, &none).contains("four:7000"));
    }

    #[test]
    fn who_was_added_before_is_known_by_its_storage() {
        let ours = ClusterId::random().unwrap();
        let member = Identity { node: Some(NodeId(1007)), cluster: Some(ours), ..waiting() };
        let recorded = Member { store: Some(member.store), ..Member::new("four", ADDRESS) };
        let members = BTreeMap::from([(NodeId(1007), recorded.clone())]);
        assert_eq!(judge(&member, "four", ADDRESS, ours, &members), Ok(()));
        // It was told its number, and did not keep it: it is told again.
        assert_eq!(
            judge(&Identity { node: None, ..member.clone() }, "four", ADDRESS, ours, &members),
            Ok(())
        );
        let other_disk = Identity { store: StoreId::random().unwrap(), ..member };
        assert!(reason(&other_disk, ours, &members).contains("number 1007 already"));
    }
}
