//! The rules of who may speak, and the exchange over a pipe: each cause of refusal, and that both sides learn of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use tokio::io::AsyncWrite;

const TOKEN: &str = "correct-horse-battery";

fn cluster() -> ClusterId {
    ClusterId::random().unwrap()
}

fn store() -> StoreId {
    StoreId::random().unwrap()
}

fn judge(cluster: Option<ClusterId>) -> Judge<'static> {
    Judge { node: Some(NodeId(1)), cluster, data_key_print: "key" }
}

fn claim(store: StoreId) -> Claim<'static> {
    Claim {
        identity: Some((NodeId(2), store)),
        expected: Some((NodeId(1), NodeId(1))),
        name: "two",
        cluster: None,
        data_key_print: "key",
        recorded: None,
    }
}

#[test]
fn a_member_of_the_same_cluster_or_of_none_yet_is_let_in() {
    let (cluster, store) = (cluster(), store());
    for ours in [None, Some(cluster)] {
        for theirs in [None, Some(cluster)] {
            for recorded in [None, Some(store)] {
                let claim = Claim { cluster: theirs, recorded, ..claim(store) };
                assert_eq!(judge(ours).judge(&claim), Ok(()), "{claim:?}");
            }
        }
    }
}

#[test]
fn each_way_of_not_belonging_here_has_its_refusal() {
    let (ours, theirs, recorded, found) = (cluster(), cluster(), store(), store());
    let good = claim(found);
    let refused = |claim: Claim<'_>| judge(Some(ours)).judge(&claim).unwrap_err();
    assert_eq!(refused(Claim { cluster: Some(theirs), ..good }), Refusal::Cluster { ours, theirs });
    assert_eq!(refused(Claim { data_key_print: "other", ..good }), Refusal::DataKey);
    assert_eq!(
        refused(Claim { expected: Some((NodeId(3), NodeId(1))), ..good }),
        Refusal::WrongNode { expected: NodeId(3), found: NodeId(1) }
    );
    assert_eq!(
        refused(Claim { identity: Some((NodeId(1), found)), ..good }),
        Refusal::SameNode { node: NodeId(1) }
    );
    let wiped = refused(Claim { recorded: Some(recorded), ..good });
    assert_eq!(wiped, Refusal::Store { node: NodeId(2), name: "two".into(), recorded, found });
    assert!(wiped.to_string().contains("zkpnet cluster remove 2"), "{wiped}");
    assert!(wiped.to_string().contains("join as learner"), "{wiped}");
    // Of several causes the one that explains the others is named.
    let stranger = Claim {
        cluster: Some(theirs),
        data_key_print: "other",
        expected: Some((NodeId(3), NodeId(1))),
        recorded: Some(recorded),
        ..good
    };
    assert_eq!(refused(stranger), Refusal::Cluster { ours, theirs });
}

#[test]
fn an_applicant_needs_the_data_key_and_no_other_cluster_and_nothing_else() {
    let (ours, theirs) = (cluster(), cluster());
    let applicant = Claim { identity: None, expected: None, ..claim(store()) };
    assert_eq!(judge(Some(ours)).judge(&applicant), Ok(()));
    let other_key = Claim { data_key_print: "other", ..applicant };
    assert_eq!(judge(Some(ours)).judge(&other_key), Err(Refusal::DataKey));
    let other_cluster = Claim { cluster: Some(theirs), ..applicant };
    assert_eq!(judge(Some(ours)).judge(&other_cluster), Err(Refusal::Cluster { ours, theirs }));
}

#[test]
fn only_a_coordinators_certificate_may_speak() {
    for role in CertRole::ALL {
        let judged = Refusal::of_role(&Ok(role));
        assert_eq!(judged.is_ok(), role == CertRole::Coordinator, "{role}");
    }
    assert!(Refusal::of_role(&Err(RoleError::NoCertificate)).is_err());
}

fn hello() -> Hello {
    let purpose = Purpose::Member { node: NodeId(2), store: store(), expects: NodeId(1) };
    Hello { purpose, name: "two".into(), cluster: None, data_key_print: "key".into() }
}

fn welcome() -> Welcome {
    Welcome {
        node: NodeId(1),
        store: store(),
        name: "one".into(),
        cluster: None,
        data_key_print: "key".into(),
    }
}

fn token(text: &str) -> Credentials {
    Credentials::of_token(Some(&ClusterToken::from_text(text).unwrap()))
}

type Dialled = Result<Welcome, HandshakeError>;
type Accepted = Result<Hello, (Option<Hello>, HandshakeError)>;

async fn shake(
    (dialler, judge_welcome): (Credentials, Result<(), Refusal>),
    (acceptor, judge_hello): (Credentials, Result<(), Refusal>),
) -> (Dialled, Accepted) {
    let (left, right) = tokio::io::duplex(1 << 16);
    let dialling = async {
        let mut left: Stream = Box::new(left);
        dial(&mut left, &dialler, &hello(), |_| judge_welcome).await
    };
    let accepting = async {
        let mut right: Stream = Box::new(right);
        accept(&mut right, &acceptor, welcome(), |_| judge_hello).await
    };
    tokio::join!(dialling, accepting)
}

#[tokio::test]
async fn two_that_share_a_token_or_use_none_come_together() {
    for credentials in
        [|| Credentials::Open, || token(TOKEN), || Credentials::Certificate(Ok(CertRole::Coordinator))]
    {
        let (dialled, accepted) = shake((credentials(), Ok(())), (credentials(), Ok(()))).await;
        assert_eq!(dialled.unwrap().name, "one");
        assert_eq!(accepted.unwrap().name, "two");
    }
}

#[tokio::test]
async fn another_token_or_none_is_refused_on_both_sides_and_nothing_is_believed() {
    let pairs = [
        (token(TOKEN), token("another-good-token")),
        (Credentials::Open, token(TOKEN)),
        (token(TOKEN), Credentials::Open),
    ];
    for (dialler, acceptor) in pairs {
        let what = format!("{dialler:?} {acceptor:?}").replace(TOKEN, "");
        let (dialled, accepted) = shake((dialler, Ok(())), (acceptor, Ok(()))).await;
        let dialled = dialled.unwrap_err();
        assert!(
            matches!(
                dialled,
                HandshakeError::Refused(Refusal::Token) | HandshakeError::RefusedByPeer(Refusal::Token)
            ),
            "{what}: {dialled:?}"
        );
        assert!(accepted.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_refusal_by_either_side_is_learned_by_the_other() {
    for credentials in [|| Credentials::Open, || token(TOKEN)] {
        let (dialled, accepted) =
            shake((credentials(), Ok(())), (credentials(), Err(Refusal::DataKey))).await;
        assert!(matches!(dialled, Err(HandshakeError::RefusedByPeer(Refusal::DataKey))), "{dialled:?}");
        assert!(
            matches!(accepted, Err((Some(_), HandshakeError::Refused(Refusal::DataKey)))),
            "{accepted:?}"
        );
        let (dialled, accepted) =
            shake((credentials(), Err(Refusal::DataKey)), (credentials(), Ok(()))).await;
        assert!(matches!(dialled, Err(HandshakeError::Refused(Refusal::DataKey))), "{dialled:?}");
        assert!(
            matches!(accepted, Err((Some(_), HandshakeError::RefusedByPeer(Refusal::DataKey)))),
            "{accepted:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_by_one_who_does_not_hold_the_token_is_not_believed() {
    let lie = Refusal::SameNode { node: NodeId(2) };
    let (dialled, _) = shake((token(TOKEN), Ok(())), (Credentials::Open, Err(lie))).await;
    assert!(matches!(dialled, Err(HandshakeError::Refused(Refusal::Token))), "{dialled:?}");
}

#[tokio::test]
async fn a_workers_certificate_is_refused_whichever_side_shows_it() {
    let worker = || Credentials::Certificate(Ok(CertRole::Worker));
    let coordinator = || Credentials::Certificate(Ok(CertRole::Coordinator));
    // Credentials hold what the other side showed.
    let (dialled, accepted) = shake((coordinator(), Ok(())), (worker(), Ok(()))).await;
    assert!(matches!(accepted, Err((None, HandshakeError::Refused(Refusal::Certificate { .. })))));
    assert!(matches!(dialled, Err(HandshakeError::RefusedByPeer(Refusal::Certificate { .. }))));
    let (dialled, accepted) = shake((worker(), Ok(())), (coordinator(), Ok(()))).await;
    assert!(matches!(dialled, Err(HandshakeError::Refused(Refusal::Certificate { .. }))));
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_proof_that_was_overheard_is_of_no_use_on_another_connection() {
    // What a dialler says is recorded, and said again to another acceptor.
    let (left, right) = tokio::io::duplex(1 << 16);
    let recorded = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut dialler: Stream = Box::new(Recording { inner: left, written: recorded.clone() });
    let mut acceptor: Stream = Box::new(right);
    let (key, hello) = (token(TOKEN), hello());
    let (dialled, accepted) = tokio::join!(
        dial(&mut dialler, &key, &hello, |_| Ok(())),
        accept(&mut acceptor, &key, welcome(), |_| Ok(()))
    );
    assert!(dialled.is_ok() && accepted.is_ok());

    let (mut replayer, right) = tokio::io::duplex(1 << 16);
    let said = recorded.lock().unwrap().clone();
    replayer.write_all(&said).await.unwrap();
    let mut acceptor: Stream = Box::new(right);
    let replayed = accept(&mut acceptor, &key, welcome(), |_| Ok(())).await;
    assert!(matches!(replayed, Err((None, HandshakeError::Refused(Refusal::Token)))), "{replayed:?}");
    assert!(!said.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()), "the token was sent");
}

/// Keeps what is written.
struct Recording {
    inner: tokio::io::DuplexStream,
    written: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl tokio::io::AsyncRead for Recording {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Recording {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let written = std::pin::Pin::new(&mut self.inner).poll_write(context, bytes);
        if let std::task::Poll::Ready(Ok(count)) = &written {
            self.written.lock().unwrap().extend_from_slice(&bytes[..*count]);
        }
        written
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[tokio::test]
async fn another_version_is_named_to_both_and_another_protocol_is_a_stranger() {
    let (mut other, right) = tokio::io::duplex(1 << 16);
    let mut acceptor: Stream = Box::new(right);
    other.write_all(b"zkpraft\n\x09\x00").await.unwrap();
    other.shutdown().await.unwrap();
    let accepted = accept(&mut acceptor, &Credentials::Open, welcome(), |_| Ok(())).await;
    let expected = Refusal::Protocol { ours: PROTOCOL_VERSION, theirs: 9 };
    assert!(matches!(accepted, Err((None, HandshakeError::Refused(refusal))) if refusal == expected));
    let mut told = [0; 10];
    other.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"zkpraft\n\x01\x00");

    let (mut browser, right) = tokio::io::duplex(1 << 16);
    let mut acceptor: Stream = Box::new(right);
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let accepted = accept(&mut acceptor, &Credentials::Open, welcome(), |_| Ok(())).await;
    assert!(matches!(accepted, Err((None, HandshakeError::Stranger))), "{accepted:?}");
}
