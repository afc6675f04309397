//! What is sent over the control socket. Transactions are numbers where Litestream has them so, and
//! 16 hexadecimal digits elsewhere; fields may be added, so readers ignore what they do not know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockkeeper_ltx::Txid;
use serde::{Deserialize, Serialize};

use super::policies::{DecidingReport, DecisionReport};
use crate::engine::{
    Alert, DatabaseState, DatabaseStatus, HeldPoint, RestorePoint, RestoreWindow, Status,
};
use crate::policy::PolicyStats;
use crate::store::RequestCounts;

/// The process that answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Info {
    /// Which program it is, and its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// For how long the socket has been there.
    pub uptime_seconds: u64,
    /// Since when, as RFC 3339 writes times.
    pub started_at: String,
    /// How many databases are replicated.
    pub database_count: usize,
}

/// The databases that are replicated.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct List {
    /// In the order of the configuration.
    pub databases: Vec<Listed>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// The database file.
    pub path: PathBuf,
    /// As [`DatabaseReport::state`]; Litestream has the words `replicating`, `open` and `stopped`.
    pub status: String,
    /// When the replica last was known to have everything, as RFC 3339 writes times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<String>,
}

/// The state of everything.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// In the order of the configuration.
    pub databases: Vec<DatabaseReport>,
    /// How the policy component has served.
    pub policy: PolicyReport,
    /// What keeps commits from being safe, or may soon, as sentences; empty if all is well.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Who decides, and who did before.
    #[serde(default)]
    pub deciding: DecidingReport,
    /// The last alerts, oldest first.
    #[serde(default)]
    pub alerts: Vec<AlertReport>,
}

/// Something that a person should read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct AlertReport {
    /// When it was raised, as RFC 3339 writes times.
    pub at: String,
    /// The name of the database file.
    pub database: String,
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// Stable, kebab-case.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A point in time that the policy keeps restorable.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct HeldReport {
    /// As RFC 3339 writes times.
    pub at: String,
    /// The transaction that a restore to it leads to, if the replica has one.
    pub txid: Option<String>,
    /// Why, in the words of the policy.
    pub reason: String,
}

/// What a replica restores.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct WindowReport {
    /// The oldest point.
    pub oldest: PointReport,
    /// The newest point.
    pub newest: PointReport,
}

/// A point that can be restored.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct PointReport {
    /// The transaction that a restore leads to.
    pub txid: String,
    /// When it was sealed, as RFC 3339 writes times.
    pub at: String,
}

/// Requests to a store by what they did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
#[serde(default)]
pub struct RequestsReport {
    /// Objects and parts of objects written.
    pub put: u64,
    /// Objects and ranges of objects read.
    pub get: u64,
    /// Pages of listings.
    pub list: u64,
    /// Questions about one object.
    pub head: u64,
    /// Deletions, each of one object or of many.
    pub delete: u64,
    /// Anything else, such as tokens.
    pub other: u64,
}

/// The state of one database.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct DatabaseReport {
    /// The database file.
    pub path: PathBuf,
    /// `starting`, `absent`, `replicating`, `replica-failing`, `failing` or `stopped`.
    pub state: String,
    /// Why it is failing.
    pub error: Option<String>,
    /// Where the replica is. Never holds a secret.
    pub replica: String,
    /// The last transaction in a sealed local file.
    pub spooled: Option<String>,
    /// The last transaction the replica confirmed, with all before it.
    pub durable: Option<String>,
    /// The last transaction of the newest snapshot.
    pub snapshot: Option<String>,
    /// How far back and how far on the replica restores, if that is known.
    #[serde(default)]
    pub restorable: Option<WindowReport>,
    /// When the replica last was known to have everything, as RFC 3339 writes times.
    pub last_sync_at: Option<String>,
    /// The age of the oldest commit that is not durable, in milliseconds.
    pub lag_ms: u64,
    /// How many transactions are not durable; commits that are not sealed are one together.
    #[serde(default)]
    pub behind: u64,
    /// How many requests were sent to the store of the replica since the start.
    #[serde(default)]
    pub requests: RequestsReport,
    /// The last transaction with which the replica was restored and found equal to the database.
    pub verified: Option<String>,
    /// When that was, as RFC 3339 writes times.
    pub verified_at: Option<String>,
    /// What the last verification found wrong.
    pub verification_failed: Option<String>,
    /// Why nothing is deleted from the replica at the moment, if retention is on.
    pub deletion_paused: Option<String>,
    /// The points in time that the policy keeps restorable whatever retention says.
    #[serde(default)]
    pub held: Vec<HeldReport>,
    /// The bytes of the log that hold committed transactions.
    pub log_bytes: u64,
    /// Whether the log is too large and a reader keeps it from being emptied.
    pub log_held: bool,
    /// The last transaction that was durable once, if the replica has lost it.
    pub head_missing: Option<String>,
    /// The last transaction of a past that the database no longer has: it came back older.
    pub undone: Option<String>,
    /// The first and the last transaction that the replica has lost, so that no restore leads past
    /// them before a new snapshot does.
    pub lost: Option<[String; 2]>,
    /// The longest a checkpoint kept other writers out, in microseconds.
    pub write_lock_held_max_us: u64,
    /// The last decisions about it, oldest first; what is decided again and again takes one place.
    #[serde(default)]
    pub decisions: Vec<DecisionReport>,
}

/// How the policy component has served.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct PolicyReport {
    /// Decisions the component was asked for.
    pub calls: u64,
    /// Calls without an answer; the built-in rules decided.
    pub failures: u64,
    /// Proposals that the guard changed.
    pub clamps: u64,
    /// The same by reason, as `plan-sync: sync-too-late`.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// Whether it is not asked for now, because it failed several times in a row.
    pub set_aside: bool,
    /// In how many milliseconds a component that was set aside is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_again_in_ms: Option<u64>,
}

/// Asks for the position of one database.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct TxidAnswer {
    /// The last transaction in a sealed local file; 0 for none.
    pub txid: u64,
}

/// Asks to seal what is committed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SyncRequest {
    /// The database file.
    #[serde(default)]
    pub path: String,
    /// Whether the replica is waited for as well.
    #[serde(default)]
    pub wait: bool,
    /// How many seconds it may take; 0 for 30.
    #[serde(default)]
    pub timeout: i64,
}

/// What a sync led to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct SyncAnswer {
    /// `no_change`, `synced`, or without a wait `synced_local`.
    pub status: String,
    /// The database file.
    pub path: PathBuf,
    /// The last transaction in a sealed local file; 0 for none.
    pub txid: u64,
    /// The last transaction the replica confirmed; 0 for none.
    pub replicated_txid: u64,
}

/// Asks for the proof that a replica restores to its database. Litestream does not answer it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct VerifyRequest {
    /// The database file.
    #[serde(default)]
    pub path: String,
    /// How many seconds it may take; 0 for an hour.
    #[serde(default)]
    pub timeout: i64,
}

/// Whether it does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct VerifyAnswer {
    /// The database file.
    pub path: PathBuf,
    /// The transaction that was restored and found equal, with all that was committed when it was
    /// asked for; none if that was not so.
    pub txid: Option<String>,
    /// What was wrong.
    pub error: Option<String>,
}

/// Why a request was not done.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// In words.
    pub error: String,
}

impl List {
    pub(super) fn of(status: &Status) -> Self {
        let databases = status.databases.iter();
        Self {
            databases: databases
                .map(|database| Listed {
                    path: shown(&database.path),
                    status: state(&database.state).0.into(),
                    last_sync_at: database.in_step_ms.map(time),
                })
                .collect(),
        }
    }
}

impl From<&Status> for Report {
    fn from(status: &Status) -> Self {
        Self {
            databases: status.databases.iter().map(DatabaseReport::from).collect(),
            policy: (&status.policy).into(),
            deciding: status.deciding.clone().into(),
            alerts: status.alerts.iter().map(AlertReport::from).collect(),
            problems: status.problems(),
        }
    }
}

impl From<&DatabaseStatus> for DatabaseReport {
    fn from(status: &DatabaseStatus) -> Self {
        let (state, error) = state(&status.state);
        Self {
            path: shown(&status.path),
            state: state.into(),
            error: error.map(Into::into),
            replica: status.replica.clone(),
            spooled: status.spooled.map(hex),
            durable: status.durable.map(hex),
            snapshot: status.snapshot.map(hex),
            restorable: status.restorable.map(WindowReport::from),
            last_sync_at: status.in_step_ms.map(time),
            lag_ms: u64::try_from(status.lag().as_millis()).unwrap_or(u64::MAX),
            behind: status.behind(),
            requests: status.requests.into(),
            verified: status.verified.map(|verified| hex(verified.txid)),
            verified_at: status.verified.map(|verified| time(unix_ms(verified.at))),
            verification_failed: status.verification_failed.clone(),
            deletion_paused: status.deletion_paused.clone(),
            held: status.held.iter().map(HeldReport::from).collect(),
            log_bytes: status.log_bytes,
            log_held: status.log_held.is_some(),
            head_missing: status.head_missing.map(hex),
            undone: status.undone.map(hex),
            lost: status.lost.map(|lost| [hex(lost.min()), hex(lost.max())]),
            write_lock_held_max_us: u64::try_from(status.write_lock_held_max.as_micros())
                .unwrap_or(u64::MAX),
            decisions: status.decisions.iter().map(DecisionReport::from).collect(),
        }
    }
}

impl From<RestoreWindow> for WindowReport {
    fn from(window: RestoreWindow) -> Self {
        let point = |point: RestorePoint| PointReport {
            txid: hex(point.txid),
            at: time(unix_ms(point.at)),
        };
        Self {
            oldest: point(window.oldest),
            newest: point(window.newest),
        }
    }
}

impl From<RequestCounts> for RequestsReport {
    fn from(counts: RequestCounts) -> Self {
        Self {
            put: counts.put,
            get: counts.get,
            list: counts.list,
            head: counts.head,
            delete: counts.delete,
            other: counts.other,
        }
    }
}

impl From<&PolicyStats> for PolicyReport {
    fn from(stats: &PolicyStats) -> Self {
        let refusals = stats.refusals.iter();
        let refusals = refusals.map(|it| (format!("{}: {}", it.decision, it.reason), it.count));
        Self {
            calls: stats.calls,
            failures: stats.failures,
            clamps: stats.clamps,
            refusals: refusals.collect(),
            set_aside: stats.set_aside,
            asked_again_in_ms: stats
                .asked_again_in
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<&Alert> for AlertReport {
    fn from(alert: &Alert) -> Self {
        Self {
            at: time(unix_ms(alert.at)),
            database: alert.database.clone(),
            severity: alert.severity.to_string(),
            code: alert.code.clone(),
            message: alert.message.clone(),
        }
    }
}

impl From<&HeldPoint> for HeldReport {
    fn from(held: &HeldPoint) -> Self {
        Self {
            at: time(unix_ms(held.at)),
            txid: held.txid.map(hex),
            reason: held.reason.clone(),
        }
    }
}

fn state(state: &DatabaseState) -> (&'static str, Option<&str>) {
    match state {
        DatabaseState::Starting => ("starting", None),
        DatabaseState::Absent => ("absent", None),
        DatabaseState::Replicating => ("replicating", None),
        DatabaseState::ReplicaFailing(why) => ("replica-failing", Some(why)),
        DatabaseState::Failing(why) => ("failing", Some(why)),
        DatabaseState::Fenced { owner, .. } => ("fenced", Some(owner)),
        DatabaseState::Stopped => ("stopped", None),
    }
}

/// JSON is text: what is not in a path is replaced, so that one strange name hides no other.
pub(super) fn shown(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

pub(super) fn hex(txid: Txid) -> String {
    txid.to_string()
}

/// In UTC, to the millisecond.
pub(super) fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// Milliseconds since the Unix epoch; 0 for a time before it.
fn unix_ms(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_path_that_is_not_text_can_be_sent() {
        let path = Path::new(OsStr::from_bytes(b"/srv/\xff/a.db"));
        assert!(serde_json::to_string(path).is_err());
        let sent = serde_json::to_string(&shown(path)).unwrap();
        assert_eq!(sent, "\"/srv/\u{fffd}/a.db\"");
    }
}
