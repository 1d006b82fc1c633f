//! `GET /api/v1/cluster/backup`: a backup of the whole cluster as one stream, taken from the node that is asked.
//!
//! It holds everybody's tasks, so it is for operators, as changes of the cluster are: `Authorization: Bearer …` with the
//! cluster's token. It is not part of a request's time limit; who reads it too slowly loses it, and so does everybody when the
//! node ends. A stream that was given up ends without HTTP's own end, and without the file's.

use super::cluster::require_admin;
use super::problem::{Problem, ProblemBody, ProblemCode};
use super::query::Query;
use super::state::{AppState, Readiness};
use crate::backup::{BackupPieces, BackupRefusal, KeysIncluded};
use crate::raft::{ImageError, ReadError};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use std::io;

/// Take a backup
///
/// Everything that was acknowledged before the request, at one entry of the log: `zkpnet cluster backup` stores and checks it,
/// `zkpnet cluster restore` makes a new cluster of it. Inputs stay sealed; the data key is not in it.
#[utoipa::path(
    get, path = "/api/v1/cluster/backup", tag = "cluster", operation_id = "takeBackup",
    params(("keys" = Option<bool>, Query, description = "Whether the files of the proving keys are in it; true when absent")),
    responses(
        (status = 200, description = "The backup", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The cluster's token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "There is no leader, another backup is under way, or a key is not here yet", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn take(request: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    require_admin(&request, &state)?;
    let keys = Query::of(&request, &["keys"])?.take_as("keys", |text| match text {
        "true" => Ok(KeysIncluded::Yes),
        "false" => Ok(KeysIncluded::No),
        _ => Err("expected true or false"),
    })?;
    let Some(desk) = &state.backups else {
        return Err(Problem::new(ProblemCode::Unavailable, "this node takes no backups"));
    };
    let pieces = desk.begin(keys.unwrap_or(KeysIncluded::Yes)).await?;
    let stream = futures_util::stream::unfold((pieces, state.readiness.clone()), next_piece);
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"backup.zkpbak\""))
        .streaming(stream))
}

type Source = (BackupPieces, Readiness);

/// The next piece, or an end without one: a node that is to end does not wait for who reads.
async fn next_piece((mut pieces, readiness): Source) -> Option<(io::Result<Bytes>, Source)> {
    let piece = tokio::select! {
        piece = pieces.next() => piece?,
        () = readiness.until_draining() => {
            pieces.give_up();
            Err(io::Error::other("the node ends"))
        }
    };
    Some((piece.map(Bytes::from), (pieces, readiness)))
}

impl From<BackupRefusal> for Problem {
    fn from(refusal: BackupRefusal) -> Self {
        let text = refusal.to_string();
        let code = match refusal {
            BackupRefusal::Image(ImageError::Read(ReadError::NotLeader { .. } | ReadError::Unconfirmed)) => {
                ProblemCode::NoLeader
            }
            BackupRefusal::Image(ImageError::Store(_)) => return Self::internal(text),
            BackupRefusal::Busy
            | BackupRefusal::NoKey(_)
            | BackupRefusal::Image(ImageError::NoCluster | ImageError::Read(ReadError::Stopped)) => {
                ProblemCode::Unavailable
            }
        };
        Self::new(code, text)
    }
}
