//! The routes.

use std::time::Duration;

use anyhow::Context;
use askama::Template;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::guestbook::GuestBook;
use crate::observe::{self, Live};
use crate::page::{Draft, Page};
use crate::replication::Replication;

/// Requests at work; more of them wait.
const REQUESTS_MAX: usize = 256;
/// Bytes in a form: the longest message, each character in the longest escape, and some room.
const BODY_MAX: usize = 32 * 1024;
/// How long a request may take; by then its sender is gone, or sends on purpose without an end.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// The page loads its own style sheet and nothing else.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; \
                              base-uri 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct App {
    guest_book: GuestBook,
    replication: Replication,
}

/// Everything the application answers.
///
/// What has no end of its own ends when `closing` is true.
pub(crate) fn router(
    guest_book: GuestBook,
    replication: Replication,
    live: Live,
    closing: watch::Receiver<bool>,
) -> Router {
    let app = App {
        guest_book,
        replication,
    };
    Router::new()
        .route("/", get(show))
        .route("/entries", post(sign))
        .route("/style.css", get(style))
        .route("/favicon.ico", get(StatusCode::NO_CONTENT))
        .route("/healthz", get(health))
        .route("/api/list-endpoints", get(list_endpoints))
        .route("/api/sync", post(sync))
        .with_state(app)
        .merge(observe::pages(live.clone()))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time))
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        // Below the layers, which are for those above.
        .merge(observe::events(live, closing))
}

async fn in_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

#[derive(Deserialize)]
struct Place {
    older_than: Option<i64>,
}

async fn show(State(app): State<App>, Query(place): Query<Place>) -> Result<Response, Failure> {
    render(&app, place.older_than, Draft::default(), None).await
}

/// Answers when the message is committed, with its number in the address.
async fn sign(State(app): State<App>, Form(draft): Form<Draft>) -> Result<Response, Failure> {
    match draft.tidied().accept() {
        Ok((name, message)) => {
            let id = app.guest_book.add(name, message).await?;
            Ok(Redirect::to(&format!("/#message-{id}")).into_response())
        }
        Err((draft, problem)) => {
            let page = render(&app, None, draft, Some(problem)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn render(
    app: &App,
    older_than: Option<i64>,
    draft: Draft,
    problem: Option<String>,
) -> Result<Response, Failure> {
    let page = Page {
        entries: app.guest_book.entries(older_than).await?,
        is_first: older_than.is_none(),
        draft,
        problem,
        databases: app.replication.databases(),
    };
    let html = page.render().context("the page")?;
    Ok((
        [(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)],
        Html(html),
    )
        .into_response())
}

async fn style() -> impl IntoResponse {
    let css = include_str!("../assets/style.css");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], css)
}

/// Answers 200 as long as the application can: a replica that fails costs no message, and is no
/// reason to send visitors away. Watch `status`.
async fn health(State(app): State<App>) -> Result<Json<serde_json::Value>, Failure> {
    let databases = app.replication.databases();
    let problems = app.replication.problems();
    Ok(Json(json!({
        "status": if problems.is_empty() { "ok" } else { "degraded" },
        "replication": { "databases": databases, "problems": problems },
        "sqlite": {
            "version": rusqlite::version(),
            "pragmas": app.guest_book.pragmas().await?,
        },
    })))
}

async fn list_endpoints() -> Json<serde_json::Value> {
    Json(json!({
        "status": 200,
        "code": "ok_endpoints",
        "message": "List of all available endpoints",
        "data": { "endpoints": {
            "guest_book": "GET /",
            "sign": "POST /entries",
            "health": "GET /healthz",
            "list_endpoints": "GET /api/list-endpoints",
            "replication": "GET /replication",
            "replication_as_json": "GET /api/replication",
            "replication_events": "GET /api/replication/events",
            "sync": "POST /api/sync",
        } },
    }))
}

/// Answers when everything that was committed before is durable.
async fn sync(State(app): State<App>) -> Response {
    match app.replication.sync().await {
        Ok(()) => Json(json!({
            "status": 200,
            "code": "ok_durable",
            "message": "Everything committed is in the replica",
            "data": { "databases": app.replication.databases() },
        }))
        .into_response(),
        Err(error) => {
            let answer = json!({
                "status": 503,
                "code": "err_not_durable",
                "message": format!("{error:#}"),
            });
            (StatusCode::SERVICE_UNAVAILABLE, Json(answer)).into_response()
        }
    }
}

/// Goes to the log in full, and to the visitor in a few words.
pub(crate) struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::error!(error = format!("{:#}", self.0), "a request failed");
        let text = "Something went wrong here. Please try again.";
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }
}
