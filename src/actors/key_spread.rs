//! How the files of proving keys get to every coordinator: a key is registered only when a majority holds its file, and a
//! coordinator that lacks one fetches it from another.
//!
//! A key is asked for by its digest and checked against it, so it does not matter who sends it. Refuses to hold more than
//! one key in memory at a time: they are large.

use super::cpu_pool::CpuPool;
use crate::ledger::{CircuitId, Digest};
use crate::proof::{BUNDLE_BYTES_MAX, Digest32, KeyStore};
use crate::raft::{KeyReply, KeyRequest, KeyShelf, NodeId, PeerReply, PeerRequest, RaftService, Standing};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Bytes of a key in one message: small beside what a frame holds, so that other messages pass in between.
const PIECE_BYTES: usize = 1 << 20;
/// One piece must come within this time.
const PIECE_LIMIT: Duration = Duration::from_secs(10);
/// A peer that is asked to hold a key must have fetched and checked it within this time.
const HOLD_LIMIT: Duration = Duration::from_secs(120);

/// A key could not be brought to where it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpreadError {
    /// *Unavailable*: too few coordinators hold it.
    #[error("{holders} of {voters} coordinators hold the key, a majority is needed; the last answer: {last}")]
    NoMajority {
        /// Those that hold it, this one included.
        holders: usize,
        /// The coordinators that count.
        voters: usize,
        /// What one of the others said.
        last: String,
    },
    /// *Unavailable*: nobody that was asked has it.
    #[error("no coordinator gave the key {digest}; the last answer: {last}")]
    Nowhere {
        /// Which.
        digest: Digest,
        /// What the last one said.
        last: String,
    },
}

/// The way of keys between this coordinator and the others. Clones are the same.
#[derive(Clone)]
pub struct KeySpread {
    raft: RaftService,
    store: KeyStore,
    pool: CpuPool,
    /// Fetching takes the memory of a key.
    fetching: Arc<Mutex<()>>,
}

impl KeySpread {
    /// Between this node's folder and the other members. Files are read and checked on `pool`.
    #[must_use]
    pub fn new(raft: RaftService, store: KeyStore, pool: CpuPool) -> Self {
        Self { raft, store, pool, fetching: Arc::default() }
    }

    /// Has the other voters hold a key that this node holds; comes back when a majority, this node included, does.
    ///
    /// # Errors
    /// Too few of them can be reached, or could fetch it.
    pub async fn spread(&self, circuit: &CircuitId, digest: Digest) -> Result<(), SpreadError> {
        let own = self.raft.node();
        let members = self.raft.members().into_iter();
        let voters: Vec<NodeId> =
            members.filter(|member| member.standing == Standing::Voter).map(|member| member.id).collect();
        let needed = voters.len() / 2 + 1;
        let mut holders = usize::from(voters.contains(&own));
        let mut answers: FuturesUnordered<_> = voters
            .iter()
            .filter(|&&voter| voter != own)
            .map(|&voter| {
                let hold = KeyRequest::Hold { circuit: circuit.clone(), digest };
                self.raft.call(voter, PeerRequest::Key(hold), HOLD_LIMIT)
            })
            .collect();
        let mut last = "none".to_owned();
        // Those that are slower than the majority go on fetching by themselves.
        while holders < needed {
            match answers.next().await {
                Some(Ok(PeerReply::Key(KeyReply::Held))) => holders += 1,
                Some(Ok(PeerReply::Key(KeyReply::Unavailable(reason)))) => last = reason,
                Some(Ok(_)) => last = "it answered another kind of request".to_owned(),
                Some(Err(error)) => last = error.to_string(),
                None => return Err(SpreadError::NoMajority { holders, voters: voters.len(), last }),
            }
        }
        Ok(())
    }

    /// Whether the key is in this node's folder.
    pub async fn is_here(&self, digest: Digest) -> bool {
        let store = self.store.clone();
        let look = move || store.manifest(&Digest32::new(digest.0)).is_ok();
        self.pool.run(look).await.unwrap_or(false)
    }

    /// Fetches a key from the other members, whichever has it, and stores it; nothing to do when it is here.
    ///
    /// # Errors
    /// Nobody gave it.
    pub async fn fetch(&self, digest: Digest) -> Result<(), SpreadError> {
        let own = self.raft.node();
        let mut last = "there is no other member".to_owned();
        for member in self.raft.members().into_iter().map(|member| member.id).filter(|&id| id != own) {
            match self.fetch_from(member, digest).await {
                Ok(()) => return Ok(()),
                Err(reason) => last = reason,
            }
        }
        Err(SpreadError::Nowhere { digest, last })
    }

    async fn fetch_from(&self, member: NodeId, digest: Digest) -> Result<(), String> {
        let _one_at_a_time = self.fetching.lock().await;
        if self.is_here(digest).await {
            return Ok(());
        }
        let mut bundle = Vec::new();
        loop {
            let read = KeyRequest::Read { digest, offset: bundle.len() as u64 };
            let reply = self.raft.call(member, PeerRequest::Key(read), PIECE_LIMIT).await;
            let (bytes, total) = match reply.map_err(|error| error.to_string())? {
                PeerReply::Key(KeyReply::Piece { bytes, bytes_total }) => (bytes, bytes_total),
                PeerReply::Key(KeyReply::Unavailable(reason)) => return Err(reason),
                _ => return Err("it answered another kind of request".to_owned()),
            };
            if total > BUNDLE_BYTES_MAX {
                return Err(format!("a key of {total} bytes is refused"));
            }
            let is_stuck = bytes.is_empty() && (bundle.len() as u64) < total;
            bundle.extend(bytes);
            if bundle.len() as u64 >= total {
                break;
            }
            if is_stuck {
                return Err("the key ends before its end".to_owned());
            }
        }
        let store = self.store.clone();
        let import = move || store.import_bundle(&Digest32::new(digest.0), &bundle).map(drop);
        match self.pool.run(import).await {
            Ok(Ok(())) => {
                tracing::info!(key = %digest, from = member.0, "fetched a proving key");
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn read(&self, digest: Digest, offset: u64) -> KeyReply {
        let store = self.store.clone();
        let read = move || store.read_piece(&Digest32::new(digest.0), offset, PIECE_BYTES);
        match self.pool.run(read).await {
            Ok(Ok((bytes, bytes_total))) => KeyReply::Piece { bytes, bytes_total },
            Ok(Err(error)) => KeyReply::Unavailable(error.to_string()),
            Err(error) => KeyReply::Unavailable(error.to_string()),
        }
    }
}

impl KeyShelf for KeySpread {
    fn answer(&self, from: NodeId, request: KeyRequest) -> BoxFuture<'static, KeyReply> {
        let spread = self.clone();
        Box::pin(async move {
            match request {
                KeyRequest::Hold { digest, .. } => match spread.fetch_from(from, digest).await {
                    Ok(()) => KeyReply::Held,
                    Err(reason) => KeyReply::Unavailable(reason),
                },
                KeyRequest::Read { digest, offset } => spread.read(digest, offset).await,
            }
        })
    }
}
