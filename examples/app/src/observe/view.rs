//! The pieces of the page. Each fills one element, so that a piece can be replaced alone.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result};
use askama::Template;
use lockkeeper::policy::{DecisionNote, Identity};
use lockkeeper::{DatabaseState, DatabaseStatus, Status};

use super::Moment;
use super::chart::{Chart, Minutes};
use super::lag::DATABASES_MAX;
use super::words::{Number, When, ago, counted, long, short};

/// Hexadecimal digits that tell components apart.
const DIGEST_LEN: usize = 12;

/// The page in pieces, each by the id of the element that it fills.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    /// Differs if there are other databases, so that other elements are needed.
    pub(crate) shape: String,
    /// The elements of all databases, filled.
    pub(crate) whole: String,
    pieces: BTreeMap<String, String>,
}

impl Pieces {
    /// # Errors
    ///
    /// If a template fails, which is a bug.
    pub(crate) fn new(moment: &Moment) -> Result<Self> {
        let mut made = Self::default();
        made.put("overall", &Overall::new(moment))?;
        made.pieces
            .insert("asof".into(), as_of(&When::of(moment.at)));
        made.put("problems", &Problems::new(moment))?;
        made.put("policy", &Policy::new(moment.status.as_ref()))?;
        let databases = moment.status.iter().flat_map(|status| &status.databases);
        let mut frames = Vec::new();
        for (n, status) in databases.enumerate().take(DATABASES_MAX) {
            let frame = Frame::new(n, status);
            made.put_database(&frame, status, moment, n)?;
            frames.push(frame);
        }
        let all = moment.points.len();
        made.shape = shape(&frames, all);
        let frames = Databases {
            more: all.saturating_sub(frames.len()),
            databases: frames,
            pieces: &made,
        };
        made.whole = frames.render().context("the databases")?;
        Ok(made)
    }

    fn put_database(
        &mut self,
        frame: &Frame,
        status: &DatabaseStatus,
        moment: &Moment,
        n: usize,
    ) -> Result<()> {
        let id = &frame.id;
        let points = moment.points.get(n).map_or(&[][..], Vec::as_slice);
        let (now, name) = (moment.now, frame.name.clone());
        let chart = Chart::new(id.clone(), name, points, now, moment.at);
        self.put(&format!("{id}-state"), &State::new(&status.state))?;
        self.put(&format!("{id}-numbers"), &Numbers::new(status, moment))?;
        self.put(&format!("{id}-chart"), &chart)?;
        self.put(&format!("{id}-minutes"), &Minutes::new(points, now))?;
        let decisions = Decisions::new(status, moment.status.as_ref());
        self.put(&format!("{id}-decisions"), &decisions)?;
        self.put(&format!("{id}-requests"), &Requests::new(status))
    }

    fn put(&mut self, id: &str, piece: &impl Template) -> Result<()> {
        let html = piece.render().with_context(|| format!("the piece {id}"))?;
        self.pieces.insert(id.to_owned(), html);
        Ok(())
    }

    /// The piece of an element.
    pub(crate) fn get(&self, id: &str) -> &str {
        self.pieces.get(id).map_or("", String::as_str)
    }

    /// The piece of an element of a database.
    fn of(&self, database: &str, piece: &str) -> &str {
        self.get(&format!("{database}-{piece}"))
    }

    /// The pieces that are not the same in `other`.
    pub(crate) fn that_differ_from<'a>(&'a self, other: &Self) -> BTreeMap<&'a str, &'a str> {
        let pieces = self.pieces.iter();
        pieces
            .filter(|(id, piece)| other.pieces.get(*id) != Some(piece))
            .map(|(id, piece)| (id.as_str(), piece.as_str()))
            .collect()
    }
}

fn as_of(when: &When) -> String {
    // Only digits and marks, which need no escape.
    format!(
        "As of <time datetime=\"{}\">{}</time>.",
        when.machine,
        when.clock()
    )
}

/// Databases have no other name on the page than their place.
fn shape(frames: &[Frame], all: usize) -> String {
    let mut hasher = DefaultHasher::new();
    for frame in frames {
        (&frame.path, &frame.replica).hash(&mut hasher);
    }
    format!("{all}-{:016x}", hasher.finish())
}

/// The page.
#[derive(Template)]
#[template(path = "replication.html")]
pub(crate) struct Page<'a> {
    pub(crate) pieces: &'a Pieces,
}

/// How bad something is. There is always a word beside the sign.
#[derive(Clone, Copy)]
enum Kind {
    Good,
    Waiting,
    Bad,
}

impl Kind {
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Waiting => "…",
            Self::Bad => "!",
        }
    }
}

impl std::fmt::Display for Kind {
    /// The name of its style.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
        })
    }
}

#[derive(Template)]
#[template(path = "replication/overall.html")]
struct Overall {
    kind: Kind,
    sentence: String,
}

impl Overall {
    fn new(moment: &Moment) -> Self {
        let Some(status) = &moment.status else {
            return Self {
                kind: Kind::Bad,
                sentence: "Replication does not run.".to_owned(),
            };
        };
        let is_starting = |db: &DatabaseStatus| db.state == DatabaseState::Starting;
        let (kind, sentence) = match status.problems().len() {
            0 if status.databases.iter().any(is_starting) => {
                (Kind::Waiting, "Replication is starting.".to_owned())
            }
            0 => (
                Kind::Good,
                "All is well: what is committed reaches its replica.".to_owned(),
            ),
            1 => (Kind::Bad, "One thing needs attention.".to_owned()),
            more => (Kind::Bad, format!("{more} things need attention.")),
        };
        Self { kind, sentence }
    }
}

#[derive(Template)]
#[template(path = "replication/problems.html")]
struct Problems {
    problems: Vec<String>,
    /// Newest first.
    alerts: Vec<Alert>,
}

struct Alert {
    at: When,
    severity: String,
    database: String,
    message: String,
}

impl Problems {
    fn new(moment: &Moment) -> Self {
        let Some(status) = &moment.status else {
            return Self {
                problems: Vec::new(),
                alerts: Vec::new(),
            };
        };
        let alerts = status.alerts.iter().rev().map(|alert| Alert {
            at: When::of(alert.at),
            severity: alert.severity.to_string(),
            database: alert.database.clone(),
            message: alert.message.clone(),
        });
        Self {
            problems: status.problems(),
            alerts: alerts.collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "replication/databases.html")]
struct Databases<'a> {
    databases: Vec<Frame>,
    pieces: &'a Pieces,
    /// Databases that are not shown.
    more: usize,
}

/// What does not change of a database.
struct Frame {
    id: String,
    name: String,
    path: String,
    replica: String,
}

impl Frame {
    fn new(n: usize, status: &DatabaseStatus) -> Self {
        let path = status.path.display().to_string();
        let name = status.path.file_name();
        Self {
            id: format!("db{n}"),
            name: name.map_or(path.clone(), |name| name.to_string_lossy().into_owned()),
            path,
            replica: status.replica.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "replication/state.html")]
struct State {
    kind: Kind,
    word: &'static str,
    meaning: Option<&'static str>,
    reason: Option<String>,
}

impl State {
    fn new(state: &DatabaseState) -> Self {
        let (kind, word, meaning, reason) = match state {
            DatabaseState::Replicating => (Kind::Good, "Replicating", None, None),
            DatabaseState::Starting => (
                Kind::Waiting,
                "Starting",
                Some("The database is compared with its replica."),
                None,
            ),
            DatabaseState::Absent => (
                Kind::Bad,
                "Absent",
                Some("There is no such file; it is waited for."),
                None,
            ),
            DatabaseState::ReplicaFailing(why) => (
                Kind::Bad,
                "Replica failing",
                Some("Commits are kept on this disk, and sent when the replica takes them again."),
                Some(why.clone()),
            ),
            DatabaseState::Failing(why) => (
                Kind::Bad,
                "Failing",
                Some("Commits are not captured; it is tried again."),
                Some(why.clone()),
            ),
            DatabaseState::Fenced { owner, .. } => (
                Kind::Bad,
                "Fenced",
                Some("Another writer has the replica, so nothing is sent."),
                Some(format!("The other writer is {owner}.")),
            ),
            DatabaseState::Stopped => (Kind::Bad, "Stopped", None, None),
            _ => (Kind::Waiting, "Unknown", None, None),
        };
        Self {
            kind,
            word,
            meaning,
            reason,
        }
    }
}

#[derive(Template)]
#[template(path = "replication/numbers.html")]
struct Numbers {
    lag: String,
    behind: String,
    durable: Option<Number>,
    verified: Option<Verified>,
    window: Option<Window>,
}

struct Verified {
    txid: Number,
    at: When,
    ago: String,
}

struct Window {
    oldest: When,
    newest: When,
    span: String,
}

impl Numbers {
    fn new(status: &DatabaseStatus, moment: &Moment) -> Self {
        let behind = match (status.behind(), status.unsealed) {
            (0, _) => "every commit is durable".to_owned(),
            (1, true) => "commits wait to be sealed as one transaction".to_owned(),
            (behind, _) => {
                let count = counted(behind, "transaction is", "transactions are");
                format!("{count} not durable")
            }
        };
        Self {
            lag: short(status.lag()),
            behind,
            durable: status.durable.map(Number::from),
            verified: status.verified.map(|verified| Verified {
                txid: verified.txid.into(),
                at: When::of(verified.at),
                ago: ago(moment.at, verified.at),
            }),
            window: status.restorable.map(|window| {
                let (oldest, newest) = (window.oldest.at, window.newest.at);
                Window {
                    oldest: When::of(oldest),
                    newest: When::of(newest),
                    span: long(newest.duration_since(oldest).unwrap_or_default()),
                }
            }),
        }
    }
}

#[derive(Template)]
#[template(path = "replication/decisions.html")]
struct Decisions {
    by: String,
    /// Newest first.
    notes: Vec<Note>,
}

struct Note {
    decision: &'static str,
    outcome: String,
    clamps: String,
    times: String,
    at: When,
    /// Who decided, if that is not who decides now.
    other: Option<String>,
}

impl Decisions {
    fn new(status: &DatabaseStatus, all: Option<&Status>) -> Self {
        let component = all.and_then(|status| status.deciding.component.as_ref());
        let now = component.map(|component| component.name.as_str());
        let by = component.map_or("The built-in rules decide.".to_owned(), |component| {
            let Identity { name, version, .. } = component;
            format!("{name} {version} ({}) decides.", digest(component))
        });
        let notes = status.decisions.iter().rev();
        Self {
            by,
            notes: notes.map(|note| Note::new(note, now)).collect(),
        }
    }
}

impl Note {
    fn new(note: &DecisionNote, now: Option<&str>) -> Self {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(note.at_ms);
        let other = (note.by.as_deref() != now)
            .then(|| note.by.clone().unwrap_or("the built-in rules".into()));
        Self {
            decision: note.decision,
            outcome: note.outcome.clone(),
            clamps: note.clamps.join(", "),
            times: match note.times {
                1 => String::new(),
                times => format!("{times} times, last "),
            },
            at: When::of(at),
            other,
        }
    }
}

fn digest(component: &Identity) -> &str {
    let digest = component.digest.as_str();
    digest.get(..DIGEST_LEN).unwrap_or(digest)
}

#[derive(Template)]
#[template(path = "replication/requests.html")]
struct Requests {
    is_folder: bool,
    classes: [(&'static str, u64); 6],
}

impl Requests {
    fn new(status: &DatabaseStatus) -> Self {
        let counts = &status.requests;
        Self {
            is_folder: status.replica.starts_with("file:"),
            classes: [
                ("PUT", counts.put),
                ("GET", counts.get),
                ("LIST", counts.list),
                ("HEAD", counts.head),
                ("DELETE", counts.delete),
                ("other", counts.other),
            ],
        }
    }
}

#[derive(Template)]
#[template(path = "replication/policy.html")]
struct Policy {
    component: Option<Named>,
    previous: Option<Named>,
    since: When,
    served: String,
    set_aside: bool,
    alarm: Option<String>,
}

struct Named {
    name: String,
    version: String,
    digest: String,
    short: String,
}

impl From<&Identity> for Named {
    fn from(identity: &Identity) -> Self {
        Self {
            name: identity.name.clone(),
            version: identity.version.clone(),
            digest: identity.digest.clone(),
            short: digest(identity).to_owned(),
        }
    }
}

impl Policy {
    fn new(status: Option<&Status>) -> Self {
        let deciding = status.map(|status| status.deciding.clone());
        let deciding = deciding.unwrap_or_default();
        let since = u64::try_from(deciding.since_ms).unwrap_or(0);
        let since = std::time::UNIX_EPOCH + std::time::Duration::from_millis(since);
        let served = status.map(|status| {
            let stats = &status.policy;
            format!(
                "Asked for {}; {} had no answer, and the guard changed {}.",
                counted(stats.calls, "decision", "decisions"),
                stats.failures,
                stats.clamps
            )
        });
        Self {
            component: deciding.component.as_ref().map(Named::from),
            previous: deciding.previous.as_ref().map(Named::from),
            since: When::of(since),
            served: served.unwrap_or_default(),
            set_aside: status.is_some_and(|status| status.policy.set_aside),
            alarm: deciding.alarm,
        }
    }
}
