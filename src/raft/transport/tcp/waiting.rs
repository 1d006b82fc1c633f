//! The port of a process that has no number yet, and waits for an operator to have it added.
//!
//! Who passes the handshake may ask who it is, and one leader may give it its number. Everything else is refused: there is
//! no Raft here that could answer, and a member that calls is told so, since the disk of the one that it looks for may have
//! been lost. A connection has one short question, so they are few and short-lived.

use super::Shared;
use super::accept::{encode_reply, secure};
use super::dial::HANDSHAKE_TIME_LIMIT;
use super::frame::{self, Failure, ToAcceptor, WireError};
use super::handshake::{self, Claim, HandshakeError, Hello, Judge, Purpose, Welcome};
use super::refusal::Refusal;
use crate::raft::transport::{AdmitReply, Enrolment, Identity, PeerReply, PeerRequest};
use crate::raft::types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Stands where a member's number would: none is 0.
const NO_NUMBER: NodeId = NodeId(0);
/// The pause after the system had no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A question and its answer are short.
const QUESTION_BYTES_MAX: u32 = 8 << 10;

struct Waiting {
    shared: Arc<Shared>,
    identity: Identity,
    enrolment: watch::Sender<Option<Enrolment>>,
}

/// Serves until a leader has given this process its number.
pub(super) async fn wait(shared: Arc<Shared>, listener: TcpListener, identity: Identity) -> Enrolment {
    let waiting = Arc::new(Waiting { shared, identity, enrolment: watch::Sender::new(None) });
    let mut enrolment = waiting.enrolment.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok(enrolled) = async { enrolment.wait_for(Option::is_some).await.map(|it| it.clone()) } => {
                if let Some(enrolled) = enrolled {
                    return enrolled;
                }
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((tcp, from)) => {
                    let Ok(place) = waiting.shared.handshakes.clone().try_acquire_owned() else { continue };
                    let waiting = waiting.clone();
                    connections.spawn(async move {
                        let served = timeout(HANDSHAKE_TIME_LIMIT, waiting.serve(tcp)).await;
                        drop(place);
                        let Ok(Err(cause)) = served else { return };
                        if waiting.shared.reports.is_new(&from.ip().to_string(), &cause) {
                            tracing::warn!(%from, "a connection to the Raft port is refused: {cause}");
                        }
                    });
                }
                Err(error) => {
                    if waiting.shared.reports.is_new("accept", &error.to_string()) {
                        tracing::warn!(%error, "no connection of another member can be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

impl Waiting {
    /// One handshake, one question, one answer.
    async fn serve(&self, tcp: TcpStream) -> Result<(), String> {
        let _ = tcp.set_nodelay(true);
        let shared = &self.shared;
        let (mut stream, credentials) = secure(shared, tcp).await?;
        let welcome = Welcome {
            node: self.identity.node.unwrap_or(NO_NUMBER),
            store: self.identity.store,
            name: shared.options.name.clone(),
            cluster: None,
            data_key_print: shared.options.data_key_print.clone(),
        };
        match handshake::accept(&mut stream, &credentials, welcome, |hello| self.judge(hello)).await {
            Ok(_) => {}
            // Somebody looked whether the port is open, or was stopped meanwhile.
            Err((_, HandshakeError::Wire(WireError::Closed | WireError::Io(_)))) => return Ok(()),
            Err((_, error)) => return Err(error.to_string()),
        }
        let question = frame::read(&mut stream, QUESTION_BYTES_MAX).await;
        let (id, request) = match question {
            Ok(ToAcceptor::Request { id, request }) => (id, *request),
            Ok(ToAcceptor::Ping) | Err(WireError::Closed | WireError::Io(_)) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let enrolment =
            if let PeerRequest::Enrol(enrolment) = &request { Some(enrolment.clone()) } else { None };
        let reply = self.answer(request);
        let is_enrolled = matches!(reply, Ok(PeerReply::Enrolled(Ok(()))));
        let frame = encode_reply(id, reply, shared.options.frame_bytes_max);
        frame::write(&mut stream, &frame).await.map_err(|error| error.to_string())?;
        // Only now: with the number the connections end, and the leader is to hear first that it was taken.
        if is_enrolled {
            self.enrolment.send_if_modified(|taken| {
                let is_first = taken.is_none();
                if is_first {
                    *taken = enrolment;
                }
                is_first
            });
        }
        Ok(())
    }

    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        let claim = Claim {
            identity: None,
            expected: None,
            name: &hello.name,
            cluster: hello.cluster,
            data_key_print: &hello.data_key_print,
            recorded: None,
        };
        self.shared.judge(None, |judge: Judge<'_>| judge.judge(&claim))?;
        match hello.purpose {
            Purpose::Member { .. } => Err(Refusal::Waiting),
            Purpose::Applicant => Ok(()),
        }
    }

    fn answer(&self, request: PeerRequest) -> Result<PeerReply, Failure> {
        match request {
            PeerRequest::Identify => Ok(PeerReply::Identity(Box::new(self.identity.clone()))),
            PeerRequest::Enrol(enrolment) if enrolment.store != self.identity.store => {
                Ok(PeerReply::Enrolled(Err(format!("this is storage {}", self.identity.store))))
            }
            PeerRequest::Enrol(enrolment) => {
                let taken = self.enrolment.borrow().as_ref().map(|taken| taken.node);
                Ok(PeerReply::Enrolled(match taken {
                    Some(taken) if taken != enrolment.node => Err(format!("this is node {taken} by now")),
                    Some(_) | None => Ok(()),
                }))
            }
            PeerRequest::Admit(_) => Ok(PeerReply::Admit(AdmitReply::NotLeader { leader_address: None })),
            _ => Err(Failure::Unreachable(Refusal::Waiting.to_string())),
        }
    }
}
