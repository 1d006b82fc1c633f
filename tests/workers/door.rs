//! Who may come in: tokens, certificates, and bytes that are no gRPC at all.

use crate::provers::{real_prover, shared_keys};
use crate::remote::{Guards, Remote, open_one, reach};
use crate::support::{LIMIT, LONG_LEASE, Rig, Worker, poll_until};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zkpnet::ledger::TaskStatus;
use zkpnet::tls::{CertRole, ClusterToken, DevelopmentCertificates, PemPair, TlsFiles, TlsMaterial};

fn token(text: &str) -> Guards {
    Guards { token: Some(ClusterToken::from_text(text).unwrap()), tls: None }
}

#[actix_rt::test]
async fn a_worker_without_the_token_is_told_what_to_configure() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), token("a-token-of-some-length")).await;
    let strangers = [
        (Guards::default(), "this port wants the cluster's token (set cluster.token_file)"),
        (token("another-token-as-long"), "this is not the cluster's token"),
    ];
    for (guards, expected) in strangers {
        let stranger = Remote::start("stranger", reach(&port.addr(), guards), real_prover()).await;
        let problem = poll_until("it is refused", async || stranger.session.status().problem).await;
        assert!(problem.contains(expected), "{problem}");
        assert!(!problem.contains("a-token-of-some-length"), "{problem}");
        stranger.guardian.retire().await;
    }
    let coordinator = reach(&port.addr(), token("a-token-of-some-length"));
    let remote = Remote::start("worker-1", coordinator, real_prover()).await;
    let task = rig.submit(1).await;
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    let workers = rig.raft.with_ledger(|ledger| ledger.workers().count());
    assert_eq!(workers, 1, "a stranger was registered");
    remote.end().await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

fn material(folder: &Path, authority: &PemPair, pair: &PemPair, name: &str) -> TlsMaterial {
    let path = |extension: &str| folder.join(format!("{name}.{extension}"));
    let files = TlsFiles { cert: path("cert"), key: path("key"), ca: path("ca") };
    std::fs::write(&files.cert, &pair.certificate).unwrap();
    std::fs::write(&files.key, pair.key.as_bytes()).unwrap();
    std::fs::write(&files.ca, &authority.certificate).unwrap();
    TlsMaterial::open(files).unwrap()
}

#[actix_rt::test]
async fn a_workers_certificate_is_enough_and_a_gateways_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let made = DevelopmentCertificates::new().unwrap();
    let of = |role: CertRole| {
        let pair = made.issue(role, &["127.0.0.1".to_owned()]).unwrap();
        material(folder.path(), made.authority(), &pair, role.name())
    };
    let guards = |role: CertRole| Guards { token: None, tls: Some(of(role)) };
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), guards(CertRole::Coordinator)).await;
    let gateway = reach(&port.addr(), guards(CertRole::Gateway));
    let gateway = Remote::start("gateway", gateway, real_prover()).await;
    let problem = poll_until("it is refused", async || gateway.session.status().problem).await;
    assert!(problem.contains("the certificate of a worker"), "{problem}");
    let plain = Remote::start("plain", reach(&port.addr(), Guards::default()), real_prover()).await;
    poll_until("it comes to nothing", async || plain.session.status().problem).await;

    let worker = reach(&port.addr(), guards(CertRole::Worker));
    let remote = Remote::start("worker-1", worker, real_prover()).await;
    let task = rig.submit(1).await;
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    let workers = rig.raft.with_ledger(|ledger| ledger.workers().count());
    assert_eq!(workers, 1, "a stranger was registered");
    remote.end().await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn bytes_that_are_no_call_end_their_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let remote = Remote::start("worker-1", reach(&port.addr(), Guards::default()), real_prover()).await;
    remote.session.registered().await;
    let http1 = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    // HTTP/2's preface, and a frame that claims sixteen megabytes.
    let long_frame = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0xff; 64]].concat();
    for garbage in [vec![0x17; 100_000], http1, long_frame] {
        let mut stream = TcpStream::connect(port.addr()).await.unwrap();
        // The other side may close before all is written.
        let _ = stream.write_all(&garbage).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection stays open");
    }
    let task = rig.submit(1).await;
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    assert_eq!(remote.session.status().problem, None);
    remote.end().await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}
