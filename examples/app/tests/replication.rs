//! The page on the replication, its JSON and its events, without a browser.

mod support;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::{Events, Folder, PATIENCE, Running};

/// Pages that are kept up to date at a time.
const LISTENERS_MAX: usize = 64;

fn started() -> (Folder, Running) {
    let folder = Folder::ready();
    let app = folder.start();
    app.sign("hello");
    app.sync();
    (folder, app)
}

fn document(app: &Running) -> Value {
    app.get("/api/replication").json()["data"].clone()
}

/// The document, as soon as what it says of the replication is so.
fn document_once(app: &Running, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let document = document(app);
        if is_so(&document["replication"]) {
            return document;
        }
        assert!(began.elapsed() < PATIENCE, "{document}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The text of a page between its marks.
fn text(html: &str) -> String {
    let parts = html.split('<').skip(1);
    let outside = parts.filter_map(|part| part.split_once('>').map(|(_, text)| text));
    outside.collect()
}

#[test]
fn the_page_and_the_json_have_the_same_numbers() {
    let (_folder, app) = started();
    let document = document_once(&app, |it| {
        let decisions = &it["databases"][0]["decisions"];
        decisions.as_array().is_some_and(|all| !all.is_empty())
    });
    let database = &document["replication"]["databases"][0];
    let page = text(&app.get("/replication").body);
    let durable = database["durable"].as_str().expect("a number");
    assert_eq!(database["restorable"]["newest"]["txid"], durable);
    assert_eq!(database["behind"], 0);
    let component = &document["replication"]["deciding"]["component"];
    let digest = &component["sha256"].as_str().expect("a digest")[..12];
    for text in [
        durable,
        "every commit is durable",
        "Replicating",
        component["name"].as_str().expect("a name"),
        component["version"].as_str().expect("a version"),
        digest,
        "None: the replica is a folder.",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    for decision in database["decisions"].as_array().expect("a list") {
        let name = decision["decision"].as_str().expect("a name");
        assert!(page.contains(name), "{name}: {page}");
    }
    for end in ["oldest", "newest"] {
        let at = database["restorable"][end]["at"].as_str().expect("a time");
        let (day, time) = at.split_once('T').expect("a time");
        let at = format!("{day} {} UTC", &time[..8]);
        assert!(page.contains(&at), "{at}: {page}");
    }
}

#[test]
fn what_runs_on_the_page_is_its_own_script() {
    let (_folder, app) = started();
    let policy = app.content_policy("/replication");
    let has = |wanted: &str| policy.split("; ").any(|part| part == wanted);
    for wanted in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(has(wanted), "{wanted}: {policy}");
    }
    let page = app.get("/replication").body;
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("<script src=\"/replication.js\" defer></script>"));
    assert!(!page.contains(" style=") && !page.contains("<style"));
}

#[test]
fn the_first_event_has_everything_and_those_after_it_what_changed() {
    let (_folder, app) = started();
    let mut events = app.listen().expect("a place");
    let first = events.next().expect("an event");
    assert!(
        first["whole"]
            .as_str()
            .is_some_and(|it| it.contains("app.db"))
    );
    assert!(first["pieces"]["policy"].is_string());
    let before = document(&app)["replication"]["databases"][0]["durable"].clone();
    app.sign("more");
    app.sync();
    let after = document(&app)["replication"]["databases"][0]["durable"].clone();
    assert_ne!(before, after);
    let after = after.as_str().expect("a number");
    let changed = events
        .find(|event| text(event["pieces"]["db0-numbers"].as_str().unwrap_or("")).contains(after))
        .expect("it is told");
    assert_eq!(changed["whole"], Value::Null);
    assert_eq!(changed["shape"], first["shape"]);
    assert!(changed["pieces"]["db0-state"].is_null(), "{changed}");
}

#[test]
fn pages_that_listen_take_no_place_of_requests_and_are_bounded_themselves() {
    let (_folder, app) = started();
    let mut pages: Vec<Events> = (0..LISTENERS_MAX)
        .map(|_| app.listen().expect("a place"))
        .collect();
    for page in &mut pages {
        page.next().expect("an event");
    }
    let refused = app.listen().err().expect("no place");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["code"], "err_too_many_listeners");
    assert_eq!(app.get("/healthz").status, 200);
    app.sign("still here");
    pages.truncate(1);
    // Those that left are noticed when they are to be told something.
    while app.listen().is_err() {
        pages[0].next().expect("an event");
    }
}

#[test]
fn pages_that_listen_do_not_hold_up_the_end() {
    let (_folder, app) = started();
    let mut pages: Vec<Events> = (0..3).map(|_| app.listen().expect("a place")).collect();
    for page in &mut pages {
        page.next().expect("an event");
    }
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("left behind"), "{log}");
    // Each answer has its end, and did not break off.
    assert!(pages.into_iter().all(|page| page.count() < 100));
}

#[test]
fn what_was_decided_is_recorded_where_the_command_line_says() {
    let folder = Folder::ready();
    let app = folder.start_with("-trace decisions");
    app.sign("hello");
    let is_recorded = |it: &Value| it["deciding"]["recorded"].as_u64() > Some(0);
    document_once(&app, is_recorded);
    let reader = lockkeeper::policy::trace::TraceReader::open(folder.path("decisions"));
    let records: Vec<_> = reader.expect("a trace").collect();
    assert!(!records.is_empty());
}
