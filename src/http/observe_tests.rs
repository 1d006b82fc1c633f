//! What happens around requests whose handlers misbehave.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::http::Readiness;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, test};
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};

async fn answer(path: &str) -> (StatusCode, String, Value) {
    let limits = Limits::new(1024, Duration::ZERO, Duration::from_millis(200));
    let app = App::new()
        .app_data(web::Data::new(Limits { answer_grace: Duration::ZERO, ..limits }))
        .wrap(actix_web::middleware::from_fn(observe))
        .route("/panics", web::get().to(async || -> HttpResponse { panic!("with a secret") }))
        .route("/typed/{number}", web::get().to(async |_: web::Path<u32>| HttpResponse::Ok()))
        .route("/never", web::get().to(async || std::future::pending::<HttpResponse>().await));
    let app = test::init_service(app).await;
    let request = test::TestRequest::with_uri(path).insert_header(("x-request-id", "id-1")).to_request();
    let answer = match test::try_call_service(&app, request).await {
        Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
        Err(error) => error.error_response(),
    };
    let (status, id) = (answer.status(), answer.headers().get(X_REQUEST_ID).cloned());
    let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
    (status, id.unwrap().to_str().unwrap().to_owned(), serde_json::from_slice(&body).unwrap())
}

#[actix_rt::test]
async fn a_panic_in_a_handler_is_a_500_of_that_request_and_tells_nothing() {
    let (status, id, problem) = answer("/panics").await;
    assert_eq!((status, id.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "id-1"));
    assert_eq!((problem["code"].as_str(), problem["request_id"].as_str()), (Some("internal"), Some("id-1")));
    assert_eq!(problem["instance"], "/panics");
    assert!(!problem.to_string().contains("secret"));
}

#[actix_rt::test]
async fn an_error_of_the_framework_becomes_a_problem() {
    let (status, id, problem) = answer("/typed/seven").await;
    assert_eq!((status, id.as_str()), (StatusCode::NOT_FOUND, "id-1"));
    assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some("unknown_path"), Some(404)));
}

#[actix_rt::test]
async fn a_handler_that_never_answers_is_ended_by_the_time_limit() {
    let (status, id, problem) = answer("/never").await;
    assert_eq!((status, id.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "id-1"));
    assert_eq!(problem["code"], "unavailable");
}

/// What was written to the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

#[actix_rt::test]
async fn the_log_is_told_when_a_node_becomes_unready_and_ready_and_not_with_every_probe() {
    let lines = Lines::default();
    let writer = lines.clone();
    let _logging = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish(),
    );
    let readiness = Readiness::starting();
    let app = test::init_service(
        App::new()
            .app_data(web::Data::new(readiness))
            .app_data(web::Data::new(Limits::new(1024, Duration::ZERO, Duration::from_secs(10))))
            .wrap(actix_web::middleware::from_fn(observe))
            .route(
                "/readyz",
                web::get().to(async |readiness: web::Data<Readiness>, query: web::Query<Lacks>| {
                    let failures: Vec<String> = query.lacks.iter().cloned().collect();
                    readiness.tell(&failures);
                    if failures.is_empty() { Ok(HttpResponse::Ok()) } else { Err(unready()) }
                }),
            )
            .route("/broken", web::get().to(async || Err::<HttpResponse, _>(unready()))),
    )
    .await;
    let mut said = Vec::new();
    for path in [
        "/readyz",
        "/readyz?lacks=leader",
        "/readyz?lacks=leader",
        "/readyz?lacks=scheduler",
        "/readyz",
        "/readyz",
        "/readyz?lacks=leader",
        "/broken",
    ] {
        let _ = test::call_service(&app, test::TestRequest::with_uri(path).to_request()).await;
        said.push(lines.take());
    }
    let [well, lost, lost_still, lost_otherwise, back, back_still, lost_again, broken] = &said[..] else {
        panic!("{said:?}")
    };
    for line in [lost, lost_again] {
        assert!(
            line.contains("WARN") && line.contains("not ready for requests") && line.contains("leader"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    assert!(back.contains("INFO") && back.contains("ready for requests again"), "{back}");
    for line in [well, lost_still, lost_otherwise, back_still] {
        assert!(line.is_empty(), "{line}");
    }
    assert!(broken.contains("WARN"), "another 503 is told of each time: {broken}");
}

#[derive(serde::Deserialize)]
struct Lacks {
    lacks: Option<String>,
}

fn unready() -> Problem {
    Problem::new(super::super::problem::ProblemCode::Unavailable, "it is not ready")
}
