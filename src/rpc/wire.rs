//! The generated messages, and their translation from and to the registry's. Whatever cannot be what it should be is
//! refused here, with the field's name and never with its value.

use crate::actors::worker_registry::{Assignment, Heartbeat, News, Order, Register, Report, WorkerLink};
use crate::ledger::{Attempt, CircuitId, Digest, FailureCause, FailureKind, Incarnation, TaskId, WorkerId};
use crate::proof::{Bytes32, CircuitInput, MerkleWitness};
use crate::telemetry::trace::TraceContext;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use tonic::Status;

/// What `build.rs` made of `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(super) mod proto {
    tonic::include_proto!("zkpnet.worker.v1");
}

/// A proof's compressed encoding is 192 bytes; something much larger is none.
const PROOF_BYTES_MAX: usize = 4096;
/// Leases, circuits or keys named in one message.
const NAMES_MAX: usize = 8192;

impl fmt::Debug for proto::MerkleWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MerkleWitness([redacted])")
    }
}

fn malformed(field: &str) -> Status {
    Status::invalid_argument(format!("malformed field {field}"))
}

fn bytes32(bytes: &[u8], field: &str) -> Result<[u8; 32], Status> {
    bytes.try_into().map_err(|_| malformed(field))
}

pub(super) fn worker(name: &str) -> Result<WorkerId, Status> {
    WorkerId::new(name).map_err(|error| Status::invalid_argument(format!("worker {error}")))
}

fn circuits(names: &[String], field: &str) -> Result<Vec<CircuitId>, Status> {
    if names.len() > NAMES_MAX {
        return Err(malformed(field));
    }
    names.iter().map(|name| CircuitId::new(name).map_err(|_| malformed(field))).collect()
}

pub(super) fn names(circuits: &BTreeSet<CircuitId>) -> Vec<String> {
    circuits.iter().map(|circuit| circuit.as_str().to_owned()).collect()
}

fn lease(lease: Option<&proto::Lease>) -> Result<(TaskId, Attempt), Status> {
    let lease = lease.ok_or_else(|| malformed("lease"))?;
    let task = uuid::Uuid::from_slice(&lease.task).map_err(|_| malformed("lease.task"))?;
    Ok((TaskId(task), Attempt(lease.attempt)))
}

pub(super) fn lease_message(task: TaskId, attempt: Attempt) -> proto::Lease {
    proto::Lease { task: task.0.as_bytes().to_vec(), attempt: attempt.0 }
}

pub(super) fn digest(bytes: &[u8], field: &str) -> Result<Digest, Status> {
    bytes32(bytes, field).map(Digest)
}

pub(super) fn register(request: proto::WorkRequest, link: WorkerLink) -> Result<Register, Status> {
    Ok(Register {
        worker: worker(&request.worker)?,
        session: request.session,
        capacity: request.capacity,
        circuits: circuits(&request.circuits, "circuits")?,
        version: request.version.into(),
        held_keys: circuits(&request.held_keys, "held_keys")?.into_iter().collect(),
        link,
    })
}

pub(super) fn register_message(request: &Register) -> proto::WorkRequest {
    proto::WorkRequest {
        worker: request.worker.as_str().to_owned(),
        session: request.session,
        capacity: request.capacity,
        circuits: request.circuits.iter().map(|circuit| circuit.as_str().to_owned()).collect(),
        version: request.version.as_ref().to_owned(),
        held_keys: names(&request.held_keys),
    }
}

pub(super) fn heartbeat(request: proto::HeartbeatRequest) -> Result<Heartbeat, Status> {
    if request.holds.len() > NAMES_MAX {
        return Err(malformed("holds"));
    }
    Ok(Heartbeat {
        worker: worker(&request.worker)?,
        incarnation: Incarnation(request.incarnation),
        holds: request.holds.iter().map(|held| lease(Some(held))).collect::<Result<_, _>>()?,
        held_keys: circuits(&request.held_keys, "held_keys")?.into_iter().collect(),
    })
}

pub(super) fn heartbeat_message(heartbeat: &Heartbeat) -> proto::HeartbeatRequest {
    proto::HeartbeatRequest {
        worker: heartbeat.worker.as_str().to_owned(),
        incarnation: heartbeat.incarnation.0,
        holds: heartbeat.holds.iter().map(|(task, attempt)| lease_message(*task, *attempt)).collect(),
        held_keys: names(&heartbeat.held_keys),
    }
}

pub(super) fn report(request: proto::ReportRequest) -> Result<Report, Status> {
    use proto::report_request::News as Said;
    let (task, attempt) = lease(request.lease.as_ref())?;
    let news = match request.news.ok_or_else(|| malformed("news"))? {
        Said::Started(_) => News::Started,
        Said::GivenBack(_) => News::GivenBack,
        Said::Proven(proven) if proven.proof.len() > PROOF_BYTES_MAX => {
            return Err(malformed("proven.proof"));
        }
        Said::Proven(proven) => {
            let proving = Duration::from_millis(proven.proving_ms);
            News::Proven { proof: proven.proof, proving, checked: None }
        }
        Said::Failed(failed) => {
            let kind = failure_kind(failed.kind()).ok_or_else(|| malformed("failed.kind"))?;
            News::Failed(FailureCause::new(kind, &failed.message))
        }
    };
    let trace = TraceContext::parse(request.traceparent.as_bytes());
    Ok(Report { worker: worker(&request.worker)?, task, attempt, news, trace })
}

pub(super) fn report_message(report: &Report) -> proto::ReportRequest {
    use proto::report_request::News as Said;
    let news = match &report.news {
        News::Started => Said::Started(proto::Started {}),
        News::GivenBack => Said::GivenBack(proto::GivenBack {}),
        News::Proven { proof, proving, checked: _ } => Said::Proven(proto::Proven {
            proof: proof.clone(),
            proving_ms: crate::actors::clock::nearest_millis(*proving),
        }),
        News::Failed(cause) => Said::Failed(proto::Failed {
            kind: failure_kind_message(cause.kind).into(),
            message: cause.message().to_owned(),
        }),
    };
    proto::ReportRequest {
        worker: report.worker.as_str().to_owned(),
        lease: Some(lease_message(report.task, report.attempt)),
        news: Some(news),
        traceparent: traceparent(report.trace),
    }
}

fn traceparent(span: Option<TraceContext>) -> String {
    span.and_then(|span| span.traceparent()).unwrap_or_default()
}

fn failure_kind(kind: proto::FailureKind) -> Option<FailureKind> {
    Some(match kind {
        proto::FailureKind::Unspecified => return None,
        proto::FailureKind::ProverPanicked => FailureKind::ProverPanicked,
        proto::FailureKind::ProverError => FailureKind::ProverError,
        proto::FailureKind::WitnessUnsatisfied => FailureKind::WitnessUnsatisfied,
        proto::FailureKind::InputUnreadable => FailureKind::InputUnreadable,
        proto::FailureKind::KeyUnavailable => FailureKind::KeyUnavailable,
        proto::FailureKind::InvalidProof => FailureKind::InvalidProof,
    })
}

const fn failure_kind_message(kind: FailureKind) -> proto::FailureKind {
    match kind {
        FailureKind::ProverPanicked => proto::FailureKind::ProverPanicked,
        FailureKind::ProverError => proto::FailureKind::ProverError,
        FailureKind::WitnessUnsatisfied => proto::FailureKind::WitnessUnsatisfied,
        FailureKind::InputUnreadable => proto::FailureKind::InputUnreadable,
        FailureKind::KeyUnavailable => proto::FailureKind::KeyUnavailable,
        FailureKind::InvalidProof => proto::FailureKind::InvalidProof,
    }
}

pub(super) fn order_message(order: Order) -> proto::Order {
    use proto::order::Order as Said;
    let order = match order {
        Order::Assign(assignment) => Said::Assign(assignment_message(&assignment)),
        Order::Revoke { task, attempt } => Said::Revoke(lease_message(task, attempt)),
        Order::Reregister => Said::Reregister(proto::Reregister {}),
    };
    proto::Order { order: Some(order) }
}

fn assignment_message(assignment: &Assignment) -> proto::Assignment {
    // The witness that is translated is wiped when it is dropped; the message's copy is the transport's.
    let input = match &assignment.input {
        CircuitInput::MerklePoseidon(witness) => {
            proto::assignment::Input::MerklePoseidon(proto::MerkleWitness {
                leaf: witness.leaf.as_bytes().to_vec(),
                index: witness.index,
                path: witness.path.iter().map(|element| element.as_bytes().to_vec()).collect(),
            })
        }
    };
    proto::Assignment {
        lease: Some(lease_message(assignment.task, assignment.attempt)),
        circuit: assignment.circuit.as_str().to_owned(),
        proving_key: assignment.proving_key.0.to_vec(),
        input: Some(input),
        traceparent: traceparent(assignment.trace),
    }
}

pub(super) fn assignment(message: proto::Assignment) -> Result<Assignment, Status> {
    let (task, attempt) = lease(message.lease.as_ref())?;
    let input = match message.input.ok_or_else(|| malformed("input"))? {
        proto::assignment::Input::MerklePoseidon(witness) => {
            let element = |bytes: &Vec<u8>| bytes32(bytes, "input.path").map(Bytes32::new);
            CircuitInput::MerklePoseidon(MerkleWitness {
                leaf: Bytes32::new(bytes32(&witness.leaf, "input.leaf")?),
                index: witness.index,
                path: witness.path.iter().map(element).collect::<Result<_, _>>()?,
            })
        }
    };
    Ok(Assignment {
        task,
        attempt,
        circuit: CircuitId::new(&message.circuit).map_err(|_| malformed("circuit"))?,
        proving_key: digest(&message.proving_key, "proving_key")?,
        input,
        // What makes no sense is not worth a refusal: it only serves those who watch.
        trace: TraceContext::parse(message.traceparent.as_bytes()),
    })
}

/// An order that is no `registered`; `None` for one of a later version.
pub(super) fn order(message: proto::Order) -> Result<Option<Order>, Status> {
    use proto::order::Order as Said;
    Ok(match message.order {
        Some(Said::Assign(message)) => Some(Order::Assign(assignment(message)?)),
        Some(Said::Revoke(message)) => {
            let (task, attempt) = lease(Some(&message))?;
            Some(Order::Revoke { task, attempt })
        }
        Some(Said::Reregister(_)) => Some(Order::Reregister),
        Some(Said::Registered(_)) | None => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn an_assignment() -> Assignment {
        let witness =
            MerkleWitness { leaf: Bytes32::new([0xfe; 32]), index: 1, path: vec![Bytes32::new([0x17; 32])] };
        Assignment {
            task: TaskId(uuid::Uuid::from_u128(5)),
            attempt: Attempt(2),
            circuit: CircuitId::new("merkle-poseidon-4").unwrap(),
            proving_key: Digest([9; 32]),
            input: CircuitInput::MerklePoseidon(witness),
            trace: TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        }
    }

    #[test]
    fn an_assignment_survives_the_wire() {
        let original = an_assignment();
        let found = assignment(assignment_message(&original)).unwrap();
        assert_eq!((found.task, found.attempt), (original.task, original.attempt));
        assert_eq!((found.circuit, found.proving_key), (original.circuit, original.proving_key));
        assert!(found.input == original.input);
        assert!(original.trace.is_some() && found.trace == original.trace);
    }

    #[test]
    fn no_print_of_an_order_shows_the_witness() {
        let text = format!("{:?}", order_message(Order::Assign(an_assignment())));
        assert!(text.contains("redacted"), "{text}");
        assert!(!text.contains("254") && !text.contains("23, 23"), "{text}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_the_fields_name() {
        let good = report_message(&Report {
            worker: WorkerId::new("w").unwrap(),
            task: TaskId(uuid::Uuid::from_u128(5)),
            attempt: Attempt(2),
            news: News::Failed(FailureCause::new(FailureKind::InvalidProof, "x")),
            trace: None,
        });
        assert!(report(good.clone()).is_ok());
        type Spoil = fn(&mut proto::ReportRequest);
        let spoilt: [(&str, Spoil); 5] = [
            ("worker", |r| r.worker = "no such name".into()),
            ("lease", |r| r.lease = None),
            ("lease.task", |r| r.lease.as_mut().unwrap().task.push(0)),
            ("news", |r| r.news = None),
            ("proven.proof", |r| {
                let proof = vec![0; PROOF_BYTES_MAX + 1];
                let proven = proto::Proven { proof, proving_ms: 1 };
                r.news = Some(proto::report_request::News::Proven(proven));
            }),
        ];
        for (field, spoil) in spoilt {
            let mut message = good.clone();
            spoil(&mut message);
            let status = report(message).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().contains(field), "{field}: {}", status.message());
        }
    }
}
