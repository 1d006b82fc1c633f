//! One question to an address, where some node is hoped to be: by a process that is no member, or of one.

use super::Shared;
use super::dial::{self, DialError};
use super::frame::{self, Failure, ToAcceptor, ToDialler};
use super::refusal::Refusal;
use crate::raft::transport::{PeerReply, PeerRequest};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A question to an address got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nobody answers there; nothing was asked.
    #[error("no member can be reached at {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The two nodes do not belong together; nothing was asked.
    #[error("the node at {address} and this one do not belong together: {refusal}")]
    Refused {
        /// The address.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// The question was sent, and what became of it is unknown.
    #[error("the node at {address} did not reply: {reason}")]
    OutcomeUnknown {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
}

/// Dials, asks, and hangs up. Of a member that runs [`PeerRequest::Admit`], [`PeerRequest::Probe`] and
/// [`PeerRequest::Identify`] are answered, of one that waits for its number [`PeerRequest::Enrol`], too.
pub(super) async fn call(
    shared: &Shared,
    address: String,
    request: PeerRequest,
    time_limit: Duration,
) -> Result<PeerReply, AddressError> {
    let deadline = Instant::now() + time_limit;
    let unreachable = |reason: String| AddressError::Unreachable { address: address.clone(), reason };
    let unknown = |reason: String| AddressError::OutcomeUnknown { address: address.clone(), reason };
    let bytes_max = shared.options.frame_bytes_max;
    let message = ToAcceptor::Request { id: 0, request: Box::new(request) };
    let message = frame::encode(&message, bytes_max).map_err(|error| unreachable(error.to_string()))?;
    let dialled = timeout_at(deadline, dial::dial_as_applicant(shared, &address)).await;
    let mut stream = match dialled {
        Ok(Ok(stream)) => stream,
        Ok(Err(DialError::Refused(refusal))) => return Err(AddressError::Refused { address, refusal }),
        Ok(Err(DialError::Unreachable(reason))) => return Err(unreachable(reason)),
        Err(_) => return Err(unreachable(format!("no connection within {time_limit:?}"))),
    };
    let asked = timeout_at(deadline, async {
        frame::write(&mut stream, &message).await?;
        frame::read::<ToDialler>(&mut stream, bytes_max).await
    });
    match asked.await {
        Ok(Ok(ToDialler::Reply { id: 0, reply })) => match *reply {
            Ok(reply) => Ok(reply),
            Err(Failure::Unreachable(reason)) => Err(unreachable(reason)),
            Err(Failure::Failed(reason)) => Err(unknown(reason)),
        },
        Ok(Ok(_)) => Err(unknown("it answered another question".to_owned())),
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(unknown(format!("no answer within {time_limit:?}"))),
    }
}
