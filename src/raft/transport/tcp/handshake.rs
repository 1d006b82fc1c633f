//! Who is at the other end? Five messages in which two nodes find out whether they belong together, before anything else is
//! said; and the rules by which they judge.
//!
//! ```text
//! dialler   preamble, Hello        who I am, whom I expect, a nonce
//! acceptor  preamble, Challenge    a nonce
//! dialler   Answer                 proof of the token
//! acceptor  Verdict                who I am, or why not; proof of the token
//! dialler   Acceptance             or why not; proof of the token
//! ```
//!
//! With a token, each proof is a keyed hash over everything that was said so far, so the token is never sent, a proof is of no
//! use on another connection, and a refusal that is acted upon comes from somebody who holds the token. It does not protect
//! what is said afterwards: on a network that others can write to, use certificates (`docs/tls.md`). With certificates TLS
//! has done all this, and no proof is asked for; the role is judged here.

use super::frame::{self, Stream, WireError};
use super::refusal::Refusal;
use crate::raft::types::{ClusterId, NodeId, StoreId};
use crate::tls::{CertRole, ClusterToken, RoleError};
use rand_core::RngCore as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// The version of the messages between members. Nodes of different versions do not speak.
pub(super) const PROTOCOL_VERSION: u16 = 1;
/// Tells a member's connection from whatever else finds the port. The line feed would be changed by a text protocol.
const MAGIC: [u8; 8] = *b"zkpraft\n";
/// Names are short; nobody is trusted with more before the handshake is over.
const MESSAGE_BYTES_MAX: u32 = 8 << 10;
/// The first message that carries a proof.
const FIRST_PROOF: u8 = 3;
/// What the token's key is derived for.
const PURPOSE: &str = "zkpnet 2026 handshake between members";

/// What a node says of itself; the dialler's first words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    pub(super) name: String,
    pub(super) cluster: Option<ClusterId>,
    pub(super) data_key_print: String,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// Raft, between members.
    Member { node: NodeId, store: StoreId, expects: NodeId },
    /// To ask for admission.
    Applicant,
}

/// What the acceptor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) node: NodeId,
    pub(super) store: StoreId,
    pub(super) name: String,
    pub(super) cluster: Option<ClusterId>,
    pub(super) data_key_print: String,
}

/// How the other side is known to be one of ours.
#[derive(Debug)]
pub(super) enum Credentials {
    /// Not at all.
    Open,
    /// It proves that it knows the token.
    Token(Zeroizing<[u8; 32]>),
    /// TLS has verified its certificate, which has this role.
    Certificate(Result<CertRole, RoleError>),
}

impl Credentials {
    pub(super) fn of_token(token: Option<&ClusterToken>) -> Self {
        token.map_or(Self::Open, |token| Self::Token(token.derive_key(PURPOSE)))
    }
}

/// The handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Something else than a member speaks.
    #[error("it does not speak the members' protocol (or one side alone uses TLS)")]
    Stranger,
    /// There is no randomness.
    #[error("no randomness: {0}")]
    Random(rand_core::Error),
    /// This side refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// The other side refuses, and has shown that it may be believed as far as credentials are asked for at all.
    #[error("{0}")]
    RefusedByPeer(Refusal),
}

/// What one side knows when it judges the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) node: Option<NodeId>,
    pub(super) cluster: Option<ClusterId>,
    pub(super) data_key_print: &'a str,
}

/// What the other side says, and what is recorded of the number that it claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    /// Who speaks, unless it is an applicant or speaks to one.
    pub(super) identity: Option<(NodeId, StoreId)>,
    /// Whom the dialler wanted to reach, and whom it has reached.
    pub(super) expected: Option<(NodeId, NodeId)>,
    pub(super) name: &'a str,
    pub(super) cluster: Option<ClusterId>,
    pub(super) data_key_print: &'a str,
    /// The storage that this number was admitted with, or was first seen with.
    pub(super) recorded: Option<StoreId>,
}

impl Judge<'_> {
    /// Whether the other side may be spoken to. Both sides ask this of each other.
    pub(super) fn judge(&self, claim: &Claim<'_>) -> Result<(), Refusal> {
        if let (Some(ours), Some(theirs)) = (self.cluster, claim.cluster)
            && ours != theirs
        {
            return Err(Refusal::Cluster { ours, theirs });
        }
        if self.data_key_print != claim.data_key_print {
            return Err(Refusal::DataKey);
        }
        if let Some((expected, found)) = claim.expected
            && expected != found
        {
            return Err(Refusal::WrongNode { expected, found });
        }
        let Some((node, found)) = claim.identity else { return Ok(()) };
        if self.node == Some(node) {
            return Err(Refusal::SameNode { node });
        }
        match claim.recorded {
            Some(recorded) if recorded != found => {
                Err(Refusal::Store { node, name: claim.name.to_owned(), recorded, found })
            }
            _ => Ok(()),
        }
    }
}

type Nonce = [u8; 32];

#[derive(Serialize, Deserialize)]
struct Challenge {
    nonce: Nonce,
}

#[derive(Serialize, Deserialize)]
struct Answer {}

#[derive(Serialize, Deserialize)]
struct Envelope {
    body: Vec<u8>,
    proof: Option<[u8; 32]>,
}

/// One side of the exchange: everything that was said, and how to prove and believe.
struct Exchange<'a> {
    stream: &'a mut Stream,
    said: blake3::Hasher,
    credentials: &'a Credentials,
}

impl<'a> Exchange<'a> {
    fn new(stream: &'a mut Stream, credentials: &'a Credentials) -> Self {
        Self { stream, said: blake3::Hasher::new(), credentials }
    }

    fn proof(&self) -> Option<blake3::Hash> {
        match self.credentials {
            Credentials::Token(key) => Some(blake3::keyed_hash(key, self.said.finalize().as_bytes())),
            Credentials::Open | Credentials::Certificate(_) => None,
        }
    }

    /// The number of the message goes in as well, so that no message passes for another, nor one side's for the other's.
    fn note(&mut self, step: u8, body: &[u8]) {
        self.said.update(&[step]).update(&(body.len() as u64).to_le_bytes()).update(body);
    }

    async fn send<T: Serialize>(&mut self, step: u8, message: &T) -> Result<(), WireError> {
        let body = frame::encode(message, MESSAGE_BYTES_MAX)?;
        self.note(step, &body);
        // The dialler proves first: an acceptor tells a stranger nothing, not even a hash to guess the token by.
        let proof = self.proof().filter(|_| step >= FIRST_PROOF).map(Into::into);
        let envelope = Envelope { body, proof };
        frame::write(self.stream, &frame::encode(&envelope, MESSAGE_BYTES_MAX)?).await
    }

    /// The message, and whether its sender has proved to hold the token, where one is asked for.
    async fn receive<T: serde::de::DeserializeOwned>(&mut self, step: u8) -> Result<(T, Proven), WireError> {
        let envelope: Envelope = frame::read(self.stream, MESSAGE_BYTES_MAX).await?;
        self.note(step, &envelope.body);
        let proven = match self.proof() {
            None => Proven::Yes,
            // blake3 compares hashes in constant time.
            Some(proof) if envelope.proof.is_some_and(|shown| proof == shown) => Proven::Yes,
            Some(_) => Proven::No,
        };
        Ok((crate::codec::decode(&envelope.body)?, proven))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proven {
    Yes,
    No,
}

/// The dialler's side. `judge` is asked once the acceptor has said who it is.
pub(super) async fn dial(
    stream: &mut Stream,
    credentials: &Credentials,
    hello: &Hello,
    judge: impl FnOnce(&Welcome) -> Result<(), Refusal>,
) -> Result<Welcome, HandshakeError> {
    write_preamble(stream).await?;
    let mut exchange = Exchange::new(stream, credentials);
    exchange.send(1, &(hello, nonce()?)).await?;
    let theirs = read_preamble(exchange.stream).await?;
    if theirs != PROTOCOL_VERSION {
        return Err(HandshakeError::Refused(Refusal::Protocol { ours: PROTOCOL_VERSION, theirs }));
    }
    let (Challenge { .. }, _) = exchange.receive(2).await?;
    exchange.send(3, &Answer {}).await?;
    let (verdict, proven): (Result<Welcome, Refusal>, _) = exchange.receive(4).await?;
    let role = match credentials {
        Credentials::Certificate(role) => Refusal::of_role(role),
        Credentials::Token(_) if proven == Proven::No => Err(Refusal::Token),
        Credentials::Token(_) | Credentials::Open => Ok(()),
    };
    // Of somebody who is none of ours nothing is believed, not even a refusal.
    role.map_err(HandshakeError::Refused)?;
    let welcome = verdict.map_err(HandshakeError::RefusedByPeer)?;
    let judged = judge(&welcome);
    exchange.send(5, &judged).await?;
    judged.map(|()| welcome).map_err(HandshakeError::Refused)
}

/// The acceptor's side. `judge` is asked once the dialler has shown its credentials.
pub(super) async fn accept(
    stream: &mut Stream,
    credentials: &Credentials,
    welcome: Welcome,
    judge: impl FnOnce(&Hello) -> Result<(), Refusal>,
) -> Result<Hello, (Option<Hello>, HandshakeError)> {
    let mut exchange = Exchange::new(stream, credentials);
    let begun = greet(&mut exchange).await;
    let (hello, proven) = begun.map_err(|error| (None, error))?;
    let judged = match credentials {
        Credentials::Certificate(role) => Refusal::of_role(role),
        Credentials::Token(_) if proven == Proven::No => Err(Refusal::Token),
        Credentials::Token(_) | Credentials::Open => Ok(()),
    };
    if let Err(refusal) = judged {
        // It says who it is, and is not believed.
        let _ = exchange.send(4, &Err::<Welcome, _>(&refusal)).await;
        return Err((None, HandshakeError::Refused(refusal)));
    }
    let result = decide(&mut exchange, &hello, welcome, judge).await;
    result.map(|()| hello.clone()).map_err(|error| (Some(hello), error))
}

/// The first three messages.
async fn greet(exchange: &mut Exchange<'_>) -> Result<(Hello, Proven), HandshakeError> {
    let theirs = read_preamble(exchange.stream).await?;
    write_preamble(exchange.stream).await?;
    if theirs != PROTOCOL_VERSION {
        // What it sent is taken in, so that closing does not take back what was just written.
        let _ = exchange.stream.shutdown().await;
        let mut unread = exchange.stream.take(u64::from(MESSAGE_BYTES_MAX));
        let _ = tokio::io::copy(&mut unread, &mut tokio::io::sink()).await;
        return Err(HandshakeError::Refused(Refusal::Protocol { ours: PROTOCOL_VERSION, theirs }));
    }
    let ((hello, _), _): ((Hello, Nonce), _) = exchange.receive(1).await?;
    exchange.send(2, &Challenge { nonce: nonce()? }).await?;
    let (Answer {}, proven) = exchange.receive(3).await?;
    Ok((hello, proven))
}

/// The last two.
async fn decide(
    exchange: &mut Exchange<'_>,
    hello: &Hello,
    welcome: Welcome,
    judge: impl FnOnce(&Hello) -> Result<(), Refusal>,
) -> Result<(), HandshakeError> {
    let verdict = judge(hello).map(|()| welcome);
    exchange.send(4, &verdict).await?;
    verdict.map_err(HandshakeError::Refused)?;
    let (accepted, proven): (Result<(), Refusal>, _) = exchange.receive(5).await?;
    match accepted {
        _ if proven == Proven::No => Err(HandshakeError::Refused(Refusal::Token)),
        Ok(()) => Ok(()),
        Err(refusal) => Err(HandshakeError::RefusedByPeer(refusal)),
    }
}

fn nonce() -> Result<Nonce, HandshakeError> {
    let mut nonce = [0; 32];
    rand_core::OsRng.try_fill_bytes(&mut nonce).map_err(HandshakeError::Random)?;
    Ok(nonce)
}

async fn write_preamble(stream: &mut Stream) -> Result<(), WireError> {
    let mut preamble = MAGIC.to_vec();
    preamble.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    stream.write_all(&preamble).await?;
    Ok(stream.flush().await?)
}

async fn read_preamble(stream: &mut Stream) -> Result<u16, HandshakeError> {
    let mut magic = [0; MAGIC.len()];
    let mut version = [0; 2];
    stream.read_exact(&mut magic).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Io(error),
    })?;
    if magic != MAGIC {
        return Err(HandshakeError::Stranger);
    }
    stream.read_exact(&mut version).await.map_err(WireError::Io)?;
    Ok(u16::from_le_bytes(version))
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
