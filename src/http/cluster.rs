//! `GET /api/v1/cluster`: the members in one table; and the operator's changes of it.
//!
//! Reading is for everybody who may read `/health`. A change wants the cluster's token, when the node has one:
//! `Authorization: Bearer …`; a node that has certificates and no token takes none. Changes are made by the leader; another
//! node names it.

use super::body::read_json;
use super::fields::{FieldError, Fields, boolean, text};
use super::json::Json;
use super::problem::{Problem, ProblemBody, ProblemCode};
use super::request_id::RequestId;
use super::state::{AppState, Limits};
use crate::actors::cluster_desk::{ChangeCluster, ClusterError, ClusterView, MemberView, StateComparison};
use crate::raft::{AdminError, Aim, Standing};
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// The cluster, as the answering node knows it.
#[derive(Serialize, ToSchema)]
pub(super) struct ClusterAnswer {
    /// Always true.
    success: bool,
    /// The cluster's random id; null before it is founded.
    cluster_id: Option<String>,
    /// The leader's name; null when none is known.
    leader: Option<String>,
    /// The answering node's term.
    term: u64,
    /// All members, by number.
    members: Vec<MemberDocument>,
    /// `agree`, `differ` (some replica is wrong) or `unknown` (fewer than two could be compared).
    state_hashes: &'static str,
    /// The entry after which the state hashes were taken.
    compared_at_index: Option<u64>,
    /// The request's id.
    request_id: String,
}

/// One member.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberDocument {
    /// Its number, never given to another disk.
    id: u64,
    /// Its name.
    name: String,
    /// `voter` or `learner`.
    kind: &'static str,
    /// `Leader`, `Follower`, `Candidate`, `Learner`, `Stopped`; null when it never said.
    state: Option<String>,
    /// Whether it answered lately; if not, the rest is its last word.
    reachable: bool,
    /// Where its Raft port is reached.
    raft_address: String,
    /// Where its HTTP is reached.
    http_address: Option<String>,
    /// Where workers reach it.
    grpc_address: Option<String>,
    /// Its term.
    term: Option<u64>,
    /// The last entry that it knows to be committed.
    commit_index: Option<u64>,
    /// The last entry that it has applied.
    applied_index: Option<u64>,
    /// Entries that it has not applied and the most advanced member has.
    lag: Option<u64>,
    /// Bytes of its files.
    store_bytes: Option<u64>,
    /// The version of its software.
    version: Option<String>,
    /// Its ledger's state hash after `compared_at_index`.
    state_hash: Option<String>,
}

impl From<MemberView> for MemberDocument {
    fn from(view: MemberView) -> Self {
        let report = view.report;
        let of = |take: fn(&crate::raft::PeerReport) -> u64| report.as_ref().map(take);
        Self {
            id: view.node.0,
            name: view.name,
            kind: match view.standing {
                Standing::Voter => "voter",
                Standing::Learner => "learner",
            },
            reachable: view.is_reachable,
            raft_address: view.raft_address,
            term: of(|report| report.term.0),
            commit_index: of(|report| report.committed.0),
            applied_index: of(|report| report.applied.0),
            store_bytes: of(|report| report.store_bytes),
            lag: view.lag,
            state_hash: view.state_hash.map(|hash| hash.to_string()),
            state: report.as_ref().map(|report| report.role.clone()),
            http_address: report.as_ref().map(|report| report.http_address.clone()),
            grpc_address: report.as_ref().map(|report| report.grpc_address.clone()),
            version: report.map(|report| report.version),
        }
    }
}

impl ClusterAnswer {
    fn new(view: ClusterView, request_id: String) -> Self {
        let (state_hashes, compared_at_index) = match view.states {
            StateComparison::Agree(index) => ("agree", Some(index.0)),
            StateComparison::Differ(index) => ("differ", Some(index.0)),
            StateComparison::Unknown => ("unknown", None),
        };
        Self {
            success: true,
            cluster_id: view.cluster,
            leader: view.leader,
            term: view.term,
            members: view.members.into_iter().map(MemberDocument::from).collect(),
            state_hashes,
            compared_at_index,
            request_id,
        }
    }
}

/// The members of the cluster
///
/// What each member last said of itself, and whether their ledgers are the same.
#[utoipa::path(
    get, path = "/api/v1/cluster", tag = "cluster", operation_id = "getCluster",
    responses(
        (status = 200, description = "The members", body = ClusterAnswer),
        (status = 503, description = "Try again", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn get(state: web::Data<AppState>, id: RequestId) -> Result<HttpResponse, Problem> {
    let view = state.cluster.view().await.map_err(|error| Problem::from(ClusterError::from(error)))?;
    Ok(HttpResponse::Ok().json(ClusterAnswer::new(view, id.0)))
}

/// A change was made.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeAnswer {
    /// Always true.
    success: bool,
    /// The number of the member that it was about.
    member: Option<u64>,
    /// For people.
    message: &'static str,
    /// The request's id.
    request_id: String,
}

/// What a change is about.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeRequest {
    /// The member, by name or number (`promote`, `demote`, `remove`); the new one's name (`add`).
    #[schema(required = false, nullable = false)]
    member: Option<String>,
    /// Who shall lead, by name or number (`transfer-leader`); the most advanced voter when absent.
    #[schema(required = false, nullable = false)]
    to: Option<String>,
    /// Where the new member's Raft port is reached (`add`).
    #[schema(required = false, nullable = false, example = "coordinator-4:7000")]
    address: Option<String>,
    /// Whether the new member gets a vote once it has caught up (`add`); not when absent.
    #[schema(required = false, nullable = false)]
    promote: Option<bool>,
}

/// Change the cluster
///
/// `transfer-leader`, `add`, `promote` (once it has caught up), `demote`, `remove`. Wants the cluster's token as
/// `Authorization: Bearer`, when the node has one. Added is a process that was started without `raft.bootstrap`, `raft.peers`
/// and `raft.join`; one with `raft.join` asks to be added by itself.
#[utoipa::path(
    post, path = "/api/v1/cluster/{action}", tag = "cluster", operation_id = "changeCluster",
    request_body = ChangeRequest,
    params(("action" = String, Path, description = "transfer-leader, add, promote, demote or remove")),
    responses(
        (status = 200, description = "It is done", body = ChangeAnswer),
        (status = 400, description = "A field is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The cluster's token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such action or member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The cluster, as it is, does not allow it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Ask the leader, or try again", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn change(
    request: HttpRequest,
    payload: web::Payload,
    action: web::Path<String>,
    id: RequestId,
    state: web::Data<AppState>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let action = Action::of(&action)?;
    // Before the body is read: a stranger is told nothing of it.
    require_admin(&request, &state)?;
    let change = read_json(&request, payload, &limits, move |body| Ok(decode(action, body)?)).await?;
    let member = state.cluster.change(change).await?;
    Ok(HttpResponse::Ok().json(ChangeAnswer {
        success: true,
        member: member.map(|node| node.0),
        message: action.done(),
        request_id: id.0,
    }))
}

#[derive(Clone, Copy)]
enum Action {
    TransferLeader,
    Add,
    Promote,
    Demote,
    Remove,
}

impl Action {
    fn of(word: &str) -> Result<Self, Problem> {
        match word {
            "transfer-leader" => Ok(Self::TransferLeader),
            "add" => Ok(Self::Add),
            "promote" => Ok(Self::Promote),
            "demote" => Ok(Self::Demote),
            "remove" => Ok(Self::Remove),
            _ => Err(Problem::new(
                ProblemCode::UnknownPath,
                "there is no such change of the cluster; there are transfer-leader, add, promote, demote and remove",
            )),
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::TransferLeader => "another member leads",
            Self::Add => {
                "it is a member; a vote comes when it has caught up, if that was asked for, else with promote"
            }
            Self::Promote => "it has a vote",
            Self::Demote => "it has no vote any more",
            Self::Remove => "it is no member any more; its number is not given again",
        }
    }
}

fn decode(action: Action, body: Json) -> Result<ChangeCluster, FieldError> {
    let known: &[&str] = match action {
        Action::TransferLeader => &["to"],
        Action::Add => &["member", "address", "promote"],
        Action::Promote | Action::Demote | Action::Remove => &["member"],
    };
    let mut fields = Fields::of_body(body, &[known])?;
    let promote = fields.optional("promote").map(|json| boolean("promote", &json)).transpose()?;
    let aim = if promote == Some(true) { Aim::Voter } else { Aim::Learner };
    let mut required = |name: &str| -> Result<String, FieldError> {
        let json = fields.required(name)?;
        let value = text(name, json)?;
        if value.is_empty() || value.len() > TEXT_BYTES_MAX || value.chars().any(char::is_control) {
            let reason = format!("expected 1 to {TEXT_BYTES_MAX} printable characters");
            return Err(FieldError::new(name, reason));
        }
        Ok(value)
    };
    Ok(match action {
        Action::TransferLeader => {
            let to = fields.optional("to").map(|json| text("to", json)).transpose()?;
            ChangeCluster::TransferLeader { to }
        }
        Action::Add => {
            let (member, address) = (required("member")?, required("address")?);
            ChangeCluster::Add { member, address, aim }
        }
        Action::Promote => ChangeCluster::Promote { member: required("member")? },
        Action::Demote => ChangeCluster::Demote { member: required("member")? },
        Action::Remove => ChangeCluster::Remove { member: required("member")? },
    })
}

/// Bytes of a name or an address.
const TEXT_BYTES_MAX: usize = 255;

/// Lets those pass who know the cluster's token; everybody, where there is none.
pub(super) fn require_admin(request: &HttpRequest, state: &AppState) -> Result<(), Problem> {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer "));
    if state.admin.allows(token) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemCode::Unauthorized,
        "changing the cluster, or taking a backup of it, wants its token: Authorization: Bearer, with what cluster.token_file of the coordinators holds",
    ))
}

impl From<ClusterError> for Problem {
    fn from(error: ClusterError) -> Self {
        let text = error.to_string();
        let refused = |field: &str, text: String| Self {
            field: Some(field.to_owned()),
            ..Self::new(ProblemCode::ChangeRefused, text)
        };
        let code = match error {
            ClusterError::Address(_) => return refused("address", text),
            ClusterError::Name(_) => return refused("member", text),
            ClusterError::UnknownMember(_) => ProblemCode::UnknownMember,
            ClusterError::Change(AdminError::Refused(_)) => ProblemCode::ChangeRefused,
            ClusterError::Change(AdminError::NotLeader { .. }) => ProblemCode::NoLeader,
            ClusterError::Change(AdminError::Unavailable(_) | AdminError::Stopped) => {
                ProblemCode::Unavailable
            }
            ClusterError::Change(AdminError::OutcomeUnknown(_)) => ProblemCode::OutcomeUnknown,
            ClusterError::Change(AdminError::Store(_)) => return Self::internal(text),
            ClusterError::Ask(crate::actors::ask::AskError::NoReply(_)) => ProblemCode::OutcomeUnknown,
            ClusterError::Ask(_) => ProblemCode::Overloaded,
        };
        Self::new(code, text)
    }
}
