//! The page, its files, its events and its JSON.

use anyhow::Context;
use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;

use super::live::Live;
use super::view::Page;
use crate::server::Failure;

/// The page loads its own style sheets and script, and hears of its own server. What it shows is
/// text of others in part, so nothing in it may run.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                              connect-src 'self'; base-uri 'none'; form-action 'none'; \
                              frame-ancestors 'none'";
/// When a page that found no place asks again, in seconds.
const AGAIN_SECONDS: &str = "10";

/// What is answered at once.
pub(crate) fn pages(live: Live) -> Router {
    Router::new()
        .route("/replication", get(show))
        .route("/replication.css", get(style))
        .route("/replication.js", get(script))
        .route("/api/replication", get(document))
        .with_state(live)
}

/// What is answered for as long as somebody listens: it must not be counted among the requests that
/// are at work, nor have to end in time. It ends when `closing` is true.
pub(crate) fn events(live: Live, closing: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/api/replication/events", get(listen))
        .with_state((live, closing))
}

async fn show(State(live): State<Live>) -> Result<Response, Failure> {
    let pieces = live.pieces()?;
    let html = Page { pieces: &pieces }.render().context("the page")?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Html(html)).into_response())
}

async fn style() -> impl IntoResponse {
    let css = include_str!("../../assets/replication.css");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], css)
}

async fn script() -> impl IntoResponse {
    let script = include_str!("../../assets/replication.js");
    let kind = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], script)
}

async fn document(State(live): State<Live>) -> impl IntoResponse {
    let answer = json!({
        "status": 200,
        "code": "ok_replication",
        "message": "How the replication is doing",
        "data": live.document(),
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(answer))
}

async fn listen(
    State((live, closing)): State<(Live, watch::Receiver<bool>)>,
) -> Result<Response, Failure> {
    match live.listen(closing)? {
        Some(events) => Ok(Sse::new(events)
            .keep_alive(KeepAlive::default())
            .into_response()),
        None => {
            let answer = json!({
                "status": 503,
                "code": "err_too_many_listeners",
                "message": "Too many pages are kept up to date at the moment",
            });
            let again = [(header::RETRY_AFTER, AGAIN_SECONDS)];
            Ok((StatusCode::SERVICE_UNAVAILABLE, again, Json(answer)).into_response())
        }
    }
}
