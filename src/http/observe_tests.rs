//! What happens around requests whose handlers misbehave.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, test};
use serde_json::Value;

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
