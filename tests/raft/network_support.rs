//! Nodes that speak over real sockets on the loopback interface, and a line between two of them that can be held up.

use crate::support::{PATIENCE, config, poll_until};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use zkpnet::raft::{
    AddressError, Member, NodeId, PeerReply, PeerRequest, PeerTransport as _, Probe, RaftConfig, RaftService,
    Role, TcpOptions, TcpTransport, TransportError,
};
use zkpnet::tls::{CertRole, ClusterToken, DevelopmentCertificates, TlsFiles, TlsMaterial};

pub(crate) fn plain(listen: &str) -> TcpOptions {
    TcpOptions::new(listen, "a node", "the data key")
}

pub(crate) fn with_token(listen: &str, token: &str) -> TcpOptions {
    TcpOptions { token: ClusterToken::from_text(token), ..plain(listen) }
}

pub(crate) fn with_tls(listen: &str, files: &TlsFiles) -> TcpOptions {
    TcpOptions { tls: Some(TlsMaterial::open(files.clone()).unwrap()), ..plain(listen) }
}

/// Writes a certificate of this role, its key and its authority; files of the same names are replaced.
pub(crate) fn certificate(folder: &Path, authority: &DevelopmentCertificates, role: CertRole) -> TlsFiles {
    let file = |name: &str| -> PathBuf { folder.join(format!("{role}-{name}")) };
    let files = TlsFiles { cert: file("cert.pem"), key: file("key.pem"), ca: file("ca.pem") };
    let pair = authority.issue(role, &["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&files.cert, pair.certificate).unwrap();
    std::fs::write(&files.key, pair.key.as_bytes()).unwrap();
    std::fs::write(&files.ca, &authority.authority().certificate).unwrap();
    files
}

/// A node and its port.
pub(crate) struct NetNode {
    pub(crate) id: NodeId,
    pub(crate) directory: TempDir,
    pub(crate) address: String,
    pub(crate) transport: Arc<TcpTransport>,
    pub(crate) raft: RaftService,
}

pub(crate) async fn start(
    id: NodeId,
    directory: TempDir,
    options: TcpOptions,
    adjust: fn(&mut RaftConfig),
) -> NetNode {
    let transport = TcpTransport::bind(options).unwrap();
    let mut config = config(id, directory.path());
    adjust(&mut config);
    let (raft, _) = RaftService::start(config, transport.clone()).await.unwrap();
    transport.set_store(raft.store_id());
    NetNode { id, directory, address: transport.address().to_string(), transport, raft }
}

/// A node that belongs to no cluster yet.
pub(crate) async fn lone(id: u64, options: TcpOptions) -> NetNode {
    start(NodeId(id), tempfile::tempdir().unwrap(), options, |_| ()).await
}

impl NetNode {
    pub(crate) fn member(&self) -> Member {
        Member::new(format!("node-{}", self.id), self.address.clone())
    }

    /// Founds a cluster of this node alone.
    pub(crate) async fn found(&self) {
        self.raft.initialize(BTreeMap::from([(self.id, self.member())])).await.unwrap();
        // Then its Raft has taken the membership in, which names the cluster.
        poll_until("it leads", || (self.raft.status().role == Role::Leader).then_some(())).await;
    }

    /// Asks another node for its vote in term 0, which no node gives and which changes nothing.
    pub(crate) async fn ask(&self, other: &Self) -> Result<PeerReply, TransportError> {
        self.ask_at(other.id, &other.address).await
    }

    pub(crate) async fn ask_at(&self, to: NodeId, address: &str) -> Result<PeerReply, TransportError> {
        let vote = openraft::raft::VoteRequest::new(openraft::Vote::new(0, self.id), None);
        self.transport.call(to, &Member::new("", address), PeerRequest::Vote(vote), PATIENCE).await
    }

    pub(crate) async fn stop(self) -> (NodeId, TempDir, String) {
        self.raft.shutdown().await.unwrap();
        (self.id, self.directory, self.address)
    }
}

/// Asks an address as one who is no member.
pub(crate) async fn probe(options: TcpOptions, address: &str) -> Result<PeerReply, AddressError> {
    let transport = TcpTransport::bind(options).unwrap();
    transport.call_address(address, PeerRequest::Probe(Probe::default()), PATIENCE).await
}

/// Whether a probe came as far as the node's endpoint, whatever that made of it.
pub(crate) fn was_let_in(answer: &Result<PeerReply, AddressError>) -> bool {
    matches!(answer, Ok(_) | Err(AddressError::OutcomeUnknown { .. }))
}

/// Passes connections on to `target`, and stops a connection that has brought more than `bytes_max` until it is released.
pub(crate) struct Line {
    pub(crate) address: String,
    /// How many connections are held up.
    pub(crate) held: watch::Receiver<u32>,
    release: watch::Sender<bool>,
}

impl Line {
    pub(crate) async fn to(target: String, bytes_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (holds, held) = watch::channel(0);
        let (release, released) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
                let (holds, mut released) = (holds.clone(), released.clone());
                tokio::spawn(async move {
                    let (mut passed, mut buffer) = (0, vec![0; 16 << 10]);
                    while let Ok(count @ 1..) = near_in.read(&mut buffer).await {
                        if passed <= bytes_max && passed + count > bytes_max {
                            holds.send_modify(|held| *held += 1);
                            released.wait_for(|released| *released).await.unwrap();
                        }
                        passed += count;
                        far_out.write_all(&buffer[..count]).await.unwrap();
                    }
                });
            }
        });
        Self { address, held, release }
    }

    pub(crate) fn release(&self) {
        self.release.send_replace(true);
    }
}

/// Repeats a question until the answer is as wanted; certificates are looked at once a second.
pub(crate) async fn repeat_until<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl AsyncFnMut() -> T,
    is_wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if is_wanted(&answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}; last {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
