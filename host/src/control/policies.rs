//! Changing who decides, over the socket.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::routes::{Answer, Desk, Refusal, json, other_method, refused};
use super::wire::time;
use crate::policy::{
    COMPONENT_BYTES_MAX, Deciding, DecisionNote, Identity, Installation, Installed, PolicySource,
};
use crate::{Error, ErrorKind};

/// How long a component may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that decisions for a comparison are waited for, in seconds.
pub(super) const SHADOW_SECONDS_MAX: u64 = 3600;

/// A component by its name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PolicyIdentity {
    /// What it calls itself.
    pub name: String,
    /// Its version, in its own words.
    pub version: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// Who decides.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
pub struct DecidingReport {
    /// The component; `None` if the built-in rules decide.
    pub component: Option<PolicyIdentity>,
    /// Since when, as RFC 3339 writes times.
    pub since: String,
    /// Who decides after a rollback.
    pub previous: Option<PolicyIdentity>,
    /// Why the last installation was refused; the component before it decides on.
    pub alarm: Option<String>,
    /// Decisions that are in the trace.
    pub recorded: u64,
    /// Decisions that could not be recorded.
    pub dropped: u64,
}

/// A decision, and how often it was the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct DecisionReport {
    /// What was asked: `plan-sync` and so on.
    pub decision: String,
    /// What was done, with the reason that was given.
    pub outcome: String,
    /// Reason codes of what the guard changed.
    pub clamps: Vec<String>,
    /// The component that answered; `None` if the built-in rules decided.
    pub by: Option<String>,
    /// When it was last decided so, as RFC 3339 writes times.
    pub at: String,
    /// How often.
    pub times: u64,
}

/// What an installation led to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct InstallAnswer {
    /// Whether another component decides now.
    pub changed: bool,
    /// The component that decides.
    pub component: Option<PolicyIdentity>,
    /// Who decides after a rollback.
    pub previous: Option<PolicyIdentity>,
    /// Questions of the self-test that it answered.
    pub tested: usize,
    /// Decisions that it answered beside the one before.
    pub shadowed: u32,
    /// How many of them it would have made differently.
    pub differed: u32,
    /// In how many of them the guard would have changed something.
    pub clamped: u32,
}

impl From<Identity> for PolicyIdentity {
    fn from(identity: Identity) -> Self {
        Self {
            name: identity.name,
            version: identity.version,
            sha256: identity.digest,
        }
    }
}

impl From<Deciding> for DecidingReport {
    fn from(deciding: Deciding) -> Self {
        Self {
            component: deciding.component.map(Into::into),
            since: time(deciding.since_ms),
            previous: deciding.previous.map(Into::into),
            alarm: deciding.alarm,
            recorded: deciding.trace.recorded,
            dropped: deciding.trace.dropped,
        }
    }
}

impl From<&DecisionNote> for DecisionReport {
    fn from(note: &DecisionNote) -> Self {
        Self {
            decision: note.decision.into(),
            outcome: note.outcome.clone(),
            clamps: note.clamps.iter().map(|code| (*code).to_owned()).collect(),
            by: note.by.clone(),
            at: time(i64::try_from(note.at_ms).unwrap_or(i64::MAX)),
            times: note.times,
        }
    }
}

impl InstallAnswer {
    fn installed(installed: Installed) -> Self {
        Self {
            changed: true,
            component: Some(installed.component.into()),
            previous: installed.previous.map(Into::into),
            tested: installed.tested,
            shadowed: installed.shadowed.decisions,
            differed: installed.shadowed.differed,
            clamped: installed.shadowed.clamped,
        }
    }

    fn unchanged(deciding: Deciding) -> Self {
        Self {
            changed: false,
            component: deciding.component.map(Into::into),
            previous: deciding.previous.map(Into::into),
            tested: 0,
            shadowed: 0,
            differed: 0,
            clamped: 0,
        }
    }
}

impl Desk {
    /// Answers what begins with `/policy`.
    pub(super) async fn policy(&self, request: Request<Incoming>) -> Response<Answer> {
        let policy = self.fleet.policy();
        let answer = match (request.method(), request.uri().path()) {
            (&Method::GET, "/policy") => Ok(json(&DecidingReport::from(policy.deciding()))),
            (&Method::POST, "/policy/install") => self.install(request).await,
            (&Method::POST, "/policy/reload") => match policy.reload().await {
                Ok(Some(installed)) => Ok(json(&InstallAnswer::installed(installed))),
                Ok(None) => Ok(json(&InstallAnswer::unchanged(policy.deciding()))),
                Err(error) => Err(refusal(&error)),
            },
            (&Method::POST, "/policy/rollback") => match policy.roll_back() {
                Ok(_) => Ok(json(&DecidingReport::from(policy.deciding()))),
                Err(error) => Err(refusal(&error)),
            },
            (_, "/policy") => Ok(other_method("GET")),
            (_, "/policy/install" | "/policy/reload" | "/policy/rollback") => {
                Ok(other_method("POST"))
            }
            (_, path) => Err((StatusCode::NOT_FOUND, format!("there is no {path}"))),
        };
        answer.unwrap_or_else(refused)
    }

    async fn install(&self, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        let mut wanted = wanted(request.uri().query())?;
        wanted.source = PolicySource::Bytes(component(request).await?.to_vec());
        let installed = self.fleet.policy().install(wanted).await;
        let installed = installed.map_err(|error| refusal(&error))?;
        Ok(json(&InstallAnswer::installed(installed)))
    }
}

/// What the query asks for: `sha256`, `shadow` decisions, and at most so many `seconds` for them.
fn wanted(query: Option<&str>) -> Result<Installation, Refusal> {
    let mut wanted = Installation::new(PolicySource::Embedded);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let bad = || {
            (
                StatusCode::BAD_REQUEST,
                format!("'{value}' is no value of '{name}'"),
            )
        };
        match &*name {
            "sha256" => wanted.sha256 = Some(value.into_owned()),
            "shadow" => wanted.shadow_decisions = value.parse().map_err(|_| bad())?,
            "seconds" => {
                let seconds: u64 = value.parse().map_err(|_| bad())?;
                wanted.shadow_time = Duration::from_secs(seconds.min(SHADOW_SECONDS_MAX));
            }
            _ => return Err((StatusCode::BAD_REQUEST, format!("there is no '{name}'"))),
        }
    }
    Ok(wanted)
}

async fn component(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let limited = Limited::new(request.into_body(), COMPONENT_BYTES_MAX);
    match timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err((
            StatusCode::BAD_REQUEST,
            format!("the component did not arrive: {error}"),
        )),
        Err(_) => Err((StatusCode::BAD_REQUEST, "the component did not come".into())),
    }
}

fn refusal(error: &Error) -> Refusal {
    let status = match error.kind() {
        ErrorKind::Invalid | ErrorKind::Corrupt => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}
